-- One transaction of ten thousand rows, inserted and then updated.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL, note NVARCHAR(40) NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (0, 0, NULL);
GO

--@ start
BEGIN TRANSACTION;
INSERT INTO dbo.t SELECT value, value % 7, N'row ' + CAST(value AS NVARCHAR(10)) FROM GENERATE_SERIES(1, 10000);
UPDATE dbo.t SET value = value + 1 WHERE id % 2 = 0;
COMMIT;
GO
DELETE FROM dbo.t WHERE id > 9990;
GO
