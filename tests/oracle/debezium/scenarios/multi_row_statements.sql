-- Statements that change several rows at a time: each row is an event, in the order of the log.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t SELECT value, value FROM GENERATE_SERIES(1, 5);
GO

--@ start
INSERT INTO dbo.t VALUES (11, 1), (12, 2), (13, 3);
GO
UPDATE dbo.t SET value = value * 10 WHERE id > 3;
GO
DELETE FROM dbo.t WHERE id % 2 = 1;
GO
INSERT INTO dbo.t SELECT id + 100, value FROM dbo.t;
GO
