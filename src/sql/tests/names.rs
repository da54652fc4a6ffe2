//! Unquoted names match columns without regard to case.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::{one, parsed, planned, underlined};
use crate::sql::{Absent, Diagnostic, StatementKind, expand_stars, resolve_names};

/// The columns of the tables of these tests.
fn columns(table: &ObjectName) -> Option<Vec<String>> {
    let name = table.0.last()?.as_ident()?.value.to_lowercase();
    let columns: &[&str] = match name.as_str() {
        "customers" | "customers\u{1f}stream" | "customers\u{1f}changes" => {
            &["CustomerID", "FirstName", "city", "_change_type"]
        }
        "orders" => &["OrderID", "customerid", "Total"],
        "target" => &["CustomerId", "firstname", "City"],
        "twins" => &["Name", "NAME", "id"],
        _ => return None,
    };
    Some(columns.iter().map(|column| (*column).to_owned()).collect())
}

fn resolved(sql: &str) -> Result<String, Diagnostic> {
    let mut statement = one(sql);
    resolve_names(&mut statement, &columns)?;
    Ok(planned(&statement))
}

fn query(sql: &str) -> String {
    resolved(sql).unwrap()
}

#[test]
fn every_clause_of_a_query_spells_its_columns() {
    assert_eq!(
        query(
            "SELECT customerid, FIRSTNAME AS n, CITY FROM customers WHERE CUSTOMERID > 1 AND upper(firstname) IN ('A')"
        ),
        "SELECT \"CustomerID\", \"FirstName\" AS n, \"city\" FROM customers WHERE \"CustomerID\" > 1 AND upper(\"FirstName\") IN ('A')"
    );
    assert_eq!(
        query(
            "SELECT city, count(DISTINCT firstname) FROM customers GROUP BY City HAVING max(customerid) > 1 ORDER BY CITY, max(CustomerId)"
        ),
        "SELECT \"city\", count(DISTINCT \"FirstName\") FROM customers GROUP BY \"city\" HAVING max(\"CustomerID\") > 1 ORDER BY \"city\", max(\"CustomerID\")"
    );
    assert_eq!(
        query("SELECT row_number() OVER (PARTITION BY city ORDER BY customerid) FROM customers"),
        "SELECT row_number() OVER (PARTITION BY \"city\" ORDER BY \"CustomerID\") FROM customers"
    );
    assert_eq!(
        query("SELECT * EXCEPT (firstname) FROM customers"),
        "SELECT * EXCEPT (\"FirstName\") FROM customers"
    );
}

#[test]
fn qualified_names_mean_their_own_table() {
    assert_eq!(
        query(
            "SELECT c.CustomerId, O.CUSTOMERID, Customers.x FROM dbo.customers AS C JOIN orders o ON C.customerid = o.CustomerID"
        ),
        "SELECT c.\"CustomerID\", O.\"customerid\", Customers.x FROM dbo.customers AS C JOIN orders o ON C.\"CustomerID\" = o.\"customerid\""
    );
    assert_eq!(
        query(
            "SELECT a.dbo.customers.city, dbo.CUSTOMERS.City, customers.customerid FROM a.dbo.customers"
        ),
        "SELECT a.dbo.customers.\"city\", dbo.CUSTOMERS.\"city\", customers.\"CustomerID\" FROM a.dbo.customers"
    );
    assert_eq!(
        query("SELECT x.firstname FROM customers CHANGES AS \"X\""),
        "SELECT \"X\".\"FirstName\" FROM \"customers~CHANGES\" AS \"X\""
    );
    assert_eq!(
        query("SELECT customers.firstname FROM a.b.customers CHANGES"),
        "SELECT customers.\"FirstName\" FROM a.b.\"customers~CHANGES\" AS customers"
    );
    assert_eq!(
        query("SELECT city.field FROM customers"),
        "SELECT \"city\".field FROM customers"
    );
}

#[test]
fn quoted_names_and_names_that_nothing_answers_to_stay() {
    for sql in [
        "SELECT \"customerid\", nothing, current_date FROM customers",
        "SELECT customerid FROM unknown",
        "SELECT customerid FROM customers_of_others AS customers",
        "SELECT f(x -> x + 1) FROM customers",
        "SET a.b = 1",
        "SELECT 1 AS customerid",
    ] {
        assert_eq!(query(sql), planned(&one(sql)), "{sql}");
    }
}

