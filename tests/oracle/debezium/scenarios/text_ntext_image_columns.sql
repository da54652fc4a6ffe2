-- Columns of the old large types: deletes and images before an update lack them, whether the update changes them or not.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL, plain TEXT NULL, wide NTEXT NULL, raw IMAGE NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 1, 'plain é', N'Привет', 0x010203);
INSERT INTO dbo.t VALUES (2, 2, NULL, NULL, NULL), (3, 3, '', N'', 0x);
GO

--@ start
-- They do not change.
UPDATE dbo.t SET value = 10;
GO
UPDATE dbo.t SET plain = 'new' WHERE id = 1;
GO
UPDATE dbo.t SET wide = N'new', raw = 0xFF WHERE id = 2;
GO
UPDATE dbo.t SET plain = NULL, wide = NULL, raw = NULL WHERE id = 1;
GO
INSERT INTO dbo.t
SELECT 4, 4, REPLICATE(CAST('x' AS VARCHAR(MAX)), 100000), REPLICATE(CAST(N'long ' AS NVARCHAR(MAX)), 20000), 0x00;
GO
DELETE FROM dbo.t WHERE id = 3;
GO
DELETE FROM dbo.t;
GO
