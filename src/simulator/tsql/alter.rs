//! ALTER TABLE.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, new_null_array};

use super::computed::dependent;
use super::cursor::{Cursor, ObjectName, list};
use super::ddl::{ColumnSpec, Elements, elements, one_column};
use super::definitions::{add_keys, check_names, column, find};
use super::lexer::Token;
use crate::simulator::capture::{Definition, DefinitionKind};
use crate::simulator::protocol::{Collation, ServerError, SqlType};
use crate::simulator::store::{State, Table, Write, arrow_schema};

/// What ALTER TABLE does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alteration {
    /// ADD columns and keys.
    Add(Elements),
    /// DROP COLUMN.
    DropColumns {
        /// The columns.
        names: Vec<String>,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// ALTER COLUMN.
    AlterColumn(ColumnSpec),
    /// DROP CONSTRAINT.
    DropConstraints {
        /// The keys.
        names: Vec<String>,
        /// IF EXISTS.
        if_exists: bool,
    },
}

/// What follows ALTER TABLE and the table's name.
pub(crate) fn alteration(cursor: &mut Cursor<'_>) -> Result<Alteration, ServerError> {
    let line = cursor.peek().map_or(1, |token: &Token| token.line);
    let _ = cursor.eat_all(&["WITH", "CHECK"]) || cursor.eat_all(&["WITH", "NOCHECK"]);
    if cursor.eat("ADD") {
        return Ok(Alteration::Add(elements(cursor.rest())?));
    }
    if cursor.eat_all(&["ALTER", "COLUMN"]) {
        return Ok(Alteration::AlterColumn(one_column(cursor)?));
    }
    if !cursor.eat("DROP") {
        let what = "ALTER TABLE other than ADD, ALTER COLUMN and DROP";
        return Err(ServerError::unsupported(what).at_line(line));
    }
    let of_columns = cursor.eat("COLUMN");
    if !of_columns {
        let _ = cursor.eat("CONSTRAINT");
    }
    let if_exists = cursor.eat_all(&["IF", "EXISTS"]);
    let names = list(cursor.rest(), Cursor::name)?;
    Ok(if of_columns {
        Alteration::DropColumns { names, if_exists }
    } else {
        Alteration::DropConstraints { names, if_exists }
    })
}

/// Alters a table. `defaults` has a value of each added column for the rows that there are, `command` is the
/// statement's text for `cdc.ddl_history`.
pub(crate) fn alter_table(
    write: &mut Write,
    name: &ObjectName,
    alteration: &Alteration,
    defaults: &[ArrayRef],
    command: &str,
) -> Result<(), ServerError> {
    let found = find(write.state(), name).filter(|table| !table.shipped);
    let Some(mut table) = found else {
        return Err(ServerError::new(
            4902,
            format!(
                "Cannot find the object \"{name}\" because it does not exist or you do not have permissions."
            ),
        ));
    };
    let mut kind = DefinitionKind::Other;
    match alteration {
        Alteration::Add(added) => add(&mut table, added, defaults, write.state())?,
        Alteration::DropColumns { names, if_exists } => {
            for name in names {
                drop_column(&mut table, name, *if_exists)?;
            }
        }
        Alteration::AlterColumn(spec) => {
            let collation = write.state().collation;
            let at = alter_column(&mut table, spec, write.database(), collation)?;
            kind = DefinitionKind::ColumnType {
                column_id: table.columns[at].id,
                sql_type: spec.sql_type,
            };
        }
        Alteration::DropConstraints { names, if_exists } => {
            for name in names {
                check_capture(write, &table, name)?;
                drop_constraint(&mut table, name, *if_exists)?;
            }
        }
    }
    write.log_definition(Definition {
        object_id: table.object_id,
        kind,
        command: command.to_owned(),
        at: write.state().clock,
    });
    table.modified = write.state().clock;
    write.forget(table.object_id);
    write.state_mut().put(table);
    Ok(())
}

fn add(
    table: &mut Table,
    added: &Elements,
    defaults: &[ArrayRef],
    state: &State,
) -> Result<(), ServerError> {
    let mut columns = table.columns.to_vec();
    for (spec, one) in added.columns.iter().zip(defaults) {
        table.last_column_id += 1;
        let column = column(table.last_column_id, spec, state)?;
        let empty = table.rows.count() == 0;
        if column.sql_type == SqlType::RowVersion && !empty {
            return Err(ServerError::unsupported(
                "adding a timestamp column to rows",
            ));
        }
        if column.identity.is_some() && !empty {
            return Err(ServerError::unsupported(
                "adding an IDENTITY column to rows",
            ));
        }
        if !column.nullable && one.null_count() > 0 && !empty {
            return Err(ServerError::new(
                4901,
                format!(
                    "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT definition specified, or the column being added is an identity or timestamp column, or alternatively if none of the previous conditions are satisfied the table must be empty to allow addition of this column. Column '{}' cannot be added to non-empty table '{}' because it does not satisfy these conditions.",
                    column.name, table.name
                ),
            ));
        }
        if column.computed.is_some() && !empty {
            return Err(ServerError::unsupported("adding a computed column to rows"));
        }
        if let Some(identity) = column.identity {
            table.next_identity = Some(identity.seed);
        }
        columns.push(column);
        // A nullable column's DEFAULT is for new rows alone.
        let value = if spec.nullable == Some(false) {
            Arc::clone(one)
        } else {
            new_null_array(one.data_type(), 1)
        };
        table.rows = table.rows.with_column(arrow_schema(&columns), &value)?;
    }
    check_names(&columns, &table.name)?;
    add_keys(table, &mut columns, &added.keys)?;
    table.columns = columns.into();
    Ok(())
}

