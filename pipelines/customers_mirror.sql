-- The same mirror as customers.sql, in one statement: a table, and what it is a copy of.
-- The source's key tells the rows apart; what is deleted there is deleted here.

CREATE CONNECTION app_db TYPE sqlserver OPTIONS (url env('APP_DB_URL', 'embedded:app_db.sql'));

CREATE STREAMING TABLE customers_mirror LOCATION 'lake/customers_mirror'
FLOW AUTO CDC FROM STREAM app_db.dbo.customers CHANGES;
