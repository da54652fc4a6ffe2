//! Filters that go to the server leave the rows that they leave here.

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::{concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::TableProviderFilterPushDown::{Exact, Inexact, Unsupported};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Operator, TableProviderFilterPushDown, binary_expr, cast,
};
use datafusion::prelude::{col, lit};

use super::*;
use crate::simulator::{Behaviour, Database as Simulated, Simulator, SimulatorOptions};

/// A type, and values of it in T-SQL that are near to each other in some way.
type Case = (&'static str, &'static [&'static str]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("bit", &["0", "1"]),
    ("tinyint", &["0", "1", "255"]),
    ("smallint", &["-32768", "0", "32767"]),
    ("int", &["-2147483648", "0", "1", "2147483647"]),
    ("bigint", &["-9223372036854775808", "0", "9007199254740993", "9223372036854775807"]),
    ("real", &["0.1", "0", "-1.5e10", "3.4e38", "1.2e-38"]),
    ("float", &["0.1", "0", "-1.7976931348623157e308", "2.3e-308", "0.30000000000000004"]),
    ("decimal(9, 2)", &["0.00", "0.01", "-0.01", "9999999.99", "-9999999.99", "2.50"]),
    ("decimal(38, 38)", &["0.99999999999999999999999999999999999999", "0", "-0.00000000000000000000000000000000000001"]),
    ("decimal(38, 0)", &["99999999999999999999999999999999999999", "99999999999999999999999999999999999998", "-1"]),
    ("money", &["-922337203685477.5808", "922337203685477.5807", "922337203685477.5806", "0", "1.25"]),
    ("smallmoney", &["-214748.3648", "214748.3647", "0.0001"]),
    ("date", &["'0001-01-01'", "'1970-01-01'", "'9999-12-31'"]),
    ("time(0)", &["'00:00:00'", "'23:59:59'"]),
    ("time(3)", &["'00:00:00.001'", "'12:00:00'", "'23:59:59.999'"]),
    ("time(7)", &["'00:00:00.0000001'", "'00:00:00.0000002'", "'23:59:59.9999999'"]),
    ("smalldatetime", &["'1900-01-01'", "'2024-02-29 12:01'", "'2079-06-06 23:59'"]),
    ("datetime", &["'1753-01-01'", "'1899-12-31 23:59:59.997'", "'2024-01-01 00:00:00.003'", "'2024-01-01 00:00:00.007'",
        "'9999-12-31 23:59:59.997'"]),
    ("datetime2(0)", &["'0001-01-01'", "'1969-12-31 23:59:59'", "'9999-12-31 23:59:59'"]),
    ("datetime2(3)", &["'2024-01-01 00:00:00.001'", "'2024-01-01 00:00:00.002'"]),
    ("datetime2(7)", &["'0001-01-01'", "'2024-01-01 00:00:00.0000009'", "'2024-01-01 00:00:00.0000010'",
        "'2024-01-01 00:00:00.0000019'", "'1969-12-31 23:59:59.9999999'", "'9999-12-31 23:59:59.9999999'"]),
    ("datetimeoffset(0)", &["'2024-01-01 00:00:00 +14:00'", "'2023-12-31 10:00:00 +00:00'", "'2024-01-01 00:00:00 -14:00'"]),
    ("datetimeoffset(7)", &["'2024-05-05 12:00:00.1234567 +05:30'", "'2024-05-05 06:30:00.1234560 +00:00'",
        "'0001-01-01 00:00:00 +00:00'", "'9999-12-31 23:59:59.9999999 +00:00'"]),
    ("char(3)", &["'a'", "'A'", "'a b'", "N'é'", "''"]),
    ("varchar(20)", &["'a'", "'A'", "'a '", "'á'", "'€'", "''"]),
    ("nchar(3)", &["N'Ж'", "N'ж'", "N'😀'", "N'a'"]),
    ("nvarchar(20)", &["N'straße'", "N'strasse'", "N'STRASSE'", "N'a'", "N'a '", "N''", "N'ゴッサム 😀'", "NCHAR(55296)", "N'�'"]),
    ("nvarchar(20) COLLATE Latin1_General_CI_AI", &["N'resume'", "N'résumé'", "N'RÉSUMÉ'"]),
    ("nvarchar(20) COLLATE Latin1_General_100_BIN2", &["N'b'", "N'b' + NCHAR(9)", "N'b '", "N'B'", "N'a'", "N'c'", "N'é'",
        "N'😀'", "NCHAR(63744)", "N''", "N'ba'"]),
    ("varchar(20) COLLATE Latin1_General_BIN2", &["'b'", "'b' + CHAR(9)", "'B'", "'€'", "'é'", "'a'"]),
    ("varchar(20) COLLATE Japanese_CI_AS", &["N'ゴッサム表'", "N'ごっさむ表'", "'a'", "'~'"]),
    ("varchar(20) COLLATE Greek_BIN2", &["N'Γκόθαμ'", "'?'", "'a'"]),
    ("varchar(20) COLLATE Latin1_General_100_CI_AS_SC_UTF8", &["N'表😀'", "N'ж'", "N'Ж'", "'a'"]),
    ("nvarchar(max)", &["N'a'", "N'A'", "N'b '"]),
    ("varchar(max)", &["'a'", "'é'"]),
    ("text", &["'a'", "'b'"]),
    ("ntext", &["N'a'"]),
    ("xml", &["N'<a/>'"]),
    ("binary(2)", &["0x0000", "0x0100", "0x01FF", "0xFFFF"]),
    ("varbinary(4)", &["0x", "0x00", "0x01", "0x0100", "0x0101", "0xFF"]),
    ("varbinary(max)", &["0x", "0x01", "0x0100"]),
    ("image", &["0x01"]),
    ("rowversion", &["DEFAULT", "DEFAULT", "DEFAULT"]),
    ("uniqueidentifier", &["'00112233-4455-6677-8899-AABBCCDDEEFF'", "'00112233-4455-6677-8899-AABBCCDDEE00'",
        "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'"]),
];

/// A captured table for each case: `t0`, `t1`, …, with `id`, the value `v` (the last row has none) and a flag `b`.
fn script() -> String {
    let tables = (0..).zip(CASES).map(|(at, (sql_type, values))| {
        let null = if *sql_type == "rowversion" { "" } else { "NULL" };
        let rows = (0..)
            .zip(values.iter())
            .map(|(id, value)| {
                let flag = ["0", "1", "NULL"][id % 3];
                format!("INSERT INTO dbo.t{at} (id, v, b) VALUES ({id}, {value}, {flag});\n")
            })
            .collect::<String>();
        let missing = if null.is_empty() { "DEFAULT" } else { "NULL" };
        format!(
            "CREATE TABLE dbo.t{at} (id int NOT NULL PRIMARY KEY, v {sql_type} {null}, b bit NULL);\n\
             EXEC sys.sp_cdc_enable_table N'dbo', N't{at}', @role_name = NULL;\nGO\n{rows}\
             INSERT INTO dbo.t{at} (id, v, b) VALUES (99, {missing}, 1);\n"
        )
    });
    format!(
        "EXEC sys.sp_cdc_enable_db;\nGO\n{}",
        tables.collect::<String>()
    )
}

async fn simulator(script: &str) -> Simulator {
    let behaviour = Behaviour::default();
    let simulated = Simulated::from_script_with("d", "t.sql", script, &behaviour)
        .await
        .unwrap();
    Simulator::start(simulated, SimulatorOptions::default())
        .await
        .unwrap()
}

async fn connect(simulator: &Simulator) -> Database {
    let config = ConnectionConfig::from_url(&simulator.url()).unwrap();
    Database::connect(config).await.unwrap()
}

/// One table as the server has it, and its rows as they are read.
struct Both {
    context: SessionContext,
    live: Arc<dyn TableProvider>,
    rows: RecordBatch,
}

impl Both {
    async fn of(database: &Database, schema: &str, table: &str) -> Self {
        let live = database.table(schema, table).await.unwrap().unwrap();
        let context = SessionContext::new();
        context.register_table("live", Arc::clone(&live)).unwrap();
        let batches = context.table("live").await.unwrap().collect().await;
        let rows = concat_batches(&live.schema(), &batches.unwrap()).unwrap();
        Self {
            context,
            live,
            rows,
        }
    }

    /// What a query for the rows that satisfy `filter` gives.
    async fn queried(&self, filter: &Expr) -> Vec<i32> {
        let frame = self.context.table("live").await.unwrap();
        let frame = frame.filter(filter.clone()).unwrap();
        let frame = frame.select(vec![col("id")]).unwrap();
        let batches = frame.collect().await;
        ids(&batches.unwrap_or_else(|error| panic!("{filter}: {error}")))
    }

    /// Which of the rows that were read satisfy it.
    fn filtered(&self, filter: &Expr) -> Vec<i32> {
        let schema = DFSchema::try_from(self.rows.schema()).unwrap();
        let predicate = self.context.create_physical_expr(filter.clone(), &schema);
        let value = predicate.unwrap().evaluate(&self.rows).unwrap();
        let value = value.into_array(self.rows.num_rows()).unwrap();
        ids(&[filter_record_batch(&self.rows, value.as_boolean()).unwrap()])
    }

    /// Compares both answers; what the server said that it does with the filter.
    async fn check(&self, what: &str, filter: &Expr) -> TableProviderFilterPushDown {
        let support = self.live.supports_filters_pushdown(&[filter]).unwrap();
        let support = support.first().unwrap().clone();
        if support != Unsupported {
            assert_eq!(
                self.queried(filter).await,
                self.filtered(filter),
                "{what}: {filter} ({support:?})"
            );
        }
        support
    }

    /// Checks each `step`th filter; how many the server answered in full, and how many in part.
    async fn check_all(&self, sql_type: &str, step: usize) -> (u32, u32) {
        let mut compares = false;
        let (mut exact, mut inexact) = (0, 0);
        for filter in filters(self).into_iter().step_by(step) {
            match self.check(sql_type, &filter).await {
                Exact => exact += 1,
                Inexact => inexact += 1,
                Unsupported => continue,
            }
            compares |= matches!(
                &filter,
                Expr::BinaryExpr(BinaryExpr {
                    op: Operator::Eq,
                    ..
                })
            );
        }
        assert!(
            step > 1 || compares != NOT_COMPARED.contains(&sql_type),
            "{sql_type}"
        );
        (exact, inexact)
    }

    /// The values of the column `v`, and some beside them.
    fn literals(&self) -> Vec<ScalarValue> {
        let values = self.rows.column_by_name("v").unwrap();
        let mut literals = Vec::new();
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let value = ScalarValue::try_from_array(values, row).unwrap();
            literals.extend(beside(&value));
            literals.push(value);
        }
        literals.sort_by_key(ToString::to_string);
        literals.dedup();
        literals
    }
}

