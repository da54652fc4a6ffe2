//! Definitions: connections, schemas, tables.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::CatalogProvider;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    self, ExactNumberInfo, ObjectName, TimezoneInfo, helpers::stmt_create_table::CreateTableBuilder,
};

use super::catalog::ConnectionCatalog;
use super::connect::{check_options, connect};
use super::lake::TableDeclaration;
use super::located::Located;
use super::properties::{backfill_columns, on_gap, on_schema_change, options_of, read_back};
use super::{Engine, LAKE, MAIN};
use crate::error::{Error, Faults};
use crate::sink::delta::StorageOptions;
use crate::sql::{
    ColumnDefinition, CreateConnection, CreateSchema, CreateTable, Statement, StatementKind,
};

/// What a definition made, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defined(String);

impl fmt::Display for Defined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Engine {
    /// Makes all definitions of a file real, in whatever order they stand; other statements are left alone,
    /// but for views and SET, which are definitions too.
    ///
    /// # Errors
    /// Everything that is wrong with them, as far as it is the file's fault; else the first error.
    pub async fn define_all(
        &self,
        statements: &[Statement],
        file: Option<&Path>,
    ) -> Result<(), Error> {
        self.define_ranks(statements, file, SETTINGS..=VIEWS).await
    }

    /// Makes the schemas and tables of a file real, without a look at its connections or whatever else is in it.
    ///
    /// # Errors
    /// As [`Engine::define_all`].
    pub async fn define_tables(
        &self,
        statements: &[Statement],
        file: Option<&Path>,
    ) -> Result<(), Error> {
        self.define_ranks(statements, file, SCHEMAS..=TABLES).await
    }

    /// Executes the SET of a file.
    ///
    /// # Errors
    /// As [`Engine::define_all`].
    pub async fn define_settings(
        &self,
        statements: &[Statement],
        file: Option<&Path>,
    ) -> Result<(), Error> {
        self.define_ranks(statements, file, SETTINGS..=SETTINGS)
            .await
    }

    /// Opens the connections of a file; of an [offline](Engine::offline) engine, checks what it says of them.
    ///
    /// # Errors
    /// As [`Engine::define_all`].
    pub async fn define_connections(
        &self,
        statements: &[Statement],
        file: Option<&Path>,
    ) -> Result<(), Error> {
        self.define_ranks(statements, file, CONNECTIONS..=CONNECTIONS)
            .await
    }

    /// Makes the views of a file real; what they read must be there by then.
    ///
    /// # Errors
    /// As [`Engine::define_all`].
    pub async fn define_views(
        &self,
        statements: &[Statement],
        file: Option<&Path>,
    ) -> Result<(), Error> {
        self.define_ranks(statements, file, VIEWS..=VIEWS).await
    }

    async fn define_ranks(
        &self,
        statements: &[Statement],
        file: Option<&Path>,
        ranks: RangeInclusive<u8>,
    ) -> Result<(), Error> {
        let mut faults = Faults::default();
        for rank in ranks {
            // Views are planned over what was made before them.
            if rank == VIEWS && !faults.is_empty() {
                break;
            }
            for statement in statements {
                if rank_of(statement) != Some(rank) {
                    continue;
                }
                let defined = Box::pin(self.define_or_execute(statement, file)).await;
                let follows = |error: &Error| {
                    !faults.is_empty() && matches!(error.cause(), Error::UnknownSchema { .. })
                };
                match defined {
                    Err(error) if follows(&error) => {}
                    defined => _ = faults.kept(defined)?,
                }
            }
        }
        faults.into_result()
    }

    /// Makes what a statement defines real, or executes one that answers with nothing, such as SET.
    ///
    /// # Errors
    /// As [`Engine::define`] and [`Engine::query`].
    pub async fn define_or_execute(
        &self,
        statement: &Statement,
        file: Option<&Path>,
    ) -> Result<(), Error> {
        if self.define(statement, file).await?.is_none() {
            let _ = self.query(statement).await?;
        }
        Ok(())
    }

    /// True for statements that [`Engine::define_all`] makes real.
    pub fn is_definition(statement: &Statement) -> bool {
        rank_of(statement).is_some()
    }

    /// The name of the view that a statement makes, if it makes one.
    pub fn view_name(statement: &Statement) -> Option<&ObjectName> {
        let StatementKind::Other(ast) = &statement.kind else {
            return None;
        };
        match ast.as_ref() {
            DfStatement::Statement(inner) => match inner.as_ref() {
                ast::Statement::CreateView(view) => Some(&view.name),
                _ => None,
            },
            _ => None,
        }
    }

