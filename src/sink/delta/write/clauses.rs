//! A planned `MERGE`, its expressions over the two sides `target` and `source`.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, TableReference, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::dml::{MergeIntoAction, MergeIntoClause, MergeIntoClauseKind};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Operator, lit};
use deltalake::delta_datafusion::expr::fmt_expr_to_sql;

use super::super::SinkError;

/// Qualifier of the target's columns.
pub(super) const TARGET: &str = "target";
/// Qualifier of the source's columns.
pub(super) const SOURCE: &str = "source";

/// The `ON` and `WHEN` clauses of a `MERGE`, in their order.
#[derive(Debug, Clone)]
pub(in super::super) struct MergeClauses {
    pub(super) on: Expr,
    pub(super) clauses: Vec<Clause>,
    /// The source's columns under names that are unique.
    pub(super) source_schema: SchemaRef,
}

/// An UPDATE or DELETE of the rows for which a condition over the side `target` holds.
#[derive(Debug, Clone)]
pub(in super::super) struct RowChange {
    pub(super) filter: Option<Expr>,
    pub(super) clause: Clause,
}

impl RowChange {
    /// The change that a MERGE makes whose source is one row without columns.
    pub(in super::super) fn try_new(merge: MergeClauses) -> Result<Self> {
        let MergeClauses { on, clauses, .. } = merge;
        let [clause] = clauses.as_slice() else {
            return plan_err!("an UPDATE or DELETE has one clause");
        };
        if clause.kind != MergeIntoClauseKind::Matched || clause.predicate.is_some() {
            return plan_err!("an UPDATE or DELETE takes the rows that match");
        }
        Ok(Self {
            filter: (on != lit(true)).then_some(on),
            clause: clause.clone(),
        })
    }
}

impl fmt::Display for RowChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.clause.action {
            Action::Update(_) => "update",
            Action::Delete => "delete",
            Action::Insert(_) => "insert",
        })?;
        match &self.filter {
            Some(filter) => write!(f, " where {filter}"),
            None => Ok(()),
        }
    }
}

/// One `WHEN` clause.
#[derive(Debug, Clone)]
pub(super) struct Clause {
    pub(super) kind: MergeIntoClauseKind,
    pub(super) predicate: Option<Expr>,
    pub(super) action: Action,
}

/// What a clause does with a row; values are paired with the target's column.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Update(Vec<(String, Expr)>),
    Delete,
    Insert(Vec<(String, Expr)>),
}

impl MergeClauses {
    /// Takes over what DataFusion planned.
    ///
    /// `merge_schema` is the target's columns followed by the source's, which `source` has in the same
    /// order.
    pub(in super::super) fn try_new(
        merge_schema: &DFSchema,
        source: &Schema,
        on: Expr,
        clauses: Vec<MergeIntoClause>,
    ) -> Result<Self> {
        let Some(targets) = merge_schema
            .fields()
            .len()
            .checked_sub(source.fields().len())
        else {
            return plan_err!("the source has more columns than it was planned with");
        };
        let source_schema = unique_names(source);
        let sides = Sides {
            merge_schema,
            targets,
            source: &source_schema,
        };
        let merge = Self {
            on: sides.resolve(on)?,
            clauses: clauses
                .into_iter()
                .map(|clause| sides.clause(clause))
                .collect::<Result<_>>()?,
            source_schema: Arc::clone(&source_schema),
        };
        Ok(merge)
    }

    /// True when a clause looks at target rows that the source does not have.
    pub(in super::super) fn reads_unmatched_targets(&self) -> bool {
        let by_source = MergeIntoClauseKind::NotMatchedBySource;
        self.clauses.iter().any(|clause| clause.kind == by_source)
    }

    /// The target's columns that `ON` compares for equality, each once.
    pub(super) fn key_columns(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for part in split_conjunction(&self.on) {
            let Expr::BinaryExpr(equality) = part else {
                continue;
            };
            if matches!(equality.op, Operator::Eq | Operator::IsNotDistinctFrom) {
                let column =
                    target_column(&equality.left).or_else(|| target_column(&equality.right));
                keys.extend(column.filter(|column| !keys.contains(column)));
            }
        }
        keys
    }

    /// deltalake writes the conditions into the log as SQL, the `ON` only after the data files: what it
    /// cannot print is refused before anything is read.
    pub(in super::super) fn check_conditions(&self, location: &str) -> Result<(), SinkError> {
        let predicates = self
            .clauses
            .iter()
            .filter_map(|clause| clause.predicate.as_ref());
        for condition in std::iter::once(&self.on).chain(predicates) {
            fmt_expr_to_sql(condition).map_err(|error| SinkError::Unsupported {
                location: location.to_string(),
                what: format!("the MERGE condition {condition}"),
                hint: "compute it as a column in the USING query and compare that column"
                    .to_string(),
                source: Some(Box::new(error)),
            })?;
        }
        Ok(())
    }
}

