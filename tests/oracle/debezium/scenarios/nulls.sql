-- NULL in every image, from and to a value, in columns of several kinds.
CREATE TABLE dbo.t (
    id INT PRIMARY KEY, i INT NULL, d DECIMAL(9, 2) NULL, s NVARCHAR(20) NULL, b VARBINARY(8) NULL,
    t DATETIME2(3) NULL, f FLOAT NULL, x BIT NULL
);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t (id) VALUES (1);
GO
INSERT INTO dbo.t VALUES (2, 0, 0, N'', 0x, '2024-01-01', 0, 0);
GO

--@ start
UPDATE dbo.t SET i = 1, d = 1.5, s = N'NULL', b = 0x00, t = '2024-01-01T00:00:00.123', f = 0.5, x = 1 WHERE id = 1;
GO
UPDATE dbo.t SET i = NULL, d = NULL, s = NULL, b = NULL, t = NULL, f = NULL, x = NULL WHERE id = 2;
GO
INSERT INTO dbo.t (id, s) VALUES (3, N' ');
GO
DELETE FROM dbo.t;
GO
