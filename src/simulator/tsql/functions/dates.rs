//! Functions of dates and times. The time is the database's clock, which shows local time.

use std::sync::Arc;

use chrono::{Datelike, Months, NaiveDateTime, Timelike};
use datafusion::common::ScalarValue;

use super::{Function, literal_text};
use crate::simulator::protocol::forms::{TICKS_PER_DAY, TICKS_TO_1970};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::{
    Locale, Mode, TICKS_PER_MINUTE, Value, array_of, civil_of_ticks, convert_array, convert_value,
    instant, local_ticks, parse_offset, ticks_of, values_of,
};

const ZONE_ID: SqlType = SqlType::VarChar(Length::Limited(128));

pub(super) fn function(name: &str, scope: &Arc<Scope>) -> Option<Function> {
    let now = |sql_type, micros| {
        let clock = Value::Timestamp(micros);
        let now = convert_value(clock, SqlType::SmallDateTime, sql_type, 0, Mode::Try);
        let now = now.unwrap_or(Value::Null);
        Some(Function::constant(name, sql_type, now))
    };
    let local_now = || scope.now().0;
    let utc = || {
        let (local, offset) = scope.now();
        local - i64::from(offset) * 60_000_000
    };
    match name {
        "getdate" | "current_timestamp" => now(SqlType::DateTime, local_now()),
        "getutcdate" => now(SqlType::DateTime, utc()),
        "sysdatetime" => now(SqlType::DateTime2(7), local_now()),
        "sysutcdatetime" => now(SqlType::DateTime2(7), utc()),
        "sysdatetimeoffset" => {
            let (local, offset) = scope.now();
            let ticks = local * 10 + TICKS_TO_1970;
            let now = with_offset(ticks, offset).unwrap_or(Value::Null);
            Some(Function::constant(name, SqlType::DateTimeOffset(7), now))
        }
        "current_timezone_id" => scope
            .zone_id()
            .map(|id| Function::constant(name, ZONE_ID, Value::from(id))),
        "year" => Some(part_function(name, |at| i64::from(at.year()))),
        "month" => Some(part_function(name, |at| i64::from(at.month()))),
        "day" => Some(part_function(name, |at| i64::from(at.day()))),
        "eomonth" => Some(Function::new(name, (1, 1), SqlType::Date, |args| {
            let at = civil_of_ticks(local(&args[0])?.0);
            let first = at
                .date()
                .with_day(1)
                .and_then(|day| day.checked_add_months(Months::new(1)));
            let last = first.and_then(|day| day.pred_opt());
            Ok(last.map_or(Value::Null, |day| {
                Value::Date(day.num_days_from_ce() - 719_163)
            }))
        })),
        "todatetimeoffset" => Some(Function::new(
            name,
            (2, 2),
            SqlType::DateTimeOffset(7),
            |args| {
                let (ticks, _) = local(&args[0])?;
                with_offset(ticks, zone(&args[1])?)
            },
        )),
        "switchoffset" => Some(Function::new(
            name,
            (2, 2),
            SqlType::DateTimeOffset(7),
            |args| {
                let (ticks, offset) = local(&args[0])?;
                let to = zone(&args[1])?;
                let utc = ticks - i64::from(offset) * TICKS_PER_MINUTE;
                with_offset(utc + i64::from(to) * TICKS_PER_MINUTE, to)
            },
        )),
        _ => arithmetic(name),
    }
}

fn with_offset(ticks: i64, offset: i16) -> Result<Value, ServerError> {
    instant(ticks, offset, SqlType::DateTimeOffset(7)).ok_or_else(|| {
        ServerError::new(
            517,
            "Adding a value to a 'datetimeoffset' column caused an overflow.",
        )
    })
}

/// An offset as minutes or as `+hh:mm`.
fn zone(value: &Value) -> Result<i16, ServerError> {
    let minutes = match value {
        Value::Int(minutes) => i16::try_from(*minutes).ok(),
        Value::Text(text) => parse_offset(text),
        _ => None,
    };
    minutes.filter(|minutes| (-840..=840).contains(minutes)).ok_or_else(|| {
        ServerError::new(
            9812,
            "The timezone provided to builtin function todatetimeoffset or switchoffset is invalid.",
        )
    })
}

/// The functions that compute with parts of dates.
pub(super) fn arithmetic(name: &str) -> Option<Function> {
    match name {
        "datepart" => Some(date_part()),
        "datediff" => Some(date_diff(name, SqlType::Int)),
        "datediff_big" => Some(date_diff(name, SqlType::BigInt)),
        "dateadd" => Some(date_add()),
        _ => None,
    }
}

/// The local time of a date, a time or a text in steps of 100 ns since 0001-01-01, and its offset in minutes.
fn local(value: &Value) -> Result<(i64, i16), ServerError> {
    let (value, from) = match value {
        Value::Text(_) => {
            let (text, to) = (SqlType::NVarChar(Length::Max), SqlType::DateTimeOffset(7));
            (convert_value(value.clone(), text, to, 0, Mode::Cast)?, to)
        }
        Value::Int(_) => {
            let (int, to) = (SqlType::Int, SqlType::DateTime);
            (convert_value(value.clone(), int, to, 0, Mode::Cast)?, to)
        }
        // Milliseconds as they are shown, which is how the parts of a datetime are counted.
        other => (other.clone(), SqlType::SmallDateTime),
    };
    local_ticks(&value, from).ok_or_else(|| {
        ServerError::new(
            8116,
            "Argument data type is invalid for a date or time argument of a function.",
        )
    })
}

