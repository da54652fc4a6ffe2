-- A column is added and a second capture instance made: what comes after has the new column.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL, @capture_instance = N't_1';
GO
INSERT INTO dbo.t VALUES (1, 1);
GO

--@ start
UPDATE dbo.t SET value = 2 WHERE id = 1;
GO
ALTER TABLE dbo.t ADD note NVARCHAR(20) NULL;
GO
INSERT INTO dbo.t VALUES (2, 2, N'unseen');
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL, @capture_instance = N't_2';
GO
INSERT INTO dbo.t VALUES (3, 3, N'seen');
GO
UPDATE dbo.t SET note = N'now' WHERE id = 2;
GO
