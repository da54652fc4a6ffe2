-- What is rolled back never happened; what is committed after it did.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 1);
GO

--@ start
BEGIN TRANSACTION;
INSERT INTO dbo.t VALUES (2, 2);
UPDATE dbo.t SET value = 100;
DELETE FROM dbo.t WHERE id = 1;
ROLLBACK;
GO
UPDATE dbo.t SET value = 11 WHERE id = 1;
GO
BEGIN TRANSACTION;
INSERT INTO dbo.t VALUES (3, 3);
ROLLBACK;
INSERT INTO dbo.t VALUES (3, 33);
GO
