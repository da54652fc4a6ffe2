//! The capture instance that a table had before: what it lacks, since when, and its changes by another instance's key.

use datafusion::sql::sqlparser::dialect::MsSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::captured::{CapturedTable, through};
use super::catalogue::TableEntry;
use super::cell::{Cells, Parameter};
use super::database::Database;
use super::definition::changes;
use super::error::SourceError;
use super::instance::instances;
use super::pool::Pool;
use crate::change::Lsn;

/// The columns of a table (`@P1`: its object_id) in the order in which they came: a number is never given again.
const COLUMN_IDS: &str = "\
SELECT c.name, c.column_id FROM sys.columns AS c WHERE c.object_id = @P1 ORDER BY c.column_id OPTION (MAXDOP 1)";

impl CapturedTable {
    /// Its columns that the live table has and the capture instance of `older` does not record, by their captured names.
    pub fn columns_lacking_in(&self, older: &Self) -> Vec<&str> {
        let live = self.columns.iter();
        let live = live.filter(|column| column.source_name.is_some());
        let lacking = live.filter(|column| {
            let mut others = older.columns.iter();
            !others.any(|other| other.source_name == column.source_name)
        });
        lacking.map(|column| column.name.as_str()).collect()
    }

    /// The same table with the columns of `other`'s key for its key; `None` if it does not record one of them.
    #[must_use]
    pub fn keyed_as(&self, other: &Self) -> Option<Self> {
        let places = other.key.iter().map(|place| {
            let name = other.columns[*place].source_name.as_ref()?;
            let mut own = self.columns.iter();
            own.position(|column| column.source_name.as_ref() == Some(name))
        });
        Some(Self {
            key: places.collect::<Option<Vec<_>>>()?,
            missing_key: None,
            ..self.clone()
        })
    }
}

impl Database {
    /// `table` through the capture instance that it had before the one that it is seen through; `None` if there is none.
    ///
    /// # Errors
    /// As [`Database::captured_table`].
    pub async fn older_instance(
        &self,
        table: &CapturedTable,
    ) -> Result<Option<CapturedTable>, SourceError> {
        let entry = entry_of(table);
        let mut newest_first = instances(self.pool(), &entry).await?.into_iter();
        let is_own = |id: i32| id == table.change_object_id;
        if !newest_first.any(|instance| is_own(instance.change_object_id)) {
            return Ok(None);
        }
        match newest_first.next() {
            Some(older) => through(self.pool(), &entry, older).await.map(Some),
            None => Ok(None),
        }
    }

    /// The LSN of the statement that added the first of `columns` (by their captured names) to the live table; `None` if
    /// `cdc.ddl_history` does not tell it of all of them, or may not be read.
    ///
    /// Columns are numbered in the order in which they come. A statement is known to be the one that added a column if it
    /// names it, and if as many columns were added from there on as have its number or a greater one. So neither
    /// columns that have changed their names nor statements that are gone make it another one.
    ///
    /// # Errors
    /// Whatever asking for the history and the columns may give.
    pub async fn added_at(
        &self,
        table: &CapturedTable,
        columns: &[&str],
    ) -> Result<Option<Lsn>, SourceError> {
        let Some(history) = changes(self.pool(), table).await? else {
            return Ok(None);
        };
        let mut added = Vec::new();
        for change in &history {
            let names = added_columns(&change.command).into_iter();
            added.extend(names.map(|name| (name, change.lsn)));
        }
        let ids = column_ids(self.pool(), table).await?;
        let found = columns.iter().map(|name| {
            let mut captured = table.columns.iter();
            let captured = captured.find(|column| column.name == *name)?;
            addition(captured.source_name.as_deref()?, &added, &ids)
        });
        Ok(found
            .collect::<Option<Vec<Lsn>>>()
            .and_then(|found| found.into_iter().min()))
    }
}

fn entry_of(table: &CapturedTable) -> TableEntry {
    TableEntry {
        name: table.name.clone(),
        object_id: table.source_object_id,
    }
}

async fn column_ids(
    pool: &Pool,
    table: &CapturedTable,
) -> Result<Vec<(String, usize)>, SourceError> {
    let action = format!("reading the columns of {}", table.name);
    let object_id = Parameter::Int(table.source_object_id);
    let rows = pool.rows(&action, COLUMN_IDS, &[&object_id]).await?;
    let ids = rows.iter().map(|row| {
        let cells = Cells::new(row, &action);
        let id = usize::try_from(cells.required_int(1)?).unwrap_or_default();
        Ok((cells.required_text(0)?.to_string(), id))
    });
    ids.collect()
}

/// When the column `name` was added, by what was `added` in its order and the numbers of the columns that there are.
fn addition(name: &str, added: &[(String, Lsn)], ids: &[(String, usize)]) -> Option<Lsn> {
    let (_, newest) = ids.last()?;
    let (_, id) = ids.iter().find(|(other, _)| other == name)?;
    let from_the_end = newest.checked_sub(*id)? + 1;
    let (found, lsn) = &added[added.len().checked_sub(from_the_end)?];
    (found.to_lowercase() == name.to_lowercase()).then_some(*lsn)
}

/// What a definition that stands after ADD begins with, where it is not of a column.
const OF_NO_COLUMN: [&str; 8] = [
    "CONSTRAINT",
    "PRIMARY",
    "UNIQUE",
    "FOREIGN",
    "CHECK",
    "DEFAULT",
    "INDEX",
    "PERIOD",
];

