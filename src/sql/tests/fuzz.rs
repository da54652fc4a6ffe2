//! No text makes the parser panic, hang or exhaust the stack.

use std::time::{Duration, Instant};

use super::{printed, text};
use crate::sql::{is_complete, parse, resolve_names, table_references};

const VALID: &[&str] = &[
    include_str!("../../../pipelines/customers.sql"),
    "MERGE WITH SCHEMA EVOLUTION INTO a.t AS x USING (SELECT s.*, upper(n) AS u FROM STREAM d.s CHANGES AS s LEFT JOIN l VERSION AS OF 3 ON l.i = s.i) AS q ON x.i = q.i AND x.p IN (1, 2) WHEN MATCHED AND q._change_type = 'delete' THEN DELETE WHEN MATCHED AND q.z THEN DO NOTHING WHEN MATCHED THEN UPDATE SET * EXCEPT (a, [b]) WHEN NOT MATCHED BY TARGET THEN INSERT (i, a) VALUES (q.i, coalesce(q.a, 'x'));",
    "CREATE TABLE IF NOT EXISTS lake.t (a INT NOT NULL COMMENT 'k', b DECIMAL(10, 2), c ARRAY<STRING>) USING DELTA PARTITIONED BY (a) LOCATION env('L', 'x') COMMENT 'c' TBLPROPERTIES ('delta.x' = 'y');",
    "WITH w AS (SELECT a[1], [1, 2], t.[b c] FROM t CHANGES FROM VERSION '0a' EXCLUSIVE TO env('X') WHERE a IS DISTINCT FROM stream) SELECT CASE WHEN a > 1 THEN 'x' ELSE $$y$$ END, count(*) FILTER (WHERE a) OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM w, (SELECT * FROM u TIMESTAMP AS OF '2024') AS u GROUP BY 1, ROLLUP (a) HAVING max(b) > 1 ORDER BY a DESC NULLS LAST LIMIT 5 OFFSET 2;",
    "CREATE CONNECTION c TYPE sqlserver OPTIONS (host 'h', port 1433, password secret('env', 'P')); EXPLAIN VERBOSE SELECT EXTRACT(DAY FROM x), trim(BOTH ' ' FROM y), INTERVAL '1' DAY, x::INT, {'a': 1}.a, -1e5 FROM t;",
];

const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    ".",
    "*",
    "=",
    "'",
    "\"",
    "`",
    "--",
    "/*",
    "*/",
    "$$",
    "$a$",
    ":",
    "::",
    "@",
    "?",
    "\u{1f}",
    "STREAM",
    "CHANGES",
    "FROM",
    "JOIN",
    "USING",
    "MERGE",
    "WHEN",
    "THEN",
    "NOT",
    "MATCHED",
    "VERSION",
    "AS",
    "OF",
    "UPDATE",
    "SET",
    "INSERT",
    "VALUES",
    "DO",
    "NOTHING",
    "EXCEPT",
    "SELECT",
    "CREATE",
    "TABLE",
    "CONNECTION",
    "OPTIONS",
    "0",
    "1.5e",
    "é",
    "\u{feff}",
    "\r\n",
    "/*!",
    "N'",
    "x'",
    "E'\\",
    "UNION",
    "CASE",
    "END",
    "INTERVAL",
    "ARRAY",
    "<",
    ">",
    "LATERAL",
    "EXPLAIN",
    "WITH",
    "ON",
    "BY",
];

/// A small generator of numbers (xorshift); the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n.max(1)).unwrap()).unwrap()
    }
}

/// Everything that can be done with a text without tables.
fn read(sql: &str) {
    is_complete(sql);
    // That reads a text eight times.
    if sql.len() < 20_000 {
        printed::checked(sql);
    }
    match parse(&text(sql)) {
        Ok(statements) => {
            for mut statement in statements {
                table_references(&statement);
                _ = resolve_names(&mut statement, &|_| {
                    Some(vec![
                        "A".to_owned(),
                        "a".to_owned(),
                        "Customer_Id".to_owned(),
                    ])
                });
                _ = statement.find("a.b");
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(error.span().line > 0, "{sql}\n{error}");
                assert!(
                    !error.message().contains('\u{1f}') && !error.message().is_empty(),
                    "{sql}\n{error}"
                );
                assert!(error.to_string().starts_with("f.sql:"));
                // What is said where the parser panicked.
                assert!(!error.message().contains("the parser failed"), "{sql}");
            }
        }
    }
}

/// Words, numbers, strings and signs of a text, roughly.
fn tokens(sql: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for c in sql.chars() {
        let joins = |last: &String| last.chars().all(char::is_alphanumeric) && c.is_alphanumeric();
        match tokens.last_mut() {
            Some(last) if joins(last) => last.push(c),
            _ => tokens.push(c.to_string()),
        }
    }
    tokens
}

#[test]
fn mutations_of_valid_statements_are_read_or_refused() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for sql in VALID {
        assert!(parse(&text(sql)).is_ok(), "{:?}", parse(&text(sql)));
        let tokens = tokens(sql);
        for _ in 0..400 {
            let mut mutant = tokens.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(mutant.len());
                match random.below(4) {
                    0 => _ = mutant.remove(at),
                    1 => mutant.insert(at, format!(" {} ", PIECES[random.below(PIECES.len())])),
                    2 => mutant[at] = PIECES[random.below(PIECES.len())].to_owned(),
                    _ => {
                        let other = random.below(mutant.len());
                        mutant.swap(at, other);
                    }
                }
                if mutant.is_empty() {
                    break;
                }
            }
            read(&mutant.concat());
        }
    }
}

