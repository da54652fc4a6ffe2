-- The connector's login may read one table and its changes, by a gating role, and nothing else.
--@ set database.user=reader
--@ set database.password=Reader-1
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL);
CREATE TABLE dbo.secret (id INT PRIMARY KEY, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', N'gate';
GO
CREATE LOGIN reader WITH PASSWORD = N'Reader-1';
GO
CREATE USER reader FOR LOGIN reader;
GO
ALTER ROLE gate ADD MEMBER reader;
GRANT SELECT ON dbo.t TO reader;
GRANT SELECT ON dbo.oracle_step TO reader;
GRANT SELECT ON SCHEMA::cdc TO reader;
GO
INSERT INTO dbo.t VALUES (1, 1);
INSERT INTO dbo.secret VALUES (1, 1);
GO

--@ start
UPDATE dbo.t SET value = 2;
GO
UPDATE dbo.secret SET value = 2;
GO
DELETE FROM dbo.t;
GO
