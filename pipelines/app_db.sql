-- The tutorial's SQL Server database, as a script for the embedded simulator.
--
-- The script is the database: the same script always makes the same rows, log sequence numbers and commit
-- times. Append statements at the end and they are new changes; an edit further up is another history, which
-- a copy that was already made will refuse to follow.

CREATE TABLE dbo.customers (
    customer_id INT IDENTITY PRIMARY KEY,
    first_name  NVARCHAR(128) NOT NULL,
    last_name   NVARCHAR(128) NOT NULL,
    email       NVARCHAR(128) NOT NULL,
    city        NVARCHAR(128) NOT NULL
);
GO

-- Bruce is here before anything is captured, so only the table itself knows him.
INSERT INTO dbo.customers (first_name, last_name, email, city)
VALUES (N'Bruce', N'Wayne', N'bruce@wayne.example', N'Gotham City');
GO

-- From here on every change of the table is also a row of cdc.dbo_customers_CT.
EXEC sys.sp_cdc_enable_db;
GO

EXEC sys.sp_cdc_enable_table
    @source_schema = N'dbo',
    @source_name   = N'customers',
    @role_name     = NULL;
GO

INSERT INTO dbo.customers (first_name, last_name, email, city)
VALUES (N'Clark', N'Kent', N'clark@dailyplanet.example', N'Metropolis');
GO

INSERT INTO dbo.customers (first_name, last_name, email, city)
VALUES (N'Diana', N'Prince', N'diana@themyscira.example', N'UNKNOWN');
GO
