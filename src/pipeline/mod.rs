//! A file as flows, and the one loop that runs them.
//!
//! [`Pipeline::bind`] makes definitions real and checks every flow against the schemas it reads and
//! writes; [`Pipeline::run`] brings each flow up to date once, [`Pipeline::follow`] for ever. One window is one
//! execution of the flow's SQL and one Delta commit, which carries the window's end.
//!
//! [`check`] tells what is wrong with a file before a server is asked, as everything here does first.
//!
//! [`plan()`] tells what a run would do, and of flows that do not fit their sources why.
//!
//! [`examine`] looks at all that the flows need before they run, and goes on where one of them could not be bound.
//!
//! [`Pipeline::verify`] compares what the targets hold with their sources, and can copy again what differs.
//!
//! [`Upkeep::bind`] takes no more from a file than its flows' targets, and asks no server; [`Upkeep::run`] maintains
//! them.

mod adopt;
mod altered;
mod begun;
mod bind;
mod capture;
mod changed;
mod check;
mod chunks;
mod columns;
mod copy;
mod doctor;
mod event;
mod every_table;
mod flow;
mod follow;
mod former_key;
mod gap;
mod history;
mod kept;
mod keyed;
mod look;
mod maintain;
mod named;
mod order;
mod pace;
mod part;
mod plan;
mod reconcile;
mod rehearse;
mod rows;
mod run;
mod schema;
mod staged;
mod status;
mod step;
mod values;
mod verify;
mod window;

pub use bind::Pipeline;
pub use check::{Checked, check};
pub use doctor::{Examination, Examined, examine};
pub use event::{CopyKind, Event, FlowReport, FlowResult, Reporter};
pub use flow::Flow;
pub use follow::FollowOptions;
pub use maintain::{Upkeep, UpkeepReport};
pub use plan::{
    ColumnDifference, ColumnEffect, FlowPlan, NewerKey, PlannedSource, PlannedWork, Plans, Setting,
    plan,
};
pub use run::RunOptions;
pub use status::{FlowState, FlowStatus, MOST_ROWS_BEHIND, Moment};
pub use verify::{Compared, Difference, MOST_LISTED, Unlike, Verification, VerifyOptions};
