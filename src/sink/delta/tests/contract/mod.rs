//! Every merge gives one result, whichever way it goes: by deletion vectors, by new files, by deltalake, or as it reads.

mod clauses;
mod keys;
mod naive;
mod pages;
mod partitions;
mod rules;
mod table;
mod values;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::super::RowCounts;
use super::super::schema::stored_schema;
use naive::{Merged, Rules};

pub(super) use table::Table;

/// A way to merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Ours, deletion vectors for files of any size.
    Vectors,
    /// Ours, files of any size written anew.
    Rewrite,
    /// Ours, in a table that has no deletion vectors.
    Off,
    /// deltalake's.
    FullJoin,
}

const WAYS: [Way; 4] = [Way::Vectors, Way::Rewrite, Way::Off, Way::FullJoin];

/// How a merge failed; the key of a duplicate match is told by ours alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    Duplicate(Option<String>),
    Row,
    Other(String),
}

impl Failure {
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Duplicate(_), Self::Duplicate(_)) | (Self::Row, Self::Row) => true,
            (Self::Other(one), Self::Other(other)) => one == other,
            _ => false,
        }
    }
}

/// A table and the merges into it, as SQL. The table's name is `t`, the source's `s`.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    /// The columns, as CREATE TABLE has them.
    pub(super) columns: String,
    pub(super) partition: Vec<String>,
    pub(super) properties: Vec<(String, String)>,
    /// Names and conditions of CHECK constraints.
    pub(super) constraints: Vec<(String, String)>,
    /// The rows at the beginning: each query is a commit of its own.
    pub(super) files: Vec<String>,
    pub(super) steps: Vec<Step>,
}

/// A merge.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The query whose rows are the source.
    pub(super) source: String,
    pub(super) merge: String,
    pub(super) expected: Option<Result<RowCounts, Failure>>,
}

impl Case {
    pub(super) fn new(columns: &str) -> Self {
        Self {
            columns: columns.to_string(),
            ..Self::default()
        }
    }

    pub(super) fn partitioned(mut self, columns: &[&str]) -> Self {
        self.partition = columns.iter().map(ToString::to_string).collect();
        self
    }

    pub(super) fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_string(), value.to_string()));
        self
    }

    fn constraint(mut self, name: &str, condition: &str) -> Self {
        self.constraints
            .push((name.to_string(), condition.to_string()));
        self
    }

    /// Adds a commit of the rows of a query, such as `VALUES (1, 'a')`.
    pub(super) fn file(mut self, query: &str) -> Self {
        self.files.push(query.to_string());
        self
    }

    /// Adds a merge that inserts, updates and deletes so many rows.
    pub(super) fn step(self, source: &str, merge: &str, counts: [u64; 3]) -> Self {
        let [inserted, updated, deleted] = counts;
        let counts = RowCounts {
            inserted,
            updated,
            deleted,
        };
        self.with_step(source, merge, Ok(counts))
    }

    /// Adds a merge that fails.
    fn failing(self, source: &str, merge: &str, failure: Failure) -> Self {
        self.with_step(source, merge, Err(failure))
    }

    fn with_step(
        mut self,
        source: &str,
        merge: &str,
        expected: Result<RowCounts, Failure>,
    ) -> Self {
        self.steps.push(Step {
            source: source.to_string(),
            merge: format!("MERGE INTO t USING {merge}"),
            expected: Some(expected),
        });
        self
    }

    /// Runs the case every way, and compares tables and counts after each merge.
    async fn check(self) {
        self.check_ways(&WAYS).await;
    }

    pub(super) async fn check_ways(self, ways: &[Way]) {
        let seed = Seed::new(&self).await;
        let mut tables = Vec::new();
        for way in ways {
            tables.push(Table::create(&self, &seed, *way).await);
        }
        let mut rows = seed.rows();
        for table in &tables {
            let expected = sorted_rows(std::slice::from_ref(&rows));
            assert_eq!(table.rows().await, expected, "the rows to begin with");
        }
        for step in &self.steps {
            let expected = seed.merge(&rows, step).await;
            let counts = expected
                .as_ref()
                .map(|merged| merged.counts)
                .map_err(Clone::clone);
            if let Some(stated) = &step.expected {
                let alike = match (stated, &counts) {
                    (Ok(stated), Ok(counts)) => stated == counts,
                    (Err(stated), Err(failure)) => stated.is_like(failure),
                    _ => false,
                };
                assert!(alike, "{step:#?} is {counts:?} as it reads");
            }
            for table in &tables {
                table.check(step, &seed, &counts).await;
            }
            rows = expected.map(|merged| merged.rows).unwrap_or(rows);
            let expected = sorted_rows(std::slice::from_ref(&rows));
            for table in &tables {
                let found = table.rows().await;
                assert_eq!(found, expected, "{:?} of {step:#?}", table.way);
            }
        }
    }
}

