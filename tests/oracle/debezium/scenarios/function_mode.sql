-- Changes read through cdc.fn_cdc_get_all_changes_…, which has no command id, instead of from the change table.
--@ set data.query.mode=function
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 1), (2, 2);
GO

--@ start
BEGIN TRANSACTION;
UPDATE dbo.t SET value = value + 1;
UPDATE dbo.t SET id = 3 WHERE id = 2;
DELETE FROM dbo.t WHERE id = 1;
INSERT INTO dbo.t VALUES (1, 10);
COMMIT;
GO