fn ids(batches: &[RecordBatch]) -> Vec<i32> {
    let columns = batches
        .iter()
        .map(|batch| batch.column_by_name("id").unwrap());
    let values = columns.map(|column| column.as_primitive::<Int32Type>().values().to_vec());
    let mut ids = values.collect::<Vec<_>>().concat();
    ids.sort_unstable();
    ids
}

/// Values that a comparison may confuse with `value`.
fn beside(value: &ScalarValue) -> Vec<ScalarValue> {
    use ScalarValue as S;
    match value {
        S::Int16(Some(v)) => [v.checked_add(1), v.checked_sub(1)].map(S::Int16).to_vec(),
        S::Int32(Some(v)) => [v.checked_add(1), v.checked_sub(1)].map(S::Int32).to_vec(),
        S::Int64(Some(v)) => [v.checked_add(1), v.checked_sub(1)].map(S::Int64).to_vec(),
        S::Float32(Some(v)) => [v.next_up(), -v, 0.0, f32::INFINITY, f32::NAN]
            .map(|v| S::Float32(Some(v)))
            .to_vec(),
        S::Float64(Some(v)) => [v.next_up(), -v, 0.0, f64::INFINITY, f64::NAN]
            .map(|v| S::Float64(Some(v)))
            .to_vec(),
        S::Decimal128(Some(v), p, s) => {
            vec![
                S::Decimal128(Some(v + 1), *p, *s),
                S::Decimal128(Some(-v), *p, *s),
            ]
        }
        S::Date32(Some(v)) => vec![S::Date32(Some(v + 1)), S::Date32(Some(v - 1))],
        S::TimestampMicrosecond(Some(v), zone) => [1, -1, 1_000, -1_000, 30_000_000, 60_000_000]
            .map(|step| v + step)
            .map(|v| S::TimestampMicrosecond(Some(v), zone.clone()))
            .to_vec(),
        S::Utf8(Some(v)) => [v.to_uppercase(), format!("{v} "), v.trim_end().to_string()]
            .map(|v| S::Utf8(Some(v)))
            .to_vec(),
        S::Binary(Some(v)) => [
            [v.as_slice(), &[0]].concat(),
            [v.as_slice(), &[1]].concat(),
            v[..v.len().saturating_sub(1)].to_vec(),
        ]
        .map(|v| S::Binary(Some(v)))
        .to_vec(),
        _ => Vec::new(),
    }
}

