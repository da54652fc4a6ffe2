-- (max) columns beyond the eighth captured column, where the update mask has two bytes.
CREATE TABLE dbo.t (
    id INT PRIMARY KEY, c2 INT NULL, c3 INT NULL, c4 INT NULL, c5 INT NULL, c6 INT NULL, c7 INT NULL, c8 INT NULL,
    c9 INT NULL, body NVARCHAR(MAX) NULL
);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t (id, body) VALUES (1, N'body'), (2, N'body');
GO

--@ start
-- The tenth column changes to NULL.
UPDATE dbo.t SET body = NULL WHERE id = 1;
GO
-- The second column changes, and the tenth does not: its image before is NULL.
UPDATE dbo.t SET c2 = 2 WHERE id = 2;
GO
