//! The columns that a place in a query can name.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableAlias, TableFactor, TableWithJoins,
};

use super::stars::{Found, find_column};

/// Looks up the columns of a table; `None` where they are not known.
pub(super) type Lookup<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// One table of a FROM clause.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The alias, or the parts of the table's name.
    pub(super) qualifier: Vec<Ident>,
    /// The columns as they are spelled, where they are known.
    pub(super) columns: Option<Vec<String>>,
}

/// What one query level adds to the names in scope.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// The tables of FROM.
    pub(super) tables: Vec<Table>,
    /// The WITH queries, in lower case, with their columns.
    pub(super) ctes: Vec<(String, Option<Vec<String>>)>,
    /// The columns that the query gives; inside a SELECT its aliases alone.
    pub(super) outputs: Vec<String>,
    /// Whether the outputs come before the tables, as they do in ORDER BY.
    pub(super) outputs_first: bool,
    /// The parameters of a lambda.
    pub(super) parameters: Vec<String>,
}

impl Frame {
    /// The columns of the tables, as far as they are known.
    pub(super) fn columns(&self) -> Vec<String> {
        self.tables
            .iter()
            .filter_map(|table| table.columns.clone())
            .flatten()
            .collect()
    }

    /// The columns that a name may mean, those to try first in front. Outputs have no meaning in inner queries.
    pub(super) fn candidates(&self, innermost: bool) -> Vec<Vec<String>> {
        let mut candidates = vec![self.columns()];
        if innermost {
            candidates.insert(if self.outputs_first { 0 } else { 1 }, self.outputs.clone());
        }
        candidates
    }
}

/// The levels around a place, the innermost last.
pub(super) struct Scopes<'a> {
    lookup: Lookup<'a>,
    frames: Vec<Frame>,
}

/// The name of an output or alias as the planner spells it: unquoted names are in lower case.
fn spelled(ident: &Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}

impl<'a> Scopes<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Scopes {
            lookup,
            frames: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    pub(super) fn pop(&mut self) {
        self.frames.pop();
    }

    /// The levels, the innermost first.
    pub(super) fn inward_out(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().rev()
    }

    /// Enters a query: its WITH queries, and for its ORDER BY its outputs and tables. Gives its columns.
    pub(super) fn enter_query(&mut self, query: &Query) -> Option<Vec<String>> {
        self.push(Frame {
            outputs_first: true,
            ..Frame::default()
        });
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = cte.alias.name.value.to_lowercase();
            // A recursive query may name itself.
            self.add_cte(name.clone(), None);
            let columns = self.columns_of(&cte.query);
            self.add_cte(name, renamed(columns, &cte.alias));
        }
        let (tables, columns) = match &*query.body {
            SetExpr::Select(select) => self.tables_and_outputs(select),
            body => (Vec::new(), self.columns_of_body(body)),
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.tables = tables;
            frame.outputs = columns.clone().unwrap_or_default();
        }
        columns
    }

    /// Enters a SELECT.
    pub(super) fn enter_select(&mut self, select: &Select) {
        let tables = self.tables_of(&select.from);
        let aliases = select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(spelled(alias)),
            _ => None,
        });
        self.push(Frame {
            tables,
            outputs: aliases.collect(),
            ..Frame::default()
        });
    }

    fn add_cte(&mut self, name: String, columns: Option<Vec<String>>) {
        if let Some(frame) = self.frames.last_mut() {
            frame.ctes.retain(|(other, _)| *other != name);
            frame.ctes.push((name, columns));
        }
    }

    /// The columns that a query gives, where all of them are known.
    fn columns_of(&mut self, query: &Query) -> Option<Vec<String>> {
        let columns = self.enter_query(query);
        self.pop();
        columns
    }

    fn columns_of_body(&mut self, body: &SetExpr) -> Option<Vec<String>> {
        match body {
            SetExpr::Select(select) => self.tables_and_outputs(select).1,
            SetExpr::Query(query) => self.columns_of(query),
            SetExpr::SetOperation { left, .. } => self.columns_of_body(left),
            _ => None,
        }
    }

    /// The tables of a SELECT, and the columns that it gives.
    fn tables_and_outputs(&mut self, select: &Select) -> (Vec<Table>, Option<Vec<String>>) {
        let tables = self.tables_of(&select.from);
        let outputs = select
            .projection
            .iter()
            .map(|item| outputs_of(item, &tables))
            .collect::<Option<Vec<_>>>();
        (tables, outputs.map(|columns| columns.concat()))
    }

    /// The tables of a FROM clause.
    pub(super) fn tables_of(&mut self, from: &[TableWithJoins]) -> Vec<Table> {
        let mut tables = Vec::new();
        for item in from {
            self.add_tables(&item.relation, &mut tables);
            for join in &item.joins {
                self.add_tables(&join.relation, &mut tables);
            }
        }
        tables
    }

    /// The tables that one table factor brings into scope.
    pub(super) fn add_tables(&mut self, factor: &TableFactor, tables: &mut Vec<Table>) {
        let (qualifier, columns, alias) = match factor {
            TableFactor::Table {
                name, alias, args, ..
            } => {
                let columns = if args.is_none() {
                    self.columns_of_table(name)
                } else {
                    None
                };
                (idents(name), columns, alias)
            }
            TableFactor::Derived {
                subquery, alias, ..
            } => (Vec::new(), self.columns_of(subquery), alias),
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                let inner = self.tables_of(std::slice::from_ref(table_with_joins));
                if alias.is_none() {
                    tables.extend(inner);
                    return;
                }
                (Vec::new(), all_columns(&inner), alias)
            }
            TableFactor::UNNEST { alias, .. } | TableFactor::Function { alias, .. } => {
                (Vec::new(), None, alias)
            }
            _ => (Vec::new(), None, &None),
        };
        tables.push(match alias {
            Some(alias) => Table {
                qualifier: vec![alias.name.clone()],
                columns: renamed(columns, alias),
            },
            None => Table { qualifier, columns },
        });
    }

    pub(super) fn columns_of_table(&self, name: &ObjectName) -> Option<Vec<String>> {
        if let [one] = name.0.as_slice() {
            let one = one.as_ident()?.value.to_lowercase();
            let cte = self
                .inward_out()
                .flat_map(|frame| &frame.ctes)
                .find(|(name, _)| *name == one);
            if let Some((_, columns)) = cte {
                return columns.clone();
            }
        }
        (self.lookup)(name)
    }
}