const OPERATORS: [Operator; 6] = [
    Operator::Eq,
    Operator::NotEq,
    Operator::Lt,
    Operator::LtEq,
    Operator::Gt,
    Operator::GtEq,
];

/// Every comparison of `v` with the literals, alone and combined.
fn filters(both: &Both) -> Vec<Expr> {
    let v = || col("v");
    let literals = both.literals();
    let mut filters = vec![
        v().is_null(),
        v().is_not_null(),
        v().is_null().or(col("b")),
        v().is_not_null().and(!col("b")),
        col("b").is_not_true(),
        col("b").is_false(),
    ];
    for (at, literal) in literals.iter().enumerate() {
        let literal = || lit(literal.clone());
        for operator in OPERATORS {
            filters.push(binary_expr(v(), operator, literal()));
        }
        if at % 4 == 0 {
            filters.push(!v().eq(literal()).and(col("b")));
            filters.push(v().eq(literal()).or(col("b").is_false()));
            filters.push(v().gt(literal()).and(col("id").lt(lit(2))));
            filters.push(v().in_list(vec![literal()], true));
        }
    }
    let all = || literals.iter().cloned().map(lit).collect::<Vec<_>>();
    filters.push(v().in_list(all(), false));
    filters.push(v().in_list(all(), true));
    for pair in literals.windows(2).step_by(2) {
        let [low, high] = [0, 1].map(|at| lit(pair[at].clone()));
        filters.push(v().between(low.clone(), high.clone()));
        filters.push(v().not_between(high, low));
    }
    filters.extend(as_doubles(&literals));
    filters
}

