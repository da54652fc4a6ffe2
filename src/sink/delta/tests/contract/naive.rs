//! A merge as its definition reads: every pair of rows is looked at, and no row is found by a key.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{concat_batches, filter_record_batch, take, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{
    MergeAction, MergeClause, MergeClauseKind, MergeInsertKind, ObjectName, Statement, TableAlias,
    TableFactor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::super::super::RowCounts;
use super::{Failure, sorted_rows};

/// What a merge makes of a table.
pub(in super::super) struct Merged {
    pub(in super::super) rows: RecordBatch,
    pub(in super::super) counts: RowCounts,
    /// The rows of the change feed: the kind of change, and the row.
    pub(in super::super) changes: Vec<String>,
}

/// A table's conditions for its rows.
pub(in super::super) struct Rules<'a> {
    pub(in super::super) schema: SchemaRef,
    pub(in super::super) constraints: &'a [(String, String)],
}

/// Runs the MERGE `sql` over `target`; the tables of its source are those of `ctx`.
pub(in super::super) async fn merge(
    ctx: &SessionContext,
    target: &RecordBatch,
    sql: &str,
    rules: &Rules<'_>,
) -> Result<Merged, Failure> {
    let statement = Parser::parse_sql(&GenericDialect {}, sql)
        .unwrap()
        .remove(0);
    let Statement::Merge(merge) = statement else {
        panic!("no MERGE: {sql}");
    };
    let source = ctx.sql(&format!("SELECT * FROM {}", merge.source)).await;
    let source = source.unwrap();
    let columns = Arc::clone(source.schema().inner());
    let source = concat_batches(&columns, &source.collect().await.unwrap()).unwrap();
    let names = (side(&merge.table), side(&merge.source));
    let pairs = Pairs::new(ctx, target, &source, names);
    let pairs = pairs.matching(&merge.on.to_string());
    let mut merging = Merging::new(target, rules);
    merging.match_rows(&pairs, &merge.clauses)?;
    merging.insert_rows(&pairs, &merge.clauses)?;
    merging.finish()
}

/// The name by which the columns of a side go.
fn side(table: &TableFactor) -> String {
    let alias = |alias: &Option<TableAlias>| alias.as_ref().map(|alias| alias.name.value.clone());
    match table {
        TableFactor::Table {
            name, alias: given, ..
        } => alias(given).unwrap_or_else(|| plain(name)),
        TableFactor::Derived { alias: given, .. } => alias(given).unwrap(),
        other => panic!("no table: {other}"),
    }
}

/// The last part of a name, without quotes.
fn plain(name: &ObjectName) -> String {
    let part = name.0.last().unwrap().as_ident().unwrap();
    match part.quote_style {
        Some(_) => part.value.clone(),
        None => part.value.to_lowercase(),
    }
}

/// Pairs of a target's and a source's row; either may be missing.
struct Pairs<'a> {
    ctx: &'a SessionContext,
    target: &'a RecordBatch,
    source: &'a RecordBatch,
    columns: DFSchema,
    places: Vec<(Option<u32>, Option<u32>)>,
}

impl<'a> Pairs<'a> {
    /// Every pair.
    fn new(
        ctx: &'a SessionContext,
        target: &'a RecordBatch,
        source: &'a RecordBatch,
        (target_name, source_name): (String, String),
    ) -> Self {
        let of = |name: String, batch: &RecordBatch| {
            let fields = batch.schema();
            let fields = fields.fields().iter();
            let fields: Vec<Field> = fields
                .map(|field| field.as_ref().clone().with_nullable(true))
                .collect();
            DFSchema::try_from_qualified_schema(TableReference::bare(name), &Schema::new(fields))
        };
        let columns = of(target_name, target).unwrap();
        let columns = columns.join(&of(source_name, source).unwrap()).unwrap();
        let sources = 0..source.num_rows() as u32;
        let places = sources.flat_map(|source| {
            (0..target.num_rows() as u32).map(move |target| (Some(target), Some(source)))
        });
        Self {
            ctx,
            target,
            source,
            columns,
            places: places.collect(),
        }
    }

    fn at(&self, places: Vec<(Option<u32>, Option<u32>)>) -> Self {
        Self {
            columns: self.columns.clone(),
            places,
            ..*self
        }
    }

    fn one(&self, target: Option<u32>, source: Option<u32>) -> Self {
        self.at(vec![(target, source)])
    }

    fn rows(&self) -> RecordBatch {
        let targets: UInt32Array = self.places.iter().map(|place| place.0).collect();
        let sources: UInt32Array = self.places.iter().map(|place| place.1).collect();
        let mut columns = taken(self.target, &targets);
        columns.extend(taken(self.source, &sources));
        RecordBatch::try_new(Arc::clone(self.columns.inner()), columns).unwrap()
    }

