//! A database's users and roles, and what they were granted.

use std::collections::BTreeSet;

use crate::simulator::protocol::ServerError;

/// What may be granted. Permissions that guard nothing here are refused, so that nobody relies on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// SELECT.
    Select,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// EXECUTE.
    Execute,
    /// REFERENCES.
    References,
    /// ALTER.
    Alter,
    /// CONTROL: all of them.
    Control,
    /// CONNECT.
    Connect,
    /// VIEW DEFINITION.
    ViewDefinition,
    /// VIEW DATABASE STATE.
    ViewDatabaseState,
    /// VIEW DATABASE PERFORMANCE STATE.
    ViewDatabasePerformanceState,
    /// UNMASK.
    Unmask,
}

/// Each permission's name, and its `type` in `sys.database_permissions`.
pub(super) const NAMES: &[(Permission, &str, &str)] = &[
    (Permission::Select, "SELECT", "SL  "),
    (Permission::Insert, "INSERT", "IN  "),
    (Permission::Update, "UPDATE", "UP  "),
    (Permission::Delete, "DELETE", "DL  "),
    (Permission::Execute, "EXECUTE", "EX  "),
    (Permission::References, "REFERENCES", "RF  "),
    (Permission::Alter, "ALTER", "AL  "),
    (Permission::Control, "CONTROL", "CL  "),
    (Permission::Connect, "CONNECT", "CO  "),
    (Permission::ViewDefinition, "VIEW DEFINITION", "VW  "),
    (Permission::ViewDatabaseState, "VIEW DATABASE STATE", "VWDS"),
    (
        Permission::ViewDatabasePerformanceState,
        "VIEW DATABASE PERFORMANCE STATE",
        "VDP ",
    ),
    (Permission::Unmask, "UNMASK", "UMSK"),
];

impl Permission {
    /// The permission of a name without case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let found = NAMES
            .iter()
            .find(|(_, known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(permission, ..)| *permission)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(permission, ..)| *permission == self);
        found.map_or("", |(_, name, _)| name)
    }

    /// Its `type` in `sys.database_permissions`.
    pub(crate) fn code(self) -> &'static str {
        let found = NAMES.iter().find(|(permission, ..)| *permission == self);
        found.map_or("", |(_, _, code)| code)
    }

    /// Whether it can be had on something smaller than a database.
    pub(crate) fn is_of_objects(self) -> bool {
        !matches!(
            self,
            Self::Connect | Self::ViewDatabaseState | Self::ViewDatabasePerformanceState
        )
    }
}

/// On what a permission is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Securable {
    /// The database.
    Database,
    /// A schema, by `schema_id`.
    Schema(i32),
    /// A table, by object id.
    Object(i32),
}

/// A user or a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// `principal_id`.
    pub(crate) id: i32,
    /// Its name.
    pub(crate) name: String,
    /// Whether it is a role.
    pub(crate) role: bool,
    /// Whether every database has it.
    pub(crate) fixed: bool,
    /// The login of a user.
    pub(crate) login: Option<String>,
}

/// One GRANT or DENY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// To whom.
    pub(crate) grantee: i32,
    /// What.
    pub(crate) permission: Permission,
    /// On what.
    pub(crate) securable: Securable,
    /// DENY.
    pub(crate) deny: bool,
}

/// A database's principals and permissions.
#[derive(Debug, Clone)]
pub(crate) struct Principals {
    principals: Vec<Principal>,
    /// Roles and their members.
    members: BTreeSet<(i32, i32)>,
    grants: Vec<Grant>,
    next: i32,
}

/// The principals of every database: id, name, whether a role.
const FIXED: &[(i32, &str, bool)] = &[
    (PUBLIC, "public", true),
    (1, "dbo", false),
    (2, "guest", false),
    (OWNERS, "db_owner", true),
    (16385, "db_accessadmin", true),
    (16386, "db_securityadmin", true),
    (DEFINERS, "db_ddladmin", true),
    (READERS, "db_datareader", true),
    (WRITERS, "db_datawriter", true),
    (NO_READERS, "db_denydatareader", true),
    (NO_WRITERS, "db_denydatawriter", true),
];

pub(super) const PUBLIC: i32 = 0;
pub(super) const OWNERS: i32 = 16384;
pub(super) const DEFINERS: i32 = 16387;
pub(super) const READERS: i32 = 16390;
pub(super) const WRITERS: i32 = 16391;
pub(super) const NO_READERS: i32 = 16392;
pub(super) const NO_WRITERS: i32 = 16393;

impl Default for Principals {
    fn default() -> Self {
        let principals = FIXED.iter().map(|(id, name, role)| Principal {
            id: *id,
            name: (*name).to_owned(),
            role: *role,
            fixed: true,
            login: None,
        });
        Self {
            principals: principals.collect(),
            members: BTreeSet::new(),
            grants: Vec::new(),
            next: 5,
        }
    }
}

