-- Updates that set what is already there, and statements that find no row.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NULL, note NVARCHAR(20) NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 1, N'Note');
GO

--@ start
UPDATE dbo.t SET value = value;
GO
UPDATE dbo.t SET value = 5 WHERE id = 99;
GO
DELETE FROM dbo.t WHERE id = 99;
GO
UPDATE dbo.t SET note = N'note';
GO
