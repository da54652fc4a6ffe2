//! A statement by kind.

use super::alter::{Alteration, alteration};
use super::batch::near;
use super::cursor::{Cursor, ObjectName, at_commas, list};
use super::ddl::{Elements, KeySpec, collation, create_table, data_type, elements, names};
use super::lexer::{Kind, Token};
use super::protection::{Protection, protection};
use super::security::{LoginCommand, PrincipalCommand, grant, login_command, principal_command};
use crate::simulator::protocol::{Collation, ServerError, SqlType};

/// An argument of EXEC: a constant, or a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecArgument {
    /// The parameter's name with its `@`.
    pub(crate) name: Option<String>,
    /// The tokens of the value.
    pub(crate) value: Vec<Token>,
}

/// A parsed statement; queries and row changes stay tokens, for the SQL parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// SELECT, with or without WITH.
    Query(&'a [Token]),
    /// INSERT, UPDATE, DELETE.
    Change(&'a [Token]),
    /// CREATE TABLE.
    CreateTable(ObjectName, Elements),
    /// ALTER TABLE.
    AlterTable(ObjectName, Alteration),
    /// CREATE UNIQUE INDEX name ON table (columns); other indexes are accepted as `None`.
    CreateIndex(ObjectName, Option<KeySpec>),
    /// DROP TABLE.
    DropTables {
        /// The tables.
        names: Vec<ObjectName>,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// TRUNCATE TABLE.
    Truncate(ObjectName),
    /// CREATE DATABASE, and its collation.
    CreateDatabase(String, Option<Collation>),
    /// DROP DATABASE.
    DropDatabase {
        /// The database.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// CREATE TYPE name FROM type, and whether its columns may be NULL.
    CreateType(ObjectName, SqlType, bool),
    /// DROP TYPE.
    DropType {
        /// The type.
        name: ObjectName,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// ALTER DATABASE … SET option ON or OFF.
    AlterDatabase {
        /// The database; `None` for CURRENT.
        name: Option<String>,
        /// The option, in upper case.
        option: String,
        /// ON.
        on: bool,
    },
    /// CREATE SCHEMA.
    CreateSchema(String),
    /// What partitions tables and hides their rows and values.
    Protect(Protection),
    /// CREATE, ALTER or DROP LOGIN, and ALTER SERVER ROLE.
    Login(LoginCommand),
    /// CREATE, ALTER or DROP of users and roles; GRANT, DENY, REVOKE.
    Principal(PrincipalCommand),
    /// BEGIN TRANSACTION, with a name or a variable that has it.
    Begin(Option<&'a Token>),
    /// COMMIT.
    Commit,
    /// ROLLBACK, to a savepoint or of a transaction that is named.
    Rollback(Option<&'a Token>),
    /// SAVE TRANSACTION.
    Save(&'a Token),
    /// SET, with the rest of the statement.
    Set(&'a [Token]),
    /// USE.
    Use(String),
    /// PRINT, with the expression.
    Print(&'a [Token]),
    /// EXEC.
    Execute(ObjectName, Vec<ExecArgument>),
    /// INSERT into a table variable, EXEC.
    InsertExecute(InsertExecute),
    /// DECLARE @name TABLE.
    DeclareTable(String, Elements),
}

/// INSERT @variable EXEC procedure arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InsertExecute {
    /// The table variable's name with its `@`.
    pub(crate) variable: String,
    /// The procedure.
    pub(crate) procedure: ObjectName,
    /// Its arguments.
    pub(crate) arguments: Vec<ExecArgument>,
}

/// Parses a statement, which has at least one token.
pub(crate) fn command(tokens: &[Token], first_of_batch: bool) -> Result<Command<'_>, ServerError> {
    let mut cursor = Cursor::new(tokens);
    let Some(first) = tokens.first() else {
        return Err(ServerError::syntax(""));
    };
    let Kind::Word(word) = &first.kind else {
        if first.symbol("(") {
            return Ok(Command::Query(tokens));
        }
        return match first.kind {
            Kind::Quoted(_) if first_of_batch => execute(&mut cursor),
            _ => Err(near(first)),
        };
    };
    match word.to_ascii_uppercase().as_str() {
        "SELECT" => Ok(Command::Query(tokens)),
        "WITH" => Ok(with(tokens)),
        "INSERT" => insert(tokens),
        "UPDATE" | "DELETE" => Ok(Command::Change(tokens)),
        "DECLARE" => declare(&mut cursor),
        verb @ ("CREATE" | "ALTER" | "DROP") => {
            let mut after = Cursor::new(&tokens[1..]);
            if let Some(login) = login_command(verb, &mut after)? {
                return Ok(Command::Login(login));
            }
            if let Some(principal) = principal_command(verb, &mut after)? {
                return Ok(Command::Principal(principal));
            }
            if let Some(protection) = protection(verb, &mut after, first_of_batch)? {
                return Ok(Command::Protect(protection));
            }
            match verb {
                "CREATE" => {
                    let command = create(&mut cursor)?;
                    cursor.end()?;
                    Ok(command)
                }
                "ALTER" => alter(&mut cursor),
                _ => removal(&mut cursor),
            }
        }
        "GRANT" | "DENY" | "REVOKE" => grant(tokens).map(Command::Principal),
        "TRUNCATE" => {
            cursor.next();
            cursor.expect("TABLE")?;
            let name = cursor.object_name()?;
            cursor.end()?;
            Ok(Command::Truncate(name))
        }
        "BEGIN" | "COMMIT" | "ROLLBACK" | "SAVE" => transaction(&mut cursor),
        "SET" => Ok(Command::Set(&tokens[1..])),
        "USE" => {
            cursor.next();
            let name = cursor.name()?;
            cursor.end()?;
            Ok(Command::Use(name))
        }
        "PRINT" => Ok(Command::Print(&tokens[1..])),
        "EXEC" | "EXECUTE" => {
            cursor.next();
            execute(&mut cursor)
        }
        other if super::batch::is_starter(other) => {
            Err(ServerError::unsupported(format!("{other} statements")).at_line(first.line))
        }
        _ if first_of_batch => execute(&mut cursor),
        _ => Err(near(first)),
    }
}

/// INSERT; of a procedure's rows only into a table variable.
fn insert(tokens: &[Token]) -> Result<Command<'_>, ServerError> {
    let mut cursor = Cursor::new(tokens);
    cursor.expect("INSERT")?;
    cursor.eat("INTO");
    let variable = match cursor.peek().map(|token| &token.kind) {
        Some(Kind::Variable(name)) => name.clone(),
        _ => {
            let execute = tokens
                .iter()
                .find(|token| token.is_any(&["EXEC", "EXECUTE"]));
            return match execute {
                Some(token) => Err(ServerError::unsupported(
                    "INSERT … EXEC into anything but a table variable",
                )
                .at_line(token.line)),
                None => Ok(Command::Change(tokens)),
            };
        }
    };
    cursor.next();
    if !(cursor.eat("EXEC") || cursor.eat("EXECUTE")) {
        return Err(ServerError::unsupported(
            "INSERT into a table variable other than INSERT … EXEC",
        ));
    }
    match execute(&mut cursor)? {
        Command::Execute(procedure, arguments) => Ok(Command::InsertExecute(InsertExecute {
            variable,
            procedure,
            arguments,
        })),
        other => Ok(other),
    }
}

/// DECLARE of a table variable.
fn declare<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, ServerError> {
    cursor.expect("DECLARE")?;
    let name = match cursor.next().map(|token| &token.kind) {
        Some(Kind::Variable(name)) => name.clone(),
        _ => return Err(cursor.error()),
    };
    cursor.eat("AS");
    if !cursor.eat("TABLE") {
        return Err(ServerError::unsupported(
            "DECLARE of anything but a table variable",
        ));
    }
    let elements = elements(cursor.parenthesised()?)?;
    cursor.end()?;
    Ok(Command::DeclareTable(name, elements))
}

fn with(tokens: &[Token]) -> Command<'_> {
    let mut depth = 0_usize;
    for token in tokens {
        if token.symbol("(") {
            depth += 1;
        } else if token.symbol(")") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is_any(&["INSERT", "UPDATE", "DELETE"]) {
            return Command::Change(tokens);
        }
    }
    Command::Query(tokens)
}

fn create<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, ServerError> {
    cursor.next();
    if cursor.eat("TABLE") {
        let (name, elements) = create_table(cursor)?;
        return Ok(Command::CreateTable(name, elements));
    }
    if cursor.eat("DATABASE") {
        let name = cursor.name()?;
        let collation = match cursor.eat("COLLATE") {
            true => Some(collation(cursor)?),
            false => None,
        };
        return Ok(Command::CreateDatabase(name, collation));
    }
    if cursor.eat("TYPE") {
        return create_type(cursor);
    }
    if cursor.eat("SCHEMA") {
        return Ok(Command::CreateSchema(cursor.name()?));
    }
    create_index(cursor)
}

/// CREATE TYPE … FROM; types that are tables are not known.
fn create_type<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, ServerError> {
    let name = cursor.object_name()?;
    if !cursor.eat("FROM") {
        return Err(ServerError::unsupported("CREATE TYPE without FROM"));
    }
    let declared = data_type(cursor)?;
    if let Some(name) = declared.alias {
        return Err(ServerError::unknown_type(&name.to_string()));
    }
    let nullable = !cursor.eat_all(&["NOT", "NULL"]);
    cursor.eat("NULL");
    cursor.end()?;
    Ok(Command::CreateType(name, declared.sql_type, nullable))
}

fn create_index<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, ServerError> {
    let start = cursor.clone();
    let unique = cursor.eat("UNIQUE");
    let clustered = cursor.eat("CLUSTERED");
    cursor.eat("NONCLUSTERED");
    if !cursor.eat("INDEX") {
        let what = start.peek().and_then(Token::name).unwrap_or_default();
        return Err(ServerError::unsupported(format!(
            "CREATE {}",
            what.to_ascii_uppercase()
        )));
    }
    let name = cursor.name()?;
    cursor.expect("ON")?;
    let table = cursor.object_name()?;
    let columns = names(cursor.parenthesised()?)?;
    index_options(cursor)?;
    let key = unique.then_some(KeySpec {
        name: Some(name),
        primary: false,
        clustered: Some(clustered),
        columns,
    });
    Ok(Command::CreateIndex(table, key))
}

/// What follows an index's columns, as far as it changes nothing of what the index means.
fn index_options(cursor: &mut Cursor<'_>) -> Result<(), ServerError> {
    if cursor.eat("INCLUDE") {
        cursor.parenthesised()?;
    }
    if cursor.peek().is_some_and(|token| token.is("WHERE")) {
        return Err(ServerError::unsupported("filtered indexes"));
    }
    if cursor.eat("WITH") {
        let options = cursor.parenthesised()?;
        if options.iter().any(|token| token.is("IGNORE_DUP_KEY")) {
            return Err(ServerError::unsupported("IGNORE_DUP_KEY"));
        }
    }
    if cursor.eat("ON") {
        cursor.name()?;
    }
    Ok(())
}

fn alter<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, ServerError> {
    cursor.next();
    if cursor.eat("DATABASE") {
        let name = Some(cursor.name()?).filter(|name| !name.eq_ignore_ascii_case("CURRENT"));
        cursor.expect("SET")?;
        let option = cursor.name()?.to_ascii_uppercase();
        let on = cursor.eat("ON");
        if !on {
            cursor.expect("OFF")?;
        }
        // How long others may go on meanwhile: nobody has to stop here.
        if cursor.eat("WITH") && !cursor.eat("NO_WAIT") {
            cursor.expect("ROLLBACK")?;
            cursor.expect("IMMEDIATE")?;
        }
        cursor.end()?;
        return Ok(Command::AlterDatabase { name, option, on });
    }
    if !cursor.eat("TABLE") {
        return Err(ServerError::unsupported("this ALTER statement"));
    }
    let name = cursor.object_name()?;
    let alteration = alteration(cursor)?;
    Ok(Command::AlterTable(name, alteration))
}

/// DROP.
fn removal<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, ServerError> {
    cursor.next();
    if cursor.eat("DATABASE") {
        let if_exists = cursor.eat_all(&["IF", "EXISTS"]);
        let name = cursor.name()?;
        if cursor.peek().is_some_and(|token| token.symbol(",")) {
            return Err(ServerError::unsupported("DROP DATABASE of several"));
        }
        cursor.end()?;
        return Ok(Command::DropDatabase { name, if_exists });
    }
    if cursor.eat("TYPE") {
        let if_exists = cursor.eat_all(&["IF", "EXISTS"]);
        let name = cursor.object_name()?;
        cursor.end()?;
        return Ok(Command::DropType { name, if_exists });
    }
    if !cursor.eat("TABLE") {
        let what = cursor.peek().and_then(Token::name).unwrap_or_default();
        return Err(ServerError::unsupported(format!(
            "DROP {}",
            what.to_ascii_uppercase()
        )));
    }
    let if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    let names = list(cursor.rest(), Cursor::object_name)?;
    Ok(Command::DropTables { names, if_exists })
}

fn transaction<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, ServerError> {
    let verb = cursor.next();
    let is = |word| verb.is_some_and(|verb| verb.is(word));
    if cursor.eat("DISTRIBUTED") {
        return Err(ServerError::unsupported("distributed transactions"));
    }
    let bare = is("COMMIT") || is("ROLLBACK");
    let given = cursor.eat("TRAN") || cursor.eat("TRANSACTION") || bare && cursor.eat("WORK");
    if !given && !bare {
        return Err(cursor.error());
    }
    let named = |token: &&Token| {
        matches!(
            token.kind,
            Kind::Word(_) | Kind::Quoted(_) | Kind::Variable(_)
        ) && !token.is("WITH")
    };
    let name = cursor.peek().filter(named);
    if name.is_some() {
        cursor.next();
    }
    if cursor.eat("WITH") {
        if is("BEGIN") {
            cursor.expect("MARK")?;
            cursor.next();
        } else if is("COMMIT") {
            cursor.parenthesised()?;
        } else {
            return Err(cursor.error());
        }
    }
    cursor.end()?;
    Ok(match name {
        name if is("BEGIN") => Command::Begin(name),
        _ if is("COMMIT") => Command::Commit,
        name if is("ROLLBACK") => Command::Rollback(name),
        Some(name) => Command::Save(name),
        None => return Err(cursor.error()),
    })
}

fn execute<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, ServerError> {
    if let Some(token) = cursor.peek().filter(|token| token.symbol("(")) {
        return Err(ServerError::unsupported("EXEC of a string").at_line(token.line));
    }
    let name = cursor.object_name()?;
    let mut arguments = Vec::new();
    for part in at_commas(cursor.rest()) {
        let mut cursor = Cursor::new(part);
        let name = match part {
            [
                Token {
                    kind: Kind::Variable(name),
                    ..
                },
                equals,
                ..,
            ] if equals.symbol("=") => {
                cursor.next();
                cursor.next();
                Some(name.clone())
            }
            _ => None,
        };
        let value = cursor.rest().to_vec();
        if let Some(output) = value
            .iter()
            .skip(1)
            .find(|token| token.is_any(&["OUTPUT", "OUT"]))
        {
            return Err(ServerError::unsupported("EXEC … OUTPUT").at_line(output.line));
        }
        let signed = value.first().is_some_and(|token| token.symbol("-"));
        if value.len() != 1 + usize::from(signed) {
            return Err(value.get(1).map_or_else(|| cursor.error(), near));
        }
        arguments.push(ExecArgument { name, value });
    }
    Ok(Command::Execute(name, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::tsql::lexer::tokens;

    #[test]
    fn exec_takes_constants_by_name_and_place() {
        let tokens =
            tokens("EXEC sys.sp_cdc_enable_table N'dbo', @role_name = NULL, @n = -1").unwrap();
        let Command::Execute(name, arguments) = command(&tokens, false).unwrap() else {
            panic!();
        };
        assert_eq!(name.to_string(), "sys.sp_cdc_enable_table");
        assert_eq!(arguments.len(), 3);
        assert_eq!(arguments[1].name.as_deref(), Some("@role_name"));
        assert_eq!(arguments[2].value.len(), 2);
    }

    #[test]
    fn a_batch_may_begin_with_a_procedure() {
        let words = tokens("sp_who").unwrap();
        assert!(matches!(command(&words, true), Ok(Command::Execute(..))));
        assert_eq!(command(&words, false).unwrap_err().number, 102);
    }

    #[test]
    fn what_is_missing_says_so() {
        for text in [
            "CREATE VIEW v AS SELECT 1",
            "DECLARE @x int",
            "MERGE t USING u ON 1 = 1",
            "EXEC dbo.p @n = @n OUTPUT",
            "EXEC dbo.p 1, @n OUT",
        ] {
            let tokens = tokens(text).unwrap();
            assert_eq!(command(&tokens, true).unwrap_err().number, 40510, "{text}");
        }
    }
}
