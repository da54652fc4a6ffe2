//! What the table demands of every new row.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;
use deltalake::DeltaTableError;
use deltalake::kernel::EagerSnapshot;

use super::super::super::SinkError;
use super::super::duplicate::describe;
use super::super::partition::PartitionTexts;

/// Prefix of the table properties that hold the CHECK constraints.
const CONSTRAINT: &str = "delta.constraints.";

/// NOT NULL columns and CHECK constraints.
pub(super) struct Checks {
    location: String,
    /// The places of the NOT NULL columns.
    required: Vec<usize>,
    constraints: Vec<Constraint>,
    texts: PartitionTexts,
}

struct Constraint {
    name: String,
    condition: String,
    holds: Arc<dyn PhysicalExpr>,
}

impl Checks {
    /// What `snapshot` demands of rows with the columns of `schema`.
    ///
    /// # Errors
    ///
    /// A constraint is no condition over these columns.
    pub(super) fn try_new(
        location: &str,
        snapshot: &EagerSnapshot,
        schema: &SchemaRef,
        state: &SessionState,
    ) -> Result<Self> {
        let columns = DFSchema::try_from(Arc::clone(schema))?;
        let mut constraints = Vec::new();
        for (property, condition) in snapshot.metadata().configuration() {
            if let Some(name) = property.strip_prefix(CONSTRAINT) {
                let holds = state.create_logical_expr(condition, &columns)?;
                constraints.push(Constraint {
                    name: name.to_string(),
                    condition: condition.clone(),
                    holds: state.create_physical_expr(holds, &columns)?,
                });
            }
        }
        let fields = schema.fields().iter().enumerate();
        Ok(Self {
            location: location.to_string(),
            required: fields
                .filter(|(_, field)| !field.is_nullable())
                .map(|(place, _)| place)
                .collect(),
            constraints,
            texts: PartitionTexts::try_new(
                location,
                schema,
                snapshot.metadata().partition_columns(),
            )?,
        })
    }

    /// Fails at the first row that may not be stored. A condition that is NULL does not hold.
    pub(super) fn verify(&self, rows: &RecordBatch) -> Result<()> {
        self.texts.verify(rows)?;
        for place in &self.required {
            let values = rows.column(*place);
            if let Some(row) = (0..values.len()).find(|row| values.is_null(*row)) {
                let schema = rows.schema();
                let column = schema.field(*place).name();
                return Err(self.violation(rows, row, &format!("column '{column}' is NOT NULL")));
            }
        }
        for constraint in &self.constraints {
            let holds = constraint.holds.evaluate(rows)?;
            let holds = holds.into_array(rows.num_rows())?;
            let holds = holds.as_boolean();
            let breaks = |row: &usize| holds.is_null(*row) || !holds.value(*row);
            if let Some(row) = (0..rows.num_rows()).find(breaks) {
                let Constraint {
                    name, condition, ..
                } = constraint;
                let demand = format!("constraint '{name}' demands {condition}");
                return Err(self.violation(rows, row, &demand));
            }
        }
        Ok(())
    }

    fn violation(&self, rows: &RecordBatch, row: usize, demand: &str) -> DataFusionError {
        let message = match describe(&rows.slice(row, 1)) {
            Some(row) => format!("{demand}, and not so in the row {row}"),
            None => demand.to_string(),
        };
        SinkError::InvalidRow {
            location: self.location.clone(),
            source: Box::new(DeltaTableError::InvalidData { message }),
        }
        .into()
    }
}
