//! Random transactions, scans of the log, first copies, runs, faults and kills: after every run a target equals its source
//! as of the last captured transaction, and after one that was cut short, as of one before. A copy waits for capture,
//! which goes on meanwhile, as the transactions do: it equals its source as of one that was captured by then and is no
//! older than its read. The clean-up takes changes that a target lacks: then the flow of `a` ends and leaves its target as
//! it was, which begins anew, and that of `b` copies its table again.
//!
//! The model is a map of rows, changed as the statements read; it shares nothing with the reader. `PROPTEST_CASES` asks
//! for more cases, `PROPTEST_RNG_SEED` repeats a run, and a failure prints the smallest case found:
//!
//! ```sh
//! PROPTEST_CASES=5000 cargo test --locked --test it random_changes
//! ```

mod model;
mod steps;
mod world;

use cdcql::pipeline::FlowReport;
use cdcql::simulator::CaptureControl;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

use self::model::{Model, printed};
use self::steps::{Run, Step, steps};
use self::world::World;

/// How many cases there are, unless the environment says otherwise.
const CASES: u32 = 24;
/// How often a case that fails is made smaller.
const SHRINKS: u32 = 200;

async fn holds(omits: bool, steps: &[Step]) {
    let world = World::new(omits).await;
    let mut model = Model::new();
    let capture = world.simulator.capture_of("app_db").unwrap();
    let pipeline = world.pipeline().await;
    let whole = Run::whole();
    let first = world.run(&pipeline, &whole, &mut model, &capture);
    assert_ended(first.await.reports, [false; 2]);
    capture.hold();
    // What a clean-up took from the flow that ends there has come after the second of the last runs.
    let last = [Step::Capture, Step::Run(whole.clone()), Step::Run(whole)];
    for step in steps.iter().chain(&last) {
        match step {
            Step::Transaction(changes) => world.commit(&mut model, changes).await,
            Step::Capture => {
                capture.step().await;
                model.captured = model.newest();
            }
            Step::Forget => {
                let _ = std::fs::remove_dir_all(world.lake());
                model.is_forgotten = true;
            }
            Step::CleanUp { table, part } => world.clean_up(*table, *part).await,
            Step::Run(run) => runs(&world, &mut model, &capture, run).await,
        }
    }
}

async fn runs(world: &World, model: &mut Model, capture: &CaptureControl, run: &Run) {
    let (captured, read) = (model.captured, model.newest());
    let pipeline = world.pipeline().await;
    let [a, b] = [0, 1].map(|table| world.is_purged(&pipeline, table));
    let purged = [a.await, b.await];
    let left = match purged[0] {
        true => Some(world.rows(0).await),
        false => None,
    };
    let copies = [!world.has(0), !world.has(1) || purged[1]];
    let ended = world.run(&pipeline, run, model, capture).await;
    assert_ended(ended.reports, [purged[0], false]);
    if let Some(left) = &left {
        assert_eq!(&world.rows(0).await, left, "changes are lost");
    }
    let since = match (run.polls, ended.has_waited) {
        (Some(_), _) => [0; 2],
        (None, true) => copies.map(|copies| if copies { read } else { captured }),
        (None, false) => [captured; 2],
    };
    check(world, model, since, (run.polls.is_none(), left.is_some())).await;
    if left.is_some() && run.polls.is_none() {
        std::fs::remove_dir_all(world.lake().join("a")).unwrap();
        model.is_forgotten = true;
    }
}

/// Each flow has succeeded, or found changes lost.
fn assert_ended(reports: Option<Vec<FlowReport>>, loses: [bool; 2]) {
    for report in reports.into_iter().flatten() {
        let expected = if loses[usize::from(report.flow == "b")] {
            5
        } else {
            0
        };
        let ended = report
            .result
            .as_ref()
            .map_or_else(|error| error.exit_code(), |_| 0);
        assert_eq!(ended, expected, "{report:?}");
    }
}

/// Each target is the source as of a transaction between that of `since` and what was captured last: that one itself,
/// unless the run was cut short or had to wait, when capture has gone on. A copy is no older than its read. The flow of
/// `a` that has ended has its target as it was.
async fn check(
    world: &World,
    model: &mut Model,
    since: [usize; 2],
    (is_whole, has_lost): (bool, bool),
) {
    for (table, since) in since.into_iter().enumerate().skip(usize::from(has_lost)) {
        let found = world.rows(table).await;
        let states = &model.states[since..=model.captured];
        let known = states.iter().any(|rows| printed(rows, table) == found);
        let is_absent = !is_whole && model.is_forgotten && found.is_empty();
        assert!(
            known || is_absent,
            "{found:?} is no state of the source from {states:?}"
        );
    }
    if is_whole {
        let oldest = since[0].min(since[1]);
        model.states.drain(..oldest);
        model.captured -= oldest;
        model.is_forgotten = false;
    }
}

#[test]
fn targets_equal_their_sources_whatever_happens() {
    let mut config = Config {
        max_shrink_iters: SHRINKS,
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cases = (any::<bool>(), steps());
    let checked = TestRunner::new(config).run(&cases, |(omits, steps)| {
        runtime.block_on(holds(omits, &steps));
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}
