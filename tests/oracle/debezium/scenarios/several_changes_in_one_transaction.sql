-- Several changes of one key in one transaction arrive one by one, in the order of the statements.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL, note NVARCHAR(20) NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 10, NULL), (2, 20, N'two');
GO

--@ start
BEGIN TRANSACTION;
UPDATE dbo.t SET value = 11 WHERE id = 1;
UPDATE dbo.t SET value = 12, note = N'twice' WHERE id = 1;
INSERT INTO dbo.t VALUES (3, 30, NULL);
UPDATE dbo.t SET value = value + 1 WHERE id IN (1, 3);
COMMIT;
GO
BEGIN TRANSACTION;
UPDATE dbo.t SET note = N'a' WHERE id = 2;
UPDATE dbo.t SET note = N'b' WHERE id = 2;
UPDATE dbo.t SET note = NULL WHERE id = 2;
COMMIT;
GO