    fn matching(&self, on: &str) -> Self {
        if self.places.is_empty() {
            return self.at(Vec::new());
        }
        let value = self.evaluate(on, None).unwrap();
        let holds = value.as_boolean();
        let places = self.places.iter().zip(holds.iter());
        let places = places.filter(|(_, holds)| *holds == Some(true));
        self.at(places.map(|(place, _)| *place).collect())
    }

    fn holds(&self, predicate: Option<&impl ToString>) -> bool {
        let Some(predicate) = predicate else {
            return true;
        };
        let value = self.evaluate(&predicate.to_string(), None).unwrap();
        let value = value.as_boolean();
        value.iter().next() == Some(Some(true))
    }

    fn evaluate(&self, expr: &str, data_type: Option<&DataType>) -> Result<ArrayRef, Failure> {
        let state = self.ctx.state();
        let mut expr: Expr = state.create_logical_expr(expr, &self.columns).unwrap();
        if let Some(data_type) = data_type {
            expr = cast(expr, data_type.clone());
        }
        let columns = Arc::new(self.columns.clone());
        let context = SimplifyContext::builder().with_schema(Arc::clone(&columns));
        let simplifier = ExprSimplifier::new(context.build());
        let expr = simplifier.coerce(expr, &columns).unwrap();
        // A constant that cannot be cast is found out here already.
        let expr = simplifier.simplify(expr).map_err(|_| Failure::Row)?;
        let expr = state.create_physical_expr(expr, &columns).unwrap();
        let rows = self.rows();
        let value = expr.evaluate(&rows);
        let value = value.and_then(|value| value.into_array(rows.num_rows()));
        value.map_err(|_| Failure::Row)
    }
}

fn taken(batch: &RecordBatch, places: &UInt32Array) -> Vec<ArrayRef> {
    // An empty side has no row to take, not even for NULL.
    let nulls = batch.schema();
    let nulls = nulls.fields().iter().map(|field| {
        let null = ScalarValue::try_from(field.data_type()).unwrap();
        null.to_array_of_size(places.len()).unwrap()
    });
    if batch.num_rows() == 0 {
        return nulls.collect();
    }
    let columns = batch.columns().iter();
    columns
        .map(|column| take(column, places, None).unwrap())
        .collect()
}

/// The table as it becomes.
struct Merging<'a> {
    target: &'a RecordBatch,
    rules: &'a Rules<'a>,
    /// What became of each row: nothing, out, or a new image.
    fates: Vec<Option<Fate>>,
    inserted: Vec<RecordBatch>,
    counts: RowCounts,
}

enum Fate {
    Deleted { always: bool },
    Updated(RecordBatch),
}

impl<'a> Merging<'a> {
    fn new(target: &'a RecordBatch, rules: &'a Rules<'a>) -> Self {
        Self {
            target,
            rules,
            fates: (0..target.num_rows()).map(|_| None).collect(),
            inserted: Vec::new(),
            counts: RowCounts::default(),
        }
    }

    fn match_rows(&mut self, pairs: &Pairs<'_>, clauses: &[MergeClause]) -> Result<(), Failure> {
        let clauses: Vec<_> = clauses
            .iter()
            .filter(|clause| clause.clause_kind == MergeClauseKind::Matched)
            .collect();
        for (target, source) in &pairs.places {
            let pair = pairs.one(*target, *source);
            let mut clauses = clauses.iter();
            let Some(clause) = clauses.find(|clause| pair.holds(clause.predicate.as_ref())) else {
                continue;
            };
            let place = target.unwrap() as usize;
            let always = clause.predicate.is_none();
            let fate = match &clause.action {
                MergeAction::Delete { .. } => Fate::Deleted { always },
                MergeAction::Update(_) => Fate::Updated(self.image(&pair, clause)?),
                MergeAction::Insert(_) => panic!("INSERT of a matched row"),
            };
            match (&self.fates[place], &fate) {
                (None, Fate::Deleted { .. }) => self.counts.deleted += 1,
                (None, Fate::Updated(_)) => self.counts.updated += 1,
                (Some(Fate::Deleted { always: true }), Fate::Deleted { always: true }) => {}
                (Some(_), _) => return Err(Failure::Duplicate(None)),
            }
            self.fates[place] = Some(fate);
        }
        Ok(())
    }