    /// Makes one connection, schema or table real; `None` for any other statement.
    pub async fn define(
        &self,
        statement: &Statement,
        file: Option<&Path>,
    ) -> Result<Option<Defined>, Error> {
        let base = self.base_of(file);
        let (result, span) = match &statement.kind {
            StatementKind::CreateConnection(definition) => (
                Box::pin(self.define_connection(definition, &base)).await,
                definition.name_span,
            ),
            StatementKind::CreateSchema(definition) => {
                (self.define_schema(definition, &base), definition.name_span)
            }
            StatementKind::CreateTable(definition) => (
                self.define_table(statement, definition, &base).await,
                definition.name_span,
            ),
            StatementKind::EveryTable(_) | StatementKind::Merge(_) | StatementKind::Other(_) => {
                return Ok(None);
            }
        };
        result
            .map(|text| Some(Defined(text)))
            .map_err(|error| error.at(statement, span))
    }

    async fn define_connection(
        &self,
        definition: &CreateConnection,
        base: &Path,
    ) -> Result<String, Error> {
        let name = &definition.name.value;
        if name.eq_ignore_ascii_case(LAKE) {
            return Err(Error::NameTaken { name: name.clone() });
        }
        if self.connections.find(name).is_some() {
            if definition.if_not_exists {
                return Ok(format!("connection {name} exists"));
            }
            return Err(Error::NameTaken { name: name.clone() });
        }
        if self.values.are_lenient() {
            check_options(definition, base, &self.values)?;
            return Ok(format!("connection {name} is not opened"));
        }
        let database = connect(definition, base, &self.options.resolver).await?;
        let text = format!("connection {name} to database {}", database.shown_name());
        let catalog: Arc<dyn CatalogProvider> = Arc::new(ConnectionCatalog::new(database.clone()));
        self.context
            .register_catalog(normalized(&definition.name), catalog);
        self.connections.insert(name, database);
        Ok(text)
    }

    fn define_schema(&self, definition: &CreateSchema, base: &Path) -> Result<String, Error> {
        let name = self.lake_name(&definition.name, 1)?.1;
        let location = definition
            .location
            .as_ref()
            .map(|location| self.resolve_location(location, base, &name))
            .transpose()?;
        let storage = self.storage_of(&definition.options, base)?;
        let storage = match &location {
            Some(Located::Known(location)) => storage.at(location)?,
            // Which options it may have is not known either.
            Some(Located::Unknown(_)) => StorageOptions::default(),
            None if definition.options.is_empty() => storage,
            None => return Err(Error::OptionsOfNoStore { schema: name }),
        };
        let location = location.map(Located::into_text);
        if self.lake.create_schema(&name, location, storage) {
            Ok(format!("schema {name}"))
        } else if definition.if_not_exists {
            Ok(format!("schema {name} exists"))
        } else {
            Err(Error::NameTaken { name })
        }
    }

    async fn define_table(
        &self,
        statement: &Statement,
        definition: &CreateTable,
        base: &Path,
    ) -> Result<String, Error> {
        let (schema_name, name) = self.lake_name(&definition.name, 2)?;
        let schema = self
            .lake
            .find_schema(&schema_name)
            .ok_or_else(|| Error::UnknownSchema {
                name: schema_name.clone(),
                known: self.lake.schema_names(),
            })?;
        let own = self.storage_of(&definition.options, base)?;
        let (location, storage) = match &definition.location {
            Some(location) => match self.resolve_location(location, base, &name)? {
                Located::Known(location) => {
                    let storage = own.at(&location)?;
                    (location, storage)
                }
                Located::Unknown(stand_in) => (stand_in, StorageOptions::default()),
            },
            None => {
                let location = schema.default_location(&name);
                let location = location.ok_or_else(|| Error::NoLocation {
                    table: name.clone(),
                })?;
                let storage = own.at(&location)?.over(schema.default_storage());
                (location, storage)
            }
        };
        let columns = match &definition.columns {
            Some(columns) => Some(self.columns_of(statement, columns).await?),
            None => None,
        };
        let declaration = TableDeclaration {
            schema: schema_name,
            name: name.clone(),
            location,
            storage,
            columns,
            options: options_of(definition),
            on_gap: on_gap(statement, definition)?,
            on_schema_change: on_schema_change(statement, definition)?,
            read_back: read_back(statement, definition)?,
            backfill_columns: backfill_columns(statement, definition)?,
            expectations: definition.expectations.clone(),
            period: definition
                .period
                .as_ref()
                .map(|period| (period.from.value.clone(), period.to.value.clone())),
            at_most_every: definition.trigger,
        };
        if schema.declare(declaration) {
            Ok(format!("table {name}"))
        } else if definition.if_not_exists {
            Ok(format!("table {name} exists"))
        } else {
            Err(Error::NameTaken { name })
        }
    }

