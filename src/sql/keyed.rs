//! What the MERGE of an AUTO CDC matches on: the source's key, under the names that its columns have in the target.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, ObjectNamePart};

use super::auto_cdc::AutoCdc;
use super::diagnostic::Diagnostic;
use super::merge::MergeStatement;
use super::places::action_columns;
use super::stars::{Found, find_column, near, quoted};

impl MergeStatement {
    /// The name of the flow that it is, which writes a table called `target`.
    pub fn flow_name<'a>(&'a self, target: &'a str) -> &'a str {
        self.flow.as_ref().map_or(target, |name| &name.value)
    }

    /// The statement that matches rows by the source's key, whose columns `source_key` names; one that was written as a
    /// MERGE is as it was.
    ///
    /// # Errors
    /// Where the query or COLUMNS leaves a column of the key out, or KEYS does not cover it.
    pub fn keyed(&self, source_key: &[&str]) -> Result<Self, Diagnostic> {
        let Some(auto) = &self.auto else {
            return Ok(self.clone());
        };
        let mut columns = Vec::with_capacity(source_key.len());
        for key in source_key {
            let given = auto.membership.output_of(key);
            columns.push(given.ok_or_else(|| {
                let message = format!(
                    "the query does not give the column '{key}' of the source's key as it is"
                );
                self.refused(auto, message, format!("select {key} without changing it"))
            })?);
        }
        self.check_keys(auto, source_key, &columns)?;
        self.check_columns(auto, &columns)?;
        let mut keyed = self.clone();
        if let Err(error) = keyed.check_rows(source_key) {
            return Err(self.refused(auto, error.to_string(), "leave the joins out".to_string()));
        }
        if let Some(on) = self.matching(&columns) {
            keyed.ast.on = Box::new(on);
        }
        keyed.spell(&columns);
        Ok(keyed)
    }

    /// Spells the columns of the key like ON does where clauses write them in another case.
    fn spell(&mut self, key: &[String]) {
        let clauses = self.ast.clauses.iter_mut();
        for name in clauses.flat_map(|clause| action_columns(&mut clause.action)) {
            if let [ObjectNamePart::Identifier(column)] = name.0.as_mut_slice()
                && column.quote_style.is_none()
                && let Some(spelled) = key
                    .iter()
                    .find(|key| key.eq_ignore_ascii_case(&column.value))
                && *spelled != column.value
            {
                *column = Ident::with_quote_and_span('"', column.span, spelled.as_str());
            }
        }
    }

    /// Of an AUTO CDC over a query, from whose target every row goes that the source has deleted: the target's columns that
    /// have the columns of the source's key, each with that.
    pub fn keys_through_query(&self, source_key: &[&str]) -> Option<Vec<(String, String)>> {
        let membership = &self.auto.as_ref()?.membership;
        if !membership.deletes_leave || self.reads_stream_alone() {
            return None;
        }
        let keys = source_key.iter();
        keys.map(|key| Some((membership.output_of(key)?, key.to_string())))
            .collect()
    }

    /// Whether every row leaves the target of an AUTO CDC that the source has deleted.
    pub fn deletes_leave(&self) -> bool {
        let mut auto = self.auto.iter();
        auto.any(|auto| auto.membership.deletes_leave)
    }

    /// The columns of an AUTO CDC's query that tell of the change and not of the row.
    pub fn columns_of_changes(&self) -> &[String] {
        let auto = self.auto.as_ref();
        auto.map_or(&[], |auto| &auto.membership.of_changes)
    }

    /// Refuses KEYS by which two rows of the source could be one of the target.
    fn check_keys(
        &self,
        auto: &AutoCdc,
        source_key: &[&str],
        columns: &[String],
    ) -> Result<(), Diagnostic> {
        let Some(keys) = &auto.keys else {
            return Ok(());
        };
        let is_named = |column: &&String| {
            keys.iter()
                .any(|key| key.value.eq_ignore_ascii_case(column))
        };
        let Some(left_out) = columns.iter().find(|column| !is_named(column)) else {
            return Ok(());
        };
        let message = format!(
            "KEYS leaves out '{left_out}' of the source's key ({}), so that several rows of the source could be one of the target",
            source_key.join(", ")
        );
        let help = format!("write KEYS ({}), or leave KEYS out", columns.join(", "));
        Err(self.refused(auto, message, help))
    }

    /// Refuses COLUMNS that leave a column of the key out.
    fn check_columns(&self, auto: &AutoCdc, key: &[String]) -> Result<(), Diagnostic> {
        let columns: Option<Vec<String>> = auto
            .columns
            .as_ref()
            .map(|columns| columns.iter().map(|column| column.value.clone()).collect());
        let is_written = |name: &str| match &columns {
            Some(columns) => find_column(&Ident::new(name), columns) != Found::Nothing,
            None => !self.has_stars() || !self.leaves_out(name),
        };
        let mut keys = auto.keys.iter().flatten();
        if let Some(key) = keys.find(|key| !is_written(&key.value)) {
            let span = self.source.locate(key.span);
            let message = format!("COLUMNS leaves the key `{}` out", key.value);
            let error = Diagnostic::new(&self.source, span, message);
            return Err(near(
                error,
                &key.value,
                columns.as_deref().unwrap_or_default(),
            ));
        }
        match key.iter().find(|column| !is_written(column)) {
            None => Ok(()),
            Some(column) => {
                let message =
                    format!("COLUMNS leaves out '{column}', which tells the target's rows apart");
                Err(self.refused(auto, message, format!("have {column} among COLUMNS")))
            }
        }
    }

    fn refused(&self, auto: &AutoCdc, message: String, help: String) -> Diagnostic {
        Diagnostic::new(&self.source, auto.span, message).with_help(help)
    }

    /// That target and source have the same values in `columns`.
    pub(super) fn matching(&self, columns: &[String]) -> Option<Expr> {
        let own = self.target_name()?;
        let of = |table: &Ident, column: &String| {
            Expr::CompoundIdentifier(vec![table.clone(), quoted(column.clone())])
        };
        let equal = columns.iter().map(|column| Expr::BinaryOp {
            left: Box::new(of(own, column)),
            op: BinaryOperator::Eq,
            right: Box::new(of(&self.source_alias, column)),
        });
        equal.reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        })
    }
}
