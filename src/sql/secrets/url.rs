//! Secrets inside a text: in a URL, or in a list of `name=value`.

use std::ops::Range;

use super::is_shown;

/// What ends a part of a URL behind its path; inside a password it stands encoded, or ends it just the same.
const SEPARATORS: [char; 4] = ['?', '&', ';', '#'];

/// How the URL of a connection begins, slashes left out.
const SCHEME: &str = "sqlserver:";

/// What a name holds whose value is a secret in a list without a URL, in lower case and without anything but letters.
const SECRET_WORDS: [&str; 7] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "accountkey",
    "signature",
];

/// The places of secrets in `text`, in bytes; they may overlap.
///
/// In a URL they are the password before `@`, wherever its last `@` is; each part behind the path whose name is not that
/// of an option everyone may see; and what stands in the place of a port that is none. Elsewhere they are what stands
/// between `:` and `@`, and what follows a name like `Password=`.
pub(super) fn secrets_in(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let begin = text.find("://").map(|at| at + "://".len());
    found.extend(password_before_at(text, begin.unwrap_or_default()));
    if let Some(begin) = begin {
        found.extend(no_port(text, begin));
        found.extend(hidden_parameters(text, begin));
    }
    found.extend(behind_scheme(text));
    found.extend(named_secret(text, begin));
    found
}

fn password_before_at(text: &str, begin: usize) -> Option<Range<usize>> {
    let end = text.rfind('@').filter(|at| *at > begin)?;
    let start = begin + text.get(begin..end)?.find(':')? + 1;
    Some(start..end)
}

/// A password whose host was forgotten stands where a port is expected, and may go on behind what ends a host.
fn no_port(text: &str, begin: usize) -> Option<Range<usize>> {
    let rest = text.get(begin..).filter(|rest| !rest.contains('@'))?;
    let end = rest.find(['/', '\'', '"'].as_slice());
    let authority = &rest[..end.unwrap_or(rest.len())];
    let authority = authority.split(SEPARATORS).next().unwrap_or_default();
    // The colons of an address in brackets are its own.
    let port = authority.rfind(']').unwrap_or_default();
    let port = port + authority[port..].find(':')? + 1;
    let is_port = authority[port..].parse::<u16>().is_ok();
    (!is_port).then_some(begin + port..text.len())
}

fn hidden_parameters(text: &str, begin: usize) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let rest = text.get(begin..).unwrap_or_default();
    let Some(path) = rest.find(SEPARATORS) else {
        return found;
    };
    let mut start = begin + path + 1;
    for part in text.get(start..).unwrap_or_default().split(SEPARATORS) {
        let end = start + part.len();
        match part.split_once('=') {
            Some((name, _)) if is_shown(name.trim()) => {}
            // Behind a secret, what looks like a name may be the rest of it.
            Some((name, _)) if found.is_empty() => found.push(start + name.len() + 1..end),
            _ => found.push(start..end),
        }
        start = end + 1;
    }
    found
}

/// What follows `sqlserver:` without the slashes, which may be anything of a URL.
fn behind_scheme(text: &str) -> Option<Range<usize>> {
    let at = text.to_ascii_lowercase().find(SCHEME)? + SCHEME.len();
    let has_slashes = text.get(at..)?.starts_with("//");
    (!has_slashes).then_some(at..text.len())
}

/// The value of the first secret in `name=value;name=value`, and all behind it: it may hold any separator itself. Where
/// there is a URL the list is what stands before it.
fn named_secret(text: &str, url: Option<usize>) -> Option<Range<usize>> {
    let mut start = 0;
    for part in text.get(..url.unwrap_or(text.len()))?.split(SEPARATORS) {
        if let Some((name, _)) = part.split_once('=') {
            let letters = name.chars().filter(|c| c.is_alphabetic());
            let letters = letters.collect::<String>().to_lowercase();
            if SECRET_WORDS.iter().any(|word| letters.contains(word)) {
                return Some(start + name.len() + 1..text.len());
            }
        }
        start += part.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let found = secrets_in(text);
        let hidden = |at: usize| found.iter().any(|secret| secret.contains(&at));
        let chars = text.char_indices();
        chars
            .map(|(at, c)| if hidden(at) { '*' } else { c })
            .collect()
    }

    #[test]
    fn a_url_shows_all_but_its_secrets() {
        for (url, shown) in [
            ("sqlserver://sa:two@h/db", "sqlserver://sa:***@h/db"),
            (
                "sqlserver://h/db?password=two",
                "sqlserver://h/db?password=***",
            ),
            (
                "sqlserver://h:1433/db?encrypt=off&access_token=two&port=1",
                "sqlserver://h:1433/db?encrypt=off&access_token=***&port=1",
            ),
            (
                "sqlserver://[::1]:1433/db?Encrypt=off&Token=two",
                "sqlserver://[::1]:1433/db?Encrypt=off&Token=***",
            ),
            (
                "jdbc:sqlserver://h:1433;user=u;Password=two;encrypt=off",
                "jdbc:sqlserver://h:1433;user=u;Password=***;encrypt=off",
            ),
            (
                "https://a.blob.example/c?sv=1&sig=ab%2F",
                "https://a.blob.example/c?sv=*&*********",
            ),
            ("sqlserver://sa:t://wo@h/db", "sqlserver://sa:******@h/db"),
            ("Pwd=two://three", "Pwd=***********"),
            ("s3://bucket/path", "s3://bucket/path"),
            (
                "abfss://c@a.dfs.example/path",
                "abfss://c@a.dfs.example/path",
            ),
            ("embedded:app_db.sql", "embedded:app_db.sql"),
            ("file:///C:/lake", "file:///C:/lake"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }

    #[test]
    fn no_part_of_a_password_with_odd_characters_is_shown() {
        for odd in [
            "?",
            "@",
            "/",
            "#",
            "%",
            ":",
            " ",
            "&",
            ";",
            "=",
            "[",
            "]",
            "\\",
            "\t",
            "\n",
            "?a=",
            "@x?",
            "/@?",
            "&b=",
            "?encrypt=off&",
            "ü",
        ] {
            let (left, right) = ("Tr0ub4", "dor9");
            for (before, after) in [
                ("sqlserver://u:", "@h:1433/d?encrypt=off"),
                ("sqlserver://u:", "@h?application_name=x@y"),
                ("sqlserver://u@h/d?password=", ""),
                ("sqlserver://u@h/d?encrypt=off&access_token=", "&port=1"),
                ("sqlserver://u:p@h/d?PASSWORD=", "&x=y"),
                ("sqlserver://h;password=", ";encrypt=off"),
                ("Server=h;User=u;Password=", ";Encrypt=yes"),
                ("AccessToken=", ""),
                ("sqlserver:u:", "@h/d"),
                ("u:", "@h/d"),
            ] {
                let shown = masked(&format!("{before}{left}{odd}{right}{after}"));
                for part in [left, right] {
                    assert!(!shown.contains(part), "{before} {odd:?}: {shown}");
                }
            }
        }
    }

    #[test]
    fn a_password_whose_host_was_forgotten_is_not_shown() {
        for url in [
            "sqlserver://u:12?hunter2",
            "sqlserver://u:12?hunter2/d",
            "sqlserver://u:hunter2/d",
            "sqlserver://u:/hunter2",
            "sqlserver:u:hunter2",
            "sqlserver://u:hu/hunter2",
        ] {
            let shown = masked(url);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
