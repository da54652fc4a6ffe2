//! Logins, users, roles and permissions.
//!
//! A login is the server's; a user and its permissions are a database's. A login that `CREATE LOGIN` made may
//! do what its user was granted and nothing else; the login that the server was started with, and a script
//! while it is replayed, is `sysadmin` and may do everything.

mod logins;
mod principals;
mod reader;
mod rights;

pub(crate) use logins::{Logins, SYSTEM_ADMINISTRATOR};
pub(crate) use principals::{Permission, Principals, Securable};
pub(crate) use reader::add_reader;
pub(crate) use rights::Rights;
