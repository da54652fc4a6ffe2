-- Columns of (max) types, touched and untouched by updates: an untouched one is not in the image before.
CREATE TABLE dbo.t (
    id INT PRIMARY KEY, value INT NOT NULL, body NVARCHAR(MAX) NULL, raw VARBINARY(MAX) NULL, plain VARCHAR(MAX) NULL
);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 1, N'body', 0x010203, 'plain');
INSERT INTO dbo.t VALUES (2, 2, NULL, NULL, NULL);
GO

--@ start
UPDATE dbo.t SET value = 10;
GO
UPDATE dbo.t SET body = N'new body' WHERE id = 1;
GO
UPDATE dbo.t SET raw = 0xFF, plain = 'x' WHERE id = 2;
GO
UPDATE dbo.t SET body = NULL WHERE id = 1;
GO
INSERT INTO dbo.t
SELECT 3, 3, REPLICATE(CAST(N'long ' AS NVARCHAR(MAX)), 20000), NULL, REPLICATE(CAST('x' AS VARCHAR(MAX)), 100000);
GO
UPDATE dbo.t SET id = 30 WHERE id = 3;
GO
DELETE FROM dbo.t;
GO
