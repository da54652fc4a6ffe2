-- A key of three columns, of which one changes.
CREATE TABLE dbo.t (
    tenant INT NOT NULL, code NVARCHAR(10) NOT NULL, on_day DATE NOT NULL, value INT NULL,
    CONSTRAINT pk_t PRIMARY KEY (tenant, code, on_day)
);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL;
GO
INSERT INTO dbo.t VALUES (1, N'a', '2024-02-29', 1), (1, N'b', '2024-02-29', 2), (2, N'a', '2024-02-29', 3);
GO

--@ start
UPDATE dbo.t SET value = 0 WHERE tenant = 1;
GO
UPDATE dbo.t SET on_day = '2024-03-01' WHERE tenant = 1 AND code = N'a';
GO
DELETE FROM dbo.t WHERE code = N'a';
GO
INSERT INTO dbo.t VALUES (1, N'a', '0001-01-01', NULL), (1, N'a', '9999-12-31', NULL);
GO
