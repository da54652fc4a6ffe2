//! Functions that ask the server: databases, objects, properties.

use std::sync::Arc;

use super::Function;
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType};
use crate::simulator::store::{State, Table};
use crate::simulator::tsql::asked::Source;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::system::{self, change_function, parse_name, view_object};
use crate::simulator::types::Value;

const NAME: SqlType = SqlType::NVarChar(Length::Limited(128));
const VARIANT: SqlType = SqlType::NVarChar(Length::Limited(4000));

pub(super) fn function(name: &str, scope: &Arc<Scope>) -> Option<Function> {
    databases(name, scope)
        .or_else(|| objects(name, scope))
        .or_else(|| columns(name, scope))
        .or_else(|| session(name, scope))
}

fn databases(name: &str, scope: &Arc<Scope>) -> Option<Function> {
    let scope = Arc::clone(scope);
    Some(match name {
        "db_name" => Function::new(name, (0, 1), NAME, move |args| {
            let Some(id) = args.first() else {
                return Ok(Value::from(scope.database()));
            };
            scope.note(Source::Server);
            let databases = scope.server().databases();
            let found = databases
                .iter()
                .find(|d| Some(i64::from(d.committed().id)) == id.as_int());
            Ok(found.map(|d| d.name().to_owned()).into())
        }),
        "db_id" => Function::new(name, (0, 1), SqlType::SmallInt, move |args| {
            let name = args
                .first()
                .and_then(Value::as_text)
                .unwrap_or(scope.database());
            Ok(scope.state(name).map(|state| state.id).into())
        }),
        "databasepropertyex" => Function::new(name, (2, 2), VARIANT, move |args| {
            let state = args[0].as_text().and_then(|name| scope.state(name));
            let property = args[1].as_text().unwrap_or_default().to_lowercase();
            Ok(state.map_or(Value::Null, |state| {
                database_property(&scope, &state, &property)
            }))
        }),
        "collationproperty" => Function::new(name, (2, 2), VARIANT, |args| {
            let collation = args[0].as_text().and_then(Collation::named);
            let property = args[1].as_text().unwrap_or_default().to_lowercase();
            collation.map_or(Ok(Value::Null), |collation| {
                collation_property(collation, &property)
            })
        }),
        "serverproperty" => Function::new(name, (1, 1), VARIANT, move |args| {
            let property = args[0].as_text().unwrap_or_default().to_lowercase();
            Ok(server_property(&property, &scope))
        }),
        _ => return None,
    })
}

fn database_property(scope: &Scope, state: &State, property: &str) -> Value {
    match property {
        "updateability" if scope.only_reads(&state.name) => "READ_ONLY".into(),
        "updateability" => "READ_WRITE".into(),
        "status" => "ONLINE".into(),
        "collation" => state.collation.to_string().into(),
        "recovery" => "FULL".into(),
        "useraccess" => "MULTI_USER".into(),
        "version" => "957".into(),
        "isread_committed_snapshoton" => {
            i64::from(state.read_committed_snapshot).to_string().into()
        }
        "edition" | "serviceobjective" => Value::Null,
        _ => Value::Null,
    }
}

fn collation_property(collation: Collation, property: &str) -> Result<Value, ServerError> {
    Ok(match property {
        "codepage" => collation.code_page().to_string().into(),
        "lcid" => collation.lcid().to_string().into(),
        "comparisonstyle" | "version" => {
            let what = format!("COLLATIONPROPERTY(…, '{property}')");
            return Err(ServerError::unsupported(&what));
        }
        _ => Value::Null,
    })
}

fn server_property(property: &str, scope: &Scope) -> Value {
    match property {
        "engineedition" => "3".into(),
        "productversion" => system::PRODUCT_VERSION.into(),
        "productmajorversion" => "16".into(),
        "productminorversion" => "0".into(),
        "productlevel" => "RTM".into(),
        "edition" => "Developer Edition (64-bit)".into(),
        "editionid" => "-2117995310".into(),
        "servername" | "machinename" | "computernamephysicalnetbios" => scope.server_name().into(),
        "collation" => scope.server().collation().to_string().into(),
        "lcid" => "1033".into(),
        "ishadrenabled" | "isclustered" | "issingleuser" | "isintegratedsecurityonly" => "0".into(),
        _ => Value::Null,
    }
}

