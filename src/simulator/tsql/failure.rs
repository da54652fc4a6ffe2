//! DataFusion's errors as SQL Server's.

use std::error::Error;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use super::normal::Spelling;
use crate::simulator::protocol::ServerError;

/// The server error that an error of planning or running stands for.
pub(super) fn failure(error: &DataFusionError, spelling: &Spelling) -> ServerError {
    if let Some(found) = carried(error) {
        return found;
    }
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => schema_failure(schema, spelling),
        DataFusionError::ArrowError(arrow, _) => arrow_failure(arrow),
        DataFusionError::Plan(message) => plan_failure(message, spelling),
        DataFusionError::NotImplemented(message) => {
            ServerError::unsupported(format!("this statement ({message})"))
        }
        DataFusionError::ResourcesExhausted(_) => ServerError::new(
            701,
            "There is insufficient system memory in resource pool 'default' to run this query.",
        ),
        other => plan_failure(&other.to_string(), spelling),
    }
}

/// A server error somewhere among the causes.
fn carried(error: &(dyn Error + 'static)) -> Option<ServerError> {
    if let Some(found) = error.downcast_ref::<ServerError>() {
        return Some(found.clone());
    }
    match error.downcast_ref::<DataFusionError>() {
        Some(DataFusionError::External(inner)) => carried(inner.as_ref()),
        Some(DataFusionError::ArrowError(inner, _)) => carried(inner.as_ref()),
        Some(DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner)) => {
            carried(inner.as_ref())
        }
        Some(DataFusionError::Shared(inner)) => carried(inner.as_ref()),
        Some(DataFusionError::Collection(errors)) => errors.iter().find_map(|e| carried(e)),
        Some(_) => None,
        None => match error.downcast_ref::<ArrowError>() {
            Some(ArrowError::ExternalError(inner)) => carried(inner.as_ref()),
            _ => error.source().and_then(carried),
        },
    }
}

fn schema_failure(error: &SchemaError, spelling: &Spelling) -> ServerError {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let name = spelling.of(&field.name);
            let Some(relation) = &field.relation else {
                return ServerError::invalid_column(&name);
            };
            let known = valid_fields.iter().any(|valid| {
                valid
                    .relation
                    .as_ref()
                    .is_some_and(|r| r.table() == relation.table())
            });
            if known {
                ServerError::invalid_column(&name)
            } else {
                let relation = spelling.of_dotted(&relation.to_string());
                ServerError::unbound_identifier(&format!("{relation}.{name}"))
            }
        }
        SchemaError::AmbiguousReference { field } => {
            ServerError::ambiguous_column(&spelling.of(&field.name))
        }
        SchemaError::DuplicateUnqualifiedField { name } => duplicate_name(&spelling.of(name)),
        SchemaError::DuplicateQualifiedField { name, .. } => duplicate_name(&spelling.of(name)),
    }
}

fn duplicate_name(name: &str) -> ServerError {
    ServerError::new(
        8156,
        format!("The column '{name}' was specified multiple times."),
    )
}

fn arrow_failure(error: &ArrowError) -> ServerError {
    match error {
        ArrowError::DivideByZero => ServerError::divide_by_zero(),
        ArrowError::ArithmeticOverflow(_) => ServerError::new(
            8115,
            "Arithmetic overflow error converting expression to data type numeric.",
        ),
        other => ServerError::new(8630, format!("Internal Query Processor Error: {other}.")),
    }
}

fn plan_failure(message: &str, spelling: &Spelling) -> ServerError {
    if let Some(rest) = message
        .split_once("Invalid function '")
        .map(|(_, rest)| rest)
    {
        let name = rest.split('\'').next().unwrap_or_default();
        return ServerError::unknown_function(&spelling.of_dotted(name));
    }
    if message.contains("must appear in the GROUP BY clause")
        || message.contains("must be part of GROUP BY")
    {
        let column = message.split(['"', '\'']).nth(1).unwrap_or_default();
        return ServerError::new(
            8120,
            format!(
                "Column '{}' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause.",
                spelling.of_dotted(column)
            ),
        );
    }
    if message.contains("returned more than one row") || message.contains("more than 1 row") {
        return ServerError::new(
            512,
            "Subquery returned more than 1 value. This is not permitted when the subquery follows =, !=, <, <= , >, >= or when the subquery is used as an expression.",
        );
    }
    ServerError::unsupported(format!("this statement ({message})"))
}
