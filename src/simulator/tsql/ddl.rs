//! CREATE TABLE and ALTER TABLE as parsed.

use super::batch::near;
use super::cursor::{Cursor, ObjectName, at_commas};
use super::lexer::{Kind, Token};
use super::normal::source;
use crate::simulator::protocol::{Collation, ServerError, SqlType};
use crate::simulator::store::{Computed, Guard, Identity};
use crate::simulator::types::DefaultLength;

/// A column as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnSpec {
    pub(crate) name: String,
    pub(crate) sql_type: SqlType,
    pub(crate) alias_type: Option<i32>,
    /// A type of the database's own, which `sql_type` does not say yet.
    pub(crate) alias: Option<ObjectName>,
    pub(crate) collation: Option<Collation>,
    pub(crate) nullable: Option<bool>,
    pub(crate) identity: Option<Identity>,
    /// The tokens of the DEFAULT expression.
    pub(crate) default: Option<Vec<Token>>,
    /// What it is computed of. Its type is not known before the table is.
    pub(crate) computed: Option<Computed>,
    /// MASKED or ENCRYPTED, with the key's name.
    pub(crate) guard: Guard,
    /// The key that it is encrypted with.
    pub(crate) encryption_key: Option<String>,
}

/// A key as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeySpec {
    pub(crate) name: Option<String>,
    pub(crate) primary: bool,
    pub(crate) clustered: Option<bool>,
    pub(crate) columns: Vec<String>,
}

/// What a table's parentheses hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Elements {
    pub(crate) columns: Vec<ColumnSpec>,
    pub(crate) keys: Vec<KeySpec>,
    /// The partition scheme of the table, and the column that chooses the partition.
    pub(crate) partition: Option<(String, String)>,
}

/// CREATE TABLE, after these words.
pub(crate) fn create_table(cursor: &mut Cursor<'_>) -> Result<(ObjectName, Elements), ServerError> {
    let name = cursor.object_name()?;
    if name.object().starts_with('#') {
        return Err(ServerError::unsupported("temporary tables"));
    }
    let mut elements = elements(cursor.parenthesised()?)?;
    elements.partition = storage(cursor)?;
    Ok((name, elements))
}

/// Where and how a table is stored: its partition scheme and column, and what changes nothing of what it
/// holds, filegroups and compression.
fn storage(cursor: &mut Cursor<'_>) -> Result<Option<(String, String)>, ServerError> {
    let mut partition = None;
    loop {
        if cursor.eat("ON") || cursor.eat("TEXTIMAGE_ON") {
            let place = cursor.name()?;
            if cursor.peek().is_some_and(|token| token.symbol("(")) {
                let column = names(cursor.parenthesised()?)?;
                let [column] = <[String; 1]>::try_from(column).map_err(|_| cursor.error())?;
                partition = Some((place, column));
            }
        } else if cursor.eat("WITH") {
            let options = cursor.parenthesised()?;
            let compression = |option: &[Token]| option.first().is_some_and(is_compression);
            if !at_commas(options).into_iter().all(compression) {
                return Err(ServerError::unsupported("this option of CREATE TABLE"));
            }
        } else {
            cursor.end()?;
            return Ok(partition);
        }
    }
}

/// `WITH (FUNCTION = 'default()')`, after MASKED.
fn mask(cursor: &mut Cursor<'_>) -> Result<(), ServerError> {
    cursor.expect("WITH")?;
    let mut inner = Cursor::new(cursor.parenthesised()?);
    inner.expect("FUNCTION")?;
    inner.expect_symbol("=")?;
    match inner.next().map(|token| &token.kind) {
        Some(Kind::Text(function)) if function.trim().eq_ignore_ascii_case("default()") => {
            inner.end()
        }
        Some(Kind::Text(_)) => Err(ServerError::unsupported("masks but default()")),
        _ => Err(inner.error()),
    }
}

/// `WITH (COLUMN_ENCRYPTION_KEY = key, ENCRYPTION_TYPE = …, ALGORITHM = '…')`, after ENCRYPTED: the type's
/// number and the key's name.
fn encryption(cursor: &mut Cursor<'_>) -> Result<(u8, String), ServerError> {
    cursor.expect("WITH")?;
    let (mut kind, mut key) = (None, None);
    for option in at_commas(cursor.parenthesised()?) {
        let mut option = Cursor::new(option);
        let name = option.name()?;
        option.expect_symbol("=")?;
        match name.to_ascii_uppercase().as_str() {
            "COLUMN_ENCRYPTION_KEY" => key = Some(option.name()?),
            "ENCRYPTION_TYPE" if option.eat("DETERMINISTIC") => kind = Some(1),
            "ENCRYPTION_TYPE" if option.eat("RANDOMIZED") => kind = Some(2),
            "ALGORITHM" => {
                option.next();
            }
            _ => return Err(option.error()),
        }
        option.end()?;
    }
    kind.zip(key).ok_or_else(|| cursor.error())
}