fn part_function(name: &str, part: fn(NaiveDateTime) -> i64) -> Function {
    Function::new(name, (1, 1), SqlType::Int, move |args| {
        Ok(Value::Int(part(civil_of_ticks(local(&args[0])?.0))))
    })
}

/// A part of a date or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    Quarter,
    Month,
    DayOfYear,
    Day,
    Week,
    Weekday,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Offset,
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "year" | "yy" | "yyyy" => Self::Year,
            "quarter" | "qq" | "q" => Self::Quarter,
            "month" | "mm" | "m" => Self::Month,
            "dayofyear" | "dy" | "y" => Self::DayOfYear,
            "day" | "dd" | "d" => Self::Day,
            "week" | "wk" | "ww" => Self::Week,
            "weekday" | "dw" | "w" => Self::Weekday,
            "hour" | "hh" => Self::Hour,
            "minute" | "mi" | "n" => Self::Minute,
            "second" | "ss" | "s" => Self::Second,
            "millisecond" | "ms" => Self::Millisecond,
            "microsecond" | "mcs" => Self::Microsecond,
            "nanosecond" | "ns" => Self::Nanosecond,
            "tzoffset" | "tz" => Self::Offset,
            _ => return None,
        })
    }

    /// Its length in steps of 100 ns, if it has one.
    fn ticks(self) -> Option<i64> {
        Some(match self {
            Self::Week => 7 * TICKS_PER_DAY,
            Self::DayOfYear | Self::Day | Self::Weekday => TICKS_PER_DAY,
            Self::Hour => 60 * TICKS_PER_MINUTE,
            Self::Minute => TICKS_PER_MINUTE,
            Self::Second => 10_000_000,
            Self::Millisecond => 10_000,
            Self::Microsecond => 10,
            _ => return None,
        })
    }

    fn of(self, at: NaiveDateTime) -> i64 {
        let nanos = i64::from(at.nanosecond());
        match self {
            Self::Year => at.year().into(),
            Self::Quarter => i64::from(at.month0() / 3 + 1),
            Self::Month => at.month().into(),
            Self::DayOfYear => at.ordinal().into(),
            Self::Day => at.day().into(),
            Self::Week => {
                let first = at.date().with_ordinal(1).unwrap_or_default();
                let before = day_of_week(first.weekday());
                i64::from((at.ordinal0() + before) / 7 + 1)
            }
            Self::Weekday => i64::from(day_of_week(at.weekday()) + 1),
            Self::Hour => at.hour().into(),
            Self::Minute => at.minute().into(),
            Self::Second => at.second().into(),
            Self::Millisecond => nanos / 1_000_000,
            Self::Microsecond => nanos / 1_000,
            Self::Nanosecond => nanos,
            Self::Offset => 0,
        }
    }

    /// The number of the part since some fixed time.
    fn count(self, ticks: i64) -> i64 {
        let at = civil_of_ticks(ticks);
        let months = i64::from(at.year()) * 12 + i64::from(at.month0());
        match self {
            Self::Year => at.year().into(),
            Self::Quarter => months.div_euclid(3),
            Self::Month => months,
            Self::Nanosecond => (ticks - TICKS_TO_1970).saturating_mul(100),
            // Weeks begin on a Sunday; 0001-01-01 was a Monday.
            Self::Week => (ticks + TICKS_PER_DAY).div_euclid(7 * TICKS_PER_DAY),
            other => ticks.div_euclid(other.ticks().unwrap_or(1)),
        }
    }
}

/// A day's place in the session's week, from 0.
fn day_of_week(day: chrono::Weekday) -> u32 {
    Locale::current().day_of_week(day.num_days_from_monday())
}

fn part_of(literals: &[Option<&ScalarValue>]) -> Result<Part, ServerError> {
    let name = literal_text(literals, 0).unwrap_or_default();
    part_named(&name)
}

fn part_named(name: &str) -> Result<Part, ServerError> {
    Part::named(name).ok_or_else(|| {
        ServerError::new(
            155,
            format!("'{name}' is not a recognized datepart option."),
        )
    })
}

fn named_part(value: &Value) -> Result<Part, ServerError> {
    part_named(value.as_text().unwrap_or_default())
}

fn date_part() -> Function {
    Function::new("datepart", (2, 2), SqlType::Int, |args| {
        let part = named_part(&args[0])?;
        let (ticks, offset) = local(&args[1])?;
        Ok(Value::Int(match part {
            Part::Offset => offset.into(),
            part => part.of(civil_of_ticks(ticks)),
        }))
    })
}

/// The instant in UTC.
fn utc(value: &Value) -> Result<i64, ServerError> {
    local(value).map(|(ticks, offset)| ticks - i64::from(offset) * TICKS_PER_MINUTE)
}

