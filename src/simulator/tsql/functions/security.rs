//! Functions that ask for permissions.

use std::sync::Arc;

use super::Function;
use super::server::named_table;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::security::Permission;
use crate::simulator::tsql::asked::Source;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::system::{parse_name, view_object};
use crate::simulator::types::Value;

pub(super) fn function(name: &str, noted: &Arc<Scope>) -> Option<Function> {
    let scope = Arc::clone(noted);
    let function = match name {
        "has_perms_by_name" => Function::new(name, (3, 5), SqlType::Int, move |args| {
            permission(&scope, args)
        })
        .takes_nulls(),
        "is_member" | "is_rolemember" => Function::new(name, (1, 2), SqlType::Int, move |args| {
            if args.len() > 1 {
                return Err(ServerError::unsupported("IS_ROLEMEMBER of another user"));
            }
            let state = scope.current()?;
            let role = args[0].as_text().unwrap_or_default();
            let member = scope.rights(&state)?.is_in(&state, role);
            Ok(member.map(i64::from).into())
        }),
        "is_srvrolemember" => Function::new(name, (1, 2), SqlType::Int, move |args| {
            let role = args[0].as_text().unwrap_or_default().to_lowercase();
            let login = args.get(1).and_then(Value::as_text);
            let login = login.unwrap_or(&scope.facts().user);
            let sysadmin = scope.server().logins(|logins| logins.is_sysadmin(login));
            Ok(match role.as_str() {
                "public" => Value::Int(1),
                "sysadmin" => Value::Int(sysadmin.into()),
                "serveradmin" | "securityadmin" | "processadmin" | "setupadmin" | "bulkadmin"
                | "diskadmin" | "dbcreator" => Value::Int(0),
                _ => Value::Null,
            })
        }),
        "has_dbaccess" => Function::new(name, (1, 1), SqlType::Int, move |args| {
            let state = args[0].as_text().and_then(|name| scope.state(name));
            Ok(state.map_or(Value::Null, |state| {
                Value::Int(scope.rights(&state).is_ok().into())
            }))
        }),
        _ => return None,
    };
    noted.note(Source::Session);
    Some(function)
}

/// 1 for what may be done, 0 for what may not, NULL for what does not exist or may not be known of.
fn permission(scope: &Scope, args: &[Value]) -> Result<Value, ServerError> {
    let name = args[0].as_text();
    let class = args[1].as_text().unwrap_or("SERVER").to_uppercase();
    let Some(asked) = args[2].as_text().map(str::to_uppercase) else {
        return Ok(Value::Null);
    };
    let known = Permission::parse(&asked);
    if known.is_none() && asked != "ANY" && class != "SERVER" {
        return Ok(Value::Null);
    }
    let answer = match (class.as_str(), name) {
        ("SERVER", None) => {
            let state = scope.current()?;
            Some(scope.rights(&state)?.is_sysadmin())
        }
        ("DATABASE", Some(name)) => {
            let state = parse_name(name).and_then(|name| scope.state(name.object()));
            state.map(|state| {
                scope.rights(&state).is_ok_and(|rights| {
                    known.is_none_or(|permission| rights.on_database(&state, permission))
                })
            })
        }
        ("SCHEMA", Some(name)) => {
            let state = scope.current()?;
            let rights = scope.rights(&state)?;
            let schema = parse_name(name).and_then(|name| state.schema(name.object()).cloned());
            schema.map(|schema| {
                known.is_none_or(|permission| rights.on_schema(&state, permission, schema.id))
            })
        }
        ("OBJECT", Some(name)) => object(scope, name, args.get(3), known)?,
        _ => None,
    };
    Ok(answer.map(i64::from).into())
}

fn object(
    scope: &Scope,
    name: &str,
    column: Option<&Value>,
    known: Option<Permission>,
) -> Result<Option<bool>, ServerError> {
    let Some(table) = named_table(scope, name) else {
        // The catalogue is everybody's to read.
        let view = view_object(scope, name);
        return Ok(view.map(|_| known.is_none_or(|p| p == Permission::Select)));
    };
    let column = column.and_then(Value::as_text);
    if column.is_some_and(|column| table.column(column).is_none()) {
        return Ok(None);
    }
    let database = parse_name(name).and_then(|name| name.database().map(str::to_owned));
    let database = database.unwrap_or_else(|| scope.database().to_owned());
    let state = scope
        .state(&database)
        .ok_or_else(|| ServerError::unknown_database(&database))?;
    let rights = scope.rights(&state)?;
    Ok(Some(known.is_none_or(|permission| {
        rights.on_table(&state, permission, &table)
    })))
}
