//! Random merges into random tables give the rows that the merges read as, and those of deltalake's merge.
//!
//! `PROPTEST_CASES` asks for more of them; a failure prints the smallest case found, and `PROPTEST_RNG_SEED`
//! repeats a run.

mod grammar;
mod render;

use proptest::test_runner::{Config, TestRunner};

use self::grammar::{Plan, plans};
use super::contract::{Seed, Step, Table, Way, sorted_rows};

/// How many cases there are, unless the environment says otherwise.
const CASES: u32 = 10;
/// How often a case that fails is made smaller.
const SHRINKS: u32 = 300;

#[test]
fn random_merges_agree() {
    let mut config = Config {
        max_shrink_iters: SHRINKS,
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(config);
    let checked = runner.run(&plans(), |plan| {
        runtime.block_on(agrees(&plan));
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

async fn agrees(plan: &Plan) {
    let case = plan.case();
    let seed = Seed::new(&case).await;
    let first = if plan.vectors { Way::Vectors } else { Way::Off };
    let ours = Table::create(&case, &seed, first).await;
    let other = Table::create(&case, &seed, Way::FullJoin).await;
    let mut rows = seed.rows();
    for (merge, step) in plan.merges.iter().zip(&case.steps) {
        let way = if merge.rewrites {
            Way::Rewrite
        } else {
            Way::Vectors
        };
        let expected = seed.merge(&rows, step).await;
        let counts = expected.as_ref().map(|merged| merged.counts);
        let counts = counts.map_err(Clone::clone);
        let from = ours.target().await.version();
        ours.check_as(way, step, &seed, &counts).await;
        other.check_as(Way::FullJoin, step, &seed, &counts).await;
        if let Ok(merged) = expected {
            if plan.feed && plan.plain_paths() && ours.target().await.version() != from {
                assert_eq!(ours.feed().await, merged.changes, "the feed of {step:#?}");
            }
            rows = merged.rows;
        }
        let expected = sorted_rows(std::slice::from_ref(&rows));
        same(&ours, &expected, way, step).await;
        same(&other, &expected, Way::FullJoin, step).await;
    }
}

async fn same(table: &Table, expected: &[String], way: Way, step: &Step) {
    let found = table.rows().await;
    assert_eq!(found, expected, "{way:?} of {step:#?}");
}
