//! An error with its place in a file.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::source::{Source, Span};

/// One error in a file: where, what, and what to write instead.
///
/// `Display` gives `FILE:LINE:COLUMN: error: MESSAGE`, then the line with the place underlined, then the help.
/// Passwords in the line are masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostic(Box<Parts>);

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    file: String,
    span: Span,
    message: String,
    label: Option<String>,
    help: Option<String>,
    causes: Vec<String>,
    line: String,
    underlined: Range<usize>,
}

impl Diagnostic {
    pub(super) fn new(source: &Source, span: Span, message: impl Into<String>) -> Self {
        let (line, underlined) = source.line(span);
        let message = match &source.of_table {
            Some(table) => format!("table '{table}': {}", message.into()),
            None => message.into(),
        };
        // A message may hold what stands between quotes in the file.
        let message = message.replace(|c: char| c.is_control() && !c.is_whitespace(), "\u{fffd}");
        Diagnostic(Box::new(Parts {
            file: source.name.clone(),
            span,
            message,
            label: None,
            help: None,
            causes: Vec::new(),
            line,
            underlined,
        }))
    }

    /// Says something at the underlined place itself.
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.0.label = Some(label.into());
        self
    }

    /// Says what to write instead.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Adds what caused it, below everything else.
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.0.causes.push(cause.into());
        self
    }

    /// The file, as it was named.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// The place.
    pub fn span(&self) -> Span {
        self.0.span
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What stands under the underlined place.
    pub fn label(&self) -> Option<&str> {
        self.0.label.as_deref()
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts {
            file,
            span,
            message,
            label,
            help,
            causes,
            line,
            underlined,
        } = &*self.0;
        write!(f, "{file}:{}:{}: error: {message}", span.line, span.column)?;
        let mut annotation = AnnotationKind::Primary.span(underlined.clone());
        if let Some(label) = label {
            annotation = annotation.label(label.as_str());
        }
        let snippet = Snippet::source(line.as_str())
            .line_start(span.line)
            .annotation(annotation);
        let mut group = Group::with_level(Level::ERROR).element(snippet);
        if let Some(help) = help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let rendered = Renderer::plain()
            .decor_style(DecorStyle::Ascii)
            .render(&[group]);
        // The renderer begins with a ` --> ` line when a snippet has a path; ours has none.
        write!(f, "\n{rendered}")?;
        causes
            .iter()
            .try_for_each(|cause| write!(f, "\n  caused by: {cause}"))
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::SourceText;

    fn source(text: &str) -> Source {
        Source::new(&SourceText {
            name: "p/f.sql".to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn shows_place_line_caret_and_help() {
        let source = source("SELECT 1;\nSELCT 2;\n");
        let diagnostic = Diagnostic::new(&source, source.span(10, 15), "unknown statement `SELCT`")
            .with_label("not a statement")
            .with_help("did you mean `SELECT`?");
        assert_eq!(
            diagnostic.to_string(),
            "p/f.sql:2:1: error: unknown statement `SELCT`\n  |\n2 | SELCT 2;\n  | ^^^^^ not a statement\n  |\n  = help: did you mean `SELECT`?"
        );
    }

    #[test]
    fn no_control_character_of_a_file_is_in_a_message() {
        let source = source("OPTIONS ('a\u{1b}[2J' 1)");
        let diagnostic = Diagnostic::new(&source, source.span(9, 16), "no `a\u{1b}[2J`");
        assert_eq!(diagnostic.message(), "no `a\u{fffd}[2J`");
        assert!(!diagnostic.to_string().contains('\u{1b}'));
    }

    #[test]
    fn renders_at_the_end_of_an_empty_file_and_in_wide_text() {
        let empty = source("");
        assert!(
            Diagnostic::new(&empty, empty.span(0, 0), "empty")
                .to_string()
                .contains("p/f.sql:1:1: error: empty")
        );
        let wide = source("SELECT '日本' FROM\tt\u{202e}\u{7}");
        let rendered = Diagnostic::new(&wide, wide.span(16, 20), "here").to_string();
        assert!(rendered.contains("1:13: error"), "{rendered}");
        assert!(!rendered.contains('\u{202e}') && !rendered.contains('\u{7}'));
    }
}
