//! The columns of a new Delta table.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake::operations::create::CreateBuilder;
use deltalake::{DeltaTableError, TableProperty};

use super::SinkError;
use crate::nearest::nearest;

/// Characters that Parquet, and so a Delta table without column mapping, has no place for in a name.
const FORBIDDEN: [char; 10] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// Prefix of table properties that steer cdcql and are not stored in the table.
const OWN_PROPERTIES: &str = "cdcql.";

/// Property that says whether deletion vectors are written: `auto`, the default, or `off`.
const DELETION_VECTORS: &str = "cdcql.deletionVectors";

/// What a new table has besides its columns. An existing table keeps what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The columns that data files are grouped by, outermost first.
    pub partition_columns: Vec<String>,
    /// The table's description.
    pub comment: Option<String>,
    /// Delta's table properties (`delta.…`); those that begin with `cdcql.` are left out.
    pub properties: Vec<(String, String)>,
}

impl TableOptions {
    /// Checks the options, and the names and types of the `columns` if there are some, as if a table with them was made.
    ///
    /// # Errors
    /// `InvalidTableOption`, `InvalidColumnName` or `InvalidColumnType`.
    pub fn check(&self, location: &str, columns: Option<&Schema>) -> Result<(), SinkError> {
        self.validate_own(location)?;
        match columns {
            Some(columns) => {
                let stored = stored_schema(location, columns)?;
                self.validate(location, &stored)
            }
            None => self.validate_properties(location),
        }
    }

    /// Checks the options against the columns of the new table.
    pub(super) fn validate(&self, location: &str, schema: &Schema) -> Result<(), SinkError> {
        let invalid = |object: String, reason: &str| SinkError::InvalidTableOption {
            location: location.to_string(),
            object,
            reason: reason.to_string(),
        };
        for column in &self.partition_columns {
            if schema.index_of(column).is_err() {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let reason = match nearest(column, names) {
                    Some(near) => format!("the table has no such column; did you mean '{near}'?"),
                    None => "the table has no such column".to_string(),
                };
                let object = format!("partition column '{column}'");
                return Err(invalid(object, &reason));
            }
        }
        if !self.partition_columns.is_empty()
            && self.partition_columns.len() == schema.fields().len()
        {
            let object = "PARTITIONED BY every column".to_string();
            return Err(invalid(object, "leave at least one column out"));
        }
        self.validate_properties(location)
    }