/// Numbers as a query compares them with a fraction.
fn as_doubles(literals: &[ScalarValue]) -> Vec<Expr> {
    let numeric = |value: &&ScalarValue| {
        let data_type = value.data_type();
        data_type.is_numeric() && data_type != DataType::Float64
    };
    let doubles = literals.iter().filter(numeric).flat_map(|value| {
        let double = value.cast_to(&DataType::Float64).unwrap();
        OPERATORS.map(|operator| {
            let v = cast(col("v"), DataType::Float64);
            binary_expr(v, operator, lit(double.clone()))
        })
    });
    doubles.collect()
}

/// Types whose values the server does not compare.
const NOT_COMPARED: &[&str] = &["text", "ntext", "xml", "image"];

/// How many filters over the values of a type were answered in full, and how many in part, by the server: all of
/// them over the live table, and some over the change table.
async fn compared(database: &Database, at: usize) -> (u32, u32) {
    let live = Both::of(database, "dbo", &format!("t{at}")).await;
    let raw = Both::of(database, "cdc", &format!("dbo_t{at}_CT")).await;
    assert_eq!(live.rows.num_rows(), raw.rows.num_rows());
    let (mut exact, mut inexact) = (0, 0);
    for (both, step) in [(live, 1), (raw, 7)] {
        let (some, more) = both.check_all(CASES[at].0, step).await;
        (exact, inexact) = (exact + some, inexact + more);
    }
    (exact, inexact)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_leave_the_same_rows_there_and_here() {
    let simulator = simulator(&script()).await;
    let database = connect(&simulator).await;
    let mut tasks = tokio::task::JoinSet::new();
    let mut next = 0..CASES.len();
    let (mut exact, mut inexact) = (0, 0);
    loop {
        while tasks.len() < 4
            && let Some(at) = next.next()
        {
            let database = database.clone();
            tasks.spawn(async move { compared(&database, at).await });
        }
        let Some(counts) = tasks.join_next().await else {
            break;
        };
        let (some, more) = counts.unwrap();
        (exact, inexact) = (exact + some, inexact + more);
    }
    assert!(exact > 1_000 && inexact > 300, "{exact} {inexact}");
}

/// The plan of a query over the customers, as EXPLAIN shows it.
async fn plan(database: &Database, sql: &str) -> String {
    let table = database.table("dbo", "c").await.unwrap().unwrap();
    rows(table, &format!("EXPLAIN {sql}"))
        .await
        .unwrap()
        .join("\n")
}

const CUSTOMERS: &str =
    "CREATE TABLE dbo.c (id int NOT NULL PRIMARY KEY, name nvarchar(20) NULL, code varchar(8) NULL,
credit money NULL, born date NULL, seen datetime NULL, active bit NULL);
INSERT INTO dbo.c VALUES (1, N'Bruce', 'a', 99.50, '1970-01-01', '2024-01-01 12:00', 1);
INSERT INTO dbo.c VALUES (2, N'BRUCE', 'A', 100.50, '1971-01-01', '2024-01-02 12:00', 0);
INSERT INTO dbo.c VALUES (3, NULL, NULL, NULL, NULL, NULL, NULL);";

