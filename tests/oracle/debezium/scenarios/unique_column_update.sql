-- An update of a unique column that is not the key is logged as delete and insert: two events with one key.
CREATE TABLE dbo.t (id INT PRIMARY KEY, code VARCHAR(10) NOT NULL UNIQUE, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 'a', 1), (2, 'b', 2);
GO

--@ start
UPDATE dbo.t SET code = 'c' WHERE id = 1;
GO
UPDATE dbo.t SET code = CASE code WHEN 'c' THEN 'b' ELSE 'c' END;
GO
UPDATE dbo.t SET value = 9 WHERE id = 2;
GO
