//! Functions of dates and times. The time is the database's clock.

use std::sync::Arc;

use chrono::{Datelike, Months, NaiveDate, NaiveDateTime, Timelike};
use datafusion::common::ScalarValue;

use super::{Function, literal_text};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::{
    Mode, Value, array_of, civil, convert_array, convert_value, values_of,
};

pub(super) fn function(name: &str, scope: &Arc<Scope>) -> Option<Function> {
    let now = |sql_type| {
        Some(Function::constant(
            name,
            sql_type,
            Value::Timestamp(scope.now()),
        ))
    };
    match name {
        "getdate" | "getutcdate" | "current_timestamp" => now(SqlType::DateTime),
        "sysdatetime" | "sysutcdatetime" => now(SqlType::DateTime2(7)),
        "sysdatetimeoffset" => now(SqlType::DateTimeOffset(7)),
        "year" => Some(part_function(name, 1, |at| i64::from(at.year()))),
        "month" => Some(part_function(name, 1, |at| i64::from(at.month()))),
        "day" => Some(part_function(name, 1, |at| i64::from(at.day()))),
        "eomonth" => Some(Function::new(name, (1, 1), SqlType::Date, |args| {
            let at = civil(instant(&args[0])?);
            let first = at
                .date()
                .with_day(1)
                .and_then(|day| day.checked_add_months(Months::new(1)));
            let last = first.and_then(|day| day.pred_opt());
            Ok(last.map_or(Value::Null, |day| {
                Value::Date(day.num_days_from_ce() - 719_163)
            }))
        })),
        "todatetimeoffset" | "switchoffset" => Some(Function::new(
            name,
            (2, 2),
            SqlType::DateTimeOffset(7),
            |args| instant(&args[0]).map(Value::Timestamp),
        )),
        _ => arithmetic(name),
    }
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

/// Microseconds since 1970-01-01 of a date, a time or a text.
fn instant(value: &Value) -> Result<i64, ServerError> {
    let from = match value {
        Value::Date(_) => SqlType::Date,
        Value::Time(_) => SqlType::Time(7),
        Value::Text(_) => SqlType::NVarChar(Length::Max),
        Value::Int(_) => {
            let converted = convert_value(
                value.clone(),
                SqlType::Int,
                SqlType::DateTime,
                0,
                Mode::Cast,
            )?;
            return instant(&converted);
        }
        _ => SqlType::DateTime2(7),
    };
    match convert_value(value.clone(), from, SqlType::DateTime2(7), 0, Mode::Cast)? {
        Value::Timestamp(micros) => Ok(micros),
        _ => Ok(0),
    }
}

fn part_function(name: &str, arguments: usize, part: fn(NaiveDateTime) -> i64) -> Function {
    Function::new(name, (arguments, arguments), SqlType::Int, move |args| {
        Ok(Value::Int(part(civil(instant(&args[0])?))))
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

    /// Its length in microseconds, if it has one.
    fn micros(self) -> Option<i64> {
        Some(match self {
            Self::Week => 604_800_000_000,
            Self::DayOfYear | Self::Day | Self::Weekday => 86_400_000_000,
            Self::Hour => 3_600_000_000,
            Self::Minute => 60_000_000,
            Self::Second => 1_000_000,
            Self::Millisecond => 1_000,
            Self::Microsecond => 1,
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
                let before = first.weekday().num_days_from_sunday();
                i64::from((at.ordinal0() + before) / 7 + 1)
            }
            Self::Weekday => i64::from(at.weekday().num_days_from_sunday() + 1),
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
    fn count(self, micros: i64) -> i64 {
        let at = civil(micros);
        let months = i64::from(at.year()) * 12 + i64::from(at.month0());
        match self {
            Self::Year => at.year().into(),
            Self::Quarter => months.div_euclid(3),
            Self::Month => months,
            Self::Nanosecond => micros.saturating_mul(1_000),
            // Weeks begin on a Sunday; 1970-01-01 was a Thursday.
            Self::Week => (micros + 4 * 86_400_000_000).div_euclid(604_800_000_000),
            other => micros.div_euclid(other.micros().unwrap_or(1)),
        }
    }
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
        Ok(Value::Int(part.of(civil(instant(&args[1])?))))
    })
}

fn date_diff(name: &str, result: SqlType) -> Function {
    Function::new(name, (3, 3), result, move |args| {
        let part = named_part(&args[0])?;
        let difference = part.count(instant(&args[2])?) - part.count(instant(&args[1])?);
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
    let micros = instant(at)?;
    let sum = match (part, part.micros()) {
        (Part::Nanosecond, _) => micros.checked_add(number / 1_000),
        (_, Some(length)) => number
            .checked_mul(length)
            .and_then(|step| micros.checked_add(step)),
        (Part::Year, _) => add_months(micros, number.checked_mul(12)),
        (Part::Quarter, _) => add_months(micros, number.checked_mul(3)),
        (Part::Month, _) => add_months(micros, Some(number)),
        _ => None,
    };
    let range = NaiveDate::from_ymd_opt(1, 1, 1).zip(NaiveDate::from_ymd_opt(9999, 12, 31));
    let sum = sum.filter(|sum| {
        range.is_some_and(|(first, last)| (first..=last).contains(&civil(*sum).date()))
    });
    let Some(sum) = sum else {
        return Err(ServerError::new(
            517,
            format!(
                "Adding a value to a '{}' column caused an overflow.",
                to.base_name()
            ),
        ));
    };
    convert_value(
        Value::Timestamp(sum),
        SqlType::DateTime2(7),
        to,
        0,
        Mode::Cast,
    )
}

fn add_months(micros: i64, months: Option<i64>) -> Option<i64> {
    let at = civil(micros);
    let months = months?;
    let step = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let moved = if months < 0 {
        at.checked_sub_months(step)
    } else {
        at.checked_add_months(step)
    };
    moved.map(|at| at.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        instant(&Value::from(text)).unwrap()
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
    }

    #[test]
    fn sums_stay_within_the_month() {
        let sum = add(
            Part::Month,
            1,
            &Value::Timestamp(at("2024-01-31")),
            SqlType::DateTime,
        );
        assert_eq!(sum.unwrap(), Value::Timestamp(at("2024-02-29")));
        let far = add(
            Part::Year,
            9000,
            &Value::Timestamp(at("2024-01-31")),
            SqlType::DateTime,
        );
        assert_eq!(far.unwrap_err().number, 517);
    }

    #[test]
    fn parts_are_numbers() {
        let day = civil(at("2024-01-07 10:11:12.5"));
        assert_eq!(Part::Weekday.of(day), 1);
        assert_eq!(Part::Week.of(day), 2);
        assert_eq!(Part::Millisecond.of(day), 500);
    }
}
