//! CREATE, ALTER and DROP of logins, users and roles; GRANT, DENY and REVOKE.

use std::sync::Arc;

use super::cursor::{Cursor, ObjectName, list};
use super::lexer::{Kind, Token};
use super::system::own_table;
use crate::simulator::protocol::{Language, ServerError};
use crate::simulator::security::{Logins, Permission, Principals, Securable};
use crate::simulator::store::{Server, State, Write};

/// A statement about logins, which are the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoginCommand {
    /// CREATE LOGIN.
    Create {
        /// The login.
        name: String,
        /// Its password.
        password: String,
        /// DEFAULT_DATABASE.
        database: Option<String>,
        /// DEFAULT_LANGUAGE.
        language: Language,
    },
    /// ALTER LOGIN … WITH PASSWORD.
    Password(String, String),
    /// ALTER LOGIN … ENABLE or DISABLE.
    Enable(String, bool),
    /// DROP LOGIN.
    Drop(String),
    /// ALTER SERVER ROLE sysadmin ADD or DROP MEMBER.
    Sysadmin(String, bool),
}

/// A statement about a database's principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalCommand {
    /// CREATE USER.
    CreateUser {
        /// The user.
        name: String,
        /// Its login; `None` for WITHOUT LOGIN.
        login: Option<String>,
    },
    /// CREATE ROLE.
    CreateRole(String),
    /// DROP USER or DROP ROLE.
    Drop {
        /// The user or role.
        name: String,
        /// Whether it is a role.
        role: bool,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// ALTER ROLE … ADD or DROP MEMBER.
    Member {
        /// The role.
        role: String,
        /// The user or role.
        member: String,
        /// ADD.
        add: bool,
    },
    /// GRANT, DENY or REVOKE.
    Grant {
        /// What.
        permissions: Vec<Permission>,
        /// On what; `None` for the database.
        on: Option<On>,
        /// To whom.
        grantees: Vec<String>,
        /// DENY; `None` for REVOKE.
        deny: Option<bool>,
    },
}

/// What a permission is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum On {
    /// A table.
    Object(ObjectName),
    /// A schema.
    Schema(String),
}

/// CREATE, ALTER or DROP LOGIN, and ALTER SERVER ROLE, after the first word; `None` for anything else.
pub(crate) fn login_command(
    verb: &str,
    cursor: &mut Cursor<'_>,
) -> Result<Option<LoginCommand>, ServerError> {
    if verb == "ALTER" && cursor.eat_all(&["SERVER", "ROLE"]) {
        return server_role(cursor).map(Some);
    }
    if !cursor.eat("LOGIN") {
        return Ok(None);
    }
    let name = cursor.name()?;
    let command = match verb {
        "DROP" => LoginCommand::Drop(name),
        "ALTER" if cursor.eat("ENABLE") => LoginCommand::Enable(name, true),
        "ALTER" if cursor.eat("DISABLE") => LoginCommand::Enable(name, false),
        _ => {
            if cursor.eat("FROM") {
                return Err(ServerError::unsupported("logins without a password"));
            }
            let (password, database, language) = login_options(cursor)?;
            match verb {
                "ALTER" => LoginCommand::Password(name, password),
                _ => LoginCommand::Create {
                    name,
                    password,
                    database,
                    language,
                },
            }
        }
    };
    cursor.end()?;
    Ok(Some(command))
}

/// WITH PASSWORD = '…' and the options behind it.
fn login_options(
    cursor: &mut Cursor<'_>,
) -> Result<(String, Option<String>, Language), ServerError> {
    cursor.expect("WITH")?;
    cursor.expect("PASSWORD")?;
    cursor.expect_symbol("=")?;
    let password = text(cursor)?;
    let _ = cursor.eat("MUST_CHANGE");
    let (mut database, mut language) = (None, Language::default());
    while cursor.eat_symbol(",") {
        let option = cursor.name()?.to_uppercase();
        cursor.expect_symbol("=")?;
        match option.as_str() {
            "DEFAULT_DATABASE" => database = Some(cursor.name()?),
            "DEFAULT_LANGUAGE" => {
                let name = cursor.name()?;
                language = Language::named(&name).ok_or_else(|| {
                    ServerError::unsupported(format!("the language {name} of a login"))
                })?;
            }
            "CHECK_POLICY" | "CHECK_EXPIRATION" => {
                cursor.name()?;
            }
            other => {
                return Err(ServerError::unsupported(format!("{other} of a login")));
            }
        }
    }
    Ok((password, database, language))
}

fn text(cursor: &mut Cursor<'_>) -> Result<String, ServerError> {
    match cursor.peek().map(|token| &token.kind) {
        Some(Kind::Text(text) | Kind::National(text)) => {
            cursor.next();
            Ok(text.clone())
        }
        _ => Err(cursor.error()),
    }
}