/// The table that a text such as `[dbo].[t]` names.
pub(super) fn named_table(scope: &Scope, text: &str) -> Option<Arc<Table>> {
    scope.visible_table(&parse_name(text)?)
}

fn by_id(scope: &Scope, id: Option<i64>, database: Option<&Value>) -> Option<Arc<Table>> {
    let state = match database.and_then(Value::as_int) {
        Some(number) => scope
            .server()
            .databases()
            .iter()
            .find(|d| i64::from(d.committed().id) == number)
            .and_then(|d| scope.state(d.name()))?,
        None => scope.current().ok()?,
    };
    let id = i32::try_from(id?).ok()?;
    let table = state.tables.get(&id)?;
    let rights = scope.rights(&state).ok()?;
    scope.note_rights(&rights);
    rights.sees(&state, table).then(|| Arc::clone(table))
}

fn objects(name: &str, scope: &Arc<Scope>) -> Option<Function> {
    let scope = Arc::clone(scope);
    Some(match name {
        "object_id" => Function::new(name, (1, 2), SqlType::Int, move |args| {
            let text = args[0].as_text().unwrap_or_default();
            let kind = args.get(1).and_then(Value::as_text);
            let is = |kinds: &str| kind.is_none_or(|kind| kind.trim().eq_ignore_ascii_case(kinds));
            let table = named_table(&scope, text).filter(|_| is("U"));
            let id = table.map(|table| table.object_id);
            let function = || change_function(&scope, &parse_name(text)?).filter(|_| is("IF"));
            let id = id.or_else(function);
            Ok(id.or_else(|| view_object(&scope, text)).into())
        }),
        "object_name" => Function::new(name, (1, 2), NAME, move |args| {
            let table = by_id(&scope, args[0].as_int(), args.get(1));
            Ok(table.map(|table| table.name.clone()).into())
        }),
        "object_schema_name" => Function::new(name, (1, 2), NAME, move |args| {
            let table = by_id(&scope, args[0].as_int(), args.get(1));
            Ok(table.map(|table| table.schema.clone()).into())
        }),
        "schema_name" => Function::new(name, (0, 1), NAME, move |args| {
            let Some(id) = args.first() else {
                return Ok("dbo".into());
            };
            let state = scope.current()?;
            let schema = state
                .schemas
                .iter()
                .find(|s| Some(i64::from(s.id)) == id.as_int());
            Ok(schema.map(|schema| schema.name.clone()).into())
        }),
        "schema_id" => Function::new(name, (0, 1), SqlType::Int, move |args| {
            let name = args.first().and_then(Value::as_text).unwrap_or("dbo");
            Ok(scope.current()?.schema(name).map(|schema| schema.id).into())
        }),
        "objectproperty" | "objectpropertyex" => {
            Function::new(name, (2, 2), SqlType::Int, move |args| {
                let Some(table) = by_id(&scope, args[0].as_int(), None) else {
                    return Ok(Value::Null);
                };
                let property = args[1].as_text().unwrap_or_default().to_lowercase();
                Ok(match property.as_str() {
                    "istable" => Value::Int(1),
                    "isusertable" => Value::Int((!table.shipped).into()),
                    "ismsshipped" => Value::Int(table.shipped.into()),
                    "isview" | "isprocedure" => Value::Int(0),
                    "tablehasprimarykey" => Value::Int(table.primary_key().is_some().into()),
                    "tablehasidentity" => Value::Int(table.identity().is_some().into()),
                    _ => Value::Null,
                })
            })
        }
        _ => return None,
    })
}

