//! STORED AS SCD TYPE 2: a target that keeps every version of a row, with the commits from which and to which it was valid.
//!
//! The MERGE that an AUTO CDC becomes says what the rows of its target are. A target with history is not written by it,
//! but by a MERGE of versions, which are made from its rows: one for each commit that changed them.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, MergeAction, MergeClause, MergeInsertKind, ObjectName, SelectItem, TableAlias,
    TableFactor, Value,
};

use super::merge::MergeStatement;
use super::source::Span;
use super::stars::{quoted, write};
use crate::change::{COMMIT_TIMESTAMP, COMMIT_VERSION, PRESENT, START_AT};

/// `STORED AS SCD TYPE 2`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// `TRACK HISTORY ON`; without it, every commit that changes a row makes a version of it.
    pub track: Option<Track>,
}

/// The columns whose changes make versions; a change of none of them is written into the version that is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Track {
    /// These.
    Columns(Vec<Ident>),
    /// All but these.
    Except(Vec<Ident>),
}

/// `PERIOD FOR SYSTEM_TIME (from, to)`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// The column of the instant from which a version was valid.
    pub from: Ident,
    /// The column of the instant to which it was; NULL for one that is.
    pub to: Ident,
    /// Where it is said.
    pub span: Span,
}

impl MergeStatement {
    /// How it keeps the history of its rows, if it does.
    pub fn history(&self) -> Option<&History> {
        self.auto.as_ref()?.history.as_ref()
    }

    /// The columns that its INSERT writes. Stars must be expanded.
    pub fn inserted_columns(&self) -> Vec<String> {
        let (_, columns, _) = match self.insert() {
            Some(insert) => insert,
            None => return Vec::new(),
        };
        let names = columns.iter().filter_map(last_ident);
        names.map(|name| name.value.clone()).collect()
    }

    /// Its INSERT: the clause, the columns and their values.
    pub(super) fn insert(&self) -> Option<(&MergeClause, &[ObjectName], &[Expr])> {
        self.ast.clauses.iter().find_map(|clause| {
            let MergeAction::Insert(insert) = &clause.action else {
                return None;
            };
            match &insert.kind {
                MergeInsertKind::Values(values) => Some((
                    clause,
                    insert.columns.as_slice(),
                    values.rows.first()?.as_slice(),
                )),
                MergeInsertKind::Row => None,
            }
        })
    }

    /// What the source's rows are in the target: the columns that its INSERT writes, whether the row is one of the target's
    /// ([`PRESENT`]), and the commit's version and timestamp. Stars must be expanded.
    pub fn events(&self) -> Option<Vec<SelectItem>> {
        let (clause, columns, values) = self.insert()?;
        let columns = columns.iter().zip(values);
        let columns =
            columns.filter_map(|(name, expr)| Some((last_ident(name)?.clone(), expr.clone())));
        let present = match &clause.predicate {
            Some(condition) => Expr::IsTrue(Box::new(Expr::Nested(Box::new(condition.clone())))),
            None => Expr::value(Value::Boolean(true)),
        };
        let of = |column: &str| {
            Expr::CompoundIdentifier(vec![self.source_alias.clone(), quoted(column.to_owned())])
        };
        let told = [
            (quoted(PRESENT.to_owned()), present),
            (quoted(COMMIT_VERSION.to_owned()), of(COMMIT_VERSION)),
            (quoted(COMMIT_TIMESTAMP.to_owned()), of(COMMIT_TIMESTAMP)),
        ];
        let items = columns.chain(told);
        Some(
            items
                .map(|(alias, expr)| SelectItem::ExprWithAlias { expr, alias })
                .collect(),
        )
    }

    /// The MERGE of versions in the table `versions`, which have `columns`; `key` are those that tell the rows apart whose
    /// versions they are.
    pub fn of_versions(&self, versions: &str, columns: &[String], key: &[String]) -> Self {
        let mut merge = self.clone();
        let TableFactor::Table { .. } = &merge.ast.table else {
            return merge;
        };
        let mut source = merge.ast.table.clone();
        if let TableFactor::Table { name, alias, .. } = &mut source {
            *name = ObjectName::from(vec![quoted(versions.to_owned())]);
            *alias = Some(TableAlias {
                explicit: true,
                name: self.source_alias.clone(),
                columns: Vec::new(),
                at: None,
            });
        }
        merge.ast.source = source;
        let mut compared = key.to_vec();
        compared.push(START_AT.to_owned());
        if let Some(on) = self.matching(&compared) {
            merge.ast.on = Box::new(on);
        }
        let written = columns.iter().map(|column| {
            let value = vec![self.source_alias.clone(), quoted(column.clone())];
            (quoted(column.clone()), Expr::CompoundIdentifier(value))
        });
        let written: Vec<_> = written.collect();
        let mut clauses = std::mem::take(&mut merge.ast.clauses);
        clauses.retain(|clause| !matches!(clause.action, MergeAction::Delete { .. }));
        for clause in &mut clauses {
            clause.predicate = None;
            write(&mut clause.action, written.clone());
        }
        merge.ast.clauses = clauses;
        merge
    }
}

fn last_ident(name: &ObjectName) -> Option<&Ident> {
    name.0.last()?.as_ident()
}
