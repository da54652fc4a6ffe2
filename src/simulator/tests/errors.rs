//! Errors carry SQL Server's numbers and texts.

use super::{ok, run, session};

const TABLE: &str = "CREATE TABLE dbo.customers (id int IDENTITY PRIMARY KEY, name nvarchar(5) NOT NULL, n tinyint NULL,
    CONSTRAINT u UNIQUE (name))
    INSERT INTO dbo.customers (name) VALUES (N'Bruce')";

async fn message(sql: &str) -> (u32, String) {
    let mut s = session(TABLE).await;
    let answer = run(&mut s, sql).await;
    assert_eq!(answer.errors.len(), 1, "{sql}: {answer:?}");
    let error = &answer.errors[0];
    (error.number, error.message.clone())
}

#[tokio::test]
async fn values_that_do_not_fit() {
    assert_eq!(
        message("INSERT INTO dbo.customers (name) VALUES (N'Barbara')").await,
        (2628, "String or binary data would be truncated in table 'app_db.dbo.customers', column 'name'. Truncated value: 'Barba'.".to_owned())
    );
    assert_eq!(
        message("SELECT CAST('abc' AS int)").await,
        (
            245,
            "Conversion failed when converting the varchar value 'abc' to data type int."
                .to_owned()
        )
    );
    assert_eq!(
        message("SELECT CAST('abc' AS decimal(10, 2))").await.0,
        8114
    );
    assert_eq!(message("SELECT CAST('abc' AS datetime2)").await.0, 241);
    assert_eq!(
        message("SELECT CAST(12345.6 AS decimal(4, 1))").await.0,
        8115
    );
    assert_eq!(
        message("UPDATE dbo.customers SET n = 300").await,
        (
            220,
            "Arithmetic overflow error for data type tinyint, value = 300.".to_owned()
        )
    );
    assert_eq!(message("SELECT CAST(3000000000 AS int)").await.0, 8115);
    assert_eq!(message("SELECT 1 / 0").await.0, 8134);
    assert_eq!(
        message("INSERT INTO dbo.customers (name, n) VALUES (N'x')")
            .await
            .0,
        109
    );
    assert_eq!(
        message("INSERT INTO dbo.customers SELECT N'x'").await.0,
        120
    );
}

#[tokio::test]
async fn keys_and_nulls() {
    assert_eq!(
        message("INSERT INTO dbo.customers (name) VALUES (N'Bruce')").await,
        (2627, "Violation of UNIQUE KEY constraint 'u'. Cannot insert duplicate key in object 'dbo.customers'. The duplicate key value is (Bruce).".to_owned())
    );
    let (number, text) = message(
        "SET IDENTITY_INSERT dbo.customers ON INSERT INTO dbo.customers (id, name) VALUES (1, N'x')",
    )
    .await;
    assert_eq!(number, 2627);
    assert!(
        text.starts_with("Violation of PRIMARY KEY constraint 'PK__customer"),
        "{text}"
    );
    assert!(text.ends_with("The duplicate key value is (1)."), "{text}");
    assert_eq!(
        message("INSERT INTO dbo.customers (n) VALUES (1)").await,
        (515, "Cannot insert the value NULL into column 'name', table 'app_db.dbo.customers'; column does not allow nulls. INSERT fails.".to_owned())
    );
    assert_eq!(
        message("UPDATE dbo.customers SET name = NULL").await,
        (515, "Cannot insert the value NULL into column 'name', table 'app_db.dbo.customers'; column does not allow nulls. UPDATE fails.".to_owned())
    );
    assert_eq!(
        message("INSERT INTO dbo.customers (id, name) VALUES (7, N'x')")
            .await
            .0,
        544
    );
}

