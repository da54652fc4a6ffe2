//! Random queries of AUTO CDC over random changes: whatever the windows were, a target is what the query makes of the
//! source as of the last transaction; and one that keeps history is, as of each transaction, what the query makes of the
//! source then.
//!
//! What a target should be is the same query over the live table, asked after each transaction. `PROPTEST_CASES` asks for
//! more cases, and a failure prints the smallest case found:
//!
//! ```sh
//! PROPTEST_CASES=2000 cargo test --locked --test it random_queries
//! ```

mod cases;
mod world;

use proptest::test_runner::{Config, TestRunner};

use self::cases::{Case, cases};
use self::world::World;

/// How many cases there are, unless the environment says otherwise.
const CASES: u32 = 12;

async fn holds(case: &Case) {
    let mut world = World::new(case).await;
    // The first run copies a table that has changed since the newest commit.
    world.commit(&case.meanwhile).await;
    world.run(None, false).await;
    world.check("after the copy").await;
    for (window, transactions) in &case.rounds {
        world.commit(transactions).await;
        world.capture.step().await;
        world.run(*window, false).await;
        world.check("after windows").await;
    }
    world.commit(&case.afterwards).await;
    world.run(None, true).await;
    world.check("after a new copy").await;
}

#[test]
fn a_target_is_what_its_query_makes_of_the_source() {
    let mut config = Config {
        max_shrink_iters: 30,
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let checked = TestRunner::new(config).run(&cases(), |case| {
        runtime.block_on(holds(&case));
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}
