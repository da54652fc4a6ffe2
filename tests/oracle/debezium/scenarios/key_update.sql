-- An update of the primary key is a delete of the old key and an insert of the new one.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value NVARCHAR(10) NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, N'one'), (2, N'two'), (3, N'three');
GO

--@ start
UPDATE dbo.t SET id = 10 WHERE id = 1;
GO
UPDATE dbo.t SET id = 20, value = N'twenty' WHERE id = 2;
GO
-- Every key moves at once, each to the place of the next.
UPDATE dbo.t SET id = id + 10;
GO
-- Back and forth in one transaction.
BEGIN TRANSACTION;
UPDATE dbo.t SET id = 99 WHERE value = N'three';
UPDATE dbo.t SET id = 3 WHERE value = N'three';
COMMIT;
GO