fn is_compression(token: &Token) -> bool {
    token.is_any(&["DATA_COMPRESSION", "XML_COMPRESSION"])
}

/// A comma-separated list of columns and constraints.
pub(crate) fn elements(tokens: &[Token]) -> Result<Elements, ServerError> {
    let mut elements = Elements::default();
    let mut parts = at_commas(tokens);
    // SQL Server takes a comma after the last column.
    if parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    for part in parts {
        if part.is_empty() {
            let line = tokens.first().map_or(1, |token| token.line);
            return Err(ServerError::syntax(",").at_line(line));
        }
        element(&mut Cursor::new(part), &mut elements)?;
    }
    if elements == Elements::default() {
        return Err(tokens
            .first()
            .map_or_else(|| ServerError::syntax(")"), near));
    }
    Ok(elements)
}

fn element(cursor: &mut Cursor<'_>, elements: &mut Elements) -> Result<(), ServerError> {
    let starts = |keywords| cursor.peek().is_some_and(|t: &Token| t.is_any(keywords));
    if !starts(&["CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
        return column(cursor, elements);
    }
    let name = if cursor.eat("CONSTRAINT") {
        Some(cursor.name()?)
    } else {
        None
    };
    unenforced(cursor)?;
    let mut key = key_kind(cursor, name)?;
    let columns = cursor.parenthesised()?;
    key.columns = names(columns)?;
    elements.keys.push(key);
    Ok(())
}

/// PRIMARY KEY or UNIQUE, and CLUSTERED or not.
fn key_kind(cursor: &mut Cursor<'_>, name: Option<String>) -> Result<KeySpec, ServerError> {
    let primary = cursor.eat("PRIMARY");
    if primary {
        cursor.expect("KEY")?;
    } else {
        cursor.expect("UNIQUE")?;
    }
    let clustered = if cursor.eat("CLUSTERED") {
        Some(true)
    } else if cursor.eat("NONCLUSTERED") {
        Some(false)
    } else {
        None
    };
    Ok(KeySpec {
        name,
        primary,
        clustered,
        columns: Vec::new(),
    })
}

/// Column names with ASC or DESC after them.
pub(crate) fn names(tokens: &[Token]) -> Result<Vec<String>, ServerError> {
    at_commas(tokens)
        .into_iter()
        .map(|part| {
            let mut cursor = Cursor::new(part);
            let name = cursor.name()?;
            let _ = cursor.eat("ASC") || cursor.eat("DESC");
            cursor.end()?;
            Ok(name)
        })
        .collect()
}

fn column(cursor: &mut Cursor<'_>, elements: &mut Elements) -> Result<(), ServerError> {
    let name = cursor.name()?;
    if cursor.eat("AS") {
        elements.columns.push(computed_column(cursor, name)?);
        return Ok(());
    }
    let declared = data_type(cursor)?;
    let mut column = ColumnSpec {
        name,
        sql_type: declared.sql_type,
        alias_type: declared.alias_type,
        alias: declared.alias,
        collation: None,
        nullable: None,
        identity: None,
        default: None,
        computed: None,
        guard: Guard::None,
        encryption_key: None,
    };
    while cursor.peek().is_some() {
        option(cursor, &mut column, elements)?;
    }
    elements.columns.push(column);
    Ok(())
}

/// A computed column, after AS: an expression in parentheses, and PERSISTED.
fn computed_column(cursor: &mut Cursor<'_>, name: String) -> Result<ColumnSpec, ServerError> {
    let line = cursor.peek().map_or(1, |token: &Token| token.line);
    let rest = cursor.rest();
    let end = rest
        .iter()
        .position(|token| token.is_any(&["PERSISTED", "CONSTRAINT", "PRIMARY", "UNIQUE"]))
        .unwrap_or(rest.len());
    let expression = source(&rest[..end]);
    while cursor.rest().len() > rest.len() - end {
        cursor.next();
    }
    if expression.is_empty() {
        return Err(cursor.error());
    }
    let persisted = cursor.eat("PERSISTED");
    let _ = cursor.eat_all(&["NOT", "NULL"]);
    if cursor.peek().is_some() {
        let what = "keys and constraints of computed columns";
        return Err(ServerError::unsupported(what).at_line(line));
    }
    Ok(ColumnSpec {
        name,
        sql_type: SqlType::Int,
        alias_type: None,
        alias: None,
        collation: None,
        nullable: Some(true),
        identity: None,
        default: None,
        computed: Some(Computed {
            expression,
            persisted,
        }),
        guard: Guard::None,
        encryption_key: None,
    })
}

/// The column of ALTER COLUMN: a name, a type, and NULL or NOT NULL.
pub(crate) fn one_column(cursor: &mut Cursor<'_>) -> Result<ColumnSpec, ServerError> {
    let name = cursor.name()?;
    let declared = data_type(cursor)?;
    if let Some(name) = declared.alias {
        return Err(ServerError::unknown_type(&name.to_string()));
    }
    let collation = match cursor.eat("COLLATE") {
        true => Some(collation(cursor)?),
        false => None,
    };
    let nullable = if cursor.eat_all(&["NOT", "NULL"]) {
        Some(false)
    } else {
        cursor.eat("NULL").then_some(true)
    };
    cursor.end()?;
    Ok(ColumnSpec {
        name,
        sql_type: declared.sql_type,
        alias_type: declared.alias_type,
        alias: None,
        collation,
        nullable,
        identity: None,
        default: None,
        computed: None,
        guard: Guard::None,
        encryption_key: None,
    })
}

fn option(
    cursor: &mut Cursor<'_>,
    column: &mut ColumnSpec,
    elements: &mut Elements,
) -> Result<(), ServerError> {
    if cursor.eat_all(&["NOT", "NULL"]) {
        column.nullable = Some(false);
    } else if cursor.eat("NULL") {
        column.nullable = Some(true);
    } else if cursor.eat("IDENTITY") {
        column.identity = Some(identity(cursor)?);
    } else if cursor.eat("DEFAULT") {
        column.default = Some(default_expression(cursor)?);
    } else if cursor.eat("COLLATE") {
        column.collation = Some(collation(cursor)?);
        if !column.sql_type.is_text() && column.alias.is_none() {
            return Err(ServerError::new(
                447,
                format!(
                    "Expression type {} is invalid for COLLATE clause.",
                    column.sql_type.base_name()
                ),
            ));
        }
    } else if cursor.eat("MASKED") {
        mask(cursor)?;
        column.guard = Guard::Masked;
    } else if cursor.eat("ENCRYPTED") {
        let (kind, key) = encryption(cursor)?;
        column.guard = Guard::Encrypted(kind);
        column.encryption_key = Some(key);
    } else if cursor.eat("ROWGUIDCOL") || cursor.eat("SPARSE") {
        // Neither changes what is stored.
    } else {
        unenforced(cursor)?;
        let name = if cursor.eat("CONSTRAINT") {
            Some(cursor.name()?)
        } else {
            None
        };
        if cursor.eat("DEFAULT") {
            column.default = Some(default_expression(cursor)?);
        } else {
            unenforced(cursor)?;
            let mut key = key_kind(cursor, name)?;
            key.columns = vec![column.name.clone()];
            elements.keys.push(key);
        }
    }
    Ok(())
}

/// Refuses a constraint that nothing here would hold rows to.
fn unenforced(cursor: &Cursor<'_>) -> Result<(), ServerError> {
    let Some(token) = cursor.peek() else {
        return Ok(());
    };
    let what = if token.is("CHECK") {
        "CHECK constraints"
    } else if token.is_any(&["FOREIGN", "REFERENCES"]) {
        "FOREIGN KEY constraints"
    } else {
        return Ok(());
    };
    Err(ServerError::unsupported(what).at_line(token.line))
}

fn identity(cursor: &mut Cursor<'_>) -> Result<Identity, ServerError> {
    let mut identity = Identity {
        seed: 1,
        increment: 1,
    };
    if cursor.eat_symbol("(") {
        identity.seed = cursor.integer()?;
        cursor.expect_symbol(",")?;
        identity.increment = cursor.integer()?;
        cursor.expect_symbol(")")?;
    }
    Ok(identity)
}

/// A DEFAULT's expression: in parentheses, a literal with its sign, or a function call.
fn default_expression(cursor: &mut Cursor<'_>) -> Result<Vec<Token>, ServerError> {
    let mut tokens = Vec::new();
    let parenthesis = |cursor: &Cursor<'_>| cursor.peek().is_some_and(|t| t.symbol("("));
    if !parenthesis(cursor) {
        while cursor
            .peek()
            .is_some_and(|t| t.symbol("-") || t.symbol("+"))
        {
            tokens.extend(cursor.next().cloned());
        }
        tokens.extend(cursor.next().cloned());
    }
    if parenthesis(cursor) {
        let before = cursor.rest();
        let inner = cursor.parenthesised()?;
        tokens.extend_from_slice(&before[..inner.len() + 2]);
    }
    if tokens.is_empty() {
        return Err(cursor.error());
    }
    Ok(tokens)
}

/// The name of a collation.
pub(crate) fn collation(cursor: &mut Cursor<'_>) -> Result<Collation, ServerError> {
    let name = cursor.name()?;
    if name.eq_ignore_ascii_case("database_default") {
        return Err(ServerError::unsupported("COLLATE database_default"));
    }
    Collation::named(&name).ok_or_else(|| ServerError::unknown_collation(&name))
}

/// A type as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeclaredType {
    pub(crate) sql_type: SqlType,
    /// The alias type's id, for `sysname`.
    pub(crate) alias_type: Option<i32>,
    /// The name of a type that the server has not; `sql_type` means nothing then.
    pub(crate) alias: Option<ObjectName>,
}

