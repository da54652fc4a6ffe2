//! What a statement reads, by the names that it has.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, TableFactor, Visit, Visitor};

use super::lexer::Token;
use super::parse::parse;
use crate::simulator::capture::SCHEMA;
use crate::simulator::protocol::ServerError;
use crate::simulator::store::TableName;

/// Expressions within each other at most; a statement with more is refused when it is planned.
const DEPTH: usize = 2_000;

/// Functions of capture that read no table.
const PURE: &[&str] = &[
    "fn_cdc_increment_lsn",
    "fn_cdc_decrement_lsn",
    "fn_cdc_is_bit_set",
];

/// What a statement reads of one database.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// The tables that it names, those of capture included.
    pub(crate) tables: BTreeSet<TableName>,
    /// Whether it reads what capture owns.
    pub(crate) capture: bool,
}

/// What a query or a row change reads, by database in lower case; `None` for the current one.
///
/// # Errors
///
/// 102 for a statement that cannot be read.
pub(crate) fn reads(tokens: &[Token]) -> Result<HashMap<Option<String>, Reads>, ServerError> {
    let (statement, _) = parse(tokens)?;
    let mut names = Names::default();
    // Whatever it is that was too deep is refused later.
    let _ = statement.visit(&mut names);
    Ok(names.databases)
}

#[derive(Default)]
struct Names {
    databases: HashMap<Option<String>, Reads>,
    /// Names of common table expressions, of the whole statement.
    common: BTreeSet<String>,
    depth: usize,
}

impl Names {
    fn relation(&mut self, name: &ObjectName) {
        let mut parts = parts(name);
        let Some(table) = parts.pop() else { return };
        if parts.is_empty() && self.common.contains(&table) {
            return;
        }
        let schema = parts.pop().filter(|schema| !schema.is_empty());
        let schema = schema.unwrap_or_else(|| "dbo".to_owned());
        let reads = self.databases.entry(parts.pop()).or_default();
        reads.capture |= schema == SCHEMA;
        reads.tables.insert((schema, table));
    }

    fn function(&mut self, name: &ObjectName) {
        let mut parts = parts(name);
        let Some(function) = parts.pop() else { return };
        if function.starts_with("fn_cdc_") && !PURE.contains(&function.as_str()) {
            parts.pop();
            self.databases.entry(parts.pop()).or_default().capture = true;
        }
    }
}

fn parts(name: &ObjectName) -> Vec<String> {
    let idents = name.0.iter().filter_map(|part| part.as_ident());
    idents.map(|ident| ident.value.to_lowercase()).collect()
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let common = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = common.map(|common| common.alias.name.value.to_lowercase());
        self.common.extend(names);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.relation(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Function { name, .. } = factor {
            self.function(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > DEPTH {
            return ControlFlow::Break(());
        }
        if let Expr::Function(function) = expr {
            self.function(&function.name);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::tsql::lexer::tokens;

    #[test]
    fn tables_and_functions_are_found_where_they_are_read() {
        let sql = "WITH c AS (SELECT k FROM Other..T) SELECT t.k, sys.fn_cdc_get_max_lsn()
            FROM c JOIN [dbo].[U v] AS t ON t.k = c.k WHERE k IN (SELECT k FROM s.w)";
        let found = reads(&tokens(sql).unwrap()).unwrap();
        let names = |database: Option<&str>| {
            let reads = &found[&database.map(str::to_owned)];
            let tables = reads.tables.iter();
            let tables: Vec<_> = tables.map(|(s, t)| format!("{s}.{t}")).collect();
            (tables.join(" "), reads.capture)
        };
        assert_eq!(names(None), ("dbo.u v s.w".to_owned(), true));
        assert_eq!(names(Some("other")), ("dbo.t".to_owned(), false));
        for (sql, capture) in [
            (
                "SELECT * FROM cdc.fn_cdc_get_all_changes_dbo_t(0x, 0x, N'all')",
                true,
            ),
            ("SELECT * FROM cdc.lsn_time_mapping", true),
            ("SELECT sys.fn_cdc_increment_lsn(0x00)", false),
            ("SELECT k FROM t", false),
        ] {
            let found = reads(&tokens(sql).unwrap()).unwrap();
            let reads = found.get(&None);
            assert_eq!(reads.is_some_and(|reads| reads.capture), capture, "{sql}");
        }
    }
}
