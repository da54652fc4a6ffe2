-- A row that is inserted and deleted in one transaction leaves both events, and so does one that comes back.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 1), (2, 2);
GO

--@ start
BEGIN TRANSACTION;
INSERT INTO dbo.t VALUES (7, 70);
DELETE FROM dbo.t WHERE id = 7;
COMMIT;
GO
BEGIN TRANSACTION;
DELETE FROM dbo.t WHERE id = 1;
INSERT INTO dbo.t VALUES (1, 100);
COMMIT;
GO
BEGIN TRANSACTION;
UPDATE dbo.t SET value = 21 WHERE id = 2;
DELETE FROM dbo.t WHERE id = 2;
INSERT INTO dbo.t VALUES (2, 22);
UPDATE dbo.t SET value = 23 WHERE id = 2;
DELETE FROM dbo.t WHERE id = 2;
COMMIT;
GO
