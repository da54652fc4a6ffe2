//! Constants, as arguments of EXEC are.

use super::lexer::{Kind, Token};
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::types::{Value, parse_decimal, parse_hex};

/// A constant with a sign or without, or NULL, and the type that it has by itself; `None` for anything else.
/// DEFAULT is NULL, and a bare word a text.
pub(crate) fn constant(tokens: &[Token]) -> Result<Option<(SqlType, Value)>, ServerError> {
    let (negative, token) = match tokens {
        [token] => (false, token),
        [sign, token] if matches!(token.kind, Kind::Number(_)) => (sign.symbol("-"), token),
        _ => return Err(ServerError::syntax("EXEC")),
    };
    let text = |text: &String| Value::from(text.as_str());
    Ok(Some(match &token.kind {
        Kind::Word(_) if token.is_any(&["NULL", "DEFAULT"]) => (SqlType::Int, Value::Null),
        Kind::Word(word) | Kind::Quoted(word) | Kind::National(word) => {
            (SqlType::NVarChar(Length::Max), text(word))
        }
        Kind::Text(content) => (SqlType::VarChar(Length::Max), text(content)),
        Kind::Number(digits) => number(digits, negative)?,
        Kind::Hex(digits) => {
            let bytes = parse_hex(digits).unwrap_or_default();
            (SqlType::VarBinary(Length::Max), Value::Bytes(bytes))
        }
        Kind::Variable(_) => return Ok(None),
        Kind::Symbol(symbol) => return Err(ServerError::syntax(symbol)),
    }))
}

/// An integer, a decimal where it has a point or is too long for one, a float where it has an exponent.
fn number(digits: &str, negative: bool) -> Result<(SqlType, Value), ServerError> {
    let signed = format!("{}{digits}", if negative { "-" } else { "" });
    if let Ok(int) = signed.parse::<i64>() {
        return Ok((SqlType::BigInt, Value::Int(int)));
    }
    if let Some(Value::Decimal(number, scale)) = parse_decimal(&signed) {
        let length = number.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
        let precision = length.max(scale.into());
        if let Some(precision) = u8::try_from(precision).ok().filter(|p| *p <= 38) {
            let sql_type = SqlType::Decimal { precision, scale };
            return Ok((sql_type, Value::Decimal(number, scale)));
        }
    }
    let float: f64 = signed.parse().unwrap_or(f64::NAN);
    if !digits.contains(['e', 'E']) || !float.is_finite() {
        return Err(ServerError::new(
            1007,
            format!(
                "The number '{digits}' is out of the range for numeric representation (maximum precision 38)."
            ),
        ));
    }
    Ok((SqlType::Float, Value::Float(float)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::tsql::lexer::tokens;

    fn value(text: &str) -> (SqlType, Value) {
        constant(&tokens(text).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn numbers_are_as_exact_as_they_are_written() {
        assert_eq!(value("-9223372036854775808").1, Value::Int(i64::MIN));
        assert_eq!(
            value("9223372036854775808").1,
            Value::Decimal(9_223_372_036_854_775_808, 0)
        );
        let decimal = SqlType::Decimal {
            precision: 3,
            scale: 2,
        };
        assert_eq!(value("-1.50"), (decimal, Value::Decimal(-150, 2)));
        assert_eq!(value("1.5e1"), (SqlType::Float, Value::Float(15.0)));
        let long = tokens(&"9".repeat(39)).unwrap();
        assert_eq!(constant(&long).unwrap_err().number, 1007);
        assert_eq!(
            constant(&tokens("1e400").unwrap()).unwrap_err().number,
            1007
        );
    }

    #[test]
    fn words_are_texts_and_variables_no_constants() {
        assert_eq!(value("dbo").1, Value::from("dbo"));
        assert_eq!(value("NULL").1, Value::Null);
        assert_eq!(value("0x0aF").1, Value::Bytes(vec![0, 0xaf]));
        assert_eq!(constant(&tokens("@a").unwrap()), Ok(None));
    }
}
