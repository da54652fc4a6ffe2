-- Two tables change in turns within one transaction, and each keeps its order.
CREATE TABLE dbo.a (id INT PRIMARY KEY, value INT NOT NULL);
CREATE TABLE dbo.b (id INT PRIMARY KEY, a_id INT NOT NULL, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL;
GO
EXEC sys.sp_cdc_enable_table N'dbo', N'b', NULL;
GO
INSERT INTO dbo.a VALUES (1, 1);
GO

--@ start
BEGIN TRANSACTION;
INSERT INTO dbo.a VALUES (2, 2);
INSERT INTO dbo.b VALUES (20, 2, 0);
UPDATE dbo.a SET value = 3 WHERE id = 2;
INSERT INTO dbo.b VALUES (21, 2, 0);
UPDATE dbo.b SET value = 1;
DELETE FROM dbo.a WHERE id = 1;
DELETE FROM dbo.b WHERE id = 20;
COMMIT;
GO
INSERT INTO dbo.b VALUES (30, 3, 0);
GO
INSERT INTO dbo.a VALUES (3, 3);
GO
