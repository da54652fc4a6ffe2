//! `cdcql verify FILE`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, ListBuilder, RecordBatch, StringArray, StringBuilder, StructBuilder,
    UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;

use super::args::Format;
use super::output::{print_error, print_rows, tell};
use super::progress::Lines;
use super::run::Manner;
use super::session::Session;
use crate::error::Error;
use crate::pipeline::{
    Compared, Difference, MOST_LISTED, Pipeline, RunOptions, Unlike, Verification, VerifyOptions,
};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Verify this flow alone; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(super) flow: Vec<String>,
    /// Copy the rows that differ again, and delete those that the source does not have
    ///
    /// They are written by the flow's own statement in one commit for each flow, which keeps its checkpoint; keys that the
    /// target has more than once are deleted by another one before. Where a run moves the checkpoint meanwhile, keys that it
    /// has written are left out. Up to 100,000 keys of a flow, and 64 MiB of them; beyond that, run --snapshot.
    #[arg(long)]
    pub(super) repair: bool,
    /// How many chunks of one table are read at once, each over a connection of its own
    #[arg(long, value_name = "CONNECTIONS", default_value_t = RunOptions::PARALLEL,
          value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) parallel: u8,
    /// How many rows a chunk has; what is likely to have 128 MiB, at most a million, unless given
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) chunk_rows: Option<u32>,
    /// How rows are printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) format: Format,
}

impl VerifyArguments {
    /// How the flows are verified.
    pub(super) fn options(&self) -> VerifyOptions {
        VerifyOptions {
            repair: self.repair,
            parallel: self.parallel,
            chunk_rows: self.chunk_rows,
            ..VerifyOptions::default()
        }
    }
}

/// Prints how the file's targets compare with their sources; one that differs decides the exit code, or else the first that
/// could not be compared.
pub(super) async fn run(arguments: &VerifyArguments, manner: Manner<'_>) -> Result<(), Error> {
    let session = Session::try_new(manner)?;
    let statements = session.read(&arguments.file).await?;
    let file = Some(arguments.file.as_path());
    let pipeline = Pipeline::bind_chosen(session.engine, statements, file, &arguments.flow).await?;
    let found = pipeline
        .verify(arguments.options(), &manner.reporter(Lines::OfParts))
        .await;
    print(summary(&found, arguments.format), arguments.format).await?;
    let listed = found.iter().any(|one| !differences(one).is_empty());
    if arguments.format == Format::Table && listed {
        print(differences_of(&found), arguments.format).await?;
    }
    tell_the_rest(&found);
    outcome(found)
}

async fn print(rows: Result<RecordBatch, ArrowError>, format: Format) -> Result<(), Error> {
    let rows = rows.map_err(DataFusionError::from)?;
    let rows = RecordBatchStreamAdapter::new(rows.schema(), stream::iter([Ok(rows)]));
    print_rows(Box::pin(rows), format).await
}

/// Says which columns were not compared, where not all keys are listed, and where some could not be copied again.
fn tell_the_rest(found: &[Verification]) {
    for one in found {
        let Ok(compared) = &one.result else {
            continue;
        };
        if !compared.uncompared.is_empty() {
            tell!(
                "{}: not compared, since the source does not have them or the flow does not write them: {}",
                one.flow,
                compared.uncompared.join(", ")
            );
        }
        let unlike = compared.unlike();
        if unlike > MOST_LISTED as u64 {
            tell!(
                "{}: {unlike} keys differ, of which {MOST_LISTED} are listed",
                one.flow
            );
        }
        if compared.repaired > 0 && !compared.agrees() {
            tell!(
                "{}: {} keys have no value in a column that ON compares, and no MERGE finds their rows: DELETE them by hand",
                one.flow,
                unlike - compared.repaired
            );
        }
    }
}

fn outcome(found: Vec<Verification>) -> Result<(), Error> {
    let (mut flows, mut failure) = (0, None);
    for one in found {
        match one.result {
            Ok(compared) => flows += usize::from(!compared.agrees()),
            Err(error) => match failure {
                None => failure = Some(error),
                Some(_) => print_error(&error),
            },
        }
    }
    match (flows, failure) {
        (0, None) => Ok(()),
        (0, Some(error)) => Err(error),
        (flows, failure) => {
            if let Some(error) = &failure {
                print_error(error);
            }
            Err(Error::Unlike { flows })
        }
    }
}

