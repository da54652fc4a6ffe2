-- A table without a key: its events have no key, and there are no tombstones.
CREATE TABLE dbo.t (a INT NULL, b NVARCHAR(10) NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, N'x'), (1, N'x'), (NULL, NULL);
GO

--@ start
INSERT INTO dbo.t VALUES (2, N'y');
GO
UPDATE dbo.t SET b = N'z' WHERE a = 1;
GO
DELETE FROM dbo.t WHERE a IS NULL;
GO