    fn insert_rows(&mut self, pairs: &Pairs<'_>, clauses: &[MergeClause]) -> Result<(), Failure> {
        for source in 0..pairs.source.num_rows() as u32 {
            if pairs.places.iter().any(|place| place.1 == Some(source)) {
                continue;
            }
            let alone = pairs.one(None, Some(source));
            let clause = clauses.iter().find(|clause| {
                let unmatched = clause.clause_kind != MergeClauseKind::Matched;
                unmatched && alone.holds(clause.predicate.as_ref())
            });
            if let Some(clause) = clause {
                let image = self.image(&alone, clause)?;
                self.inserted.push(image);
                self.counts.inserted += 1;
            }
        }
        Ok(())
    }

    /// The row that a clause makes of a pair.
    fn image(&self, pair: &Pairs<'_>, clause: &MergeClause) -> Result<RecordBatch, Failure> {
        let values = values(clause, &self.rules.schema);
        let (target, _) = pair.places[0];
        let fields = self.rules.schema.fields().iter().enumerate();
        let columns = fields.map(|(place, field)| {
            let given = values.iter().find(|(name, _)| name == field.name());
            match (given, target) {
                (Some((_, value)), _) => pair.evaluate(value, Some(field.data_type())),
                (None, Some(row)) => Ok(self.target.column(place).slice(row as usize, 1)),
                (None, None) => {
                    let null = ScalarValue::try_from(field.data_type()).unwrap();
                    Ok(null.to_array_of_size(1).unwrap())
                }
            }
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let image = RecordBatch::try_new(Arc::clone(&self.rules.schema), columns);
        // A NULL where the schema allows none is Arrow's only complaint.
        image.map_err(|_| Failure::Row)
    }

    fn finish(self) -> Result<Merged, Failure> {
        let mut changes = Vec::new();
        let mut images = Vec::new();
        let kept: BooleanArray = self.fates.iter().map(|fate| Some(fate.is_none())).collect();
        for (place, fate) in (0..).zip(&self.fates) {
            let row = UInt32Array::from(vec![place]);
            let before = || take_record_batch(self.target, &row).unwrap();
            match fate {
                None => {}
                Some(Fate::Deleted { .. }) => changes.push(("delete", before())),
                Some(Fate::Updated(image)) => {
                    changes.push(("update_preimage", before()));
                    changes.push(("update_postimage", image.clone()));
                    images.push(image.clone());
                }
            }
        }
        changes.extend(self.inserted.iter().map(|row| ("insert", row.clone())));
        images.extend(self.inserted);
        verify(&images, self.rules)?;
        let mut rows = vec![filter_record_batch(self.target, &kept).unwrap()];
        rows.extend(images);
        let mut changes: Vec<String> = changes
            .iter()
            .map(|(kind, row)| format!("{kind} {}", sorted_rows(std::slice::from_ref(row))[0]))
            .collect();
        changes.sort();
        Ok(Merged {
            rows: concat_batches(&self.rules.schema, &rows).unwrap(),
            counts: self.counts,
            changes,
        })
    }
}

/// The columns that a clause gives values to, and the values.
fn values(clause: &MergeClause, schema: &SchemaRef) -> Vec<(String, String)> {
    match &clause.action {
        MergeAction::Update(update) => {
            let assignments = update.assignments.iter();
            let assignments = assignments.map(|assignment| {
                use datafusion::sql::sqlparser::ast::AssignmentTarget;
                let AssignmentTarget::ColumnName(column) = &assignment.target else {
                    panic!("a tuple");
                };
                (plain(column), assignment.value.to_string())
            });
            assignments.collect()
        }
        MergeAction::Insert(insert) => {
            let MergeInsertKind::Values(values) = &insert.kind else {
                panic!("INSERT ROW");
            };
            let all = schema.fields().iter().map(|field| field.name().clone());
            let columns: Vec<String> = match insert.columns.as_slice() {
                [] => all.collect(),
                given => given.iter().map(plain).collect(),
            };
            let row = &values.rows[0].content;
            let row = row.iter().map(ToString::to_string);
            columns.into_iter().zip(row).collect()
        }
        MergeAction::Delete { .. } => Vec::new(),
    }
}

fn verify(images: &[RecordBatch], rules: &Rules<'_>) -> Result<(), Failure> {
    let ctx = SessionContext::new();
    let columns = DFSchema::try_from(Arc::clone(&rules.schema)).unwrap();
    for (_, condition) in rules.constraints {
        let holds = ctx.parse_sql_expr(condition, &columns).unwrap();
        let holds = ctx.create_physical_expr(holds, &columns).unwrap();
        for image in images {
            let value = holds.evaluate(image).unwrap().into_array(1).unwrap();
            let value = value.as_boolean();
            if value.iter().next() != Some(Some(true)) {
                return Err(Failure::Row);
            }
        }
    }
    Ok(())
}
