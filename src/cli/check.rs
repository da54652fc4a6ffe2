//! `cdcql check FILE`.

use super::args::CheckArguments;
use super::output::tell;
use super::run::Manner;
use super::session::Session;
use crate::error::Error;
use crate::pipeline::{Checked, check};

/// Says what is wrong with the file, or that nothing is, as far as the file alone tells.
pub(super) async fn run(arguments: &CheckArguments, manner: Manner<'_>) -> Result<(), Error> {
    let session = Session::try_new(manner)?;
    let parsed = session.parsed(&arguments.file)?;
    let checked = check(session.engine, parsed, &arguments.file).await?;
    if manner.is_for_people() {
        let Checked {
            flows,
            definitions,
            unset_variables,
        } = checked;
        let file = arguments.file.display();
        for name in unset_variables {
            tell!("{file}: the environment variable {name} is not set here; a run needs it");
        }
        tell!(
            "{file}: no error in {} and {}",
            counted(flows, "flow"),
            counted(definitions, "other statement")
        );
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