#[test]
fn aliases_are_names_of_their_own() {
    assert_eq!(
        query(
            "SELECT upper(FirstName) AS firstname FROM customers WHERE firstname = 'a' ORDER BY FIRSTNAME"
        ),
        "SELECT upper(\"FirstName\") AS firstname FROM customers WHERE \"FirstName\" = 'a' ORDER BY \"firstname\""
    );
    assert_eq!(
        query(
            "SELECT d.FIRSTNAME, City FROM (SELECT upper(FirstName) AS firstname, city FROM customers) AS d"
        ),
        "SELECT d.\"firstname\", \"city\" FROM (SELECT upper(\"FirstName\") AS firstname, \"city\" FROM customers) AS d"
    );
    assert_eq!(
        query(
            "WITH w (Id, n) AS (SELECT customerid, firstname FROM customers) SELECT ID, w.N, \"Id\" FROM w"
        ),
        "WITH w (Id, n) AS (SELECT \"CustomerID\", \"FirstName\" FROM customers) SELECT \"id\", w.\"n\", \"Id\" FROM w"
    );
    assert_eq!(
        query(
            "SELECT customerid FROM (SELECT * FROM customers UNION ALL SELECT * FROM customers) AS u ORDER BY CUSTOMERID LIMIT 1"
        ),
        "SELECT \"CustomerID\" FROM (SELECT * FROM customers UNION ALL SELECT * FROM customers) AS u ORDER BY \"CustomerID\" LIMIT 1"
    );
}

#[test]
fn inner_queries_see_outer_tables_after_their_own() {
    assert_eq!(
        query(
            "SELECT city FROM customers AS c WHERE EXISTS (SELECT 1 FROM orders WHERE CUSTOMERID = c.customerid AND total > 1 AND FIRSTNAME = 'x')"
        ),
        "SELECT \"city\" FROM customers AS c WHERE EXISTS (SELECT 1 FROM orders WHERE \"customerid\" = c.\"CustomerID\" AND \"Total\" > 1 AND \"FirstName\" = 'x')"
    );
}

#[test]
fn statements_that_write_spell_their_columns() {
    assert_eq!(
        query("INSERT INTO target (CUSTOMERID, city) SELECT customerid, CITY FROM customers"),
        "INSERT INTO target (\"CustomerId\", \"City\") SELECT \"CustomerID\", \"city\" FROM customers"
    );
    assert_eq!(
        query("UPDATE target SET CITY = upper(city) WHERE customerid = 1"),
        "UPDATE target SET \"City\" = upper(\"City\") WHERE \"CustomerId\" = 1"
    );
    assert_eq!(
        query("DELETE FROM target WHERE customerid = 1"),
        "DELETE FROM target WHERE \"CustomerId\" = 1"
    );
    assert_eq!(
        query("EXPLAIN SELECT customerid FROM customers"),
        "EXPLAIN SELECT \"CustomerID\" FROM customers"
    );
    assert_eq!(
        query("CREATE VIEW v AS SELECT CUSTOMERID FROM customers"),
        "CREATE VIEW v AS SELECT \"CustomerID\" FROM customers"
    );
    let unknown = resolved("INSERT INTO target (cuty) VALUES (1)").unwrap_err();
    assert_eq!(unknown.help(), Some("did you mean `City`?"));
}

#[test]
fn columns_that_differ_in_case_alone_must_be_quoted() {
    let sql = "SELECT id, name FROM twins";
    let error = resolved(sql).unwrap_err();
    assert_eq!(underlined(sql, &error), "name");
    assert!(error.message().contains("NAME, Name"), "{error}");
    assert_eq!(
        query("SELECT Name, NAME, \"Name\" FROM twins"),
        "SELECT \"Name\", \"NAME\", \"Name\" FROM twins"
    );
    assert_eq!(
        query("SELECT customerid FROM customers, orders"),
        "SELECT \"customerid\" FROM customers, orders"
    );
    assert!(resolved("SELECT CUSTOMERID FROM customers, orders").is_err());
}