fn position(table: &Table, name: &str) -> Result<usize, ServerError> {
    table.column(name).ok_or_else(|| {
        ServerError::new(
            4924,
            format!(
                "ALTER TABLE DROP COLUMN failed because column '{name}' does not exist in table '{}'.",
                table.name
            ),
        )
    })
}

/// Error 5074, if a key or a computed column has a column.
fn check_free(table: &Table, at: usize) -> Result<(), ServerError> {
    if let Some(computed) = dependent(table, &table.columns[at].name) {
        return Err(ServerError::new(
            5074,
            format!(
                "The column '{}' is dependent on column '{}'.",
                computed.name, table.columns[at].name
            ),
        ));
    }
    match table.keys.iter().find(|key| key.columns.contains(&at)) {
        None => Ok(()),
        Some(key) => Err(ServerError::new(
            5074,
            format!(
                "The {} '{}' is dependent on column '{}'.",
                if key.constraint { "object" } else { "index" },
                key.name,
                table.columns[at].name
            ),
        )),
    }
}

fn drop_column(table: &mut Table, name: &str, if_exists: bool) -> Result<(), ServerError> {
    let at = match position(table, name) {
        Err(_) if if_exists => return Ok(()),
        found => found?,
    };
    check_free(table, at)?;
    let mut columns = table.columns.to_vec();
    let dropped = columns.remove(at);
    if columns.is_empty() {
        return Err(ServerError::new(
            4923,
            format!(
                "ALTER TABLE DROP COLUMN failed because '{name}' is the only data column in table '{}'. A table must have at least one data column.",
                table.name
            ),
        ));
    }
    table.rows = table.rows.without_column(arrow_schema(&columns), at)?;
    if dropped.identity.is_some() {
        table.next_identity = None;
    }
    let mut keys = table.keys.to_vec();
    for column in keys.iter_mut().flat_map(|key| &mut key.columns) {
        *column -= usize::from(*column > at);
    }
    table.keys = keys.into();
    table.columns = columns.into();
    Ok(())
}

/// Changes a column's type and whether it may be NULL; its position.
fn alter_column(
    table: &mut Table,
    spec: &ColumnSpec,
    database: &str,
    collation: Collation,
) -> Result<usize, ServerError> {
    let at = position(table, &spec.name)?;
    if spec.sql_type == SqlType::RowVersion {
        return Err(ServerError::new(
            4927,
            format!(
                "Cannot alter column '{}' to be data type timestamp.",
                spec.name
            ),
        ));
    }
    // Without COLLATE the column would get the database's.
    let collation = spec.collation.unwrap_or(collation);
    if spec.sql_type.is_text() && collation != table.columns[at].collation {
        return Err(ServerError::unsupported("changing a column's collation"));
    }
    if table.columns[at].computed.is_some() {
        return Err(ServerError::new(
            4928,
            format!(
                "Cannot alter column '{}' because it is 'COMPUTED'.",
                spec.name
            ),
        ));
    }
    let same = table.columns[at].sql_type == spec.sql_type;
    let nullable = spec.nullable.unwrap_or(true);
    if !same || nullable != table.columns[at].nullable {
        check_free(table, at)?;
    }
    if !nullable {
        let nulls = table
            .rows
            .chunks()
            .iter()
            .map(|chunk| chunk.column(at).null_count());
        if nulls.sum::<usize>() > 0 {
            let qualified = format!("{database}.{}", table.qualified());
            return Err(ServerError::null_in_column(
                &table.columns[at].name,
                &qualified,
                "UPDATE",
            ));
        }
    }
    table.redefine(at, spec.sql_type, nullable, database)?;
    Ok(at)
}

/// Error 22979, if a capture instance knows rows by a key.
fn check_capture(write: &Write, table: &Table, name: &str) -> Result<(), ServerError> {
    let capture = write.state().capture.as_ref();
    let used = capture.is_some_and(|capture| {
        let mut instances = capture.instances.iter();
        instances.any(|instance| {
            let index = instance.index_name.as_deref();
            instance.source == table.object_id
                && index.is_some_and(|index| index.to_lowercase() == name.to_lowercase())
        })
    });
    if used {
        return Err(ServerError::new(
            22979,
            format!(
                "The unique index '{name}' on source table '{}' is used by Change Data Capture. To alter or drop the index, you must first disable Change Data Capture on the table.",
                table.qualified()
            ),
        ));
    }
    Ok(())
}

fn drop_constraint(table: &mut Table, name: &str, if_exists: bool) -> Result<(), ServerError> {
    let lower = name.to_lowercase();
    let mut keys = table.keys.to_vec();
    let before = keys.len();
    keys.retain(|key| !key.constraint || key.name.to_lowercase() != lower);
    if keys.len() == before && !if_exists {
        return Err(ServerError::new(
            3728,
            format!("'{name}' is not a constraint."),
        ));
    }
    table.keys = keys.into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::tsql::lexer::tokens;

    fn parse(text: &str) -> Result<Alteration, ServerError> {
        let tokens = tokens(text).unwrap();
        alteration(&mut Cursor::new(&tokens))
    }

    #[test]
    fn drops_name_columns_or_constraints() {
        assert_eq!(
            parse("DROP COLUMN IF EXISTS a, [b c]").unwrap(),
            Alteration::DropColumns {
                names: vec!["a".to_owned(), "b c".to_owned()],
                if_exists: true
            }
        );
        assert_eq!(
            parse("DROP CONSTRAINT pk").unwrap(),
            Alteration::DropConstraints {
                names: vec!["pk".to_owned()],
                if_exists: false
            }
        );
        assert_eq!(parse("SWITCH TO u").unwrap_err().number, 40510);
        assert_eq!(
            parse("ALTER COLUMN a int IDENTITY").unwrap_err().number,
            102
        );
    }
}