/// One row for each flow; for programs with what differs.
fn summary(found: &[Verification], format: Format) -> Result<RecordBatch, ArrowError> {
    let text = |value: fn(&Verification) -> Option<String>| -> ArrayRef {
        Arc::new(StringArray::from_iter(found.iter().map(value)))
    };
    let count = |value: fn(&Compared) -> u64| -> ArrayRef {
        let compared = found.iter().map(|one| one.result.as_ref().ok());
        Arc::new(UInt64Array::from_iter(
            compared.map(|compared| compared.map(value)),
        ))
    };
    let versions = UInt64Array::from_iter(found.iter().map(|one| one.version));
    let lsn = |one: &Verification| one.checkpoint.map(|lsn| lsn.to_string());
    let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("flow", text(|one| Some(one.flow.clone())), false),
        ("state", text(|one| Some(state(one).to_string())), false),
        ("version", Arc::new(versions), true),
        ("checkpoint_lsn", text(lsn), true),
        ("source_rows", count(|compared| compared.source_rows), true),
        ("target_rows", count(|compared| compared.target_rows), true),
        (
            "only_in_source",
            count(|compared| compared.only_in_source),
            true,
        ),
        (
            "only_in_target",
            count(|compared| compared.only_in_target),
            true,
        ),
        ("different", count(|compared| compared.different), true),
        ("repeated", count(|compared| compared.repeated), true),
        ("left_out", count(|compared| compared.left_out), true),
        ("repaired", count(|compared| compared.repaired), true),
    ];
    match format {
        Format::Table => {}
        Format::Json => {
            columns.push(("differences", lists(found), false));
            columns.push(("uncompared", names(found), false));
        }
        Format::Csv => {
            columns.push(("differences", text(|one| Some(lines(one))), false));
            columns.push((
                "uncompared",
                text(|one| Some(uncompared(one).join(", "))),
                false,
            ));
        }
    }
    if format != Format::Table {
        columns.push(("location", text(|one| Some(one.location.clone())), false));
    }
    RecordBatch::try_from_iter_with_nullable(columns)
}

fn uncompared(one: &Verification) -> &[String] {
    one.result
        .as_ref()
        .map_or(&[], |compared| &compared.uncompared)
}

/// The columns that were not compared, as a list for each flow.
fn names(found: &[Verification]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for one in found {
        lists.append_value(uncompared(one).iter().map(Some));
    }
    Arc::new(lists.finish())
}

fn differences(one: &Verification) -> &[Difference] {
    one.result
        .as_ref()
        .map_or(&[], |compared| &compared.differences)
}

/// One row for each key that is listed.
fn differences_of(found: &[Verification]) -> Result<RecordBatch, ArrowError> {
    let listed = found
        .iter()
        .flat_map(|one| differences(one).iter().map(|found| (&one.flow, found)));
    let listed: Vec<_> = listed.collect();
    let text = |value: fn(&(&String, &Difference)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(listed.iter().map(value)))
    };
    RecordBatch::try_from_iter([
        ("flow", text(|(flow, _)| (*flow).clone())),
        ("key", text(|(_, found)| found.key.clone())),
        ("rows", text(|(_, found)| words(found.unlike).to_string())),
        ("columns", text(|(_, found)| found.columns.join(", "))),
    ])
}

/// The same as a list of structs for each flow.
fn lists(found: &[Verification]) -> ArrayRef {
    let names = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let fields = Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("rows", DataType::Utf8, true),
        Field::new("columns", DataType::List(names), true),
    ]);
    let mut lists = ListBuilder::new(StructBuilder::from_fields(fields, 0));
    for one in found {
        for difference in differences(one) {
            let row = lists.values();
            let texts = [difference.key.as_str(), words(difference.unlike)];
            for (place, text) in texts.into_iter().enumerate() {
                if let Some(values) = row.field_builder::<StringBuilder>(place) {
                    values.append_value(text);
                }
            }
            if let Some(names) = row.field_builder::<ListBuilder<Box<dyn ArrayBuilder>>>(2) {
                if let Some(values) = names.values().as_any_mut().downcast_mut::<StringBuilder>() {
                    difference
                        .columns
                        .iter()
                        .for_each(|name| values.append_value(name));
                }
                names.append(true);
            }
            row.append(true);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

/// The same as lines of text.
fn lines(one: &Verification) -> String {
    let lines = differences(one).iter().map(|found| {
        let columns = match found.columns.is_empty() {
            true => String::new(),
            false => format!(" ({})", found.columns.join(", ")),
        };
        format!("{}: {}{columns}", found.key, words(found.unlike))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn words(unlike: Unlike) -> &'static str {
    match unlike {
        Unlike::OnlyInSource => "only in source",
        Unlike::OnlyInTarget => "only in target",
        Unlike::Different => "different",
        Unlike::Repeated => "repeated in target",
    }
}

fn state(one: &Verification) -> &'static str {
    match &one.result {
        Ok(compared) if !compared.agrees() => "differs",
        Ok(compared) if compared.repaired > 0 => "repaired",
        Ok(_) => "agrees",
        Err(error) if error.exit_code() == 5 => "changes lost",
        Err(_) => "failing",
    }
}
