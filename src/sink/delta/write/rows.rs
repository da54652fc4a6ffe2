//! The rows that clauses make: which clause takes a row, and what each column becomes.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::conditional_expressions::CaseBuilder;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlanBuilder, cast, col, lit, when};

use super::clauses::TARGET;

/// Column of an intermediate plan that says which clause takes a row.
pub(super) const CLAUSE: &str = "__cdcql_clause";

/// The rows that a branch takes, with the number of the first one in [`CLAUSE`].
pub(super) fn numbered(
    rows: LogicalPlanBuilder,
    branches: Vec<(Expr, i32)>,
) -> Result<LogicalPlanBuilder> {
    let columns = rows.schema().columns().into_iter().map(Expr::Column);
    let mut columns: Vec<Expr> = columns.collect();
    columns.push(clause_of(branches)?.alias(CLAUSE));
    rows.project(columns)?.filter(col(CLAUSE).is_not_null())
}

/// The number of the first branch whose condition holds; NULL if none does.
fn clause_of(branches: Vec<(Expr, i32)>) -> Result<Expr> {
    let mut branches = branches.into_iter();
    let none = lit(ScalarValue::Int32(None));
    let Some((first, number)) = branches.next() else {
        return Ok(none);
    };
    let mut case = when(first, lit(number));
    for (condition, number) in branches {
        case = case.when(condition, lit(number));
    }
    case.otherwise(none)
}

/// What the clauses that make rows give to one column.
pub(super) struct Choices<'a> {
    /// The numbers of the clauses that name the column, and their values.
    pub(super) values: Vec<(i32, Expr)>,
    /// How many clauses make rows; those that are not among the values make NULL.
    pub(super) makers: usize,
    /// True if there are rows of clauses that make none, whose columns mean nothing.
    pub(super) others: bool,
    /// The columns that the values are made of.
    pub(super) schema: &'a DFSchema,
}

impl Choices<'_> {
    /// The value by the number in [`CLAUSE`], as `data_type`.
    pub(super) fn value(self, data_type: &DataType) -> Result<Expr> {
        let null = lit(ScalarValue::try_from(data_type)?);
        let Some((_, first)) = self.values.first() else {
            return Ok(null);
        };
        let alike = self.values.iter().all(|(_, value)| value == first);
        if alike && self.values.len() == self.makers {
            // What costs nothing and cannot fail may be computed for the other rows too.
            let harmless = matches!(first, Expr::Column(_));
            let same_type = harmless && first.get_type(self.schema)? == *data_type;
            if same_type || !self.others {
                return Ok(cast(first.clone(), data_type.clone()));
            }
        }
        let values = self.values.into_iter();
        let (numbers, values) = values
            .map(|(number, value)| (lit(number), cast(value, data_type.clone())))
            .unzip();
        let number = Some(Box::new(col(CLAUSE)));
        CaseBuilder::new(number, numbers, values, Some(Box::new(null))).end()
    }
}

/// In a row that has no match the target's columns are NULL.
pub(super) fn without_target(expr: Expr, schema: &Schema) -> Result<Expr> {
    let target = TableReference::bare(TARGET);
    expr.transform(|expr| match expr {
        Expr::Column(column) if column.relation.as_ref() == Some(&target) => {
            let field = schema.field_with_name(&column.name)?;
            let null = ScalarValue::try_from(field.data_type())?;
            Ok(Transformed::yes(lit(null)))
        }
        expr => Ok(Transformed::no(expr)),
    })
    .map(|expr| expr.data)
}
