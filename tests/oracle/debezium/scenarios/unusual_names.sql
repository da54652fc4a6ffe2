-- Tables and columns whose names need brackets.
CREATE TABLE dbo.[order lines] ([line id] INT PRIMARY KEY, [select] NVARCHAR(10) NULL, [Größe] INT NULL, [a"b] INT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N'order lines', NULL;
GO
INSERT INTO dbo.[order lines] VALUES (1, N'x', 1, 1);
GO

--@ start
UPDATE dbo.[order lines] SET [select] = N'y', [Größe] = 2 WHERE [line id] = 1;
GO
INSERT INTO dbo.[order lines] VALUES (2, NULL, NULL, 3);
GO
