//! Statements that are long, deep or never end.

use std::future::Future;
use std::pin::pin;

use tiberius::{AuthMethod, Client, Config};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncWriteCompatExt;

use super::{database, ok, open, run, session};
use crate::simulator::{Simulator, SimulatorOptions};

const HUNDRED: &str = "CREATE TABLE t (k int NOT NULL PRIMARY KEY, s varchar(20) NULL)
    INSERT INTO t SELECT value, 'x' FROM GENERATE_SERIES(1, 100)";

/// Compares ten thousand million combinations of rows, which no test could wait for.
const ENDLESS: &str = "SELECT COUNT(*) FROM t AS a, t AS b, t AS c, t AS d, t AS e
    WHERE a.k + b.k + c.k + d.k + e.k < 0";

fn list(count: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
    let items: Vec<String> = (0..count).map(item).collect();
    items.join(separator)
}

#[tokio::test]
async fn long_conditions_and_lists_are_ordinary() {
    let mut s = session(HUNDRED).await;
    let terms = list(1000, " OR ", |n| format!("k = {}", n + 1));
    let sql = format!("SELECT COUNT(*) FROM t WHERE {terms}");
    assert_eq!(ok(&mut s, &sql).await.value(), "100");
    let terms = list(1000, " AND ", |n| format!("k <> {}", n + 2));
    let sql = format!("SELECT COUNT(*) FROM t WHERE {terms}");
    assert_eq!(ok(&mut s, &sql).await.value(), "1");
    let items = list(5000, ", ", |n| (n + 51).to_string());
    let sql = format!("SELECT COUNT(*) FROM t WHERE k IN ({items})");
    assert_eq!(ok(&mut s, &sql).await.value(), "50");
    let sql = format!("SELECT COUNT(*) FROM t WHERE k NOT IN ({items}, NULL)");
    assert_eq!(ok(&mut s, &sql).await.value(), "0");
}

#[tokio::test]
async fn long_sums_are_ordinary() {
    let mut s = session(HUNDRED).await;
    let sum = format!("SELECT {}", list(2000, " + ", |n| n.to_string()));
    assert_eq!(ok(&mut s, &sum).await.value(), "1999000");
    let text = format!(
        "SELECT LEN(s + {}) FROM t WHERE k = 1",
        list(1000, " + ", |_| "'x'".to_owned())
    );
    assert_eq!(ok(&mut s, &text).await.value(), "1001");
    let large = format!("SELECT {}", list(100, " * ", |_| "2".to_owned()));
    assert_eq!(run(&mut s, &large).await.numbers(), [8115]);
}

#[tokio::test]
async fn many_rows_and_columns_are_ordinary() {
    let mut s = session(HUNDRED).await;
    let rows = list(1000, ", ", |n| format!("({}, 'a')", n + 1000));
    ok(&mut s, &format!("INSERT INTO t (k, s) VALUES {rows}")).await;
    let count = ok(&mut s, "SELECT COUNT(*) FROM t WHERE s = 'A'").await;
    assert_eq!(count.value(), "1000");
    let columns = list(500, ", ", |n| format!("c{n} int"));
    let values = list(500, ", ", |n| n.to_string());
    ok(&mut s, &format!("CREATE TABLE wide ({columns})")).await;
    ok(&mut s, &format!("INSERT INTO wide VALUES ({values})")).await;
    assert_eq!(ok(&mut s, "SELECT c499 FROM wide").await.value(), "499");
}

#[tokio::test]
async fn what_is_too_deep_is_an_error() {
    let mut s = session(HUNDRED).await;
    let deep = |open: &str, close: &str, n: usize| {
        format!("SELECT {}1{}", open.repeat(n), close.repeat(n))
    };
    for (sql, number) in [
        (deep("(", ")", 100_000), 191),
        (deep("ABS(", ")", 1000), 191),
        (deep("FLOOR(", "", 1000), 191),
        (deep("CASE WHEN 1 = 1 THEN ", " END", 11), 125),
        (deep("NULLIF(", ", 2)", 11), 125),
        (deep("(SELECT ", ")", 13), 191),
    ] {
        let start: String = sql.chars().take(60).collect();
        assert_eq!(run(&mut s, &sql).await.numbers(), [number], "{start}");
    }
    assert_eq!(ok(&mut s, &deep("ABS(", ")", 50)).await.value(), "1");
    assert_eq!(ok(&mut s, &deep("NULLIF(", ", 2)", 10)).await.value(), "1");
    // A mistake within twenty levels is found as fast as on the first one.
    let wrong = deep("FLOOR(", "", 20);
    assert_eq!(run(&mut s, &wrong).await.numbers(), [102]);
}

