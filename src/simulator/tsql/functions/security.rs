//! Functions that ask for permissions. The only login may do everything that can be done.

use std::sync::Arc;

use super::Function;
use super::server::named_table;
use crate::simulator::protocol::SqlType;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::system::{parse_name, view_object};
use crate::simulator::types::Value;

const ROLES: &[&str] = &[
    "db_owner",
    "db_datareader",
    "db_datawriter",
    "db_ddladmin",
    "public",
];

pub(super) fn function(name: &str, scope: &Arc<Scope>) -> Option<Function> {
    let scope = Arc::clone(scope);
    Some(match name {
        "has_perms_by_name" => Function::new(name, (3, 5), SqlType::Int, move |args| {
            Ok(permission(&scope, args))
        })
        .takes_nulls(),
        "is_member" | "is_rolemember" => Function::new(name, (1, 2), SqlType::Int, |args| {
            let role = args[0].as_text().unwrap_or_default().to_lowercase();
            Ok(if ROLES.contains(&role.as_str()) {
                Value::Int(1)
            } else {
                // A gating role that is not known is held to be the owner's.
                Value::Null
            })
        }),
        "is_srvrolemember" => Function::new(name, (1, 2), SqlType::Int, |_| Ok(Value::Int(1))),
        "has_dbaccess" => Function::new(name, (1, 1), SqlType::Int, move |args| {
            let state = args[0].as_text().and_then(|name| scope.state(name));
            Ok(Value::Int(state.is_some().into()))
        }),
        _ => return None,
    })
}

/// 1 for what exists, NULL for what does not.
fn permission(scope: &Scope, args: &[Value]) -> Value {
    let name = args[0].as_text();
    let class = args[1].as_text().unwrap_or("SERVER").to_uppercase();
    if args[2].is_null() {
        return Value::Null;
    }
    let exists = match (class.as_str(), name) {
        ("DATABASE", Some(name)) => {
            parse_name(name).is_some_and(|name| scope.state(name.object()).is_some())
        }
        ("SCHEMA", Some(name)) => {
            let state = scope.current().ok();
            parse_name(name)
                .zip(state)
                .is_some_and(|(name, state)| state.schema(name.object()).is_some())
        }
        ("OBJECT", Some(name)) => {
            let column = args.get(3).and_then(Value::as_text);
            match named_table(scope, name) {
                Some(table) => column.is_none_or(|column| table.column(column).is_some()),
                None => view_object(scope, name).is_some(),
            }
        }
        ("SERVER", None) => true,
        _ => false,
    };
    if exists { Value::Int(1) } else { Value::Null }
}
