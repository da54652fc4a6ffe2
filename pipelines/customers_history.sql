-- Every version of every customer: what a row was, from which commit on and to which, and at what times.
-- What is expected of the rows is checked as they come; how many were not so is told by the run.

CREATE CONNECTION app_db TYPE sqlserver OPTIONS (url env('APP_DB_URL', 'embedded:app_db.sql'));

CREATE STREAMING TABLE customers_history (
  -- Nothing is committed while a row is like this: exit code 4.
  CONSTRAINT has_key     EXPECT (customer_id IS NOT NULL) ON VIOLATION FAIL UPDATE,
  -- Such a row is not in the table, or leaves it.
  CONSTRAINT valid_email EXPECT (email LIKE '%_@_%')      ON VIOLATION DROP ROW,
  -- Such a row is counted, and no more.
  CONSTRAINT known_city  EXPECT (city <> 'UNKNOWN'),
  PERIOD FOR SYSTEM_TIME (valid_from, valid_to))
LOCATION 'lake/customers_history'
FLOW AUTO CDC FROM STREAM app_db.dbo.customers CHANGES
KEYS (customer_id) STORED AS SCD TYPE 2 TRACK HISTORY ON * EXCEPT (email);