impl fmt::Display for MergeClauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on=[{}], clauses=[", self.on)?;
        for (index, clause) in self.clauses.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{clause}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            MergeIntoClauseKind::Matched => "MATCHED",
            MergeIntoClauseKind::NotMatchedBySource => "NOT MATCHED BY SOURCE",
            _ => "NOT MATCHED",
        })?;
        if let Some(predicate) = &self.predicate {
            write!(f, " AND {predicate}")?;
        }
        f.write_str(match &self.action {
            Action::Update(_) => " THEN UPDATE",
            Action::Delete => " THEN DELETE",
            Action::Insert(_) => " THEN INSERT",
        })
    }
}

/// Knows which side each column of a planned expression belongs to.
struct Sides<'a> {
    merge_schema: &'a DFSchema,
    targets: usize,
    source: &'a SchemaRef,
}

impl Sides<'_> {
    fn clause(&self, clause: MergeIntoClause) -> Result<Clause> {
        let kind = clause.kind.canonical();
        let inserts = kind == MergeIntoClauseKind::NotMatchedByTarget;
        let action = match clause.action {
            MergeIntoAction::Update(assignments) if !inserts => Action::Update(
                assignments
                    .into_iter()
                    .map(|(column, value)| Ok((column, self.resolve(value)?)))
                    .collect::<Result<_>>()?,
            ),
            MergeIntoAction::Delete if !inserts => Action::Delete,
            MergeIntoAction::Insert { columns, values } if inserts => {
                Action::Insert(self.insert(columns, values)?)
            }
            _ => {
                return plan_err!(
                    "WHEN NOT MATCHED takes INSERT, the other clauses UPDATE or DELETE"
                );
            }
        };
        Ok(Clause {
            kind,
            predicate: clause
                .predicate
                .map(|expr| self.resolve(expr))
                .transpose()?,
            action,
        })
    }

    fn insert(&self, columns: Vec<String>, values: Vec<Expr>) -> Result<Vec<(String, Expr)>> {
        let columns = if columns.is_empty() {
            let targets = self.merge_schema.fields().iter().take(self.targets);
            targets.map(|field| field.name().clone()).collect()
        } else {
            columns
        };
        if columns.len() != values.len() {
            return plan_err!(
                "INSERT has {} columns and {} values",
                columns.len(),
                values.len()
            );
        }
        columns
            .into_iter()
            .zip(values)
            .map(|(column, value)| Ok((column, self.resolve(value)?)))
            .collect()
    }

    /// The expression over `target` and `source`, without the aliases that planning leaves behind.
    fn resolve(&self, expr: Expr) -> Result<Expr> {
        refuse_subqueries(&expr)?;
        expr.unalias_nested()
            .data
            .transform(|expr| match expr {
                Expr::Column(column) => self.column(&column).map(Transformed::yes),
                expr => Ok(Transformed::no(expr)),
            })
            .map(|resolved| resolved.data)
    }

    fn column(&self, column: &Column) -> Result<Expr> {
        let index = self.merge_schema.index_of_column(column)?;
        let (side, name) = match index.checked_sub(self.targets) {
            Some(index) => (SOURCE, self.source.field(index).name()),
            None => (TARGET, self.merge_schema.field(index).name()),
        };
        Ok(Expr::Column(Column::new(
            Some(TableReference::bare(side)),
            name,
        )))
    }
}

/// True when `expr` names a column of the target, whose columns are `schema`, of one of these types.
pub(super) fn names_target(
    expr: &Expr,
    schema: &Schema,
    types: impl Fn(&DataType) -> bool,
) -> bool {
    expr.column_refs().into_iter().any(|column| {
        let of_target = column
            .relation
            .as_ref()
            .is_some_and(|relation| relation.table() == TARGET);
        let field = schema.field_with_name(&column.name);
        of_target && field.is_ok_and(|field| types(field.data_type()))
    })
}

fn refuse_subqueries(expr: &Expr) -> Result<()> {
    let mut found = false;
    expr.apply(|expr| {
        found |= matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        );
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })?;
    if found {
        return plan_err!(
            "a subquery in a MERGE clause is not supported: join it in the USING query"
        );
    }
    Ok(())
}

fn target_column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) if column.relation == Some(TableReference::bare(TARGET)) => {
            Some(column.name.clone())
        }
        Expr::Cast(cast) => target_column(&cast.expr),
        _ => None,
    }
}

/// A query may have two columns of one name, under different qualifiers.
fn unique_names(schema: &Schema) -> SchemaRef {
    let given: HashSet<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let mut used = HashSet::new();
    let fields = schema.fields().iter().map(|field| {
        let mut name = field.name().clone();
        let mut number = 1;
        while used.contains(&name) || (number > 1 && given.contains(&name)) {
            number += 1;
            name = format!("{}_{number}", field.name());
        }
        used.insert(name.clone());
        Field::new(name, field.data_type().clone(), field.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_source_names_become_unique() {
        let field = |name: &str| Field::new(name, DataType::Int32, true);
        let schema = Schema::new(vec![field("id"), field("id"), field("id_2"), field("id")]);
        let names = unique_names(&schema);
        let names: Vec<_> = names.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["id", "id_3", "id_2", "id_4"]);
    }
}
