//! `xml`: text checked and put into the form in which SQL Server gives it back.
//!
//! The declaration, blanks between elements and the quotes of attributes are not kept; an element without
//! content becomes an empty tag. See
//! <https://learn.microsoft.com/sql/relational-databases/xml/create-instances-of-xml-data>.

use std::collections::HashSet;

use crate::simulator::protocol::ServerError;

/// How deep elements may stand, as in SQL Server.
const DEEPEST: usize = 128;

/// The form of a document or fragment. `wide` says whether the text is UTF-16; style 1 and 3 keep blanks.
///
/// # Errors
///
/// The text is not well formed: SQL Server's numbers from 9400 on.
pub(super) fn normal(text: &str, wide: bool, style: i64) -> Result<String, ServerError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser {
        text,
        at: 0,
        out: String::with_capacity(text.len()),
        open: Vec::new(),
        keeps_blanks: matches!(style, 1 | 3),
    };
    parser.declaration(wide)?;
    while parser.at < text.len() {
        parser.item()?;
    }
    if !parser.open.is_empty() {
        return Err(parser.error(9400, "unexpected end of input"));
    }
    Ok(parser.out)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    out: String,
    /// The names of the elements around, and where the content of each begins in `out`.
    open: Vec<(&'a str, usize)>,
    keeps_blanks: bool,
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | ':')
}

fn is_name(c: char) -> bool {
    is_name_start(c) || c.is_numeric() || matches!(c, '-' | '.' | '\u{b7}')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_allowed(c: char) -> bool {
    is_blank(c) || c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, number: u32, problem: &str) -> ServerError {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        ServerError::new(
            number,
            format!("XML parsing: line {line}, character {column}, {problem}"),
        )
    }

    fn eat(&mut self, mark: &str) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len();
        }
        found
    }

    fn take_while(&mut self, holds: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !holds(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn take_until(&mut self, end: &str) -> Result<&'a str, ServerError> {
        let rest = self.rest();
        let Some(length) = rest.find(end) else {
            self.at = self.text.len();
            return Err(self.error(9400, "unexpected end of input"));
        };
        self.at += length + end.len();
        Ok(&rest[..length])
    }

    fn name(&mut self) -> Result<&'a str, ServerError> {
        if !self.rest().starts_with(is_name_start) {
            return Err(self.error(9455, "illegal qualified name character"));
        }
        Ok(self.take_while(is_name))
    }

    /// `<?xml … ?>` in front, whose encoding must be that of the text.
    fn declaration(&mut self, wide: bool) -> Result<(), ServerError> {
        let rest = self.rest();
        if !rest.starts_with("<?xml") || !rest[5..].starts_with(is_blank) {
            return Ok(());
        }
        self.at += 5;
        let content = self.take_until("?>")?.to_ascii_lowercase();
        let encoding = content.split("encoding").nth(1).unwrap_or_default();
        let is_utf16 = encoding.contains("utf-16") || encoding.contains("ucs-2");
        if !encoding.is_empty() && is_utf16 != wide {
            return Err(self.error(9402, "unable to switch the encoding"));
        }
        Ok(())
    }

    fn item(&mut self) -> Result<(), ServerError> {
        if self.eat("<!--") {
            let content = self.take_until("-->")?;
            self.out.push_str(&format!("<!--{content}-->"));
        } else if self.eat("<![CDATA[") {
            let content = self.take_until("]]>")?;
            escape_text(&mut self.out, content);
        } else if self.rest().starts_with("<!DOCTYPE") {
            return Err(ServerError::new(
                6359,
                "Parsing XML with internal subset DTDs not allowed. Use CONVERT with style option 2 to enable limited internal subset DTD support.",
            ));
        } else if self.eat("<?") {
            let target = self.name()?;
            if target.eq_ignore_ascii_case("xml") {
                return Err(self.error(9438, "text/xmldecl not at the beginning of input"));
            }
            let content = self.take_until("?>")?;
            self.out.push_str(&format!("<?{target}{content}?>"));
        } else if self.eat("</") {
            self.end_tag()?;
        } else if self.eat("<") {
            self.start_tag()?;
        } else {
            self.characters()?;
        }
        Ok(())
    }

    fn end_tag(&mut self) -> Result<(), ServerError> {
        let name = self.name()?;
        self.take_while(is_blank);
        if !self.eat(">") {
            return Err(self.error(9410, "whitespace expected"));
        }
        match self.open.pop() {
            Some((opened, start)) if opened == name => {
                if self.out.len() == start {
                    // `<a></a>` is `<a/>`.
                    self.out.truncate(start - 1);
                    self.out.push_str("/>");
                } else {
                    self.out.push_str(&format!("</{name}>"));
                }
                Ok(())
            }
            _ => Err(self.error(9436, "end tag does not match start tag")),
        }
    }

    fn start_tag(&mut self) -> Result<(), ServerError> {
        let name = self.name()?;
        self.out.push('<');
        self.out.push_str(name);
        let mut seen = HashSet::new();
        loop {
            let blanks = self.take_while(is_blank);
            if self.eat("/>") {
                self.out.push_str("/>");
                return Ok(());
            }
            if self.eat(">") {
                break;
            }
            if self.rest().is_empty() {
                return Err(self.error(9400, "unexpected end of input"));
            }
            if blanks.is_empty() {
                return Err(self.error(9410, "whitespace expected"));
            }
            let attribute = self.attribute()?;
            if !seen.insert(attribute) {
                return Err(self.error(9437, "duplicate attribute"));
            }
        }
        self.out.push('>');
        if self.open.len() == DEEPEST {
            return Err(ServerError::new(
                6335,
                "XML datatype instance has too many levels of nested nodes. Maximum allowed depth is 128 levels.",
            ));
        }
        self.open.push((name, self.out.len()));
        Ok(())
    }

    fn attribute(&mut self) -> Result<&'a str, ServerError> {
        let name = self.name()?;
        self.take_while(is_blank);
        if !self.eat("=") {
            return Err(self.error(9414, "equal expected"));
        }
        self.take_while(is_blank);
        let Some(quote) = self
            .rest()
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\''))
        else {
            return Err(self.error(9413, "A string literal was expected"));
        };
        self.at += 1;
        let raw = self.take_until(&quote.to_string())?;
        if raw.contains('<') {
            return Err(self.error(9420, "illegal xml character"));
        }
        // Line ends and tabs as such become blanks; as references they stay.
        let blanks = raw.replace("\r\n", " ").replace(['\r', '\n', '\t'], " ");
        let value = self.resolved(&blanks)?;
        self.out.push_str(&format!(" {name}=\""));
        for c in value.chars() {
            match c {
                '"' => self.out.push_str("&quot;"),
                '\t' => self.out.push_str("&#x09;"),
                '\n' => self.out.push_str("&#x0A;"),
                other => escape(&mut self.out, other),
            }
        }
        self.out.push('"');
        Ok(name)
    }

    fn characters(&mut self) -> Result<(), ServerError> {
        let raw = self.take_while(|c| c != '<');
        if raw.contains("]]>") {
            return Err(self.error(9420, "illegal xml character"));
        }
        if raw.chars().all(is_blank) && !self.keeps_blanks {
            return Ok(());
        }
        let value = self.resolved(&raw.replace("\r\n", "\n").replace('\r', "\n"))?;
        escape_text(&mut self.out, &value);
        Ok(())
    }

    /// Text with its references resolved.
    fn resolved(&self, raw: &str) -> Result<String, ServerError> {
        let illegal = || self.error(9420, "illegal xml character");
        if !raw.chars().all(is_allowed) {
            return Err(illegal());
        }
        let mut value = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(at) = rest.find('&') {
            value.push_str(&rest[..at]);
            let (name, after) = rest[at + 1..]
                .split_once(';')
                .ok_or_else(|| self.error(9411, "semicolon expected"))?;
            let code = match name.strip_prefix('#') {
                Some(number) => match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => number.parse().ok(),
                },
                None => None,
            };
            value.push(match name {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                _ if name.starts_with('#') => code
                    .and_then(char::from_u32)
                    .filter(|c| is_allowed(*c))
                    .ok_or_else(illegal)?,
                _ => {
                    return Err(self.error(9448, "well formed check: undeclared entity"));
                }
            });
            rest = after;
        }
        value.push_str(rest);
        Ok(value)
    }
}

