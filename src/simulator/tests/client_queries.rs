//! What clients set, and what they may not.

use super::{ok, run, session};

#[tokio::test]
async fn options_that_would_change_answers_are_refused() {
    let mut s = session("").await;
    for option in [
        "ANSI_NULLS OFF",
        "ANSI_PADDING OFF",
        "ANSI_WARNINGS OFF",
        "ANSI_NULL_DFLT_ON OFF",
        "ANSI_NULL_DFLT_OFF ON",
        "CONCAT_NULL_YIELDS_NULL OFF",
        "NUMERIC_ROUNDABORT ON",
        "QUOTED_IDENTIFIER OFF",
        "TEXTSIZE 3",
        "TEXTSIZE 0",
        "TEXTSIZE -3",
        "ROWCOUNT 5",
    ] {
        let answer = run(&mut s, &format!("SET {option}")).await;
        assert_eq!(answer.numbers(), [40510], "{option}");
    }
}

#[tokio::test]
async fn what_drivers_set_is_accepted() {
    let mut s = session("").await;
    for option in [
        "QUOTED_IDENTIFIER ON",
        "ANSI_NULLS, ANSI_WARNINGS ON",
        "ARITHABORT OFF",
        "NUMERIC_ROUNDABORT OFF",
        "TEXTSIZE 2147483647",
        "TEXTSIZE 64512",
        "TEXTSIZE -1",
        "ROWCOUNT 0",
    ] {
        ok(&mut s, &format!("SET {option} SELECT 1")).await;
    }
}

#[tokio::test]
async fn clauses_of_no_meaning_here_are_refused() {
    let mut s = session("CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY)").await;
    for (sql, number) in [
        ("SELECT k FROM t FOR UPDATE", 1003),
        ("SELECT k FROM t TABLESAMPLE (10 PERCENT)", 40510),
        ("SELECT COUNT(NULL) FROM t", 8117),
    ] {
        assert_eq!(run(&mut s, sql).await.numbers(), [number], "{sql}");
    }
}
