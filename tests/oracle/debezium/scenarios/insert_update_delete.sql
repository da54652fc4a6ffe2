-- One row each is inserted, updated and deleted, in transactions of their own.
CREATE TABLE dbo.customers (
    customer_id INT PRIMARY KEY,
    name        NVARCHAR(50) NOT NULL,
    city        VARCHAR(50) NULL
);
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'customers', @role_name = NULL;
GO
INSERT INTO dbo.customers VALUES (1, N'Bruce', 'Gotham City'), (2, N'Clark', 'Metropolis');
GO

--@ start
INSERT INTO dbo.customers VALUES (3, N'Diana', NULL);
GO
UPDATE dbo.customers SET city = 'Themyscira' WHERE customer_id = 3;
GO
DELETE FROM dbo.customers WHERE customer_id = 1;
GO