/// The columns that `ALTER TABLE … ADD …` adds, in their order; none of any other statement.
fn added_columns(command: &str) -> Vec<String> {
    // What cannot be read has added nothing that is known.
    let tokens = Tokenizer::new(&MsSqlDialect {}, command).tokenize();
    let tokens = tokens.unwrap_or_default().into_iter();
    let tokens: Vec<Token> = tokens
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect();
    let mut rest = tokens.as_slice();
    if !(eats(&mut rest, "ALTER") && eats(&mut rest, "TABLE")) {
        return Vec::new();
    }
    // The table's name has up to three parts.
    while let [Token::Word(_) | Token::Period, after @ ..] = rest {
        if is_word(rest, "ADD") || is_word(rest, "WITH") {
            break;
        }
        rest = after;
    }
    if eats(&mut rest, "WITH") {
        let _ = eats(&mut rest, "CHECK") || eats(&mut rest, "NOCHECK");
    }
    if !eats(&mut rest, "ADD") {
        return Vec::new();
    }
    let mut depth = 0_usize;
    let definitions = rest.split(|token| {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Comma
    });
    let names = definitions.filter_map(|definition| match definition.first()? {
        Token::Word(word) => {
            let mut others = OF_NO_COLUMN.iter();
            let is_other = word.quote_style.is_none()
                && others.any(|other| word.value.eq_ignore_ascii_case(other));
            (!is_other).then(|| word.value.clone())
        }
        _ => None,
    });
    names.collect()
}

fn is_word(rest: &[Token], word: &str) -> bool {
    matches!(rest.first(), Some(Token::Word(name)) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case(word))
}

fn eats(rest: &mut &[Token], word: &str) -> bool {
    let found = is_word(rest, word);
    if found {
        *rest = &rest[1..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::captured::tests::customers;

    #[test]
    fn the_columns_of_a_statement_are_told_from_its_constraints() {
        let added = |command: &str| added_columns(command).join("|");
        for (command, expected) in [
            ("ALTER TABLE dbo.a ADD note NVARCHAR(20) NULL", "note"),
            (
                "alter table [dbo].[a]]b] add [no]]te] int, \"x y\" decimal(9, 2) default (1)",
                "no]te|x y",
            ),
            (
                "ALTER TABLE a WITH NOCHECK ADD n INT CHECK (n IN (1, 2)), CONSTRAINT c UNIQUE (n, m), m AS (n + 1)",
                "n|m",
            ),
            (
                "ALTER TABLE db..a /* ADD x INT /* , */ */ ADD -- y INT,\n z INT DEFAULT ', w INT'",
                "z",
            ),
            ("ALTER TABLE a ADD PERIOD FOR SYSTEM_TIME (f, t)", ""),
            ("ALTER TABLE a ADD CONSTRAINT c CHECK (note > 0)", ""),
            ("ALTER TABLE a ALTER COLUMN n BIGINT", ""),
            ("ALTER TABLE a DROP COLUMN note", ""),
            ("CREATE INDEX i ON a (n)", ""),
            ("", ""),
            ("ALTER TABLE a ADD 'unended", ""),
        ] {
            assert_eq!(added(command), expected, "{command}");
        }
    }

    #[test]
    fn a_statement_is_the_one_that_has_added_a_column_only_by_its_name_and_by_its_number() {
        let lsn = |slot: u8| format!("0:1:{slot}").parse::<Lsn>().unwrap();
        let ids = |columns: &[(&str, usize)]| {
            let columns = columns.iter();
            columns
                .map(|(name, id)| (name.to_string(), *id))
                .collect::<Vec<_>>()
        };
        let added = [
            ("x".to_string(), lsn(1)),
            ("note".to_string(), lsn(2)),
            ("z".to_string(), lsn(3)),
        ];
        let there = ids(&[("id", 1), ("note", 4), ("z", 5)]);
        assert_eq!(addition("note", &added, &there), Some(lsn(2)));
        assert_eq!(addition("z", &added, &there), Some(lsn(3)));
        assert_eq!(addition("id", &added, &there), None, "it was there before");
        let renamed = ids(&[("id", 1), ("note", 2), ("z", 5)]);
        assert_eq!(addition("note", &added, &renamed), None);
        let newest_is_gone = ids(&[("id", 1), ("note", 4)]);
        assert_eq!(addition("note", &added, &newest_is_gone), None);
        assert_eq!(addition("note", &[], &there), None);
    }

    #[test]
    fn an_older_instance_lacks_what_it_does_not_record_whatever_it_calls_the_others() {
        let newer = customers();
        let mut older = customers();
        let lacking = older.columns.remove(2);
        older.columns[1].name = "former".to_string();
        assert_eq!(newer.columns_lacking_in(&older), [lacking.name.as_str()]);
        assert!(newer.columns_lacking_in(&newer).is_empty());
    }

    #[test]
    fn changes_can_be_keyed_by_columns_that_they_have() {
        let older = customers();
        let mut newer = customers();
        newer.key = vec![1];
        let keyed = older.keyed_as(&newer).unwrap();
        assert_eq!(keyed.key_names(), [newer.columns[1].name.as_str()]);
        newer.columns[1].source_name = Some("another".to_string());
        assert!(older.keyed_as(&newer).is_none());
    }
}
