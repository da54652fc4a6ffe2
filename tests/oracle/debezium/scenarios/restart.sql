-- The connector stops, changes go on, and it starts again from its offset: nothing is lost and nothing repeated.
CREATE TABLE dbo.t (id INT PRIMARY KEY, value INT NOT NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, 1), (2, 2);
GO

--@ start
UPDATE dbo.t SET value = 10 WHERE id = 1;
GO

--@ stop
BEGIN TRANSACTION;
UPDATE dbo.t SET value = 11 WHERE id = 1;
UPDATE dbo.t SET value = 12 WHERE id = 1;
COMMIT;
GO
DELETE FROM dbo.t WHERE id = 2;
GO

--@ start
INSERT INTO dbo.t VALUES (2, 22);
GO

--@ stop

--@ start
UPDATE dbo.t SET id = 20 WHERE id = 2;
GO
