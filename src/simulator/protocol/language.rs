//! The languages of a session, and messages in them.

use super::ServerError;

/// The language of a session: its messages, its names of months, and how it writes dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// `us_english`: dates are month, day, year, and a week begins on Sunday.
    #[default]
    English,
    /// `Deutsch`: dates are day, month, year, and a week begins on Monday.
    German,
}

impl Language {
    /// The language of a name or an alias in `sys.syslanguages`; `None` for one that there is not, or that
    /// the simulator lacks.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "us_english" | "english" => Some(Self::English),
            "deutsch" | "german" => Some(Self::German),
            _ => None,
        }
    }

    /// What `@@LANGUAGE` says.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "us_english",
            Self::German => "Deutsch",
        }
    }

    /// A message in this language. German ones of the less common numbers have the number and the names
    /// alone; 40510 and its like, which are the simulator's own, stay as they are.
    pub(crate) fn message(self, english: &ServerError) -> ServerError {
        let mut message = english.clone();
        if self == Self::German && !OWN.contains(&english.number) {
            message.message = german(english);
        }
        message
    }
}

/// Messages that are not SQL Server's.
const OWN: &[u32] = &[40510, 40519];

/// Messages, with `{}` where the quoted parts of the English one stand, in their order.
const GERMAN: &[(u32, &str)] = &[
    (102, "Falsche Syntax in der Nähe von '{}'."),
    (137, "Die Skalarvariable \"{}\" muss deklariert werden."),
    (207, "Ungültiger Spaltenname '{}'."),
    (208, "Ungültiger Objektname '{}'."),
    (
        229,
        "Die Berechtigung wurde für das Objekt '{}', Datenbank '{}', Schema '{}' verweigert.",
    ),
    (
        241,
        "Eine Zeichenfolge ist kein Datum und keine Uhrzeit und lässt sich nicht umwandeln.",
    ),
    (
        242,
        "Das Datum liegt außerhalb dessen, was der Datentyp aufnimmt.",
    ),
    (
        313,
        "Die Prozedur oder Funktion hat zu wenige Argumente erhalten.",
    ),
    (
        1205,
        "Die Transaktion befand sich in einem Deadlock mit einem anderen Prozess und wurde als Opfer ausgewählt. \
         Führen Sie sie erneut aus.",
    ),
    (
        1222,
        "Die Wartezeit für eine Sperranforderung ist abgelaufen.",
    ),
    (
        2627,
        "Verletzung der Einschränkung '{}'. Ein doppelter Schlüssel kann nicht in das Objekt '{}' eingefügt werden.",
    ),
    (2812, "Die gespeicherte Prozedur '{}' wurde nicht gefunden."),
    (5701, "Der Datenbankkontext ist jetzt die Datenbank '{}'."),
    (5703, "Die Sprache ist jetzt {}."),
    (8134, "Es wurde durch null geteilt."),
];

fn german(english: &ServerError) -> String {
    let mut quoted = quoted(&english.message).into_iter();
    if let Some((_, text)) = GERMAN.iter().find(|(number, _)| *number == english.number) {
        let mut parts = text.split("{}");
        let mut message = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            message += quoted.next().unwrap_or(Language::German.name());
            message += part;
        }
        return message;
    }
    let names: String = quoted.map(|name| format!(" '{name}'")).collect();
    format!("Meldung {} des Servers.{names}", english.number)
}

/// What stands between quotes.
fn quoted(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once(['\'', '"']) {
        let Some((name, after)) = behind.split_once(['\'', '"']) else {
            break;
        };
        found.push(name);
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn german_messages_name_what_english_ones_name() {
        let german = |error: &ServerError| Language::German.message(error);
        let object = ServerError::invalid_object("dbo.t");
        assert_eq!(german(&object).message, "Ungültiger Objektname 'dbo.t'.");
        assert_eq!(german(&object).number, 208);
        let rare = ServerError::truncated("t", "c", "it's");
        let message = german(&rare).message;
        assert!(
            message.starts_with("Meldung 2628 des Servers. 't' 'c'"),
            "{message}"
        );
        let own = ServerError::unsupported("this");
        assert_eq!(german(&own), own);
        assert_eq!(Language::English.message(&object), object);
    }

    #[test]
    fn languages_have_names_and_aliases() {
        for language in [Language::English, Language::German] {
            assert_eq!(Language::named(language.name()), Some(language));
        }
        assert_eq!(Language::named("German"), Some(Language::German));
        assert_eq!(Language::named("Klingon"), None);
    }
}
