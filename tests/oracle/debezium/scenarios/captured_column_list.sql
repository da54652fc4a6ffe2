-- Only some columns are captured: the events have those alone.
CREATE TABLE dbo.t (id INT PRIMARY KEY, seen INT NULL, hidden INT NULL, note NVARCHAR(20) NULL);
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL,
    @captured_column_list = N'id, seen, note';
GO
INSERT INTO dbo.t VALUES (1, 1, 1, N'one'), (2, 2, 2, N'two');
GO

--@ start
UPDATE dbo.t SET seen = 10, hidden = 10 WHERE id = 1;
GO
INSERT INTO dbo.t VALUES (3, 3, 3, N'three');
GO
DELETE FROM dbo.t WHERE hidden = 3;
GO
