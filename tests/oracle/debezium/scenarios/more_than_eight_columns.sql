-- Twenty captured columns, so that the update mask has three bytes, none of them of a (max) type.
CREATE TABLE dbo.t (
    id INT PRIMARY KEY, c2 INT NULL, c3 INT NULL, c4 INT NULL, c5 INT NULL, c6 INT NULL, c7 INT NULL, c8 INT NULL,
    c9 INT NULL, c10 INT NULL, c11 INT NULL, c12 INT NULL, c13 INT NULL, c14 INT NULL, c15 INT NULL, c16 INT NULL,
    c17 INT NULL, c18 INT NULL, c19 INT NULL, c20 NVARCHAR(20) NULL
);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t (id) VALUES (1);
GO

--@ start
UPDATE dbo.t SET c8 = 8;
GO
UPDATE dbo.t SET c9 = 9, c16 = 16;
GO
UPDATE dbo.t SET c17 = 17, c20 = N'twenty';
GO
UPDATE dbo.t SET c2 = 2, c20 = NULL;
GO