fn columns(name: &str, scope: &Arc<Scope>) -> Option<Function> {
    let scope = Arc::clone(scope);
    Some(match name {
        "col_length" => Function::new(name, (2, 2), SqlType::SmallInt, move |args| {
            let table = named_table(&scope, args[0].as_text().unwrap_or_default());
            let column = table.and_then(|table| {
                let at = table.column(args[1].as_text().unwrap_or_default())?;
                Some(i32::from(table.columns[at].sql_type.max_length()))
            });
            Ok(column.into())
        }),
        "col_name" => Function::new(name, (2, 2), NAME, move |args| {
            let table = by_id(&scope, args[0].as_int(), None);
            let column = table.and_then(|table| {
                let id = args[1].as_int()?;
                let mut columns = table.columns.iter();
                columns
                    .find(|c| i64::from(c.id) == id)
                    .map(|c| c.name.clone())
            });
            Ok(column.into())
        }),
        "columnproperty" => Function::new(name, (3, 3), SqlType::Int, move |args| {
            let table = by_id(&scope, args[0].as_int(), None);
            let property = args[2].as_text().unwrap_or_default().to_lowercase();
            let found = table.and_then(|table| {
                let at = table.column(args[1].as_text()?)?;
                let column = &table.columns[at];
                match property.as_str() {
                    "isidentity" => Some(i32::from(column.identity.is_some())),
                    "allowsnull" => Some(i32::from(column.nullable)),
                    "iscomputed" => Some(i32::from(column.computed.is_some())),
                    "ishidden" => Some(0),
                    "columnid" => Some(column.id),
                    "precision" => Some(column.sql_type.precision().into()),
                    "scale" => Some(column.sql_type.scale().into()),
                    _ => None,
                }
            });
            Ok(found.into())
        }),
        "type_name" => Function::new(name, (1, 1), NAME, |args| {
            Ok(system::type_name(args[0].as_int()).into())
        }),
        "type_id" => Function::new(name, (1, 1), SqlType::Int, |args| {
            Ok(system::type_id(args[0].as_text().unwrap_or_default()).into())
        }),
        "ident_current" => Function::new(
            name,
            (1, 1),
            SqlType::Decimal {
                precision: 38,
                scale: 0,
            },
            move |args| {
                let table = named_table(&scope, args[0].as_text().unwrap_or_default());
                let last = table.and_then(|table| {
                    let identity = table.columns[table.identity()?].identity?;
                    let next = table.next_identity?;
                    let last = if next == identity.seed {
                        next
                    } else {
                        next - identity.increment
                    };
                    Some(Value::Decimal(last.into(), 0))
                });
                Ok(last.unwrap_or(Value::Null))
            },
        ),
        _ => return None,
    })
}

fn session(name: &str, scope: &Arc<Scope>) -> Option<Function> {
    let (sql_type, value) = session_fact(name, scope)?;
    Some(Function::constant(name, sql_type, value))
}

/// What a function without arguments says of the session.
pub(crate) fn session_fact(name: &str, scope: &Scope) -> Option<(SqlType, Value)> {
    let text = |text: &str| Some((NAME, Value::from(text)));
    match name {
        "suser_sname" | "suser_name" | "original_login" | "system_user" => {
            text(&scope.facts().user)
        }
        "user_name" | "current_user" | "session_user" | "user" => {
            scope.note(Source::Session);
            let rights = scope.current().and_then(|state| scope.rights(&state));
            text(rights.as_ref().map_or("guest", |rights| rights.user()))
        }
        "app_name" => text(&scope.facts().program),
        "host_name" => text(&scope.facts().host),
        "xact_state" => {
            let open = scope.facts().transactions > 0;
            Some((SqlType::SmallInt, Value::Int(open.into())))
        }
        "scope_identity" => {
            let identity = scope.facts().identity;
            let sql_type = SqlType::Decimal {
                precision: 38,
                scale: 0,
            };
            let value = identity.map_or(Value::Null, |identity| Value::Decimal(identity.into(), 0));
            Some((sql_type, value))
        }
        _ => None,
    }
}