fn server_role(cursor: &mut Cursor<'_>) -> Result<LoginCommand, ServerError> {
    let role = cursor.name()?;
    if !role.eq_ignore_ascii_case("sysadmin") {
        return Err(ServerError::unsupported("server roles but sysadmin"));
    }
    let add = cursor.eat("ADD");
    if !add {
        cursor.expect("DROP")?;
    }
    cursor.expect("MEMBER")?;
    let name = cursor.name()?;
    cursor.end()?;
    Ok(LoginCommand::Sysadmin(name, add))
}

/// CREATE, ALTER or DROP of a USER or ROLE, after the first word; `None` for anything else.
pub(crate) fn principal_command(
    verb: &str,
    cursor: &mut Cursor<'_>,
) -> Result<Option<PrincipalCommand>, ServerError> {
    let role = cursor.eat("ROLE");
    if !role && !cursor.eat("USER") {
        return Ok(None);
    }
    let if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    let name = cursor.name()?;
    let command = match (verb, role) {
        ("DROP", role) => PrincipalCommand::Drop {
            name,
            role,
            if_exists,
        },
        ("CREATE", true) => {
            if cursor.eat("AUTHORIZATION") {
                cursor.name()?;
            }
            PrincipalCommand::CreateRole(name)
        }
        ("CREATE", false) => create_user(cursor, name)?,
        (_, true) => {
            let add = cursor.eat("ADD");
            if !add {
                cursor.expect("DROP")?;
            }
            cursor.expect("MEMBER")?;
            PrincipalCommand::Member {
                role: name,
                member: cursor.name()?,
                add,
            }
        }
        _ => return Err(ServerError::unsupported("ALTER USER")),
    };
    cursor.end()?;
    Ok(Some(command))
}

fn create_user(cursor: &mut Cursor<'_>, name: String) -> Result<PrincipalCommand, ServerError> {
    let login = if cursor.eat_all(&["WITHOUT", "LOGIN"]) {
        None
    } else if cursor.eat_all(&["FOR", "LOGIN"]) || cursor.eat_all(&["FROM", "LOGIN"]) {
        Some(cursor.name()?)
    } else {
        Some(name.clone())
    };
    if cursor.eat("WITH") {
        cursor.expect("DEFAULT_SCHEMA")?;
        cursor.expect_symbol("=")?;
        let schema = cursor.name()?;
        if !schema.eq_ignore_ascii_case("dbo") {
            return Err(ServerError::unsupported("default schemas but dbo"));
        }
    }
    Ok(PrincipalCommand::CreateUser { name, login })
}

/// GRANT, DENY or REVOKE, whole.
pub(crate) fn grant(tokens: &[Token]) -> Result<PrincipalCommand, ServerError> {
    let mut cursor = Cursor::new(tokens);
    let deny = if cursor.eat("GRANT") {
        Some(false)
    } else if cursor.eat("DENY") {
        Some(true)
    } else {
        cursor.next();
        let _ = cursor.eat_all(&["GRANT", "OPTION", "FOR"]);
        None
    };
    let mut permissions = vec![permission(&mut cursor)?];
    while cursor.eat_symbol(",") {
        permissions.push(permission(&mut cursor)?);
    }
    let on = cursor.eat("ON").then(|| on(&mut cursor)).transpose()?;
    let on = on.flatten();
    if on.is_some()
        && let Some(wide) = permissions.iter().find(|p| !p.is_of_objects())
    {
        return Err(ServerError::new(
            102,
            format!("Incorrect syntax near '{}'.", wide.name()),
        ));
    }
    if !cursor.eat("TO") {
        cursor.expect("FROM")?;
    }
    let rest = cursor.rest();
    let end = rest
        .iter()
        .position(|token| token.is_any(&["WITH", "CASCADE", "AS"]))
        .unwrap_or(rest.len());
    let grantees = list(&rest[..end], Cursor::name)?;
    Ok(PrincipalCommand::Grant {
        permissions,
        on,
        grantees,
        deny,
    })
}

fn permission(cursor: &mut Cursor<'_>) -> Result<Permission, ServerError> {
    let line = cursor.peek().map_or(1, |token: &Token| token.line);
    let mut words = Vec::new();
    while let Some(token) = cursor.peek() {
        if token.is_any(&["ON", "TO", "FROM"]) || token.symbol(",") || token.symbol("(") {
            break;
        }
        words.push(cursor.name()?.to_uppercase());
    }
    if cursor.peek().is_some_and(|token| token.symbol("(")) {
        return Err(ServerError::unsupported("permissions on columns").at_line(line));
    }
    let name = words.join(" ");
    Permission::parse(&name)
        .ok_or_else(|| ServerError::unsupported(format!("the permission {name}")).at_line(line))
}