fn escape(out: &mut String, c: char) {
    match c {
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        '\r' => out.push_str("&#x0D;"),
        other => out.push(other),
    }
}

fn escape_text(out: &mut String, text: &str) {
    for c in text.chars() {
        escape(out, c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_put_into_one_form() {
        let form = |text: &str| normal(text, false, 0).unwrap();
        assert_eq!(form(""), "");
        assert_eq!(
            form("<?xml version='1.0'?>\n<a  b = 'x\"y' >\n <c></c> t &amp; &#65; </a>"),
            "<a b=\"x&quot;y\"><c/> t &amp; A </a>"
        );
        assert_eq!(
            form("<a><![CDATA[<>]]></a><!-- c --><?p i?>"),
            "<a>&lt;&gt;</a><!-- c --><?p i?>"
        );
        assert_eq!(form("text <b/>"), "text <b/>");
        assert_eq!(normal("<a> </a>", true, 1).unwrap(), "<a> </a>");
    }

    #[test]
    fn what_is_not_well_formed_has_sql_servers_number() {
        for (text, number) in [
            ("<a>", 9400),
            ("<a></b>", 9436),
            ("</a>", 9436),
            ("<a b=c/>", 9413),
            ("<a b='1' b='2'/>", 9437),
            ("<a>&x;</a>", 9448),
            ("<a>&x", 9411),
            ("<1/>", 9455),
            ("<a b='1'c='2'/>", 9410),
            ("<!DOCTYPE a><a/>", 6359),
            ("<?xml version='1.0' encoding='utf-16'?><a/>", 9402),
            ("<a>\u{1}</a>", 9420),
        ] {
            assert_eq!(normal(text, false, 0).unwrap_err().number, number, "{text}");
        }
        let deep = "<a>".repeat(129);
        assert_eq!(normal(&deep, false, 0).unwrap_err().number, 6335);
    }
}
