//! The change columns of a flow's query: those that it does not give are added to what it gives, since the MERGE around it
//! asks for them.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Merge, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor,
};

use super::stars::quoted;
use super::stream::is_stream;
use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION};

/// Adds them to the query of a MERGE whose STREAM stands in its FROM; not where the query's alias lists its columns.
pub(super) fn append_to(merge: &mut Merge) {
    let TableFactor::Derived {
        subquery, alias, ..
    } = &mut merge.source
    else {
        return;
    };
    if alias
        .as_ref()
        .is_some_and(|alias| !alias.columns.is_empty())
    {
        return;
    }
    if let SetExpr::Select(select) = subquery.body.as_mut()
        && let Some(stream) = stream_of(select)
    {
        append(select, &stream);
    }
}

/// Adds the change columns of `stream` that a query over it does not give.
pub(super) fn append(select: &mut Select, stream: &Ident) {
    if gives_all(select, stream) {
        return;
    }
    let columns = [CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP];
    let lacks = columns.into_iter().filter(|column| {
        let mut items = select.projection.iter();
        !items.any(|item| {
            output(item, stream).is_some_and(|name| name.value.eq_ignore_ascii_case(column))
        })
    });
    let lacks = lacks.map(|column| {
        let parts = vec![stream.clone(), quoted(column.to_owned())];
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
    });
    let lacks: Vec<_> = lacks.collect();
    select.projection.extend(lacks);
}

/// The name of the STREAM in a query's FROM.
fn stream_of(select: &Select) -> Option<Ident> {
    let mut factors = select.from.iter().flat_map(|from| {
        let joined = from.joins.iter().map(|join| &join.relation);
        std::iter::once(&from.relation).chain(joined)
    });
    factors.find_map(|factor| match factor {
        TableFactor::Table {
            name,
            alias: Some(alias),
            ..
        } if is_stream(name) => Some(alias.name.clone()),
        _ => None,
    })
}

/// Whether a query gives every column of `stream`.
fn gives_all(select: &Select, stream: &Ident) -> bool {
    select.projection.iter().any(|item| match item {
        SelectItem::Wildcard(_) => true,
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            let last = name.0.last().and_then(|part| part.as_ident());
            last.is_some_and(|name| name.value.eq_ignore_ascii_case(&stream.value))
        }
        _ => false,
    })
}

/// The name that a column of a query has, where it has one without asking the planner; not that of another table's column,
/// which may only be called alike.
fn output<'a>(item: &'a SelectItem, stream: &Ident) -> Option<&'a Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => match parts.as_slice() {
            [.., table, column] if table.value.eq_ignore_ascii_case(&stream.value) => Some(column),
            _ => None,
        },
        _ => None,
    }
}
