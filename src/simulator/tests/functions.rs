//! Scalar functions: the types of their results, and what they do not compute.

use super::{ok, run, session};

/// Each expression with its value's type and text.
async fn are(cases: &[(&str, &str, &str)]) {
    let mut s = session("").await;
    for (expression, base, wanted) in cases {
        let answer = ok(&mut s, &format!("SELECT {expression}")).await;
        assert_eq!(answer.value(), *wanted, "{expression}");
        let declared = answer.results[0].0[0].sql_type.declared();
        assert_eq!(declared, *base, "{expression}");
    }
}

async fn fail(cases: &[(&str, u32)]) {
    let mut s = session("").await;
    for (expression, number) in cases {
        let answer = run(&mut s, &format!("SELECT {expression}")).await;
        assert_eq!(answer.numbers(), [*number], "{expression}");
    }
}

#[tokio::test]
async fn results_of_mathematical_functions_have_the_types_of_their_arguments() {
    are(&[
        ("ABS(-7)", "int", "7"),
        ("ABS(-1.5)", "decimal(2,1)", "1.5"),
        ("ABS(CAST(-1.5 AS real))", "real", "1.5"),
        ("ABS('-2.5')", "float", "2.5"),
        ("CEILING(1.25)", "decimal(3,0)", "2"),
        ("FLOOR(-1.25)", "decimal(3,0)", "-2"),
        ("CEILING(CAST(-123.45 AS money))", "money", "-123.00"),
        ("FLOOR(CAST(123.45 AS smallmoney))", "smallmoney", "123.00"),
        ("FLOOR(7)", "int", "7"),
        ("ROUND(123.9995, 3)", "decimal(7,4)", "124.0000"),
        ("ROUND(150.75, 0, 1)", "decimal(5,2)", "150.00"),
        ("ROUND(748.58, -2)", "decimal(5,2)", "700.00"),
        ("ROUND(748.58, -4)", "decimal(5,2)", "0.00"),
        ("ROUND(CAST(155 AS smallint), -1)", "int", "160"),
        ("ROUND(-2.5e0, 0)", "float", "-3"),
        ("POWER(2, 10)", "int", "1024"),
        ("POWER(2, -100.0)", "int", "0"),
        ("POWER(2.00, -100.0)", "decimal(38,2)", "0.00"),
        ("POWER(2.5e0, 3)", "float", "15.625"),
        (
            "POWER(CAST(2 AS bigint), 62)",
            "bigint",
            "4611686018427387904",
        ),
        ("POWER('3', 2)", "float", "9"),
        ("DEGREES(PI() / 2)", "float", "90"),
        ("RADIANS(90)", "int", "1"),
        ("RADIANS(180.00)", "decimal(38,2)", "3.14"),
        ("SIGN(-125)", "int", "-1"),
        ("SIGN(CAST(-5 AS money))", "money", "-1.00"),
        ("SIGN(2.5)", "decimal(2,1)", "1.0"),
        ("SIGN(0e0)", "float", "0"),
        ("SQRT(16)", "float", "4"),
        ("SQUARE(3)", "float", "9"),
        ("LOG(8, 2)", "float", "3"),
        ("EXP(0)", "float", "1"),
        ("ATN2(0, 1)", "float", "0"),
    ])
    .await;
}

#[tokio::test]
async fn mathematical_functions_compute_nothing_that_does_not_fit() {
    fail(&[
        ("ABS(CAST(-2147483648 AS int))", 8115),
        ("POWER(2, 31)", 232),
        ("CAST(4e9 AS int)", 232),
        ("CAST(-1e3 AS tinyint)", 232),
        ("CAST(1e19 AS bigint)", 8115),
        ("POWER(CAST(2 AS bigint), 63)", 8115),
        ("POWER(2.5e0, 1000)", 8115),
        ("ROUND(748.58, -3)", 8115),
        ("ROUND(2147483647, -1)", 8115),
        ("SIGN(0.5)", 8115),
        ("EXP(1000)", 8115),
        ("SQRT(-1)", 3623),
        ("LOG(0)", 3623),
        ("LOG(-1)", 3623),
        ("LOG10(0)", 3623),
        ("ACOS(2)", 3623),
        ("ASIN(-2)", 3623),
        ("POWER(-8, 0.5)", 3623),
        ("POWER(0, -1)", 40510),
        ("COT(0)", 40510),
        ("POWER(CAST(3 AS bigint), 39)", 40510),
        ("CEILING(CAST(1 AS bit))", 8116),
        ("ROUND(1.5, 1.0)", 8116),
        ("ABS(CAST('2020-01-01' AS date))", 8116),
        ("SQRT('x')", 8114),
        ("ABS()", 174),
        ("CEIL(1.5)", 195),
        ("LN(1)", 195),
        ("ATAN2(1, 1)", 195),
    ])
    .await;
}

#[tokio::test]
async fn a_text_is_numeric_if_a_number_is_made_of_it() {
    for (text, wanted) in [
        ("12", "1"),
        (" -1.5e3 ", "1"),
        ("$1,000.50", "1"),
        ("$", "1"),
        ("+", "1"),
        ("", "0"),
        ("abc", "0"),
        ("e", "0"),
        ("nan", "0"),
        ("12a", "0"),
        ("2020-01-01x", "0"),
    ] {
        let sql = format!("ISNUMERIC('{text}')");
        are(&[(&sql, "int", wanted)]).await;
    }
    are(&[
        ("ISNUMERIC(NULL)", "int", "0"),
        ("ISNUMERIC(CAST(1 AS money))", "int", "1"),
        ("ISNUMERIC(CAST('2020-01-01' AS date))", "int", "0"),
    ])
    .await;
    fail(&[("ISNUMERIC('1d5')", 40510)]).await;
}