fn date_diff(name: &str, result: SqlType) -> Function {
    Function::new(name, (3, 3), result, move |args| {
        let part = named_part(&args[0])?;
        let difference = part
            .count(utc(&args[2])?)
            .saturating_sub(part.count(utc(&args[1])?));
        if result == SqlType::Int && i32::try_from(difference).is_err() {
            return Err(ServerError::new(
                535,
                "The datediff function resulted in an overflow. The number of dateparts separating two date/time instances is too large. Try to use datediff with a less precise datepart.",
            ));
        }
        Ok(Value::Int(difference))
    })
}

fn date_add() -> Function {
    Function::arrays(
        "dateadd",
        (3, 3),
        |types, literals| {
            part_of(literals)?;
            Ok(match types[2] {
                SqlType::Date
                | SqlType::SmallDateTime
                | SqlType::DateTime
                | SqlType::DateTime2(_)
                | SqlType::DateTimeOffset(_) => types[2],
                _ => SqlType::DateTime,
            })
        },
        |arrays, types, to| {
            let parts = values_of(&arrays[0])?;
            let numbers = values_of(&convert_array(
                &arrays[1],
                types[1],
                SqlType::BigInt,
                0,
                Mode::Cast,
            )?)?;
            let times = values_of(&convert_array(&arrays[2], types[2], to, 0, Mode::Cast)?)?;
            let sums = parts
                .iter()
                .zip(numbers)
                .zip(times)
                .map(|((part, number), at)| match number.as_int() {
                    Some(number) if !at.is_null() => add(named_part(part)?, number, &at, to),
                    _ => Ok(Value::Null),
                })
                .collect::<Result<Vec<_>, _>>()?;
            array_of(to, sums)
        },
    )
}

fn add(part: Part, number: i64, at: &Value, to: SqlType) -> Result<Value, ServerError> {
    let (ticks, offset) = local(at)?;
    let sum = match (part, part.ticks()) {
        // Rounded to the type's step of 100 ns.
        (Part::Nanosecond, _) => ticks.checked_add((number.saturating_add(50)).div_euclid(100)),
        (_, Some(length)) => number
            .checked_mul(length)
            .and_then(|step| ticks.checked_add(step)),
        (Part::Year, _) => add_months(ticks, number.checked_mul(12)),
        (Part::Quarter, _) => add_months(ticks, number.checked_mul(3)),
        (Part::Month, _) => add_months(ticks, Some(number)),
        _ => None,
    };
    let value = sum.and_then(|sum| match to {
        SqlType::Date => {
            let whole = instant(sum, 0, SqlType::DateTime2(7))?;
            convert_value(whole, SqlType::DateTime2(7), to, 0, Mode::Cast).ok()
        }
        _ => instant(sum, offset, to),
    });
    value.ok_or_else(|| {
        ServerError::new(
            517,
            format!(
                "Adding a value to a '{}' column caused an overflow.",
                to.base_name()
            ),
        )
    })
}

fn add_months(ticks: i64, months: Option<i64>) -> Option<i64> {
    let at = civil_of_ticks(ticks);
    let months = months?;
    let step = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let moved = if months < 0 {
        at.checked_sub_months(step)
    } else {
        at.checked_add_months(step)
    };
    moved.map(ticks_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        local(&Value::from(text)).unwrap().0
    }

    #[test]
    fn differences_count_boundaries() {
        let difference = |part: &str, from, to| {
            let part = Part::named(part).unwrap();
            part.count(at(to)) - part.count(at(from))
        };
        assert_eq!(difference("year", "2023-12-31", "2024-01-01"), 1);
        assert_eq!(
            difference("hour", "2024-01-01 00:59", "2024-01-01 01:00"),
            1
        );
        assert_eq!(difference("ss", "2024-01-01", "2024-01-02"), 86_400);
        assert_eq!(difference("month", "2024-03-01", "2024-01-31"), -2);
        assert_eq!(difference("week", "2024-01-06", "2024-01-07"), 1);
        assert_eq!(difference("week", "2024-01-07", "2024-01-13"), 0);
    }

    #[test]
    fn sums_stay_within_the_month() {
        let day = |text| Value::Instant(at(text));
        let sum = add(Part::Month, 1, &day("2024-01-31"), SqlType::DateTime2(7));
        assert_eq!(sum.unwrap(), day("2024-02-29"));
        let step = add(
            Part::Nanosecond,
            100,
            &day("2024-01-31"),
            SqlType::DateTime2(7),
        );
        assert_eq!(step.unwrap(), day("2024-01-31 00:00:00.0000001"));
        let far = add(Part::Year, 9000, &day("2024-01-31"), SqlType::DateTime);
        assert_eq!(far.unwrap_err().number, 517);
    }

    #[test]
    fn parts_are_numbers() {
        let day = civil_of_ticks(at("2024-01-07 10:11:12.5"));
        assert_eq!(Part::Weekday.of(day), 1);
        assert_eq!(Part::Week.of(day), 2);
        assert_eq!(Part::Millisecond.of(day), 500);
    }
}