#[test]
fn every_beginning_of_a_statement_is_read_or_refused() {
    for sql in VALID {
        for (at, _) in sql.char_indices() {
            read(&sql[..at]);
        }
    }
}

#[test]
fn random_pieces_are_read_or_refused() {
    let mut random = Random(42);
    for _ in 0..2000 {
        let pieces: Vec<_> = (0..random.below(20))
            .map(|_| PIECES[random.below(PIECES.len())])
            .collect();
        read(&pieces.join(" "));
    }
}

#[test]
fn deep_and_long_texts_end_in_an_error_soon() {
    let many = |part: &str, n: usize| part.repeat(n);
    let texts = [
        format!("SELECT {}1{}", many("(", 100_000), many(")", 100_000)),
        format!("SELECT {}1{}", many("(", 45), many(")", 45)),
        format!("SELECT * FROM {}t{}", many("(", 45), many(")", 45)),
        format!(
            "SELECT * FROM {}t{}",
            many("(SELECT * FROM (", 20),
            many(") JOIN t ON true) JOIN t ON true", 20)
        ),
        format!("SELECT {}1", many("- ", 10_000)),
        format!("SELECT {}1", many("NOT ", 10_000)),
        format!("SELECT 1{}", many(" + 1", 100_000)),
        format!("SELECT 1{}", many(" + 1", 700)),
        format!("SELECT a{}", many(" AND b = 1", 370)),
        format!("SELECT 1{}", many(" UNION ALL SELECT 1", 100_000)),
        format!("SELECT 1{}", many(" UNION ALL SELECT 1", 199)),
        format!("SELECT 1{}", many("::INT", 100_000)),
        format!("SELECT a{}", many("[1]", 100_000)),
        format!(
            "SELECT CAST(1 AS {}INT{})",
            many("ARRAY<", 100_000),
            many(">", 100_000)
        ),
        format!(
            "SELECT CAST(1 AS {}INT{})",
            many("ARRAY<", 40),
            many(">", 40)
        ),
        format!("SELECT CAST(1 AS {}", many("STRUCT<a INT, b ", 100_000)),
        format!(
            "SELECT CAST(1 AS {}INT{})",
            many("STRUCT<a INT, b ", 40),
            many(">", 40)
        ),
        format!(
            "CREATE TABLE t (a {}INT{}) USING DELTA",
            many("ARRAY<", 40),
            many(">", 40)
        ),
        format!("SELECT CASE {} END", many("WHEN CASE ", 5_000)),
        format!("SELECT {}", many("CASE ", 10_000)),
        format!("{}SELECT 1", many("EXPLAIN ", 100_000)),
        many("[", 100_000),
        many("/*", 100_000),
        format!("SELECT {}", many("[a,", 50_000)),
        format!("SELECT {}", many("f(", 10_000)),
        format!("SELECT {}", many("a.", 10_000)),
        format!("SELECT {}", many("INTERVAL ", 10_000)),
        format!("SELECT {}", many("EXISTS (SELECT ", 40)),
        format!("SELECT {}", many("x -> ", 1_000)),
        format!("SELECT * FROM {}", many("LATERAL ", 10_000)),
        format!("SELECT * FROM a {}", many("JOIN a ", 300)),
        many("WITH a AS (", 1_000),
        many("BEGIN ", 1_000),
        many("IF ", 1_000),
        format!("SELECT 1 IN ({}1)", many("1, ", 100_000)),
        many(";", 100_000),
        many("SELECT 1 x y;", 2_000),
        format!("SELECT a {}", many("=[", 50_000)),
        format!("SELECT t{}]", many(".[a", 30_000)),
        many("://", 30_000),
        format!("-- {}", many("x://h:p@", 15_000)),
        format!("OPTIONS ({}) x", many("k 'v', ", 15_000)),
    ];
    let shapes = [
        (
            "SELECT * FROM ",
            "(SELECT * FROM (",
            "t",
            ") JOIN t ON true) JOIN t ON true",
        ),
        ("SELECT * FROM ", "(SELECT * FROM ", "t", ") AS x"),
        ("SELECT * FROM ", "((", "t", ") JOIN t)"),
        ("SELECT ", "((x, 1), ", "1", ")"),
        ("SELECT ", "CASE WHEN (a = (", "1", ")) THEN 1 END"),
        ("SELECT ", "f(x -> (", "1", "))"),
        ("SELECT ", "(INTERVAL (", "1", "))"),
        ("SELECT ", "[{'a': (", "1", ")}]"),
        ("SELECT ", "EXISTS ((SELECT (", "1", ")))"),
        ("SELECT ", "CAST((", "1", ") AS STRUCT<a ARRAY<INT>>)"),
        ("MERGE INTO t USING ", "((SELECT * FROM ", "s", "))"),
    ];
    let nested = shapes.iter().flat_map(|(before, open, middle, close)| {
        (1..=24).map(move |n| format!("{before}{}{middle}{}", open.repeat(n), close.repeat(n)))
    });
    for sql in texts.into_iter().chain(nested) {
        let begun = Instant::now();
        read(&sql);
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{:?} for {:.60}",
            begun.elapsed(),
            sql
        );
    }
}