/// What follows ON; `None` for the database.
fn on(cursor: &mut Cursor<'_>) -> Result<Option<On>, ServerError> {
    let class = cursor.clone();
    for (word, kind) in [("OBJECT", 0), ("SCHEMA", 1), ("DATABASE", 2)] {
        let mut after = class.clone();
        if after.eat(word) && after.eat_symbol("::") {
            *cursor = after;
            return Ok(match kind {
                0 => Some(On::Object(cursor.object_name()?)),
                1 => Some(On::Schema(cursor.name()?)),
                _ => {
                    cursor.name()?;
                    None
                }
            });
        }
    }
    let name = cursor.object_name()?;
    if let Some(token) = cursor.peek().filter(|token| token.symbol("(")) {
        return Err(ServerError::unsupported("permissions on columns").at_line(token.line));
    }
    Ok(Some(On::Object(name)))
}

/// Does what a statement says of logins.
pub(crate) fn change_logins(
    logins: &mut Logins,
    command: &LoginCommand,
) -> Result<(), ServerError> {
    match command {
        LoginCommand::Create {
            name,
            password,
            database,
            language,
        } => logins.create(name, password, database.clone(), *language),
        LoginCommand::Password(name, password) => logins.set_password(name, password),
        LoginCommand::Enable(name, enabled) => logins.enable(name, *enabled),
        LoginCommand::Drop(name) => logins.remove(name),
        LoginCommand::Sysadmin(name, member) => logins.set_sysadmin(name, *member),
    }
}

/// Does what a statement says of a database's principals.
pub(crate) fn change_principals(
    write: &mut Write,
    server: &Server,
    command: &PrincipalCommand,
) -> Result<(), ServerError> {
    let state = write.state_mut();
    match command {
        PrincipalCommand::CreateUser { name, login } => {
            if let Some(login) = login
                && !server.logins(|logins| logins.has(login))
            {
                return Err(ServerError::new(
                    15007,
                    format!("'{login}' is not a valid login or you do not have permission."),
                ));
            }
            principals(state).add(name, login.as_deref(), false)
        }
        PrincipalCommand::CreateRole(name) => principals(state).add(name, None, true),
        PrincipalCommand::Drop {
            name,
            role,
            if_exists,
        } => {
            if *if_exists && state.principals.find(name).is_none() {
                return Ok(());
            }
            principals(state).remove(name, *role)
        }
        PrincipalCommand::Member { role, member, add } => {
            principals(state).set_member(role, member, *add)
        }
        PrincipalCommand::Grant {
            permissions,
            on,
            grantees,
            deny,
        } => {
            let securable = securable(state, on.as_ref())?;
            let principals = principals(state);
            for grantee in grantees {
                let grantee = principals.named(grantee)?;
                for permission in permissions {
                    principals.grant(grantee, *permission, securable, *deny);
                }
            }
            Ok(())
        }
    }
}

fn principals(state: &mut State) -> &mut Principals {
    Arc::make_mut(&mut state.principals)
}

fn securable(state: &State, on: Option<&On>) -> Result<Securable, ServerError> {
    let found = match on {
        None => Some(Securable::Database),
        Some(On::Schema(name)) => state.schema(name).map(|s| Securable::Schema(s.id)),
        Some(On::Object(name)) => {
            let (schema, name) = (name.schema().unwrap_or("dbo"), name.object());
            let table = state.table(schema, name).map(|table| table.object_id);
            table
                .or_else(|| own_table(state, schema, name))
                .map(Securable::Object)
        }
    };
    let name = match on {
        Some(On::Schema(name)) => format!("the schema '{name}'"),
        Some(On::Object(name)) => format!("the object '{}'", name.object()),
        None => String::new(),
    };
    found.ok_or_else(|| {
        ServerError::new(
            15151,
            format!("Cannot find {name}, because it does not exist or you do not have permission."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::tsql::lexer::tokens;

    fn parse(text: &str) -> Result<PrincipalCommand, ServerError> {
        grant(&tokens(text).unwrap())
    }

    #[test]
    fn grants_name_what_on_what_and_to_whom() {
        let command = parse("GRANT SELECT, VIEW DEFINITION ON SCHEMA::cdc TO a, [b c]").unwrap();
        assert_eq!(
            command,
            PrincipalCommand::Grant {
                permissions: vec![Permission::Select, Permission::ViewDefinition],
                on: Some(On::Schema("cdc".to_owned())),
                grantees: vec!["a".to_owned(), "b c".to_owned()],
                deny: Some(false),
            }
        );
        let command = parse("REVOKE VIEW DATABASE STATE FROM a CASCADE").unwrap();
        let PrincipalCommand::Grant { on, deny, .. } = command else {
            panic!();
        };
        assert_eq!((on, deny), (None, None));
    }

    #[test]
    fn what_guards_nothing_is_refused() {
        assert_eq!(parse("GRANT SHOWPLAN TO a").unwrap_err().number, 40510);
        assert_eq!(
            parse("GRANT SELECT (k) ON t TO a").unwrap_err().number,
            40510
        );
        assert_eq!(parse("GRANT SELECT ON t").unwrap_err().number, 102);
    }
}
