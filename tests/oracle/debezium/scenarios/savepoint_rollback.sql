-- A rollback to a savepoint undoes what came after it and keeps what came before.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 1), (2, 2);
GO

--@ start
BEGIN TRANSACTION;
UPDATE dbo.t SET value = 10 WHERE id = 1;
SAVE TRANSACTION here;
UPDATE dbo.t SET value = 20 WHERE id = 2;
INSERT INTO dbo.t VALUES (3, 3);
ROLLBACK TRANSACTION here;
INSERT INTO dbo.t VALUES (4, 4);
ROLLBACK TRANSACTION here;
UPDATE dbo.t SET value = value + 1 WHERE id = 1;
COMMIT;
GO
BEGIN TRANSACTION;
SAVE TRANSACTION start;
DELETE FROM dbo.t;
ROLLBACK TRANSACTION start;
COMMIT;
GO