#[tokio::test]
async fn collations_have_properties() {
    let mut s = session("").await;
    for (collation, property, wanted) in [
        ("Latin1_General_CI_AS", "CodePage", "1252"),
        ("Japanese_CI_AS", "codepage", "932"),
        ("Latin1_General_100_CI_AS_SC_UTF8", "CodePage", "65001"),
        ("French_CI_AS", "LCID", "1036"),
        ("Klingon_CI_AS", "CodePage", "NULL"),
        ("French_CI_AS", "Colour", "NULL"),
    ] {
        let sql = format!("SELECT COLLATIONPROPERTY('{collation}', '{property}')");
        assert_eq!(ok(&mut s, &sql).await.value(), wanted, "{sql}");
    }
    fail(&[("COLLATIONPROPERTY('French_CI_AS', 'Version')", 40510)]).await;
}

#[tokio::test]
async fn functions_of_texts_follow_the_collation() {
    let mut s = session("").await;
    let (cs, bin) = ("Latin1_General_CS_AS", "Latin1_General_BIN2");
    for (expression, wanted) in [
        ("CHARINDEX('B', 'abcB')".to_owned(), "2"),
        (format!("CHARINDEX('B', 'abcB' COLLATE {cs})"), "4"),
        ("REPLACE('aXbx', 'x', '-')".to_owned(), "a-b-"),
        (format!("REPLACE('aXbx', 'x' COLLATE {bin}, '-')"), "aXb-"),
        (
            "REPLACE(N'İI', N'i' COLLATE Turkish_CI_AS, N'-')".to_owned(),
            "-I",
        ),
        ("UPPER('i' COLLATE Turkish_CI_AS)".to_owned(), "İ"),
        ("UPPER(N'straße')".to_owned(), "STRAßE"),
        ("UPPER('µ')".to_owned(), "µ"),
        (
            format!("CASE WHEN 'abc' LIKE 'A%' COLLATE {cs} THEN 1 ELSE 0 END"),
            "0",
        ),
        (
            "CASE WHEN 'abc' LIKE 'A%' THEN 1 ELSE 0 END".to_owned(),
            "1",
        ),
        ("CASE WHEN 'x ' LIKE 'x' THEN 1 ELSE 0 END".to_owned(), "1"),
        ("CASE WHEN N'x ' LIKE 'x' THEN 1 ELSE 0 END".to_owned(), "0"),
    ] {
        let answer = ok(&mut s, &format!("SELECT {expression}")).await;
        assert_eq!(answer.value(), wanted, "{expression}");
    }
    let apart = format!("CHARINDEX('a' COLLATE {cs}, 'b' COLLATE {bin})");
    fail(&[
        (&apart, 468),
        ("CHARINDEX(N's', N'ß')", 40510),
        ("REPLACE(N'e\u{301}', N'e', N'a')", 40510),
        ("LEFT('a', -1)", 537),
        ("RIGHT('a', -1)", 536),
        ("CASE WHEN 'a' LIKE 'a' ESCAPE 'xy' THEN 1 END", 506),
    ])
    .await;
}

#[tokio::test]
async fn texts_are_counted_in_code_units_unless_the_collation_counts_characters() {
    let sc = "COLLATE Latin1_General_100_CI_AS_SC";
    let mut s = session("").await;
    for (expression, wanted) in [
        ("LEN(N'a😀')".to_owned(), "3"),
        (format!("LEN(N'a😀' {sc})"), "2"),
        ("LEFT(N'😀b', 2)".to_owned(), "😀"),
        (format!("LEFT(N'😀b' {sc}, 2)"), "😀b"),
        ("DATALENGTH(LEFT(N'😀b', 1))".to_owned(), "2"),
        (
            "LEFT(N'😀b', 1) + SUBSTRING(N'😀b', 2, 2)".to_owned(),
            "😀b",
        ),
        ("UNICODE(RIGHT(N'😀', 1))".to_owned(), "56832"),
        (format!("UNICODE(N'😀' {sc})"), "128512"),
        ("CHARINDEX(N'b', N'😀b')".to_owned(), "3"),
        (format!("CHARINDEX(N'b', N'😀b' {sc})"), "2"),
        ("STUFF(N'😀b', 1, 2, N'a')".to_owned(), "ab"),
        (format!("STUFF(N'😀b' {sc}, 1, 1, N'a')"), "ab"),
        (format!("REVERSE(N'a😀' {sc})"), "😀a"),
        ("NCHAR(128512)".to_owned(), "NULL"),
        ("CHAR(128)".to_owned(), "€"),
        ("ASCII('€')".to_owned(), "128"),
        ("SUBSTRING(0x010203, 2, 1)".to_owned(), "0x02"),
    ] {
        let answer = ok(&mut s, &format!("SELECT {expression}")).await;
        assert_eq!(answer.value(), wanted, "{expression}");
    }
    are(&[("LEN(CAST('a' AS varchar(max)))", "bigint", "1")]).await;
}