/// A type's name with its arguments.
pub(crate) fn data_type(cursor: &mut Cursor<'_>) -> Result<DeclaredType, ServerError> {
    let line = cursor.peek().map_or(1, |token| token.line);
    let mut name = cursor.name()?;
    let mut parts = vec![name.clone()];
    if cursor.eat_symbol(".") {
        name = cursor.name()?;
        parts.push(name.clone());
    }
    let mut has_arguments = false;
    for second in ["VARYING", "PRECISION"] {
        if cursor.eat(second) {
            name.push(' ');
            name.push_str(second);
        }
    }
    if cursor.peek().is_some_and(|token| token.symbol("(")) {
        let arguments: Vec<String> = cursor
            .parenthesised()?
            .iter()
            .map(|token| match &token.kind {
                Kind::Word(text) | Kind::Number(text) => text.clone(),
                Kind::Symbol(symbol) => (*symbol).to_owned(),
                _ => String::new(),
            })
            .collect();
        name = format!("{name}({})", arguments.concat());
        has_arguments = true;
    }
    let alias_type = name.eq_ignore_ascii_case("sysname").then_some(256);
    match SqlType::parse(&name, DefaultLength::Declaration) {
        Some(sql_type) => Ok(DeclaredType {
            sql_type,
            alias_type,
            alias: None,
        }),
        None if has_arguments => Err(ServerError::unknown_type(&name).at_line(line)),
        None => Ok(DeclaredType {
            sql_type: SqlType::Int,
            alias_type: None,
            alias: Some(ObjectName(parts)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::protocol::Length;
    use crate::simulator::tsql::lexer::tokens;

    fn parse(text: &str) -> Result<Elements, ServerError> {
        elements(&tokens(text).unwrap())
    }

    #[test]
    fn columns_with_every_property() {
        let found = parse(
            "id INT IDENTITY(10,5) NOT NULL CONSTRAINT pk PRIMARY KEY CLUSTERED, \
             [first name] nvarchar(128) COLLATE Latin1_General_CI_AS NULL, \
             n decimal(18, 2) DEFAULT (0), at datetime2 DEFAULT GETDATE(), s sysname UNIQUE",
        )
        .unwrap();
        assert_eq!(found.columns.len(), 5);
        assert_eq!(found.keys.len(), 2);
        let id = &found.columns[0];
        assert_eq!(
            id.identity,
            Some(Identity {
                seed: 10,
                increment: 5
            })
        );
        assert_eq!(id.nullable, Some(false));
        assert_eq!(found.columns[1].name, "first name");
        assert_eq!(
            found.columns[1].sql_type,
            SqlType::NVarChar(Length::Limited(128))
        );
        assert_eq!(found.columns[2].default.as_ref().map(Vec::len), Some(3));
        assert_eq!(found.columns[4].alias_type, Some(256));
        assert_eq!(found.keys[0].name.as_deref(), Some("pk"));
    }

    #[test]
    fn composite_keys_stand_alone() {
        let found =
            parse("a INT, b INT, CONSTRAINT pk PRIMARY KEY NONCLUSTERED (b DESC, a)").unwrap();
        assert_eq!(found.keys[0].columns, ["b", "a"]);
        assert_eq!(found.keys[0].clustered, Some(false));
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(parse("a nothing(3)").unwrap_err().number, 2715);
        assert_eq!(
            parse("a char COLLATE Klingon_CI_AS").unwrap_err().number,
            448
        );
        assert_eq!(
            parse("a int COLLATE Latin1_General_CI_AS")
                .unwrap_err()
                .number,
            447
        );
        assert_eq!(parse("a int foo").unwrap_err().number, 102);
    }
}
