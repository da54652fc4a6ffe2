//! What the versions of a flow look like.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::Ident;

use super::super::schema::{find, same_type, type_name};
use super::HistoryColumns;
use super::versions::VERSIONS;
use crate::error::Error;
use crate::nearest::nearest;
use crate::sql::{MergeStatement, Statement, Track};

/// The columns of versions: those that the flow writes, then those of the history, as the target has them.
#[derive(Debug, Clone)]
pub(in super::super) struct Shape {
    /// All columns.
    pub(super) schema: SchemaRef,
    /// How many of them are the flow's own: the first ones.
    pub(super) written: usize,
    /// The places of the key.
    pub(super) keys: Vec<usize>,
    /// The places of the columns whose changes make versions; `None` where every commit of a row does.
    pub(super) tracked: Option<Vec<usize>>,
    /// The places of the columns whose difference is none of the row: those that the source does not have any more, and those
    /// that tell of a change itself.
    pub(super) undecided: Vec<usize>,
    /// Whether there are columns of instants.
    pub(in super::super) has_period: bool,
}

impl Shape {
    /// Of the flow `merge`, whose stars are expanded, with a target of the columns `target`; `absents` are those that stars
    /// make NULL.
    ///
    /// # Errors
    /// `Invalid` for a target that lacks a column of the history, has it in another type or as one of the flow's own; for
    /// TRACK HISTORY of a column that the flow does not write, or of the key.
    pub(in super::super) fn of(
        statement: &Statement,
        merge: &MergeStatement,
        columns: &HistoryColumns,
        target: &Schema,
        absents: &BTreeSet<String>,
    ) -> Result<Self, Error> {
        let refuse = |message: String, help: &str| {
            let help = Some(help.to_string());
            Error::invalid(statement.diagnostic(merge.target_span, message, help))
        };
        let names = merge.inserted_columns();
        let mut fields: Vec<Field> = Vec::new();
        for name in &names {
            let Some(field) = find(target, name) else {
                let message = format!("the target has no column '{name}'");
                return Err(refuse(message, "leave it out of COLUMNS"));
            };
            fields.push(field.clone());
        }
        let written = fields.len();
        for own in columns.fields() {
            if find(&Schema::new(fields.clone()), own.name()).is_some() {
                return Err(refuse(
                    format!(
                        "'{}' is a column of the flow and of its target's history",
                        own.name()
                    ),
                    "select it under another name, or leave it out: COLUMNS * EXCEPT (…)",
                ));
            }
            match find(target, own.name()) {
                Some(field) if same_type(field.data_type(), own.data_type()) => {
                    fields.push(field.clone());
                }
                Some(field) => {
                    let (is, wanted) = (type_name(field.data_type()), type_name(own.data_type()));
                    let message = format!(
                        "'{}', a column of the target's history, is {is} in it and not {wanted}",
                        own.name()
                    );
                    return Err(refuse(message, "choose an empty LOCATION"));
                }
                None => {
                    return Err(refuse(
                        format!(
                            "the target has no column '{}', and so no history",
                            own.name()
                        ),
                        "choose an empty LOCATION, or leave STORED AS SCD TYPE 2 out",
                    ));
                }
            }
        }
        let schema = Arc::new(Schema::new(fields));
        let own = Schema::new(schema.fields()[..written].to_vec());
        let place = |name: &str| {
            let field = find(&own, name)?;
            own.index_of(field.name()).ok()
        };
        let keys = merge.key_pairs().unwrap_or_default();
        let keys = keys.iter().map(|(name, _)| place(name));
        let keys = keys.collect::<Option<Vec<usize>>>();
        let keys = keys.ok_or(Error::Internal("a history lacks a column of its key"))?;
        let track = merge.history().and_then(|history| history.track.as_ref());
        let tracked = track
            .map(|track| tracked(statement, track, &own, &keys))
            .transpose()?;
        // What tells of the change itself is another thing in each image; that alone is no change of the row.
        let of_changes = match track {
            Some(Track::Columns(_)) => &[],
            Some(Track::Except(_)) | None => merge.columns_of_changes(),
        };
        let undecided = absents.iter().chain(of_changes);
        Ok(Self {
            written,
            keys,
            tracked,
            undecided: undecided.filter_map(|name| place(name)).collect(),
            has_period: columns.period.is_some(),
            schema,
        })
    }

    /// The MERGE of versions, which stand in the table [`VERSIONS`], into the target of `flow`.
    pub(in super::super) fn merge(&self, flow: &MergeStatement) -> MergeStatement {
        flow.of_versions(VERSIONS, &self.names(), &self.key_names())
    }

    /// The places and fields of the flow's own columns.
    pub(super) fn own_fields(&self) -> impl Iterator<Item = (usize, &Field)> {
        let fields = self.schema.fields().iter().take(self.written);
        fields.map(|field| field.as_ref()).enumerate()
    }

    /// The names of all columns.
    pub(super) fn names(&self) -> Vec<String> {
        let fields = self.schema.fields().iter();
        fields.map(|field| field.name().clone()).collect()
    }

    /// The names of the key's columns.
    pub(super) fn key_names(&self) -> Vec<String> {
        let names = self
            .keys
            .iter()
            .map(|place| self.schema.field(*place).name());
        names.cloned().collect()
    }
}

/// The places of the tracked columns among those that the flow writes.
fn tracked(
    statement: &Statement,
    track: &Track,
    own: &Schema,
    keys: &[usize],
) -> Result<Vec<usize>, Error> {
    let place = |ident: &Ident| {
        let found = find(own, &ident.value).and_then(|field| own.index_of(field.name()).ok());
        found.ok_or_else(|| {
            let names: Vec<_> = own
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            let near = nearest(&ident.value, names.iter().copied());
            Error::invalid(statement.diagnostic(
                statement.ident_span(ident),
                format!(
                    "the flow writes no column `{}`, which TRACK HISTORY names",
                    ident.value
                ),
                near.map(|near| format!("did you mean `{near}`?")),
            ))
        })
    };
    match track {
        Track::Columns(columns) => {
            let places = columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
            let key = columns
                .iter()
                .zip(&places)
                .find(|(_, place)| keys.contains(place));
            match key {
                None => Ok(places),
                Some((key, _)) => Err(Error::invalid(statement.diagnostic(
                    statement.ident_span(key),
                    format!(
                        "`{}` is of the key, which is the same in all versions of a row",
                        key.value
                    ),
                    Some("name columns that change".to_string()),
                ))),
            }
        }
        Track::Except(columns) => {
            let except = columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
            let others = 0..own.fields().len();
            let others = others.filter(|place| !except.contains(place) && !keys.contains(place));
            Ok(others.collect())
        }
    }
}
