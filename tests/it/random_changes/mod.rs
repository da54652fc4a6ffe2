//! Random transactions, scans of the log, first copies, runs, faults and kills: after every run a target equals its source
//! as of the last captured transaction, and after one that was cut short, as of one before. A copy waits for capture,
//! which goes on meanwhile, as the transactions do: it equals its source as of one that was captured by then and is no
//! older than its read. The clean-up takes changes that a target lacks: then the flow of `a` ends and leaves its target as
//! it was, which begins anew, and that of `b` copies its table again. Columns of `a` come and go, and another capture instance
//! begins: what has come is in the target after the next whole run, or is left out, as its policy says; what has gone is not
//! compared.
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

use std::sync::{Arc, OnceLock};

use cdcql::pipeline::{FlowReport, Pipeline};
use cdcql::simulator::CaptureControl;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use self::model::{Model, printed};
use self::steps::{Run, Step, steps};
use self::world::{Subject, World};

/// How many cases there are, unless the environment says otherwise.
const CASES: u32 = 200;
/// How many run side by side, each with a server of its own.
const SIDES: u32 = 4;
/// How often a case that fails is made smaller.
const SHRINKS: u32 = 100;

async fn holds(subject: Subject, steps: &[Step]) {
    let world = World::new(subject).await;
    let mut model = Model::new();
    let capture = world.simulator.capture_of("app_db").unwrap();
    let pipeline = world.pipeline().await;
    let whole = Run::whole();
    let first = world.run(&pipeline, &whole, &mut model, &capture);
    assert_ended(first.await.reports, [false; 2]);
    capture.hold();
    let mut process = Some(pipeline);
    let anew = Run {
        is_anew: true,
        ..whole.clone()
    };
    let last = [Step::Capture, Step::Run(whole.clone()), Step::Run(anew)];
    for (place, step) in steps.iter().chain(&last).enumerate() {
        if place == steps.len() + 1 {
            // A capture instance begins past the newest commit.
            capture.idle_entry();
        }
        match step {
            Step::Transaction(changes) => world.commit(&mut model, changes).await,
            Step::Capture => {
                capture.step().await;
                model.captured = model.newest();
            }
            Step::Forget => {
                let _ = std::fs::remove_dir_all(world.lake());
                model.is_forgotten = true;
                process = None;
            }
            Step::CleanUp { table, part } => world.clean_up(*table, *part).await,
            Step::Alter(alteration) => {
                if let Some(batch) = model.alter(*alteration) {
                    world.alter(batch).await;
                }
            }
            Step::Run(run) => process = runs(&world, &mut model, &capture, (run, process)).await,
        }
    }
    if subject.adds && model.told && world.has(0) {
        assert!(world.has_extra().await, "what has come lacks");
    }
    if process.is_none() {
        // What a clean-up took from the flow that ended there comes by one that begins anew.
        runs(&world, &mut model, &capture, (&whole, None)).await;
    }
}

/// Runs the pipeline, in the process that ran it before if there is one; answers with the process, unless it has ended.
async fn runs(
    world: &World,
    model: &mut Model,
    capture: &CaptureControl,
    (run, process): (&Run, Option<Pipeline>),
) -> Option<Pipeline> {
    let (captured, read) = (model.captured, model.newest());
    let pipeline = match process.filter(|_| !run.is_anew) {
        Some(pipeline) => pipeline,
        None => world.pipeline().await,
    };
    let [a, b] = [0, 1].map(|table| world.is_purged(&pipeline, table));
    let purged = [a.await && !run.snapshots, b.await];
    let left = match purged[0] {
        true => Some(world.rows(0, false).await),
        false => None,
    };
    let copies = [
        !world.has(0) || run.snapshots,
        !world.has(1) || purged[1] || run.snapshots,
    ];
    let ended = world.run(&pipeline, run, model, capture).await;
    assert_ended(ended.reports, [purged[0], false]);
    if let Some(left) = &left {
        assert_eq!(&world.rows(0, false).await, left, "changes are lost");
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
    (run.polls.is_none() && left.is_none()).then_some(pipeline)
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
    for table in world.tables().filter(|table| !has_lost || *table > 0) {
        let since = since[table];
        // What came later is there once a run has come to its end.
        let told = table == 0 && is_whole && world.has(0) && world.has_extra().await;
        let found = world.rows(table, told).await;
        let states = &model.states[since..=model.captured];
        let known = states
            .iter()
            .any(|rows| printed(rows, table, told) == found);
        let is_absent = !is_whole && model.is_forgotten && found.is_empty();
        assert!(
            known || is_absent,
            "{found:?} is no state of the source from {states:?}"
        );
    }
    if is_whole {
        let oldest = world.tables().map(|table| since[table]).min().unwrap();
        model.states.drain(..oldest);
        model.captured -= oldest;
        model.is_forgotten = false;
    }
}

fn subjects() -> impl Strategy<Value = Subject> {
    let copied = prop_oneof![
        2 => Just([true, false]),
        2 => Just([false, true]),
        1 => Just([true, true]),
    ];
    let all = (any::<bool>(), any::<bool>(), any::<bool>(), copied);
    all.prop_map(|(omits, moves, adds, copied)| Subject {
        omits,
        moves,
        adds,
        copied,
    })
}

/// The first side that found a case that fails; the others end then.
type Failing = Arc<OnceLock<u32>>;

/// Says when it is dropped by a panic.
struct Case<'a> {
    side: u32,
    failing: &'a OnceLock<u32>,
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.failing.set(self.side);
        }
    }
}

/// Runs the cases of one side; the smallest that fails.
fn fails(config: Config, side: u32, failing: &OnceLock<u32>) -> Option<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let checked = TestRunner::new(config).run(&(subjects(), steps()), |(subject, steps)| {
        if failing.get().is_none_or(|failing| *failing == side) {
            let _case = Case { side, failing };
            runtime.block_on(holds(subject, &steps));
        }
        Ok(())
    });
    checked.err().map(|error| error.to_string())
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
    config.cases = config.cases.div_ceil(SIDES);
    let failing = Failing::default();
    let sides = (0..SIDES).map(|side| {
        let (mut config, failing) = (config.clone(), Arc::clone(&failing));
        if let RngSeed::Fixed(seed) = config.rng_seed {
            config.rng_seed = RngSeed::Fixed(seed.wrapping_add(side.into()));
        }
        std::thread::spawn(move || fails(config, side, &failing))
    });
    let sides: Vec<_> = sides.collect();
    let failures = sides.into_iter().filter_map(|side| side.join().unwrap());
    let failures: Vec<String> = failures.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
