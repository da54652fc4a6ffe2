-- A copy of every captured table of a schema, in one statement: each lies below the location of the targets' schema, by its
-- name. Tables are looked for at the start of each run, so that one whose capture is enabled later comes along then.

CREATE CONNECTION shop TYPE sqlserver OPTIONS (url env('SHOP_URL', 'embedded:shop.sql'));

CREATE SCHEMA bronze LOCATION 'lake/bronze';

-- A table without a unique key cannot be copied, and is left out by its name.
CREATE STREAMING TABLE bronze.*
FLOW AUTO CDC FROM STREAM shop.dbo.* CHANGES EXCEPT TABLES (audit_log);

-- A table with a flow of its own is left out of the statement above.
CREATE STREAMING TABLE bronze.customers_history (PERIOD FOR SYSTEM_TIME (valid_from, valid_to))
FLOW AUTO CDC FROM STREAM shop.dbo.customers CHANGES STORED AS SCD TYPE 2;
