-- Two rows change keys with each other, in one statement and by way of a third key.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value NVARCHAR(10) NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, N'one'), (2, N'two');
GO

--@ start
UPDATE dbo.t SET id = 3 - id;
GO
BEGIN TRANSACTION;
UPDATE dbo.t SET id = 0 WHERE id = 1;
UPDATE dbo.t SET id = 1 WHERE id = 2;
UPDATE dbo.t SET id = 2 WHERE id = 0;
COMMIT;
GO
