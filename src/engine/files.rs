//! How many files of Delta tables a query reads.

use std::collections::HashSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use super::Engine;
use crate::sink::delta::DeltaTableProvider;

/// The node of deltalake's plans that reads a table.
const SCAN: &str = "DeltaScanExec";

/// The files of the Delta tables in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesRead {
    /// Those that are read.
    pub read: usize,
    /// Those that cannot have a row which the query asks for, by what the log says of their values.
    pub skipped: usize,
}

impl Engine {
    /// The files of the query that an EXPLAIN is about; `None` for any other plan, and where there is no Delta table.
    ///
    /// # Errors
    /// Whatever planning the query may give.
    pub async fn files_explained(&self, plan: &LogicalPlan) -> Result<Option<FilesRead>> {
        let query = match plan {
            LogicalPlan::Explain(explain) => &explain.plan,
            LogicalPlan::Analyze(analyze) => &analyze.input,
            _ => return Ok(None),
        };
        let state = self.state();
        let query = state.optimize(query)?;
        let Some(all) = files_in(&query)? else {
            return Ok(None);
        };
        let plan = state.query_planner().create_physical_plan(&query, &state);
        let mut read = HashSet::new();
        add_read(plan.await?.as_ref(), false, &mut read);
        let read = read.len();
        Ok(Some(FilesRead {
            read,
            skipped: all.saturating_sub(read),
        }))
    }
}

/// How many files the Delta tables of a plan have, if it reads some.
fn files_in(plan: &LogicalPlan) -> Result<Option<usize>> {
    let mut files = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            if let Some(table) = provider.downcast_ref::<DeltaTableProvider>() {
                *files.get_or_insert(0) += table.target().files();
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(files)
}

/// Adds the files that are read below scans of Delta tables. A file may be read in parts.
fn add_read(plan: &dyn ExecutionPlan, is_scan: bool, files: &mut HashSet<String>) {
    let is_scan = is_scan || plan.name() == SCAN;
    let source = plan.downcast_ref::<DataSourceExec>();
    let config = source.and_then(|source| source.data_source().downcast_ref::<FileScanConfig>());
    if let (true, Some(config)) = (is_scan, config) {
        let groups = config.file_groups.iter().flat_map(|group| group.files());
        files.extend(groups.map(|file| file.object_meta.location.to_string()));
    }
    for child in plan.children() {
        add_read(child.as_ref(), is_scan, files);
    }
}
