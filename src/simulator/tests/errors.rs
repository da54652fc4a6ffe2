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
async fn names_that_do_not_exist() {
    assert_eq!(
        message("SELECT * FROM Dbo.Nothing").await,
        (208, "Invalid object name 'Dbo.Nothing'.".to_owned())
    );
    assert_eq!(
        message("SELECT Foo FROM dbo.customers").await,
        (207, "Invalid column name 'Foo'.".to_owned())
    );
    assert_eq!(
        message("SELECT c.Foo FROM dbo.customers AS c").await,
        (207, "Invalid column name 'Foo'.".to_owned())
    );
    assert_eq!(
        message("SELECT x.id FROM dbo.customers AS c").await,
        (
            4104,
            "The multi-part identifier \"x.id\" could not be bound.".to_owned()
        )
    );
    assert_eq!(message("UPDATE dbo.customers SET foo = 1").await.0, 207);
    assert_eq!(
        message("INSERT INTO dbo.customers (foo) VALUES (1)")
            .await
            .0,
        207
    );
    assert_eq!(
        message("SELECT FOO(1)").await,
        (
            195,
            "'FOO' is not a recognized built-in function name.".to_owned()
        )
    );
    assert_eq!(message("USE nowhere").await.0, 911);
    assert_eq!(message("SELECT @x").await.0, 137);
    assert_eq!(message("DROP TABLE dbo.nothing").await.0, 3701);
    assert_eq!(message("CREATE TABLE s.t (a int)").await.0, 2760);
}

#[tokio::test]
async fn keys_and_nulls() {
    assert_eq!(
        message("INSERT INTO dbo.customers (name) VALUES (N'BRUCE')").await,
        (2627, "Violation of UNIQUE KEY constraint 'u'. Cannot insert duplicate key in object 'dbo.customers'. The duplicate key value is (BRUCE).".to_owned())
    );
    let (number, text) = message("SET IDENTITY_INSERT dbo.customers ON INSERT INTO dbo.customers (id, name) VALUES (1, N'x')").await;
    assert_eq!(number, 2627);
    assert!(
        text.starts_with("Violation of PRIMARY KEY constraint 'PK__customer__"),
        "{text}"
    );
    assert!(text.ends_with("'. Cannot insert duplicate key in object 'dbo.customers'. The duplicate key value is (1)."), "{text}");
    assert_eq!(
        message("INSERT INTO dbo.customers (n) VALUES (1)").await,
        (515, "Cannot insert the value NULL into column 'name', table 'app_db.dbo.customers'; column does not allow nulls. INSERT fails.".to_owned())
    );
    assert_eq!(message("UPDATE dbo.customers SET name = NULL").await.0, 515);
    assert_eq!(
        message("INSERT INTO dbo.customers (id, name) VALUES (7, N'x')")
            .await
            .0,
        544
    );
    assert_eq!(message("UPDATE dbo.customers SET id = 2").await.0, 8102);
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
            "Conversion failed when converting the nvarchar value 'abc' to data type int."
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
async fn syntax() {
    assert_eq!(
        message("SELEC 1").await,
        (102, "Incorrect syntax near '1'.".to_owned())
    );
    assert_eq!(message("SELECT FROM").await.0, 102);
    assert_eq!(message("SELECT 1 +").await.0, 102);
    assert_eq!(message("SELECT 'abc").await.0, 105);
    assert_eq!(message("CREATE TABLE t (a int, a int)").await.0, 2705);
    assert_eq!(message("CREATE TABLE dbo.customers (a int)").await.0, 2714);
    assert_eq!(message("DECLARE @x int").await.0, 40510);
    let mut s = session(TABLE).await;
    let answer = run(&mut s, "SELECT 1\n\nSELECT nothing\nFROM dbo.customers").await;
    assert_eq!((answer.errors[0].number, answer.errors[0].line), (207, 3));
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