/// The rows of a case's files.
pub(super) struct Seed {
    ctx: SessionContext,
    files: Vec<RecordBatch>,
    schema: SchemaRef,
    constraints: Vec<(String, String)>,
}

impl Seed {
    pub(super) async fn new(case: &Case) -> Self {
        let mut config = SessionConfig::new();
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let ctx = SessionContext::new_with_config(config);
        let create = format!("CREATE OR REPLACE TABLE seed ({})", case.columns);
        ctx.sql(&create).await.unwrap().collect().await.unwrap();
        let columns = ctx.table_provider("seed").await.unwrap().schema();
        let schema = stored_schema("t", &columns).unwrap();
        let mut files = Vec::new();
        for query in &case.files {
            ctx.sql(&create).await.unwrap().collect().await.unwrap();
            let rows = ctx.sql(&format!("INSERT INTO seed {query}")).await;
            rows.unwrap().collect().await.unwrap();
            let rows = ctx.table("seed").await.unwrap().collect().await.unwrap();
            files.push(stored(&columns, &schema, &rows));
        }
        Self {
            ctx,
            files,
            schema,
            constraints: case.constraints.clone(),
        }
    }

    /// All rows.
    pub(super) fn rows(&self) -> RecordBatch {
        let files = self.files.iter();
        datafusion::arrow::compute::concat_batches(&self.schema, files).unwrap()
    }

    /// What `step` makes of `rows`, as it reads.
    pub(super) async fn merge(&self, rows: &RecordBatch, step: &Step) -> Result<Merged, Failure> {
        let rules = Rules {
            schema: Arc::clone(&self.schema),
            constraints: &self.constraints,
        };
        let _ = self.ctx.deregister_table("s").unwrap();
        let source = self.source(step).await;
        self.ctx.register_table("s", source).unwrap();
        naive::merge(&self.ctx, rows, &step.merge, &rules).await
    }

    async fn source(&self, step: &Step) -> Arc<MemTable> {
        let rows = self.ctx.sql(&step.source).await.unwrap();
        let schema = Arc::clone(rows.schema().inner());
        let rows = rows.collect().await.unwrap();
        Arc::new(MemTable::try_new(schema, vec![rows]).unwrap())
    }
}

/// `rows` with the types that a Delta table has for them.
fn stored(given: &SchemaRef, schema: &SchemaRef, rows: &[RecordBatch]) -> RecordBatch {
    let rows = datafusion::arrow::compute::concat_batches(given, rows).unwrap();
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()).unwrap());
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}

/// The rows as text, a NULL unlike any value, in one order whatever order they come in.
pub(super) fn sorted_rows(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let columns = columns.map(|column| ArrayFormatter::try_new(column, &options).unwrap());
        let columns: Vec<_> = columns.collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let values = columns.iter().map(|column| column.value(row).to_string());
            values.collect::<Vec<_>>().join(" | ")
        }));
    }
    rows.sort();
    rows
}
