//! The columns in which a target keeps its history.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::super::schema::find;
use crate::change::{END_AT, START_AT};
use crate::engine::TableDeclaration;
use crate::error::Error;
use crate::sql::{MergeStatement, Statement};

/// Those columns, by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct HistoryColumns {
    /// The instants from which and to which a version was valid.
    pub(super) period: Option<(String, String)>,
}

/// The type of an instant.
pub(super) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl HistoryColumns {
    /// Those of the target of a flow; `None` for one that keeps the present rows alone.
    ///
    /// # Errors
    /// `Invalid` for a PERIOD of a table that keeps no history, or one that takes a name of the others.
    pub(in super::super) fn of(
        statement: &Statement,
        merge: &MergeStatement,
        declaration: &TableDeclaration,
    ) -> Result<Option<Self>, Error> {
        let refuse = |message: String, help: &str| {
            let help = Some(help.to_string());
            let diagnostic = statement.diagnostic(merge.target_span, message, help);
            Err(Error::invalid(diagnostic))
        };
        let period = declaration.period.clone();
        if merge.history().is_none() {
            return match period {
                None => Ok(None),
                Some((from, to)) => refuse(
                    format!(
                        "PERIOD FOR SYSTEM_TIME ({from}, {to}) of '{}' is of a table that keeps its history, and this flow keeps \
                         the present rows",
                        declaration.name
                    ),
                    "write STORED AS SCD TYPE 2, or leave PERIOD FOR SYSTEM_TIME out",
                ),
            };
        }
        let taken = |name: &String| {
            [START_AT, END_AT]
                .iter()
                .any(|own| own.eq_ignore_ascii_case(name))
        };
        let clash = {
            let mut names = period.iter().flat_map(|(from, to)| [from, to]);
            names.find(|name| taken(name)).cloned()
        };
        match clash {
            None => Ok(Some(Self { period })),
            Some(name) => refuse(
                format!(
                    "PERIOD FOR SYSTEM_TIME takes the name '{name}', which is of the commit's version"
                ),
                "name the column valid_from or valid_to",
            ),
        }
    }

    /// The columns, with their types.
    pub(super) fn fields(&self) -> Vec<Field> {
        let version = [START_AT, END_AT].map(|name| Field::new(name, DataType::Utf8, true));
        let instants = self.period.iter().flat_map(|(from, to)| [from, to]);
        let instants = instants.map(|name| Field::new(name, instant(), true));
        version.into_iter().chain(instants).collect()
    }

    fn is_one(&self, name: &str) -> bool {
        let mut fields = self.fields().into_iter();
        fields.any(|field| field.name().eq_ignore_ascii_case(name))
    }

    /// The columns of `target` that its flow's rows have.
    pub(in super::super) fn without(&self, target: &Schema) -> SchemaRef {
        let fields = target.fields().iter();
        let fields = fields.filter(|field| !self.is_one(field.name()));
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }

    /// `columns`, and those of these that are not among them.
    pub(in super::super) fn with(&self, columns: &Schema) -> SchemaRef {
        let mut fields = columns.fields().to_vec();
        let own = self.fields().into_iter();
        let lacking = own.filter(|field| find(columns, field.name()).is_none());
        fields.extend(lacking.map(Arc::new));
        Arc::new(Schema::new(fields))
    }
}
