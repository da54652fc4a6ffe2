//! How the statement that runs reads and writes dates.
//!
//! A batch has a thread to itself while it runs, so that what a session has set is the thread's for so long;
//! conversions happen deep within plans, and are asked for by many.

use std::cell::Cell;

use crate::simulator::protocol::Language;

/// DATEFORMAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DateOrder {
    /// Month, day, year.
    Mdy,
    /// Day, month, year.
    Dmy,
    /// Year, month, day.
    Ymd,
}

impl DateOrder {
    /// The order of a name; `None` for one that there is not, or that the simulator lacks.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "mdy" => Some(Self::Mdy),
            "dmy" => Some(Self::Dmy),
            "ymd" => Some(Self::Ymd),
            _ => None,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mdy => "mdy",
            Self::Dmy => "dmy",
            Self::Ymd => "ymd",
        }
    }

    /// The order that a style of CONVERT asks for; the session's without one.
    pub(crate) fn of_style(style: i64) -> Self {
        match style {
            1 | 10 | 101 | 110 => Self::Mdy,
            3..=5 | 103..=105 => Self::Dmy,
            2 | 11 | 20 | 21 | 23 | 102 | 111 | 120 | 121 => Self::Ymd,
            _ => Locale::current().date_order,
        }
    }
}

/// What LANGUAGE, DATEFORMAT and DATEFIRST set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Locale {
    /// LANGUAGE.
    pub(crate) language: Language,
    /// DATEFORMAT.
    pub(crate) date_order: DateOrder,
    /// DATEFIRST: the first day of the week, from 1 for Monday.
    pub(crate) first_day: u8,
}

impl Default for Locale {
    fn default() -> Self {
        Self::of(Language::default())
    }
}

thread_local! {
    static CURRENT: Cell<Locale> = const { Cell::new(Locale::of(Language::English)) };
}

impl Locale {
    /// What a language brings along.
    pub(crate) const fn of(language: Language) -> Self {
        let (date_order, first_day) = match language {
            Language::English => (DateOrder::Mdy, 7),
            Language::German => (DateOrder::Dmy, 1),
        };
        Self {
            language,
            date_order,
            first_day,
        }
    }

    /// The locale of what this thread runs.
    pub(crate) fn current() -> Self {
        CURRENT.get()
    }

    /// Makes it the locale of what this thread runs from now on.
    pub(crate) fn enter(self) {
        CURRENT.set(self);
    }

    /// Does something that is not part of a batch, such as converting a call's parameters, in this locale.
    pub(crate) fn within<T>(self, work: impl FnOnce() -> T) -> T {
        let outside = CURRENT.replace(self);
        let result = work();
        CURRENT.set(outside);
        result
    }

    /// Days from the first day of the week to a day; both are counted from 0 for Monday.
    pub(crate) fn day_of_week(self, from_monday: u32) -> u32 {
        (from_monday + 8 - u32::from(self.first_day)) % 7
    }

    /// The short name of a month, from 0.
    pub(crate) fn month(self, month: u32) -> &'static str {
        let names = match self.language {
            Language::English => ENGLISH,
            Language::German => GERMAN,
        };
        names.get(month as usize).copied().unwrap_or_default()
    }
}

const ENGLISH: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const GERMAN: [&str; 12] = [
    "Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_where_the_language_says() {
        let (english, german) = (Locale::of(Language::English), Locale::of(Language::German));
        assert_eq!((english.day_of_week(6), english.day_of_week(0)), (0, 1));
        assert_eq!((german.day_of_week(6), german.day_of_week(0)), (6, 0));
    }
}