/// The columns that one item of a select list gives, where they are known.
fn outputs_of(item: &SelectItem, tables: &[Table]) -> Option<Vec<String>> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(vec![spelled(alias)]),
        SelectItem::ExprWithAliases { aliases, .. } => Some(aliases.iter().map(spelled).collect()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(vec![output_name(name, tables)]),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => Some(
            parts
                .last()
                .map(|name| output_name(name, tables))
                .into_iter()
                .collect(),
        ),
        // The planner makes up a name that nobody writes unquoted.
        SelectItem::UnnamedExpr(_) => Some(Vec::new()),
        SelectItem::Wildcard(_) => all_columns(tables),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            let parts = idents(name);
            tables
                .iter()
                .find(|table| table.answers_to(&parts).is_some())?
                .columns
                .clone()
        }
        SelectItem::QualifiedWildcard(..) => None,
    }
}

/// The columns of several tables, where all of them are known.
fn all_columns(tables: &[Table]) -> Option<Vec<String>> {
    let columns = tables
        .iter()
        .map(|table| table.columns.clone())
        .collect::<Option<Vec<_>>>()?;
    Some(columns.concat())
}

fn idents(name: &ObjectName) -> Vec<Ident> {
    name.0
        .iter()
        .filter_map(|part| part.as_ident().cloned())
        .collect()
}

/// The name of a bare column in a select list.
fn output_name(name: &Ident, tables: &[Table]) -> String {
    let known: Vec<String> = tables
        .iter()
        .flat_map(|table| table.columns.clone().unwrap_or_default())
        .collect();
    match find_column(name, &known) {
        Found::One(column) => column,
        _ => spelled(name),
    }
}

/// Columns under the names that `AS t (a, b)` gives them.
fn renamed(columns: Option<Vec<String>>, alias: &TableAlias) -> Option<Vec<String>> {
    let names = alias.columns.iter().map(|column| spelled(&column.name));
    match columns {
        Some(columns) => Some(
            names
                .chain(columns.into_iter().skip(alias.columns.len()))
                .collect(),
        ),
        None => (!alias.columns.is_empty()).then(|| names.collect()),
    }
}

impl Table {
    /// Whether `parts` begin with this table's name or the end of it, and how many of them that takes.
    pub(super) fn answers_to(&self, parts: &[Ident]) -> Option<usize> {
        (1..=self.qualifier.len().min(parts.len()))
            .rev()
            .find(|&length| {
                let own = self.qualifier.iter().skip(self.qualifier.len() - length);
                own.zip(parts).all(|(own, part)| matches(own, part))
            })
    }

    /// The spelling of the qualifier `length` parts long, where the table's name is quoted.
    pub(super) fn spelling(&self, length: usize) -> impl Iterator<Item = Option<Ident>> {
        let own = self.qualifier.iter().skip(self.qualifier.len() - length);
        own.map(|own| own.quote_style.is_some().then(|| own.clone()))
    }
}

/// Whether a written qualifier means a table's own name: unquoted names match without regard to case.
fn matches(own: &Ident, part: &Ident) -> bool {
    match part.quote_style {
        Some(_) => spelled(own) == part.value,
        None => own.value.to_lowercase() == part.value.to_lowercase(),
    }
}
