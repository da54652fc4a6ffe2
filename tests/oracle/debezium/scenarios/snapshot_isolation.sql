-- A snapshot under SNAPSHOT isolation.
--@ set snapshot.isolation.mode=snapshot
ALTER DATABASE app_db SET ALLOW_SNAPSHOT_ISOLATION ON;
GO
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 1), (2, 2);
GO

--@ start
UPDATE dbo.t SET value = 10 WHERE id = 1;
GO