#[test]
fn a_merge_spells_the_columns_of_both_sides() {
    let sql = "MERGE INTO target AS t USING STREAM a.b.customers CHANGES AS c ON T.customerid = C.CUSTOMERID \
        WHEN MATCHED AND _CHANGE_TYPE = 'delete' THEN DELETE \
        WHEN MATCHED THEN UPDATE SET FIRSTNAME = C.firstname, t.city = upper(c.CITY) \
        WHEN NOT MATCHED AND c.CITY > 'a' THEN INSERT (customerid, CITY) VALUES (c.customerid, c.City)";
    assert_eq!(
        query(sql),
        "MERGE INTO target AS t USING a.b.\"customers~STREAM\" AS c ON T.\"CustomerId\" = C.\"CustomerID\" \
        WHEN MATCHED AND \"_change_type\" = 'delete' THEN DELETE \
        WHEN MATCHED THEN UPDATE SET \"firstname\" = C.\"FirstName\", t.\"City\" = upper(c.\"city\") \
        WHEN NOT MATCHED AND c.\"city\" > 'a' THEN INSERT (\"CustomerId\", \"City\") VALUES (c.\"CustomerID\", c.\"city\")"
    );
}

#[test]
fn a_merge_over_a_query_spells_the_querys_columns() {
    let sql = "MERGE INTO target AS t USING (SELECT CUSTOMERID AS id, firstname FROM STREAM a.b.customers CHANGES) AS c ON t.customerid = c.ID \
        WHEN MATCHED THEN UPDATE SET firstname = c.FIRSTNAME";
    assert_eq!(
        query(sql),
        "MERGE INTO target AS t USING (SELECT \"CustomerID\" AS id, \"FirstName\", customers.\"_change_type\", customers.\"_commit_version\", \
        customers.\"_commit_timestamp\" FROM a.b.\"customers~STREAM\" AS customers) AS c \
        ON t.\"CustomerId\" = c.\"id\" WHEN MATCHED THEN UPDATE SET \"firstname\" = c.\"FirstName\""
    );
}

#[test]
fn a_merge_refuses_columns_that_neither_side_has() {
    let wrong = |clauses: &str| {
        let sql = format!("MERGE INTO target AS t USING customers AS c ON {clauses}");
        let error = resolved(&sql).unwrap_err();
        (
            underlined(&sql, &error).to_owned(),
            error.help().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(
        wrong("t.customerid = c.customeridd WHEN MATCHED THEN DELETE"),
        (
            "customeridd".to_owned(),
            "did you mean `CustomerID`?".to_owned()
        )
    );
    assert_eq!(
        wrong("customrid = 1 WHEN MATCHED THEN DELETE"),
        (
            "customrid".to_owned(),
            "did you mean `CustomerId`?".to_owned()
        )
    );
    assert_eq!(
        wrong("true WHEN MATCHED THEN UPDATE SET citi = 1"),
        ("citi".to_owned(), "did you mean `City`?".to_owned())
    );
    assert_eq!(
        wrong("tt.city = 'x' WHEN MATCHED THEN DELETE"),
        ("tt".to_owned(), "did you mean `t`?".to_owned())
    );
    assert!(resolved("MERGE INTO target AS t USING unknown AS u ON t.city = u.anything WHEN MATCHED THEN UPDATE SET city = other").is_ok());
}

#[test]
fn names_and_stars_work_in_either_order() {
    let sql = "MERGE INTO target AS t USING customers AS c ON t.customerid = c.customerid WHEN MATCHED THEN UPDATE SET * EXCEPT (CUSTOMERID) WHEN NOT MATCHED THEN INSERT *";
    let target = columns(&ObjectName::from(vec!["target".into()])).unwrap();
    let source = columns(&ObjectName::from(vec!["customers".into()])).unwrap();
    let shown: Vec<String> = [false, true]
        .into_iter()
        .map(|names_first| {
            let mut statement = parsed(sql).remove(0);
            if names_first {
                resolve_names(&mut statement, &columns).unwrap();
            }
            let StatementKind::Merge(merge) = &mut statement.kind else {
                panic!()
            };
            expand_stars(merge, &target, &source, Absent::Refused).unwrap();
            resolve_names(&mut statement, &columns).unwrap();
            planned(&statement)
        })
        .collect();
    assert_eq!(shown[0], shown[1]);
    assert!(shown[0].ends_with(
        "UPDATE SET \"firstname\" = c.\"FirstName\", \"City\" = c.\"city\" \
        WHEN NOT MATCHED THEN INSERT (\"CustomerId\", \"firstname\", \"City\") VALUES (c.\"CustomerID\", c.\"FirstName\", c.\"city\")"
    ), "{}", shown[0]);
}
