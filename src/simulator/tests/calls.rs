//! EXEC sp_executesql within batches.

use super::{database, ok, open, run, session};
use crate::simulator::{Database, SimulatorError};

const T: &str = "CREATE TABLE dbo.t (k int IDENTITY PRIMARY KEY, n int NULL, v nvarchar(9) NULL)";

#[tokio::test]
async fn parameters_have_their_declared_types() {
    let mut s = session(T).await;
    ok(
        &mut s,
        "EXEC sp_executesql N'INSERT dbo.t (n, v) VALUES (@n, @v)', N'@n int, @v varchar(3)', @v = N'abcd', @n = '7'
         EXEC sys.sp_executesql @stmt = N'INSERT dbo.t (n) VALUES (@n)', @params = N'@n decimal(9, 2)', 1.75
         EXECUTE sp_executesql N'INSERT dbo.t (v) VALUES (''x'')'",
    )
    .await;
    let rows = ok(&mut s, "SELECT n, v FROM dbo.t ORDER BY k")
        .await
        .lines();
    assert_eq!(rows, ["7|abc", "1|NULL", "NULL|x"]);
    let big = "EXEC sp_executesql N'SELECT @n', N'@n decimal(38, 0)', @n = -99999999999999999999999999999999999999";
    let least = format!("-{}", "9".repeat(38));
    assert_eq!(ok(&mut s, big).await.value(), least);
}

#[tokio::test]
async fn what_a_text_sets_and_declares_ends_with_it() {
    let mut s = session("CREATE DATABASE d").await;
    let answer = ok(
        &mut s,
        "DECLARE @t TABLE (a int)
         EXEC sp_executesql N'SET NOCOUNT ON USE d DECLARE @t TABLE (b int) SELECT DB_NAME(), @@TRANCOUNT'
         SELECT DB_NAME(), (SELECT COUNT(a) FROM @t)",
    )
    .await;
    let rows: Vec<_> = answer
        .results
        .iter()
        .map(|(_, rows)| rows[0].join("|"))
        .collect();
    assert_eq!(rows, ["d|0", "app_db|0"]);
    assert_eq!(answer.counts.last(), Some(&Some(1)));
    assert_eq!(s.database(), "app_db");
}

#[tokio::test]
async fn a_text_that_fails_or_is_no_call_says_why() {
    let mut s = session(T).await;
    for (sql, number) in [
        ("EXEC sp_executesql", 214),
        ("EXEC sp_executesql NULL", 214),
        ("EXEC sp_executesql 5", 214),
        ("EXEC sp_executesql @what = N'SELECT 1'", 214),
        ("EXEC sp_executesql N'SELECT @a', N'@a int'", 8178),
        ("EXEC sp_executesql N'SELECT 1', N'@a int', 1, 2", 8144),
        ("EXEC sp_executesql N'SELECT @a', N'@a int', 'x'", 8114),
        ("EXEC sp_executesql N'SELECT @a', N'@a nonsense', 1", 2715),
        ("EXEC sp_executesql N'PRINT 1 SELEC 1'", 102),
        ("EXEC sp_executesql N'SELECT * FROM dbo.none'", 208),
        ("EXEC sp_executesql N'BEGIN TRANSACTION'", 266),
        ("EXEC other.sp_executesql N'SELECT 1'", 2812),
    ] {
        assert_eq!(run(&mut s, sql).await.numbers(), [number], "{sql}");
    }
    ok(&mut s, "ROLLBACK").await;
    let answer = run(&mut s, "EXEC sp_executesql N'SELECT 1 / 0' SELECT 5").await;
    assert_eq!((answer.numbers(), answer.results.len()), (vec![8134], 2));
    let answer = run(
        &mut s,
        "EXEC sp_executesql N'SELECT * FROM dbo.none SELECT 1' SELECT @@ERROR",
    )
    .await;
    assert_eq!(answer.numbers(), [208]);
    assert_eq!(answer.results.len(), 1);
    assert_eq!(answer.results[0].1, [["208"]]);
    for text in [
        "SELECT CAST(''x'' AS int)",
        "SET XACT_ABORT ON SELECT 1 / 0",
    ] {
        let sql = format!("BEGIN TRANSACTION EXEC sp_executesql N'{text}' PRINT 'on'");
        let answer = run(&mut s, &sql).await;
        assert!(answer.messages.is_empty(), "{text}");
        assert_eq!(
            ok(&mut s, "SELECT @@TRANCOUNT").await.value(),
            "0",
            "{text}"
        );
    }
}

#[tokio::test]
async fn texts_within_texts_have_an_end() {
    let mut s = session("CREATE DATABASE d").await;
    let nested = |depth: usize| {
        (0..depth).fold("USE d SELECT 7".to_owned(), |text, _| {
            format!("EXEC sp_executesql N'{}'", text.replace('\'', "''"))
        })
    };
    assert_eq!(ok(&mut s, &nested(5)).await.value(), "7");
    assert_eq!(s.database(), "app_db");
    // A text that executes itself by its own parameter.
    let endless = "EXEC sp_executesql N'EXEC sp_executesql @s, N''@s nvarchar(max)'', @s', N'@s nvarchar(max)', \
                   N'EXEC sp_executesql @s, N''@s nvarchar(max)'', @s'";
    assert_eq!(run(&mut s, endless).await.numbers(), [217]);
    assert_eq!(ok(&mut s, "SELECT DB_NAME()").await.value(), "app_db");
}

#[tokio::test]
async fn a_text_writes_the_history_that_its_statements_write() {
    let plain = database(&format!("{T}\nINSERT dbo.t (n) VALUES (1)")).await;
    let called = database(&format!(
        "{T}\nEXEC sp_executesql N'INSERT dbo.t (n) VALUES (1)'"
    ))
    .await;
    let history = |database: &Database| {
        let cell = database.server.database("app_db").unwrap();
        let state = cell.committed();
        (state.history, state.clock)
    };
    assert_eq!(history(&plain), history(&called));
    drop(open(&plain));
}

#[tokio::test]
async fn an_error_in_a_scripts_text_is_at_the_scripts_line() {
    let script = "PRINT 1\nEXEC sp_executesql N'PRINT 2\n\nSELECT * FROM dbo.none'";
    let error = Database::from_script("app_db", "s.sql", script)
        .await
        .unwrap_err();
    let SimulatorError::Script {
        line, statement, ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!((line, statement.as_str()), (4, "SELECT * FROM dbo.none'"));
}
