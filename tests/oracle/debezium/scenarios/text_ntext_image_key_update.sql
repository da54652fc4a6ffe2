-- Rows with columns of the old large types get other keys: the delete of the old key lacks them, the insert has them.
CREATE TABLE dbo.t (id INT PRIMARY KEY, code INT NULL UNIQUE, plain TEXT NULL, wide NTEXT NULL, raw IMAGE NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 10, 'one', N'one', 0x01), (2, 20, 'two', N'two', 0x02), (3, 30, NULL, NULL, NULL);
GO

--@ start
UPDATE dbo.t SET id = 100 WHERE id = 1;
GO
UPDATE dbo.t SET code = code + 1;
GO
UPDATE dbo.t SET id = 200, plain = 'moved', raw = 0xFF WHERE id = 2;
GO
BEGIN TRANSACTION;
UPDATE dbo.t SET plain = 'a' WHERE id = 100;
UPDATE dbo.t SET plain = 'b', wide = N'b' WHERE id = 100;
DELETE FROM dbo.t WHERE id = 100;
INSERT INTO dbo.t VALUES (100, 1, 'again', N'again', 0xAA);
COMMIT;
GO