    fn validate_properties(&self, location: &str) -> Result<(), SinkError> {
        for (key, _) in self.stored_properties() {
            if key.parse::<TableProperty>().is_err() {
                let reason = match nearest(&key, DELTA_PROPERTIES.iter().copied()) {
                    Some(near) => format!("Delta has no such property; did you mean '{near}'?"),
                    None => "Delta has no such property".to_string(),
                };
                return Err(SinkError::InvalidTableOption {
                    location: location.to_string(),
                    object: format!("table property '{key}'"),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// A builder of a table with the stored columns `schema` and these options; it knows no place yet.
    pub(super) fn creation(
        &self,
        location: &str,
        schema: &SchemaRef,
    ) -> Result<CreateBuilder, SinkError> {
        let columns: StructType = schema.as_ref().try_into_kernel().map_err(|error| {
            SinkError::from_delta(location, "create", DeltaTableError::from(error))
        })?;
        let properties = self.stored_properties();
        let builder = CreateBuilder::new()
            .with_columns(columns.fields().cloned())
            .with_partition_columns(self.partition_columns.clone())
            .with_configuration(properties.map(|(key, value)| (key, Some(value))));
        Ok(match &self.comment {
            Some(comment) => builder.with_comment(comment.clone()),
            None => builder,
        })
    }

    /// The properties that the table stores: those given, and deletion vectors unless somebody decided otherwise.
    pub(super) fn stored_properties(&self) -> impl Iterator<Item = (String, String)> {
        let given = self.properties.iter();
        let given = given.filter(|(key, _)| !key.starts_with(OWN_PROPERTIES));
        let vectors = TableProperty::EnableDeletionVectors.as_ref().to_string();
        let decided = self.properties.iter().any(|(key, _)| *key == vectors);
        let added = (!decided && self.wants_vectors()).then(|| (vectors, "true".to_string()));
        given.cloned().chain(added)
    }

    /// False where `cdcql.deletionVectors` is `off`: deletion vectors are then not written, whatever the table allows.
    pub(super) fn wants_vectors(&self) -> bool {
        self.vectors() != Some("off")
    }

    fn vectors(&self) -> Option<&str> {
        let mut properties = self.properties.iter();
        properties.find_map(|(key, value)| (key == DELETION_VECTORS).then_some(value.as_str()))
    }

    /// Checks what steers cdcql, whether the table exists or not.
    pub(super) fn validate_own(&self, location: &str) -> Result<(), SinkError> {
        match self.vectors() {
            None | Some("auto" | "off") => Ok(()),
            Some(other) => Err(SinkError::InvalidTableOption {
                location: location.to_string(),
                object: format!("table property '{DELETION_VECTORS}' = '{other}'"),
                reason: "it is 'auto' or 'off'".to_string(),
            }),
        }
    }
}

/// Delta's properties that somebody may want to write.
const DELTA_PROPERTIES: &[&str] = &[
    "delta.appendOnly",
    "delta.autoOptimize.autoCompact",
    "delta.autoOptimize.optimizeWrite",
    "delta.checkpointInterval",
    "delta.checkpoint.writeStatsAsJson",
    "delta.checkpoint.writeStatsAsStruct",
    "delta.columnMapping.mode",
    "delta.dataSkippingNumIndexedCols",
    "delta.dataSkippingStatsColumns",
    "delta.deletedFileRetentionDuration",
    "delta.enableChangeDataFeed",
    "delta.enableDeletionVectors",
    "delta.enableExpiredLogCleanup",
    "delta.isolationLevel",
    "delta.logRetentionDuration",
    "delta.minReaderVersion",
    "delta.minWriterVersion",
    "delta.randomizeFilePrefixes",
    "delta.setTransactionRetentionDuration",
    "delta.targetFileSize",
    "delta.tuneFileSizesForRewrites",
];

/// The schema under which a new table at `location` stores `schema`; nullability is kept.
///
/// Text and binary of any width become Delta's string and binary, timestamps are kept to the
/// microsecond (with a zone: in UTC). A name or type that Delta cannot store is an error.
pub(super) fn stored_schema(location: &str, schema: &Schema) -> Result<SchemaRef, SinkError> {
    let mut names = HashSet::new();
    let fields = schema
        .fields()
        .iter()
        .map(|field| {
            check_name(location, field.name(), &mut names)?;
            let data_type = stored_type(field.data_type()).ok_or_else(|| {
                let hint = type_hint(field.data_type());
                SinkError::InvalidColumnType {
                    location: location.to_string(),
                    column: field.name().clone(),
                    data_type: field.data_type().clone(),
                    hint,
                }
            })?;
            Ok(Field::new(field.name(), data_type, field.is_nullable()))
        })
        .collect::<Result<Vec<_>, SinkError>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn check_name(location: &str, name: &str, seen: &mut HashSet<String>) -> Result<(), SinkError> {
    let invalid = |reason: String| SinkError::InvalidColumnName {
        location: location.to_string(),
        column: name.to_string(),
        reason,
    };
    if name.is_empty() {
        return Err(invalid("the name is empty".to_string()));
    }
    if let Some(found) = name.chars().find(|letter| FORBIDDEN.contains(letter)) {
        return Err(invalid(format!("the name contains {found:?}")));
    }
    if !seen.insert(name.to_lowercase()) {
        let reason = "another column has this name in upper or lower case";
        return Err(invalid(reason.to_string()));
    }
    Ok(())
}

fn stored_type(data_type: &DataType) -> Option<DataType> {
    let stored = match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32 => data_type.clone(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => stored_decimal(*precision, *scale)?,
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        DataType::Dictionary(_, value) => stored_type(value)?,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let element = stored_type(item.data_type())?;
            DataType::List(Arc::new(Field::new("element", element, true)))
        }
        DataType::Struct(fields) => DataType::Struct(stored_fields(fields)?),
        _ => return None,
    };
    Some(stored)
}

fn stored_fields(fields: &Fields) -> Option<Fields> {
    fields
        .iter()
        .map(|field| {
            let data_type = stored_type(field.data_type())?;
            Some(field.as_ref().clone().with_data_type(data_type))
        })
        .collect::<Option<Vec<_>>>()
        .map(Fields::from)
}

fn stored_decimal(precision: u8, scale: i8) -> Option<DataType> {
    let fits = precision <= 38 && u8::try_from(scale).is_ok_and(|scale| scale <= precision);
    fits.then_some(DataType::Decimal128(precision, scale))
}

fn type_hint(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            "Delta has no unsigned numbers, cast it: CAST(… AS BIGINT)"
        }
        DataType::UInt64 => "Delta has no unsigned numbers, cast it: CAST(… AS DECIMAL(20, 0))",
        DataType::Time32(_) | DataType::Time64(_) => {
            "Delta has no time of day, cast it to text: CAST(… AS VARCHAR)"
        }
        DataType::Null => "give the NULL a type: CAST(NULL AS …)",
        DataType::Decimal256(..) | DataType::Decimal128(..) => {
            "Delta stores up to 38 digits, cast it: CAST(… AS DECIMAL(38, …))"
        }
        _ => "leave the column out, or cast it to a type that Delta has",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema_of(name: &str, data_type: DataType) -> Schema {
        Schema::new(vec![Field::new(name, data_type, false)])
    }

    #[test]
    fn types_are_stored_as_delta_has_them() {
        let cases = [
            (DataType::Utf8View, DataType::Utf8),
            (DataType::FixedSizeBinary(16), DataType::Binary),
            (DataType::Decimal64(9, 2), DataType::Decimal128(9, 2)),
            (
                DataType::Timestamp(TimeUnit::Nanosecond, Some("+01:00".into())),
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
        ];
        for (given, stored) in cases {
            let schema = stored_schema("t", &schema_of("c", given)).unwrap();
            assert_eq!(schema.field(0).data_type(), &stored);
            assert!(!schema.field(0).is_nullable());
        }
    }

    #[test]
    fn names_delta_cannot_store_are_refused_by_name() {
        for name in [
            "a b", "a,b", "a;b", "a{b", "a}b", "a(b", "a)b", "a\nb", "a\tb", "a=b", "",
        ] {
            let error = stored_schema("t", &schema_of(name, DataType::Int32)).unwrap_err();
            assert_eq!(error.kind(), super::super::SinkErrorKind::InvalidSchema);
            assert!(error.to_string().contains(&format!("'{name}'")), "{error}");
        }
        for name in ["a-b", "a.b", "größe", "a/b", "a'b", "a\"b", "a#1"] {
            assert!(
                stored_schema("t", &schema_of(name, DataType::Int32)).is_ok(),
                "{name}"
            );
        }
        let twice = Schema::new(vec![
            Field::new("Id", DataType::Int32, true),
            Field::new("id", DataType::Int32, true),
        ]);
        assert!(stored_schema("t", &twice).is_err());
    }

    #[test]
    fn types_delta_cannot_store_are_refused_by_name_and_type() {
        for data_type in [
            DataType::UInt32,
            DataType::UInt64,
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Null,
            DataType::Float16,
            DataType::Decimal256(60, 2),
            DataType::Duration(TimeUnit::Second),
        ] {
            let text = data_type.to_string();
            let error = stored_schema("t", &schema_of("when", data_type)).unwrap_err();
            assert!(error.to_string().contains("'when'"), "{error}");
            assert!(error.to_string().contains(&text), "{error}");
        }
    }

    #[test]
    fn table_options_are_checked_against_the_columns() {
        let schema = schema_of("a", DataType::Int32);
        let options = |columns: &[&str], key: &str| TableOptions {
            partition_columns: columns.iter().map(ToString::to_string).collect(),
            comment: None,
            properties: vec![(key.to_string(), "true".to_string())],
        };
        assert!(
            options(&[], "delta.appendOnly")
                .validate("t", &schema)
                .is_ok()
        );
        assert!(
            options(&[], "cdcql.readBack")
                .validate("t", &schema)
                .is_ok()
        );
        assert!(
            options(&[], "delta.apendOnly")
                .validate("t", &schema)
                .is_err()
        );
        assert!(
            options(&["b"], "delta.appendOnly")
                .validate("t", &schema)
                .is_err()
        );
        assert!(
            options(&["a"], "delta.appendOnly")
                .validate("t", &schema)
                .is_err()
        );
    }
}
