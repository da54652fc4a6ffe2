//! `OPTIONS ( key const {, key const} )`

use std::fmt;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::constant::{Const, constant};
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::source::Span;
use crate::nearest::nearest;

/// One option of a connection, or of the store that a table or schema lies in.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenOption {
    /// Its name in lower case.
    pub name: String,
    /// Its value, not looked up yet.
    pub value: Const,
    /// Where its name stands.
    pub span: Span,
}

/// Hides the literals, of which any may be a secret.
impl fmt::Debug for GivenOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.value.redacted())
    }
}

/// Reads the options of `what` behind the word OPTIONS, each at most once; their names are those of `known`, unless that
/// is `None`.
pub(super) fn options(
    cursor: &mut Cursor<'_>,
    what: &str,
    known: Option<&[&str]>,
) -> Result<Vec<GivenOption>, Diagnostic> {
    let mut options: Vec<GivenOption> = Vec::new();
    cursor.parenthesised(|cursor| {
        let span = cursor.span();
        let name = match cursor.peek().map(|l| &l.token) {
            Some(Token::SingleQuotedString(_)) => cursor.string("an option")?,
            _ => cursor.ident("an option")?.value,
        }
        .to_lowercase();
        if let Some(known) = known.filter(|known| !known.contains(&name.as_str())) {
            let message = format!("unknown option `{name}` of {what}");
            let diagnostic = Diagnostic::new(cursor.source, span, message);
            return Err(
                diagnostic.with_help(match nearest(&name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the options are {}", known.join(", ")),
                }),
            );
        }
        if options.iter().any(|option| option.name == name) {
            let message = format!("option `{name}` is given twice");
            return Err(Diagnostic::new(cursor.source, span, message));
        }
        cursor.eat_token(&Token::Eq);
        let value = constant(cursor)?;
        options.push(GivenOption { name, value, span });
        Ok(())
    })?;
    Ok(options)
}
