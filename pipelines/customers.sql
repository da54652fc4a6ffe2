-- A Delta table that is, and stays, a true copy of a SQL Server table.
-- Run it again whenever you like: only what changed since the last run is read.

-- Where the rows come from. Without APP_DB_URL this is the database of app_db.sql, served on this machine.
CREATE CONNECTION app_db TYPE sqlserver
OPTIONS (url env('APP_DB_URL', 'embedded:app_db.sql'));     -- sqlserver://host:1433/app_db on a real server

-- Where they go. It has no list of columns: it takes those of the source.
CREATE TABLE IF NOT EXISTS customers USING DELTA LOCATION 'lake/customers';

-- How: `change` has one row for every customer that changed, as it is now.
MERGE INTO customers AS target
USING STREAM app_db.dbo.customers CHANGES AS change
ON target.customer_id = change.customer_id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
