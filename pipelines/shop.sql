-- A shop's SQL Server database, as a script for the embedded simulator: customers, their orders, and a log without a key.

CREATE TABLE dbo.customers (
    customer_id INT NOT NULL PRIMARY KEY,
    name        NVARCHAR(128) NOT NULL,
    tier        NVARCHAR(16) NOT NULL
);
CREATE TABLE dbo.orders (
    order_id    INT NOT NULL PRIMARY KEY,
    customer_id INT NOT NULL,
    region      NVARCHAR(8) NOT NULL,
    country     NVARCHAR(32) NOT NULL,
    net         DECIMAL(10, 2) NOT NULL,
    vat         DECIMAL(4, 2) NOT NULL
);
CREATE TABLE dbo.audit_log (
    at          DATETIME2(3) NOT NULL,
    line        NVARCHAR(200) NOT NULL
);
GO

EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'customers', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'audit_log', @role_name = NULL;
GO

INSERT INTO dbo.customers VALUES (1, N'Bruce Wayne', N'gold'), (2, N'Clark Kent', N'basic');
GO

INSERT INTO dbo.orders VALUES
    (100, 1, N'EU', N' de', 100.00, 0.19),
    (101, 2, N'EU', N'fr ', 10.00, 0.20),
    (102, 2, N'US', N'us', 20.00, 0.00);
GO
