//! What is in scope, told as rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;

use super::super::session::readable;
use super::Repl;
use crate::engine::LAKE;
use crate::error::Error;
use crate::sql::table_references;

impl Repl {
    /// `\d`
    pub(super) async fn list_tables(&mut self) -> Result<(), Error> {
        let tables = self.session.engine.tables().into_iter();
        let rows = tables.filter(|[_, schema, _]| schema != "information_schema");
        self.rows(["catalog", "schema", "table"], rows.collect())
            .await
    }

    /// `\dc`
    pub(super) async fn list_connections(&mut self) -> Result<(), Error> {
        let connections = self.session.engine.connection_names();
        let rows = connections.into_iter().map(|name| {
            let database = self.session.engine.database(&name);
            let database = database.map_or_else(|_| String::new(), |found| found.shown_name());
            [name, database]
        });
        let rows = rows.collect();
        self.rows(["connection", "database"], rows).await
    }

    /// `\dn`
    pub(super) async fn list_schemas(&mut self) -> Result<(), Error> {
        let schemas = self.session.engine.schema_names().into_iter();
        let rows = schemas.filter(|(_, schema)| schema != "information_schema");
        let rows = rows.map(|(catalog, schema)| [catalog, schema]).collect();
        self.rows(["catalog", "schema"], rows).await
    }

    /// `\df`
    pub(super) async fn list_functions(&mut self, part: Option<&str>) -> Result<(), Error> {
        let part = part.unwrap_or_default().to_lowercase();
        let names = self.session.engine.function_names().into_iter();
        let rows = names.filter(|name| name.contains(&part)).map(|name| [name]);
        self.rows(["function"], rows.collect()).await
    }

    /// `\d name`
    pub(super) async fn describe(&mut self, name: &str) -> Result<(), Error> {
        let text = format!("SELECT * FROM {name}");
        let parsed = self.session.parse("\\d".to_string(), text);
        let statements = readable(parsed)?;
        let Some(statement) = statements.first() else {
            return Ok(());
        };
        let frame = self.session.engine.query(statement).await?;
        let fields = frame.schema().fields().iter().map(|field| {
            let nullable = if field.is_nullable() { "yes" } else { "no" };
            [
                field.name().clone(),
                field.data_type().to_string(),
                nullable.to_string(),
            ]
        });
        let rows = fields.collect();
        self.rows(["column", "type", "nullable"], rows).await?;
        for reference in table_references(statement) {
            let full = self.session.engine.resolve(&reference.table);
            let told = match full.catalog.eq_ignore_ascii_case(LAKE) {
                true => self.lake_table(&full).await?,
                false => self.source_table(&full).await,
            };
            for line in told {
                self.printer.aside(&line)?;
            }
        }
        Ok(())
    }

    async fn lake_table(
        &self,
        name: &datafusion::common::ResolvedTableReference,
    ) -> Result<Vec<String>, Error> {
        let Some(declaration) = self.session.engine.declaration(name) else {
            return Ok(Vec::new());
        };
        let target = declaration.open().await?;
        let mut told = vec![format!("location: {}", declaration.location)];
        told.extend(
            target
                .version()
                .map(|version| format!("version: {version}")),
        );
        if !target.partition_columns().is_empty() {
            told.push(format!(
                "partitioned by: {}",
                target.partition_columns().join(", ")
            ));
        }
        Ok(told)
    }

    /// What is known of capture; nothing of a table that is not captured.
    async fn source_table(&self, name: &datafusion::common::ResolvedTableReference) -> Vec<String> {
        let Ok(database) = self.session.engine.database(&name.catalog) else {
            return Vec::new();
        };
        match database.captured_table(&name.schema, &name.table).await {
            Ok(table) => {
                let instance = table.capture_instance();
                let mut told = vec![format!(
                    "captured by: {instance}, since {}",
                    table.start_lsn()
                )];
                let key = table.key_names().join(", ");
                told.push(match key.is_empty() {
                    true => "key: none, so that no flow can read it".to_string(),
                    false => format!("key: {key}"),
                });
                told
            }
            Err(_) => vec!["not captured".to_string()],
        }
    }

    async fn rows<const N: usize>(
        &mut self,
        names: [&str; N],
        rows: Vec<[String; N]>,
    ) -> Result<(), Error> {
        let columns = names.iter().enumerate().map(|(index, name)| {
            let values = rows.iter().map(|row| row[index].as_str());
            let values: ArrayRef = Arc::new(StringArray::from_iter_values(values));
            (*name, values)
        });
        let batch = RecordBatch::try_from_iter(columns).map_err(DataFusionError::from)?;
        let rows = RecordBatchStreamAdapter::new(batch.schema(), stream::iter([Ok(batch)]));
        self.printer.print(Box::pin(rows)).await
    }
}