impl Principals {
    /// Every user and role.
    pub(crate) fn all(&self) -> &[Principal] {
        &self.principals
    }

    /// Roles and their members.
    pub(crate) fn members(&self) -> impl Iterator<Item = (i32, i32)> + '_ {
        self.members.iter().copied()
    }

    /// What was granted and denied.
    pub(crate) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The user or role of a name, without case.
    pub(crate) fn find(&self, name: &str) -> Option<&Principal> {
        let lower = name.to_lowercase();
        let mut principals = self.principals.iter();
        principals.find(|principal| principal.name.to_lowercase() == lower)
    }

    /// The role of a name, without case.
    pub(crate) fn role(&self, name: &str) -> Option<&Principal> {
        self.find(name).filter(|principal| principal.role)
    }

    /// The user of a login, without case.
    pub(crate) fn user_of(&self, login: &str) -> Option<&Principal> {
        let lower = login.to_lowercase();
        self.principals.iter().find(|principal| {
            let of = principal.login.as_ref();
            of.is_some_and(|of| of.to_lowercase() == lower)
        })
    }

    /// Adds a user of a login, or a role without one.
    pub(crate) fn add(
        &mut self,
        name: &str,
        login: Option<&str>,
        role: bool,
    ) -> Result<(), ServerError> {
        if self.find(name).is_some() {
            return Err(ServerError::new(
                15023,
                format!("User, group, or role '{name}' already exists in the current database."),
            ));
        }
        if login.is_some_and(|login| self.user_of(login).is_some()) {
            return Err(ServerError::new(
                15063,
                "The login already has an account under a different user name.",
            ));
        }
        self.principals.push(Principal {
            id: self.next,
            name: name.to_owned(),
            role,
            fixed: false,
            login: login.map(str::to_owned),
        });
        self.next += 1;
        Ok(())
    }

    /// Removes a user or a role, with all that it was granted.
    pub(crate) fn remove(&mut self, name: &str, role: bool) -> Result<(), ServerError> {
        let found = self.find(name).filter(|p| p.role == role && !p.fixed);
        let Some(id) = found.map(|principal| principal.id) else {
            let kind = if role { "role" } else { "user" };
            return Err(ServerError::new(
                15151,
                format!(
                    "Cannot drop the {kind} '{name}', because it does not exist or you do not have permission."
                ),
            ));
        };
        self.principals.retain(|principal| principal.id != id);
        self.members
            .retain(|(role, member)| *role != id && *member != id);
        self.grants.retain(|grant| grant.grantee != id);
        Ok(())
    }

    /// Adds a member to a role, or takes it out.
    pub(crate) fn set_member(
        &mut self,
        role: &str,
        member: &str,
        is_member: bool,
    ) -> Result<(), ServerError> {
        let role = self.role(role).map(|role| role.id).ok_or_else(|| {
            ServerError::new(
                15151,
                format!(
                    "Cannot alter the role '{role}', because it does not exist or you do not have permission."
                ),
            )
        })?;
        let member = self.named(member)?;
        if is_member {
            self.members.insert((role, member));
        } else {
            self.members.remove(&(role, member));
        }
        Ok(())
    }

    /// The id of a principal; error 15151 if there is no such.
    pub(crate) fn named(&self, name: &str) -> Result<i32, ServerError> {
        self.find(name).map(|principal| principal.id).ok_or_else(|| {
            ServerError::new(
                15151,
                format!(
                    "Cannot find the user '{name}', because it does not exist or you do not have permission."
                ),
            )
        })
    }

    /// GRANT, DENY, or REVOKE where `deny` is `None`.
    pub(crate) fn grant(
        &mut self,
        grantee: i32,
        permission: Permission,
        securable: Securable,
        deny: Option<bool>,
    ) {
        self.grants.retain(|grant| {
            grant.grantee != grantee
                || grant.permission != permission
                || grant.securable != securable
        });
        if let Some(deny) = deny {
            self.grants.push(Grant {
                grantee,
                permission,
                securable,
                deny,
            });
        }
    }

    /// Takes back whatever was granted on something that there is no more.
    pub(crate) fn forget(&mut self, securable: Securable) {
        self.grants.retain(|grant| grant.securable != securable);
    }

    /// A principal and all roles that it belongs to, `public` among them.
    pub(super) fn with_roles(&self, id: i32) -> Vec<i32> {
        let mut found = vec![id, PUBLIC];
        let mut at = 0;
        while let Some(member) = found.get(at).copied() {
            for (role, of) in &self.members {
                if *of == member && !found.contains(role) {
                    found.push(*role);
                }
            }
            at += 1;
        }
        found
    }
}
