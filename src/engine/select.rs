//! Queries made from parts of a statement, for their schemas.

use datafusion::sql::parser::{DFParser, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{self, SelectItem, SetExpr, TableFactor};

use crate::error::Error;
use crate::sql::{Statement, StatementKind};

/// A query over `from`, a part of `statement`: all its columns, or `projection`.
pub fn select_from(
    statement: &Statement,
    projection: Option<Vec<SelectItem>>,
    from: TableFactor,
) -> Result<StatementKind, Error> {
    let located = |error| Error::from_datafusion(error, Some(statement));
    let mut parsed = DFParser::parse_sql("SELECT * FROM source").map_err(located)?;
    let mut query = parsed.pop_front();
    if let Some(DfStatement::Statement(inner)) = &mut query
        && let ast::Statement::Query(query) = inner.as_mut()
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        if let Some(projection) = projection {
            select.projection = projection;
        }
        for table in &mut select.from {
            table.relation = from.clone();
        }
    }
    query
        .map(|query| StatementKind::Other(Box::new(query)))
        .ok_or(Error::Internal("a query was parsed into no statement"))
}
