-- A key that is deleted and inserted again in later transactions, with another row.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value NVARCHAR(10) NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, N'first');
GO

--@ start
DELETE FROM dbo.t WHERE id = 1;
GO
INSERT INTO dbo.t VALUES (1, N'second');
GO
DELETE FROM dbo.t;
GO
INSERT INTO dbo.t VALUES (1, N'third');
GO