/// A filter, what EXPLAIN shows of it, and the rows that satisfy it.
const SENT: &[(&str, &str, &str)] = &[
    (
        "id = 2",
        "WHERE t.[id] = CAST(@P1 AS int) OPTION (MAXDOP 1) [@P1 = 2]",
        "2",
    ),
    (
        "id > 1 AND active",
        "WHERE t.[id] > CAST(@P1 AS int) AND t.[active] = CAST(1 AS bit) OPTION",
        "",
    ),
    (
        "id IN (1, 2, 3, 4, 5)",
        "t.[id] IN (CAST(@P1 AS int), ",
        "1 2 3",
    ),
    (
        "id NOT IN (1, 4, 5, 6)",
        "NOT t.[id] IN (CAST(@P1 AS int), ",
        "2 3",
    ),
    (
        "name = 'Bruce'",
        "t.[name] = CAST(@P1 AS nvarchar(20)) OPTION (MAXDOP 1) [@P1 = N'Bruce']",
        "1",
    ),
    (
        "code IN ('a', 'b', 'c', 'd')",
        "t.[code] IN (CAST(@P1 COLLATE SQL_Latin1_General_CP1_CI_AS AS varchar(8)), ",
        "1",
    ),
    (
        "credit > 99.5",
        "t.[credit] > CAST(@P1 AS money) OPTION (MAXDOP 1) [@P1 = N'99.5000']",
        "2",
    ),
    (
        "id > 1.5",
        "t.[id] >= CAST(@P1 AS int) OPTION (MAXDOP 1) [@P1 = 0]",
        "2 3",
    ),
    (
        "credit >= 100",
        "t.[credit] >= CAST(@P1 AS money) OPTION (MAXDOP 1) [@P1 = N'100.0000']",
        "2",
    ),
    (
        "born BETWEEN '1970-01-01' AND '1970-12-31'",
        "t.[born] >= CAST(@P1 AS date)",
        "1",
    ),
    (
        "seen < '2024-01-02'",
        "t.[seen] < CAST(@P1 AS datetime) OPTION (MAXDOP 1) [@P1 = '2024-01-02 00:00:00']",
        "1",
    ),
    (
        "seen <= '2024-01-01 23:59:59.999'",
        "t.[seen] <= CAST(@P1 AS datetime) OPTION (MAXDOP 1) [@P1 = '2024-01-01 23:59:59.997']",
        "1",
    ),
    (
        "seen < TIMESTAMP '2024-01-02 00:00:00'",
        "t.[seen] < CAST(@P1 AS datetime)",
        "1",
    ),
    (
        "active IS NOT TRUE",
        "(t.[active] = CAST(0 AS bit) OR t.[active] IS NULL)",
        "2 3",
    ),
    (
        "name IS NULL OR id = 1",
        "(t.[name] IS NULL OR t.[id] = CAST(@P1 AS int))",
        "1 3",
    ),
];

