//! Statements that DataFusion plans and cdcql does not do.

use datafusion::common::TableReference;
use datafusion::logical_expr::{DdlStatement, LogicalPlan, WriteOp};

use super::{Engine, LAKE, MAIN};

/// Why a statement is refused, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) help: String,
}

impl Engine {
    /// Why `plan` is not run, if it would change what cdcql does not change.
    pub(super) fn refusal(&self, plan: &LogicalPlan) -> Option<Refusal> {
        match plan {
            LogicalPlan::Dml(write) => self.refused_write(&write.op, &write.table_name),
            LogicalPlan::Ddl(definition) => refused_definition(definition),
            LogicalPlan::Explain(explain) => self.refusal(&explain.plan),
            LogicalPlan::Analyze(analyze) => self.refusal(&analyze.input),
            _ => None,
        }
    }

    fn refused_write(&self, op: &WriteOp, table: &TableReference) -> Option<Refusal> {
        let full = table.clone().resolve(LAKE, MAIN);
        if self.connections.find(&full.catalog).is_some() {
            return Some(Refusal {
                message: format!("'{table}' is a table of SQL Server, which cdcql only reads"),
                help: "write to a Delta table, or change the row in SQL Server itself".to_string(),
            });
        }
        match op {
            WriteOp::Insert(_) | WriteOp::MergeInto(_) => None,
            other => Some(Refusal {
                message: format!("{} of '{table}'", other.name().to_uppercase()),
                help: "write INSERT INTO, UPDATE, DELETE FROM or MERGE INTO".to_string(),
            }),
        }
    }
}

fn refused_definition(definition: &DdlStatement) -> Option<Refusal> {
    let (message, help) = match definition {
        DdlStatement::CreateView(_)
        | DdlStatement::DropView(_)
        | DdlStatement::CreateExternalTable(_) => return None,
        DdlStatement::DropTable(table) => (
            format!("DROP TABLE '{}': cdcql deletes no table", table.name),
            "delete the table's folder, and its CREATE TABLE and flow from the file",
        ),
        other => (
            format!("{}: cdcql has no such statement", other.name()),
            "define tables with CREATE TABLE … USING DELTA, and queries with CREATE VIEW",
        ),
    };
    Some(Refusal {
        message,
        help: help.to_string(),
    })
}
