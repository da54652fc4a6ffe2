//! What a session may do in a database.

use super::principals::{
    DEFINERS, NO_READERS, NO_WRITERS, OWNERS, PUBLIC, Permission, Principals, READERS, Securable,
    WRITERS,
};
use crate::simulator::capture::Instance;
use crate::simulator::store::{State, Table};

/// A session's rights in one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rights {
    /// The user's name.
    user: String,
    /// Whether it may do everything.
    owner: bool,
    /// Whether the login may do everything on the server.
    sysadmin: bool,
    /// The user and its roles.
    principals: Vec<i32>,
}

impl Rights {
    /// Those of `dbo`, who may do everything.
    pub(crate) fn all() -> Self {
        Self {
            user: "dbo".to_owned(),
            owner: true,
            sysadmin: true,
            principals: vec![1, PUBLIC, OWNERS],
        }
    }

    /// Those of a login that has a user in the database; `None` for one that has none. The system databases
    /// take everybody in as a guest.
    pub(crate) fn of_login(principals: &Principals, login: &str, system: bool) -> Option<Self> {
        let user = match principals.user_of(login) {
            Some(user) => user,
            None if system => principals.find("guest")?,
            None => return None,
        };
        let all = principals.with_roles(user.id);
        Some(Self {
            user: user.name.clone(),
            owner: all.contains(&OWNERS),
            sysadmin: false,
            principals: all,
        })
    }

    /// The user's name in the database.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// Whether the user owns the database.
    pub(crate) fn is_owner(&self) -> bool {
        self.owner
    }

    /// Whether the login may do everything on the server.
    pub(crate) fn is_sysadmin(&self) -> bool {
        self.sysadmin
    }

    /// Whether the user may define tables.
    pub(crate) fn may_define(&self) -> bool {
        self.owner || self.principals.contains(&DEFINERS)
    }

    /// Whether the user is in a role; `None` if there is no such role. An owner is in no role but `db_owner`.
    pub(crate) fn is_in(&self, state: &State, role: &str) -> Option<bool> {
        let role = state.principals.role(role)?;
        Some(self.principals.contains(&role.id))
    }

    /// Whether the user has a permission on a table.
    pub(crate) fn on_table(&self, state: &State, permission: Permission, table: &Table) -> bool {
        let schema = state.schema(&table.schema).map_or(0, |schema| schema.id);
        let chain = [
            Securable::Object(table.object_id),
            Securable::Schema(schema),
            Securable::Database,
        ];
        self.has(state, permission, &chain)
    }

    /// Whether the user has a permission on a table of schema `dbo` that the server keeps, by its object id.
    pub(crate) fn on_own_table(&self, state: &State, permission: Permission, id: i32) -> bool {
        let schema = state.schema("dbo").map_or(0, |schema| schema.id);
        let chain = [
            Securable::Object(id),
            Securable::Schema(schema),
            Securable::Database,
        ];
        self.has(state, permission, &chain)
    }

    /// Whether the user has a permission on a schema.
    pub(crate) fn on_schema(&self, state: &State, permission: Permission, schema: i32) -> bool {
        let chain = [Securable::Schema(schema), Securable::Database];
        self.has(state, permission, &chain)
    }

    /// Whether the user has a permission on the database.
    pub(crate) fn on_database(&self, state: &State, permission: Permission) -> bool {
        permission == Permission::Connect || self.has(state, permission, &[Securable::Database])
    }

    /// Whether the user may know that a table is there: it has some permission on it.
    pub(crate) fn sees(&self, state: &State, table: &Table) -> bool {
        const ANY: [Permission; 8] = [
            Permission::Select,
            Permission::Insert,
            Permission::Update,
            Permission::Delete,
            Permission::References,
            Permission::Alter,
            Permission::Control,
            Permission::ViewDefinition,
        ];
        ANY.iter()
            .any(|permission| self.on_table(state, *permission, table))
    }

    /// Whether the user may ask for an instance's changes: it may read the source table, and is in the gating
    /// role if there is one.
    pub(crate) fn reads_changes(&self, state: &State, instance: &Instance) -> bool {
        if self.owner {
            return true;
        }
        let source = state.tables.get(&instance.source);
        let reads = source.is_some_and(|table| self.on_table(state, Permission::Select, table));
        let role = instance.role.as_deref();
        reads && role.is_none_or(|role| self.is_in(state, role) == Some(true))
    }

    /// Denied anywhere is denied; granted anywhere is granted.
    fn has(&self, state: &State, permission: Permission, chain: &[Securable]) -> bool {
        if self.owner {
            return true;
        }
        let mut granted = self.by_role(permission, false);
        if self.by_role(permission, true) {
            return false;
        }
        for grant in state.principals.grants() {
            if self.principals.contains(&grant.grantee)
                && chain.contains(&grant.securable)
                && covers(grant.permission, permission)
            {
                if grant.deny {
                    return false;
                }
                granted = true;
            }
        }
        granted
    }

    /// What the fixed roles give or deny.
    fn by_role(&self, permission: Permission, deny: bool) -> bool {
        let role = match (permission, deny) {
            (Permission::Select, false) => READERS,
            (Permission::Select, true) => NO_READERS,
            (Permission::Insert | Permission::Update | Permission::Delete, false) => WRITERS,
            (Permission::Insert | Permission::Update | Permission::Delete, true) => NO_WRITERS,
            (Permission::Alter, false) => DEFINERS,
            _ => return false,
        };
        self.principals.contains(&role)
    }
}

/// Whether one permission includes another.
fn covers(granted: Permission, asked: Permission) -> bool {
    granted == asked
        || granted == Permission::Control
        || granted == Permission::Alter && asked == Permission::ViewDefinition
        || granted == Permission::ViewDatabaseState
            && asked == Permission::ViewDatabasePerformanceState
}
