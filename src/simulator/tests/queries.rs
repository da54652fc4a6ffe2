//! What queries answer.

use super::{database, ok, open, run};
use crate::simulator::Behaviour;

const HUNDRED: &str = "CREATE TABLE t (k int NOT NULL PRIMARY KEY)
    INSERT INTO t SELECT value FROM GENERATE_SERIES(1, 100)";

fn seeded(seed: u64) -> Behaviour {
    Behaviour {
        seed: Some(seed),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn rows_without_order_by_come_in_the_seeds_order() {
    let database = database(HUNDRED).await;
    let orders = async |seed| {
        let mut session = open(&database.clone().behaving(seeded(seed)));
        let mut orders = Vec::new();
        for _ in 0..2 {
            orders.push(ok(&mut session, "SELECT k FROM t").await.lines());
        }
        orders
    };
    let seven = orders(7).await;
    assert_eq!(seven, orders(7).await);
    assert_ne!(seven, orders(8).await);
    assert_ne!(seven[0], seven[1]);
    let mut sorted = seven[0].clone();
    sorted.sort_by_key(|line| line.parse::<i32>().unwrap());
    let mut session = open(&database.behaving(seeded(7)));
    let ordered = ok(&mut session, "SELECT k FROM t ORDER BY k").await;
    assert_eq!(ordered.lines(), sorted);
}

#[tokio::test]
async fn what_a_statement_writes_does_not_depend_on_the_seed() {
    let database = database(HUNDRED).await.behaving(seeded(7));
    let mut session = open(&database);
    let copy = "CREATE TABLE copy (id int IDENTITY PRIMARY KEY, k int)
        INSERT INTO copy (k) SELECT k FROM t";
    ok(&mut session, copy).await;
    let moved = run(&mut session, "SELECT COUNT(*) FROM copy WHERE id <> k").await;
    assert_eq!(moved.value(), "0");
}
