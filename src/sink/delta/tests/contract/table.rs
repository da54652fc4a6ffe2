//! A case's table in a folder.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result as QueryResult};
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use deltalake::delta_datafusion::DeltaCdfTableProvider;
use tempfile::TempDir;

use super::super::super::{
    CommitOutcome, DeltaTableProvider, DeltaTarget, RowCounts, SinkError, TableOptions,
};
use super::{Case, Failure, Seed, Step, Way, sorted_rows};

/// Makes deltalake's merge of a MERGE, and changes nothing of what it does.
const BY_SOURCE: &str = " WHEN NOT MATCHED BY SOURCE AND 1 = 0 THEN DELETE";

/// A Delta table into which a case is merged one way.
pub(in super::super) struct Table {
    folder: TempDir,
    pub(in super::super) way: Way,
    options: TableOptions,
}

impl Table {
    pub(in super::super) async fn create(case: &Case, seed: &Seed, way: Way) -> Self {
        let mut properties = case.properties.clone();
        if way == Way::Off {
            let vectors = "cdcql.deletionVectors".to_string();
            properties.push((vectors, "off".to_string()));
        }
        let table = Self {
            folder: tempfile::tempdir().unwrap(),
            way,
            options: TableOptions {
                partition_columns: case.partition.clone(),
                comment: None,
                properties,
            },
        };
        let target = table.target().await;
        let _ = target.create(&seed.schema, &table.options).await.unwrap();
        for (name, condition) in &case.constraints {
            let constrained = table.target().await.table().clone().add_constraint();
            let constrained = constrained.with_constraint(name, condition.as_str());
            constrained.await.unwrap();
        }
        for file in &seed.files {
            let rows = MemTable::try_new(file.schema(), vec![vec![file.clone()]]).unwrap();
            let outcome = table.run("INSERT INTO t SELECT * FROM s", Arc::new(rows), way);
            let _ = outcome.await.unwrap();
        }
        table
    }

    pub(in super::super) async fn target(&self) -> DeltaTarget {
        let path = self.folder.path().to_str().unwrap();
        DeltaTarget::open(path, HashMap::new()).await.unwrap()
    }

    pub(in super::super) async fn provider(&self, way: Way) -> DeltaTableProvider {
        let provider = DeltaTableProvider::try_new(self.target().await, None).await;
        let provider = provider.unwrap().with_options(self.options.clone());
        let small_file = match way {
            Way::Vectors => 0,
            _ => u64::MAX,
        };
        provider.unwrap().with_small_file(small_file)
    }

    async fn run(&self, sql: &str, source: Arc<MemTable>, way: Way) -> QueryResult<CommitOutcome> {
        let provider = Arc::new(self.provider(way).await);
        let ctx = SessionContext::new();
        ctx.register_table("t", Arc::clone(&provider) as _)?;
        ctx.register_table("s", source)?;
        ctx.sql(sql).await?.collect().await?;
        Ok(provider.outcome().unwrap())
    }

    /// Merges `step` the way `way`.
    pub(in super::super) async fn merge(
        &self,
        step: &Step,
        seed: &Seed,
        way: Way,
    ) -> Result<RowCounts, Failure> {
        let mut merge = step.merge.clone();
        if way == Way::FullJoin {
            merge += BY_SOURCE;
        }
        let outcome = self.run(&merge, seed.source(step).await, way).await;
        let error = match outcome {
            Ok(outcome) => return Ok(outcome.rows()),
            Err(error) => error,
        };
        let DataFusionError::External(cause) = error.find_root() else {
            return Err(Failure::Other(error.to_string()));
        };
        Err(match cause.downcast_ref() {
            Some(SinkError::DuplicateMatch { key, .. }) => Failure::Duplicate(key.clone()),
            Some(SinkError::InvalidRow { .. }) => Failure::Row,
            _ => Failure::Other(error.to_string()),
        })
    }

    /// Merges `step`, and compares what it says of itself.
    pub(in super::super) async fn check(
        &self,
        step: &Step,
        seed: &Seed,
        counts: &Result<RowCounts, Failure>,
    ) {
        self.check_as(self.way, step, seed, counts).await;
    }

    /// Merges `step` the way `way`, and compares what it says of itself.
    pub(in super::super) async fn check_as(
        &self,
        way: Way,
        step: &Step,
        seed: &Seed,
        counts: &Result<RowCounts, Failure>,
    ) {
        let before = self.target().await.version();
        let merged = self.merge(step, seed, way).await;
        match (&merged, counts) {
            (Ok(merged), Ok(counts)) if merged == counts => return,
            (Err(failure), Err(expected)) if failure.is_like(expected) => {}
            _ => panic!("{way:?} of {step:#?}\nsays {merged:?}\nand not {counts:?}"),
        }
        assert_eq!(
            self.target().await.version(),
            before,
            "{way:?} of {step:#?}"
        );
        let stated = step
            .expected
            .as_ref()
            .and_then(|stated| stated.as_ref().err());
        if let Some(Failure::Duplicate(Some(key))) = stated {
            assert_eq!(
                merged,
                Err(Failure::Duplicate(Some(key.clone()))),
                "{way:?}"
            );
        }
    }

    /// The folder of the table.
    pub(in super::super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The change feed of the newest version, in one order: each change with its kind first.
    pub(in super::super) async fn feed(&self) -> Vec<String> {
        let target = self.target().await;
        let version = target.version().unwrap();
        let changes = target.table().clone().scan_cdf();
        let changes = changes.with_starting_version(version);
        let changes = DeltaCdfTableProvider::try_new(changes).unwrap();
        let ctx = SessionContext::new();
        ctx.register_table("changes", Arc::new(changes)).unwrap();
        let fields = target.schema().unwrap();
        let names = fields.fields().iter().map(|field| col_of(field.name()));
        let mut columns = vec![col_of("_change_type")];
        columns.extend(names);
        let changes = ctx.table("changes").await.unwrap();
        let changes = changes.select(columns).unwrap().collect().await.unwrap();
        let changes = sorted_rows(&changes);
        changes
            .iter()
            .map(|row| row.replacen(" | ", " ", 1))
            .collect()
    }

    pub(in super::super) async fn rows(&self) -> Vec<String> {
        let ctx = SessionContext::new();
        let provider = Arc::new(self.provider(self.way).await);
        ctx.register_table("t", provider).unwrap();
        let rows = ctx.table("t").await.unwrap().collect().await.unwrap();
        sorted_rows(&rows)
    }
}

fn col_of(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}