#[tokio::test]
async fn names_that_do_not_exist() {
    for (sql, number, text) in [
        (
            "SELECT * FROM dbo.Nothing",
            208,
            "Invalid object name 'dbo.Nothing'.",
        ),
        (
            "DELETE dbo.Nothing",
            208,
            "Invalid object name 'dbo.Nothing'.",
        ),
        (
            "SELECT Nick FROM dbo.customers",
            207,
            "Invalid column name 'Nick'.",
        ),
        (
            "UPDATE dbo.customers SET Nick = 1",
            207,
            "Invalid column name 'Nick'.",
        ),
        (
            "INSERT INTO dbo.customers (Nick) VALUES (1)",
            207,
            "Invalid column name 'Nick'.",
        ),
        (
            "SELECT x.id FROM dbo.customers",
            4104,
            "The multi-part identifier \"x.id\" could not be bound.",
        ),
        (
            "SELECT nosuch(1)",
            195,
            "'nosuch' is not a recognized built-in function name.",
        ),
        (
            "USE nowhere",
            911,
            "Database 'nowhere' does not exist. Make sure that the name is entered correctly.",
        ),
        (
            "EXEC dbo.nosuch",
            2812,
            "Could not find stored procedure 'dbo.nosuch'.",
        ),
    ] {
        assert_eq!(message(sql).await, (number, text.to_owned()), "{sql}");
    }
}

#[tokio::test]
async fn syntax() {
    for (sql, near) in [
        ("SELECT 1 +", "+"),
        ("SELECT * FORM dbo.customers", "FORM"),
        ("SELECT 1 FROM WHERE x", "WHERE"),
        ("CREATE TABLE t (a int,,b int)", ","),
        ("UPDATE dbo.customers name = 1", "="),
        ("INSERT dbo.customers VALUES", "VALUES"),
    ] {
        let wanted = (102, format!("Incorrect syntax near '{near}'."));
        assert_eq!(message(sql).await, wanted, "{sql}");
    }
}

#[tokio::test]
async fn some_errors_end_the_batch_and_others_do_not() {
    let mut s = session(TABLE).await;
    let duplicate = "INSERT INTO dbo.customers (name) VALUES (N'Bruce') SELECT 1";
    let answer = run(&mut s, duplicate).await;
    assert_eq!((answer.numbers(), answer.results.len()), (vec![2627], 1));
    let answer = run(&mut s, "SELECT * FROM nothing SELECT 1").await;
    assert_eq!((answer.numbers(), answer.results.len()), (vec![208], 0));
    ok(&mut s, "SET XACT_ABORT ON BEGIN TRAN").await;
    let answer = run(&mut s, duplicate).await;
    assert_eq!((answer.numbers(), answer.results.len()), (vec![2627], 0));
    assert_eq!(ok(&mut s, "SELECT @@TRANCOUNT").await.value(), "0");
}

#[tokio::test]
async fn what_would_not_be_enforced_is_refused() {
    let mut s = session("CREATE TABLE p (a int NOT NULL PRIMARY KEY)").await;
    for definition in [
        "c (a int REFERENCES p (a))",
        "c (a int CONSTRAINT k FOREIGN KEY REFERENCES p (a))",
        "c (a int, CONSTRAINT k FOREIGN KEY (a) REFERENCES p (a))",
        "c (a int CHECK (a > 0))",
        "c (a int, CHECK (a > 0))",
        "#c (a int)",
        "c (a int NOT NULL PRIMARY KEY) WITH (MEMORY_OPTIMIZED = ON)",
    ] {
        let sql = format!("CREATE TABLE {definition}");
        assert_eq!(run(&mut s, &sql).await.numbers(), [40510], "{sql}");
    }
    for (rest, number) in [
        ("INDEX x ON p (a) WHERE a > 0", 40510),
        ("UNIQUE INDEX x ON p (a) WITH (IGNORE_DUP_KEY = ON)", 40510),
        ("INDEX x ON p (a) SOMEHOW", 102),
        ("SCHEMA x SOMEHOW", 102),
        ("DATABASE x SOMEHOW", 102),
    ] {
        let sql = format!("CREATE {rest}");
        assert_eq!(run(&mut s, &sql).await.numbers(), [number], "{sql}");
    }
    let stored = "CREATE TABLE c (a int) ON [PRIMARY] WITH (DATA_COMPRESSION = PAGE)";
    assert!(run(&mut s, stored).await.numbers().is_empty());
}