#[tokio::test]
async fn nested_subqueries_are_ordinary() {
    let mut s = session(HUNDRED).await;
    let nested = format!(
        "SELECT COUNT(*) FROM t {}{}",
        "WHERE EXISTS (SELECT 1 FROM t AS u ".repeat(12),
        ")".repeat(12)
    );
    assert_eq!(ok(&mut s, &nested).await.value(), "100");
    let derived = format!(
        "SELECT COUNT(*) FROM {}t{}",
        "(SELECT k FROM ".repeat(30),
        ") AS t".repeat(30)
    );
    assert_eq!(ok(&mut s, &derived).await.value(), "100");
}

#[tokio::test]
async fn a_function_cannot_fill_the_memory() {
    let mut s = session(HUNDRED).await;
    let sql = "SELECT LEN(REPLICATE(CAST(a.s AS varchar(max)), 2000000)) FROM t AS a, t AS b";
    assert_eq!(run(&mut s, sql).await.numbers(), [701]);
}

#[tokio::test]
async fn a_query_that_never_ends_is_cancelled_and_its_session_goes_on() {
    let mut s = session(HUNDRED).await;
    {
        let mut endless = pin!(run(&mut s, ENDLESS));
        let started = futures::poll!(&mut endless);
        assert!(started.is_pending());
    }
    assert_eq!(ok(&mut s, "SELECT COUNT(*) FROM t").await.value(), "100");
}

#[tokio::test]
async fn others_are_answered_while_a_query_computes() {
    let database = database(HUNDRED).await;
    let (mut heavy, mut light) = (open(&database), open(&database));
    let endless = run(&mut heavy, ENDLESS);
    let answered = async {
        let mut values = Vec::new();
        for _ in 0..3 {
            let answer = ok(&mut light, "SELECT COUNT(*) FROM t").await;
            values.push(answer.value().to_owned());
        }
        values
    };
    let values = first_of(endless, answered).await;
    assert_eq!(values, ["100", "100", "100"]);
}

/// The outcome of `work`, which must end before `endless`.
async fn first_of<T>(
    endless: impl Future<Output = super::Answer>,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        answer = endless => panic!("ended: {answer:?}"),
        outcome = work => outcome,
    }
}

#[tokio::test]
async fn an_attention_ends_a_query_that_computes() {
    let simulator = Simulator::start(database(HUNDRED).await, SimulatorOptions::default())
        .await
        .unwrap();
    let mut config = Config::new();
    config.host("127.0.0.1");
    config.port(simulator.address().port());
    config.authentication(AuthMethod::sql_server(
        simulator.user(),
        simulator.password(),
    ));
    config.trust_cert();
    let socket = TcpStream::connect(config.get_addr()).await.unwrap();
    let mut client = Box::pin(Client::connect(config, socket.compat_write()))
        .await
        .unwrap();
    // The first statement's rows fill more than one packet, which therefore come at once.
    let sql = format!("SELECT value, REPLICATE('x', 100) FROM GENERATE_SERIES(1, 1000) {ENDLESS}");
    drop(client.simple_query(sql).await.unwrap());
    client.cancel_query().await.unwrap();
    let rows = client.simple_query("SELECT 7").await.unwrap();
    let row = rows.into_row().await.unwrap().unwrap();
    assert_eq!(row.get::<i32, _>(0), Some(7));
}

#[tokio::test]
async fn what_is_too_large_to_plan_is_an_error_at_once() {
    let mut s = session(HUNDRED).await;
    let tables = list(200, ", ", |n| format!("t AS t{n}"));
    let joins = list(200, "", |n| format!(" JOIN t AS t{n} ON t{n}.k = t.k"));
    let chained = list(4000, ", ", |n| {
        format!("c{} AS (SELECT a FROM c{n})", n + 1)
    });
    for sql in [
        format!("SELECT {}", list(60_000, " + ", |_| "1".to_owned())),
        format!("SELECT {}", list(60_000, " - ", |_| "(1)".to_owned())),
        format!("SELECT {}", list(60_000, " + ", |_| "ABS(1)".to_owned())),
        format!(
            "SELECT 1 WHERE {}",
            list(60_000, " AND ", |_| "1 = 1".to_owned())
        ),
        list(2000, " UNION ALL ", |_| "SELECT 1".to_owned()),
        format!("WITH c0 AS (SELECT 1 AS a), {chained} SELECT a FROM c4000"),
        format!("SELECT COUNT(*) FROM {tables}"),
        format!("SELECT COUNT(*) FROM t{joins}"),
    ] {
        let start: String = sql.chars().take(60).collect();
        assert_eq!(run(&mut s, &sql).await.numbers(), [8623], "{start}");
    }
    assert_eq!(ok(&mut s, "SELECT COUNT(*) FROM t").await.value(), "100");
}
