-- Days before the Gregorian calendar began, in types that the JDBC driver turns into Java's old date classes.
CREATE TABLE dbo.t (id INT PRIMARY KEY, date_ DATE NULL, datetime2_ DATETIME2(7) NULL, offset_ DATETIMEOFFSET(7) NULL);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, '0001-01-01', '0001-01-01', '0001-01-01T00:00:00+00:00');
GO

--@ start
INSERT INTO dbo.t VALUES (2, '1582-10-04', '1582-10-04', '1582-10-04T00:00:00+00:00');
GO
INSERT INTO dbo.t VALUES (3, '1582-10-10', '1582-10-10', '1582-10-10T00:00:00+00:00');
GO
INSERT INTO dbo.t VALUES (4, '1582-10-15', '1582-10-15', '1582-10-15T00:00:00+00:00');
GO