#[tokio::test]
async fn what_people_write_goes_to_the_server() {
    let simulator = simulator(CUSTOMERS).await;
    let database = connect(&simulator).await;
    for (filter, sent, ids) in SENT {
        let plan = plan(&database, &format!("SELECT id FROM t WHERE {filter}")).await;
        assert!(plan.contains(sent), "{filter}: {plan}");
        let table = database.table("dbo", "c").await.unwrap().unwrap();
        let found = rows(
            table,
            &format!("SELECT id FROM t WHERE {filter} ORDER BY id"),
        )
        .await;
        assert_eq!(found.unwrap().join(" "), *ids, "{filter}");
    }
}

#[tokio::test]
async fn what_is_not_answered_alike_stays_here() {
    let simulator = simulator(CUSTOMERS).await;
    let database = connect(&simulator).await;
    for filter in [
        "name > 'B'",
        "name <> 'Bruce'",
        "name LIKE 'B%'",
        "upper(name) = 'BRUCE'",
        "seen = '2024-01-02 00:00:00.001'",
        "id + 1 = 2",
        "id = 1 OR random() < 0",
    ] {
        let plan = plan(&database, &format!("SELECT id FROM t WHERE {filter}")).await;
        assert!(
            plan.contains("FilterExec") && !plan.contains(" WHERE "),
            "{filter}: {plan}"
        );
    }
}

#[tokio::test]
async fn a_limit_is_sent_only_where_no_filter_is_left_here() {
    let simulator = simulator(CUSTOMERS).await;
    let database = connect(&simulator).await;
    let limited = plan(&database, "SELECT id FROM t WHERE id > 1 LIMIT 1").await;
    assert!(
        limited.contains(
            "SELECT TOP (@P2) t.[id] FROM [dbo].[c] AS t WHERE t.[id] > CAST(@P1 AS int)"
        ),
        "{limited}"
    );
    for filter in ["name = 'BRUCE'", "name LIKE 'B%'"] {
        let sql = format!("SELECT id FROM t WHERE {filter} LIMIT 1");
        let plan = plan(&database, &sql).await;
        assert!(!plan.contains("TOP"), "{plan}");
    }
    let table = database.table("dbo", "c").await.unwrap().unwrap();
    let found = rows(table, "SELECT id FROM t WHERE name = 'BRUCE' LIMIT 1").await;
    assert_eq!(
        found.unwrap(),
        ["2"],
        "not the row that only the server takes to be equal"
    );
}
