//! The errors of one file, gathered so that they are told at once.

use std::error::Error as _;

use super::Error;
use crate::sql::Diagnostic;

/// How many errors of a file are told; how many more there are is told too.
const MOST_TOLD: usize = 100;

/// What is wrong with a file, as far as it has been looked at.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    errors: Vec<Error>,
    /// How many were found and not kept.
    more: usize,
}

impl Faults {
    /// Keeps an error of the file itself, so that the rest can be looked at.
    ///
    /// # Errors
    /// Anything else, with what was kept.
    pub(crate) fn keep(&mut self, error: Error) -> Result<(), Error> {
        let is_files = error.exit_code() == 3 && is_placed(&error);
        if is_files {
            self.add(error);
            return Ok(());
        }
        if self.errors.is_empty() || !is_placed(&error) {
            return Err(error);
        }
        self.add(error);
        std::mem::take(self).into_result()
    }

    /// The value, or `None` where the error was kept.
    ///
    /// # Errors
    /// As [`Faults::keep`].
    pub(crate) fn kept<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => self.keep(error).map(|()| None),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// # Errors
    /// Everything that was kept: one error as it is, several as one, in the order of their places.
    pub(crate) fn into_result(mut self) -> Result<(), Error> {
        match (self.errors.len(), self.more) {
            (0, _) => Ok(()),
            (1, 0) => self.errors.pop().map_or(Ok(()), Err),
            _ => Err(self.joined()),
        }
    }

    fn add(&mut self, error: Error) {
        if self.errors.len() < MOST_TOLD {
            self.errors.push(error);
        } else {
            self.more += count(&error);
        }
    }

    fn joined(self) -> Error {
        let mut more = self.more;
        let mut diagnostics = Vec::new();
        for error in self.errors {
            match error {
                Error::Invalid {
                    diagnostics: found,
                    more: others,
                } => {
                    diagnostics.extend(found);
                    more += others;
                }
                Error::At { place, cause } => diagnostics.push(with_causes(*place, &cause)),
                _ => more += 1,
            }
        }
        diagnostics.sort_by(|left, right| {
            let place = |diagnostic: &Diagnostic| diagnostic.span().start;
            (left.file(), place(left)).cmp(&(right.file(), place(right)))
        });
        diagnostics.dedup();
        more += diagnostics.len().saturating_sub(MOST_TOLD);
        diagnostics.truncate(MOST_TOLD);
        Error::Invalid { diagnostics, more }
    }
}

fn is_placed(error: &Error) -> bool {
    matches!(error, Error::Invalid { .. } | Error::At { .. })
}

fn count(error: &Error) -> usize {
    match error {
        Error::Invalid { diagnostics, more } => diagnostics.len() + more,
        _ => 1,
    }
}

/// The place of an error, with what caused it.
fn with_causes(mut place: Diagnostic, error: &Error) -> Diagnostic {
    let mut told = place.message().to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            place = place.with_cause(text.clone());
            told = text;
        }
        cause = error.source();
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{SourceText, parse};

    /// The statements of a file that has `count` of them.
    fn statements(count: usize) -> Vec<crate::sql::Statement> {
        let text = "SELECT 1;\n".repeat(count);
        let name = "p.sql".to_string();
        parse(&SourceText { name, text }).unwrap()
    }

    fn invalid(statement: &crate::sql::Statement, message: &str) -> Error {
        Error::invalid(statement.diagnostic(statement.span, message, None))
    }

    #[test]
    fn errors_are_told_in_the_order_of_their_places_each_with_its_causes() {
        let statements = statements(2);
        let mut faults = Faults::default();
        faults.keep(invalid(&statements[1], "second")).unwrap();
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "no UTF-8");
        let path = "secret".into();
        let first = Error::File { path, source }.at(&statements[0], statements[0].span);
        faults.keep(first).unwrap();
        let told = faults.into_result().unwrap_err();
        assert_eq!(told.exit_code(), 3);
        let told = told.to_string();
        let places: Vec<_> = [
            "p.sql:1:1: error: cannot read secret",
            "caused by: no UTF-8",
            "p.sql:2:1: error: second",
        ]
        .map(|words| {
            told.find(words)
                .unwrap_or_else(|| panic!("no {words} in {told}"))
        })
        .into();
        assert!(places.is_sorted(), "{told}");
    }

    #[test]
    fn what_is_not_the_files_ends_the_search_and_hides_nothing() {
        let statements = statements(2);
        let mut faults = Faults::default();
        let refused = Error::Connection {
            name: "db".to_string(),
            source: "refused".into(),
        };
        assert!(matches!(
            Faults::default().keep(refused),
            Err(Error::Connection { .. })
        ));
        faults.keep(invalid(&statements[0], "first")).unwrap();
        let refused = Error::Connection {
            name: "db".to_string(),
            source: "refused".into(),
        };
        let both = faults.keep(refused.at(&statements[1], statements[1].span));
        let both = both.unwrap_err().to_string();
        for words in ["error: first", "connection 'db'", "caused by: refused"] {
            assert!(both.contains(words), "{both}");
        }
    }

    #[test]
    fn no_more_than_a_hundred_are_told_and_the_others_counted() {
        let statements = statements(130);
        let mut faults = Faults::default();
        for statement in &statements {
            faults.keep(invalid(statement, "wrong")).unwrap();
        }
        let told = faults.into_result().unwrap_err().to_string();
        assert_eq!(told.matches("error: wrong").count(), 100);
        assert!(told.ends_with("\n\nand 30 more errors"), "{told}");
    }
}
