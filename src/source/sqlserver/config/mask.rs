//! What stands for a secret in what people read.

use secrecy::{ExposeSecret, SecretString};

/// What stands for the password, or the access token.
const PASSWORD: &str = "***";

/// A value of fewer bytes is looked for as a whole word only: it is a part of too many others.
const SHORT: usize = 4;

/// The values that are not shown, and what stands for each.
#[derive(Clone, Default)]
pub(super) struct Masks {
    masks: Vec<Mask>,
}

#[derive(Clone)]
struct Mask {
    option: String,
    value: SecretString,
    shown: String,
}

impl Masks {
    /// Notes the value of `option` if it is the password or the access token, or a secret that is called `call`.
    pub(super) fn add(&mut self, option: &str, value: &str, call: Option<&str>) {
        let shown = match call {
            Some(call) => call,
            None if ["password", "access_token"].contains(&option) => PASSWORD,
            None => return,
        };
        self.masks.push(Mask {
            option: option.to_string(),
            value: SecretString::from(value.to_string()),
            shown: shown.to_string(),
        });
    }

    fn of(&self, option: &str) -> Option<&str> {
        let mask = self.masks.iter().find(|mask| mask.option == option)?;
        Some(&mask.shown)
    }

    /// The value of `option` in quotes, or what stands for it.
    pub(super) fn quoted(&self, option: &str, value: &str) -> String {
        match self.of(option) {
            Some(shown) => shown.to_string(),
            None => format!("'{value}'"),
        }
    }

    /// `host:port`, or what stands for them.
    pub(super) fn server(&self, host: &str, port: u16) -> String {
        match (self.of("host"), self.of("port")) {
            (None, None) => format!("{host}:{port}"),
            (Some(host), Some(port)) if host == port => host.to_string(),
            (Some(host), None) => format!("{host}, port {port}"),
            (host, Some(port)) => format!("{}, port {port}", host.unwrap_or_default()),
        }
    }

    /// `text` with every secret in it replaced, whatever its case; of several that begin at one place the longest.
    pub(super) fn masked(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(letter) = text[at..].chars().next() {
            let found = self
                .masks
                .iter()
                .filter_map(|mask| Some((mask.end_at(text, at)?, mask)))
                .max_by_key(|(end, _)| *end);
            match found {
                Some((end, mask)) => {
                    out.push_str(&mask.shown);
                    at = end;
                }
                None => {
                    out.push(letter);
                    at += letter.len_utf8();
                }
            }
        }
        out
    }
}

impl Mask {
    /// Where the value ends in `text`, if it begins at `at`.
    fn end_at(&self, text: &str, at: usize) -> Option<usize> {
        let value = self.value.expose_secret();
        let end = at + value.len();
        let part = text.get(at..end)?;
        let found = !value.is_empty()
            && part.eq_ignore_ascii_case(value)
            && (value.len() >= SHORT || is_word(text, at, end));
        found.then_some(end)
    }
}

/// True when no letter or digit stands directly before `from` or at `to`.
fn is_word(text: &str, from: usize, to: usize) -> bool {
    let before = text[..from].chars().next_back();
    let after = text[to..].chars().next();
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_replaced_in_any_case_and_a_short_one_as_a_word() {
        let mut masks = Masks::default();
        masks.add(
            "host",
            "db.example",
            Some("the value of secret('env', 'H')"),
        );
        masks.add("user", "sa", Some("the value of secret('env', 'U')"));
        masks.add("database", "app", None);
        assert_eq!(
            masks.masked("DB.Example refused 'sa': same app"),
            "the value of secret('env', 'H') refused 'the value of secret('env', 'U')': same app"
        );
        assert_eq!(masks.quoted("database", "app"), "'app'");
    }

    #[test]
    fn what_a_secret_stands_for_is_not_searched_again() {
        let masked = |text: &str, secrets: &[(&str, &str)]| {
            let mut masks = Masks::default();
            for (value, shown) in secrets {
                masks.add("host", value, Some(shown));
            }
            masks.masked(text)
        };
        assert_eq!(masked("aaaaa", &[("aaaa", "aaaa!")]), "aaaa!a");
        assert_eq!(masked("größe", &[("ö", "*")]), "größe");
        assert_eq!(
            masked("shop", &[("shop", "env 'USER'"), ("USER", "*")]),
            "env 'USER'"
        );
    }

    #[test]
    fn a_secret_that_begins_with_another_is_replaced_whole() {
        for secrets in [["shop", "shop_prod"], ["shop_prod", "shop"]] {
            let mut masks = Masks::default();
            for secret in secrets {
                masks.add("user", secret, Some(&format!("<{}>", secret.len())));
            }
            assert_eq!(
                masks.masked("'shop_prod' refused 'SHOP', shop_test"),
                "'<9>' refused '<4>', <4>_test"
            );
        }
    }
}