    /// Schema and name of an object of the lake, written with at most `most` parts besides the catalog.
    fn lake_name(&self, name: &ObjectName, most: usize) -> Result<(String, String), Error> {
        let parts: Vec<String> = name.0.iter().map(part_text).collect();
        let within = match parts.split_first() {
            Some((first, rest)) if parts.len() > most && first.eq_ignore_ascii_case(LAKE) => rest,
            _ => parts.as_slice(),
        };
        match within {
            [name] => Ok((MAIN.to_string(), name.clone())),
            [schema, name] if most == 2 => Ok((schema.clone(), name.clone())),
            _ => Err(Error::NotInLake {
                name: name.to_string(),
            }),
        }
    }

    /// Arrow's types of declared columns: Delta's own names as Delta means them, others by DataFusion's mapping.
    async fn columns_of(
        &self,
        statement: &Statement,
        columns: &[ColumnDefinition],
    ) -> Result<SchemaRef, Error> {
        let mut fields = Vec::with_capacity(columns.len());
        for column in columns {
            let data_type = match delta_type(&column.data_type) {
                Some(data_type) => data_type,
                None => self.planned_type(statement, column).await?,
            };
            let name = column.name.value.as_str();
            fields.push(Field::new(name, data_type, column.nullable));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    async fn planned_type(
        &self,
        statement: &Statement,
        column: &ColumnDefinition,
    ) -> Result<DataType, Error> {
        let definition = ast::ColumnDef {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            options: Vec::new(),
        };
        let table = CreateTableBuilder::new(ObjectName::from(vec![ast::Ident::new("columns")]))
            .columns(vec![definition])
            .build();
        let ast = DfStatement::Statement(Box::new(ast::Statement::CreateTable(table)));
        let plan = self
            .context
            .state()
            .statement_to_plan(ast)
            .await
            .map_err(|error| Error::from_datafusion(error, Some(statement)))?;
        match plan {
            LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(table)) => {
                Ok(table.input.schema().field(0).data_type().clone())
            }
            _ => Err(Error::Internal(
                "a column's type was planned as something else",
            )),
        }
    }
}

/// The types whose names mean another type in Delta, as in Spark, than in DataFusion.
fn delta_type(declared: &ast::DataType) -> Option<DataType> {
    let micros =
        |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    match declared {
        ast::DataType::Timestamp(None | Some(6), TimezoneInfo::WithoutTimeZone)
        | ast::DataType::TimestampNtz(None | Some(6)) => Some(micros(None)),
        ast::DataType::Timestamp(None | Some(6), _) => Some(micros(Some("UTC"))),
        ast::DataType::Decimal(ExactNumberInfo::None)
        | ast::DataType::Dec(ExactNumberInfo::None)
        | ast::DataType::Numeric(ExactNumberInfo::None) => Some(DataType::Decimal128(10, 0)),
        ast::DataType::Custom(name, arguments) if arguments.is_empty() => {
            match name.to_string().to_ascii_uppercase().as_str() {
                "BYTE" => Some(DataType::Int8),
                "SHORT" => Some(DataType::Int16),
                "LONG" => Some(DataType::Int64),
                "TIMESTAMP_LTZ" => Some(micros(Some("UTC"))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// In which round settings are made.
const SETTINGS: u8 = 0;
/// In which round connections are opened.
const CONNECTIONS: u8 = 1;
/// In which round schemas and tables are made.
const SCHEMAS: u8 = 2;
const TABLES: u8 = 3;
/// Views are made after everything that they may read.
const VIEWS: u8 = 4;

/// In which round [`Engine::define_all`] makes a statement real.
fn rank_of(statement: &Statement) -> Option<u8> {
    match &statement.kind {
        StatementKind::CreateConnection(_) => Some(CONNECTIONS),
        StatementKind::CreateSchema(_) => Some(SCHEMAS),
        StatementKind::CreateTable(_) => Some(TABLES),
        StatementKind::Other(ast) => match ast.as_ref() {
            DfStatement::Statement(inner) => match inner.as_ref() {
                ast::Statement::Set(_) => Some(SETTINGS),
                ast::Statement::CreateView { .. } => Some(VIEWS),
                _ => None,
            },
            _ => None,
        },
        StatementKind::EveryTable(_) | StatementKind::Merge(_) => None,
    }
}

fn part_text(part: &ast::ObjectNamePart) -> String {
    part.as_ident()
        .map_or_else(|| part.to_string(), |ident| ident.value.clone())
}

/// A catalog's name as the planner looks it up: unquoted names in lower case.
fn normalized(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}
