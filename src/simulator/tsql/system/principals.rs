//! Logins, users, roles and permissions.

use super::{Columns, DESCRIPTION, Definition, NAME};
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::security::Securable;
use crate::simulator::store::State;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::Value;

pub(super) const VIEWS: &[Definition] = &[
    Definition {
        schema: "sys",
        name: "server_principals",
        columns: LOGINS,
        rows: logins,
    },
    Definition {
        schema: "sys",
        name: "database_principals",
        columns: PRINCIPALS,
        rows: principals,
    },
    Definition {
        schema: "sys",
        name: "database_role_members",
        columns: MEMBERS,
        rows: members,
    },
    Definition {
        schema: "sys",
        name: "database_permissions",
        columns: PERMISSIONS,
        rows: permissions,
    },
];

const LOGINS: Columns = &[
    ("name", NAME, false),
    ("principal_id", SqlType::Int, false),
    ("type", SqlType::Char(1), false),
    ("type_desc", DESCRIPTION, true),
];

/// The logins that a session may know of: its own, and all of them if it is `sysadmin`.
fn logins(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let me = scope.facts().user.to_lowercase();
    let all = scope.rights(state)?.is_sysadmin();
    let names = scope.server().logins(|logins| logins.names());
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for (id, name) in (256_i32..).zip(names) {
        if all || name.to_lowercase() == me {
            rows.push(vec![name.into(), id.into(), "S".into(), "SQL_LOGIN".into()]);
        }
    }
    rows.push(vec![
        "sa".into(),
        Value::Int(1),
        "S".into(),
        "SQL_LOGIN".into(),
    ]);
    Ok(rows)
}

const PRINCIPALS: Columns = &[
    ("name", NAME, false),
    ("principal_id", SqlType::Int, false),
    ("type", SqlType::Char(1), false),
    ("type_desc", DESCRIPTION, true),
    ("default_schema_name", NAME, true),
    ("is_fixed_role", SqlType::Bit, false),
];

fn principals(scope: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let rights = scope.rights(state)?;
    let seen = state
        .principals
        .all()
        .iter()
        .filter(|p| p.fixed || p.role || rights.is_owner() || p.name == rights.user());
    Ok(seen
        .map(|principal| {
            let (code, kind) = if principal.role {
                ("R", "DATABASE_ROLE")
            } else {
                ("S", "SQL_USER")
            };
            vec![
                principal.name.as_str().into(),
                principal.id.into(),
                code.into(),
                kind.into(),
                (!principal.role).then_some("dbo").into(),
                (principal.fixed && principal.role && principal.id != 0).into(),
            ]
        })
        .collect())
}

const MEMBERS: Columns = &[
    ("role_principal_id", SqlType::Int, false),
    ("member_principal_id", SqlType::Int, false),
];

fn members(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let members = state.principals.members();
    Ok(members
        .map(|(role, member)| vec![role.into(), member.into()])
        .collect())
}

const PERMISSIONS: Columns = &[
    ("class", SqlType::TinyInt, false),
    ("class_desc", DESCRIPTION, true),
    ("major_id", SqlType::Int, false),
    ("minor_id", SqlType::Int, false),
    ("grantee_principal_id", SqlType::Int, false),
    ("grantor_principal_id", SqlType::Int, false),
    ("type", SqlType::Char(4), false),
    ("permission_name", NAME, true),
    ("state", SqlType::Char(1), false),
    ("state_desc", DESCRIPTION, true),
];

fn permissions(_: &Scope, state: &State) -> Result<Vec<Vec<Value>>, ServerError> {
    let grants = state.principals.grants().iter();
    Ok(grants
        .map(|grant| {
            let (class, kind, id) = match grant.securable {
                Securable::Database => (0, "DATABASE", 0),
                Securable::Object(id) => (1, "OBJECT_OR_COLUMN", id),
                Securable::Schema(id) => (3, "SCHEMA", id),
            };
            let (code, said) = if grant.deny {
                ("D", "DENY")
            } else {
                ("G", "GRANT")
            };
            vec![
                Value::Int(class),
                kind.into(),
                id.into(),
                Value::Int(0),
                grant.grantee.into(),
                Value::Int(1),
                grant.permission.code().into(),
                grant.permission.name().into(),
                code.into(),
                said.into(),
            ]
        })
        .collect())
}
