mod text;
mod times;

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{cast, col, lit};
use datafusion::prelude::Expr;

use super::*;
use crate::source::sqlserver::catalogue::Collation;
use crate::source::sqlserver::types::DeclaredType;

fn collation(name: &str, code_page: i64) -> Collation {
    Collation {
        name: name.to_string(),
        code_page: Some(code_page),
    }
}

fn column(name: &str, base: &str, max_length: i32, precision: i32, scale: i32) -> SourceColumn {
    SourceColumn {
        comparable: true,
        collation: Some(collation("Latin1_General_CI_AS", 1252)),
        ..SourceColumn::read_only(
            name,
            SqlType::from_catalogue(&DeclaredType {
                base: Some(base),
                declared: base,
                max_length,
                precision,
                scale,
                encrypted: false,
            }),
        )
    }
}

#[rustfmt::skip]
fn columns() -> Vec<SourceColumn> {
    let mut columns = vec![
        column("bit", "bit", 1, 1, 0),
        column("tinyint", "tinyint", 1, 3, 0),
        column("smallint", "smallint", 2, 5, 0),
        column("int", "int", 4, 10, 0),
        column("bigint", "bigint", 8, 19, 0),
        column("real", "real", 4, 24, 0),
        column("float", "float", 8, 53, 0),
        column("decimal", "decimal", 9, 10, 2),
        column("money", "money", 8, 19, 4),
        column("smallmoney", "smallmoney", 4, 10, 4),
        column("date", "date", 3, 10, 0),
        column("time3", "time", 4, 12, 3),
        column("smalldatetime", "smalldatetime", 4, 16, 0),
        column("datetime", "datetime", 8, 23, 3),
        column("datetime2_3", "datetime2", 7, 23, 3),
        column("datetime2_7", "datetime2", 8, 27, 7),
        column("datetimeoffset7", "datetimeoffset", 10, 34, 7),
        column("char", "char", 5, 0, 0),
        column("varchar", "varchar", 5, 0, 0),
        column("nvarchar", "nvarchar", 10, 0, 0),
        column("nvarchar_max", "nvarchar", -1, 0, 0),
        column("bin2", "nvarchar", 10, 0, 0),
        column("varchar_bin2", "varchar", 5, 0, 0),
        column("japanese", "varchar", 5, 0, 0),
        column("utf8", "varchar", 5, 0, 0),
        column("text", "text", 16, 0, 0),
        column("xml", "xml", -1, 0, 0),
        column("binary", "binary", 2, 0, 0),
        column("varbinary", "varbinary", 2, 0, 0),
        column("image", "image", 16, 0, 0),
        column("rowversion", "timestamp", 8, 0, 0),
        column("uuid", "uniqueidentifier", 16, 0, 0),
        column("variant", "sql_variant", 8016, 0, 0),
        column("path", "hierarchyid", 892, 0, 0),
        column("unread", "complex_number", -1, 0, 0),
        column("masked", "int", 4, 10, 0),
    ];
    for column in &mut columns {
        if column.name.ends_with("bin2") {
            column.collation = Some(collation("Latin1_General_100_BIN2", 1252));
        }
        if column.name == "japanese" {
            column.collation = Some(collation("Japanese_CI_AS", 932));
        }
        if column.name == "utf8" {
            column.collation = Some(collation("Latin1_General_100_CI_AS_SC_UTF8", 65_001));
        }
        column.comparable = column.name != "masked";
    }
    columns
}

/// The condition, `~` before it if it is a superset, and the parameters; `-` if there is none.
fn translated(filter: &Expr) -> String {
    let columns = columns();
    let mut translator = Translator::new(&columns);
    let Some(predicate) = translator.translate(filter) else {
        assert!(translator.into_parameters().is_empty(), "{filter}");
        return "-".to_string();
    };
    let values = translator.into_parameters();
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    let mark = if predicate.exact { "" } else { "~" };
    let sql = format!("{mark}{}", predicate.sql.replace("t.", ""));
    if values.is_empty() {
        sql
    } else {
        format!("{sql} | {}", values.join(", "))
    }
}

fn micros(micros: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(micros), None))
}

fn instant(micros: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(
        Some(micros),
        Some("UTC".into()),
    ))
}

fn decimal(units: i128, precision: u8, scale: i8) -> Expr {
    lit(ScalarValue::Decimal128(Some(units), precision, scale))
}

fn bytes(value: &[u8]) -> Expr {
    lit(ScalarValue::Binary(Some(value.to_vec())))
}

fn date(days: i32) -> Expr {
    lit(ScalarValue::Date32(Some(days)))
}

fn assert_all(cases: Vec<(Expr, &str)>) {
    for (filter, expected) in cases {
        assert_eq!(translated(&filter), expected, "{filter}");
    }
}

#[test]
fn a_literal_is_cast_to_the_columns_own_type() {
    assert_all(vec![
        (col("bit").eq(lit(true)), "[bit] = CAST(@P1 AS bit) | 1"),
        (
            col("tinyint").lt(lit(255_i16)),
            "[tinyint] < CAST(@P1 AS tinyint) | 255",
        ),
        (
            col("smallint").gt_eq(lit(-1_i16)),
            "[smallint] >= CAST(@P1 AS smallint) | -1",
        ),
        (col("int").not_eq(lit(7)), "[int] <> CAST(@P1 AS int) | 7"),
        (lit(7).lt(col("int")), "[int] > CAST(@P1 AS int) | 7"),
        (
            col("bigint").eq(lit(i64::MIN)),
            "[bigint] = CAST(@P1 AS bigint) | -9223372036854775808",
        ),
        (
            col("real").gt(lit(0.1_f32)),
            "[real] > CAST(@P1 AS real) | 1e-1",
        ),
        (
            cast(col("real"), DataType::Float64).gt(lit(0.1)),
            "CAST([real] AS float) > CAST(@P1 AS float) | 1e-1",
        ),
        (
            col("float").lt_eq(lit(-2.5)),
            "[float] <= CAST(@P1 AS float) | -2.5e0",
        ),
        (
            col("decimal").eq(decimal(-5, 10, 2)),
            "[decimal] = CAST(@P1 AS decimal(10,2)) | N'-0.05'",
        ),
        (
            col("money").gt(decimal(12_345, 19, 4)),
            "[money] > CAST(@P1 AS money) | N'1.2345'",
        ),
        (
            col("smallmoney").gt(decimal(0, 10, 4)),
            "[smallmoney] > CAST(@P1 AS smallmoney) | N'0.0000'",
        ),
        (
            col("date").eq(date(0)),
            "[date] = CAST(@P1 AS date) | '1970-01-01 00:00:00'",
        ),
        (
            col("time3").lt(lit("23:59:59.999")),
            "[time3] < CAST(@P1 AS time(3)) | N'23:59:59.999'",
        ),
        (
            col("smalldatetime").lt(micros(60_000_000)),
            "[smalldatetime] < CAST(@P1 AS smalldatetime) | '1970-01-01 00:01:00'",
        ),
        (
            col("datetime").eq(micros(7_000)),
            "[datetime] = CAST(@P1 AS datetime) | '1970-01-01 00:00:00.007'",
        ),
        (
            col("datetime2_3").gt(micros(-1_000)),
            "[datetime2_3] > CAST(@P1 AS datetime2(3)) | '1969-12-31 23:59:59.999'",
        ),
        (
            col("uuid").not_eq(lit("00112233-4455-6677-8899-aabbccddeeff")),
            "[uuid] <> CAST(@P1 AS uniqueidentifier) | N'00112233-4455-6677-8899-aabbccddeeff'",
        ),
        (
            col("binary").gt(bytes(&[1, 0xab])),
            "[binary] > CAST(@P1 AS binary(2)) | 0x01AB",
        ),
        (
            col("rowversion").gt(bytes(&[0, 0, 0, 0, 0, 0, 7, 0xd1])),
            "[rowversion] > CAST(@P1 AS binary(8)) | 0x00000000000007D1",
        ),
    ]);
}

#[test]
fn a_literal_that_the_type_cannot_hold_is_not_sent() {
    let refused = [
        col("tinyint").lt(lit(256_i16)),
        col("tinyint").gt(lit(-1_i16)),
        col("decimal").lt(decimal(10_000_000_000, 11, 2)),
        col("decimal").eq(decimal(5, 10, 3)),
        col("money").eq(decimal(i128::from(i64::MAX) + 1, 19, 4)),
        col("smallmoney").eq(decimal(i128::from(i32::MAX) + 1, 10, 4)),
        col("date").gt(date(2_932_897)),
        col("datetime").eq(micros(1_000)),
        col("datetime").not_eq(micros(3_001)),
        col("datetime").in_list(vec![micros(3_000), micros(3_001)], false),
        col("datetime").lt(micros(-79_258 * 86_400_000_000)),
        col("datetime").gt(micros(253_402_300_799_999_999)),
        col("smalldatetime").eq(micros(1_000_000)),
        col("smalldatetime").lt(micros(-25_568 * 86_400_000_000)),
        col("datetime2_3").eq(micros(1)),
        col("time3").eq(lit("23:59:59")),
        col("time3").eq(lit("24:00:00.000")),
        col("time3").eq(lit("23:60:00.000")),
        col("uuid").eq(lit("00112233-4455-6677-8899-AABBCCDDEEFF")),
        col("uuid").eq(lit("{0112233-4455-6677-8899-aabbccddeeff}")),
        col("float").gt(lit(f64::NAN)),
        col("float").lt(lit(f64::INFINITY)),
        col("float").eq(lit(5e-324)),
        col("real").eq(lit(1e-45_f32)),
        col("nvarchar").eq(lit("sixsix")),
        col("nvarchar").eq(lit("\u{fffd}")),
        col("nvarchar_max").eq(lit("x".repeat(4_001))),
        col("varbinary").eq(bytes(&[1, 2, 3])),
        col("int").eq(lit(ScalarValue::Int32(None))),
    ];
    for filter in refused {
        assert_eq!(translated(&filter), "-", "{filter}");
    }
}

#[test]
fn what_the_server_compares_in_another_way_is_not_sent() {
    let refused = [
        col("nvarchar").not_eq(lit("a")),
        col("nvarchar").gt(lit("a")),
        col("char").between(lit("a"), lit("b")),
        !col("varchar").eq(lit("a")),
        col("nvarchar").in_list(vec![lit("a")], true),
        col("nvarchar").like(lit("a%")),
        col("uuid").gt(lit("00112233-4455-6677-8899-aabbccddeeff")),
        col("varbinary").not_eq(bytes(&[1])),
        col("text").eq(lit("a")),
        col("xml").eq(lit("<a/>")),
        col("image").eq(bytes(&[1])),
        col("variant").eq(lit("a")),
        col("path").eq(lit("/1/")),
        col("unread").is_null(),
        col("masked").eq(lit(1)),
        col("masked").is_null(),
        col("int").eq(col("int")),
        col("int").gt(lit(1_i64)),
        (col("int") + lit(1)).gt(lit(2)),
        cast(col("int"), DataType::Utf8).eq(lit("1")),
        col("float").not_eq(lit(0.0)),
        col("unknown").eq(lit(1)),
        lit(true),
        col("int"),
    ];
    for filter in refused {
        assert_eq!(translated(&filter), "-", "{filter}");
    }
}

#[test]
fn coarser_comparisons_of_the_server_are_supersets() {
    assert_all(vec![
        (
            col("varbinary").gt(bytes(&[1])),
            "~[varbinary] >= CAST(@P1 AS varbinary(2)) | 0x01",
        ),
        (
            col("varbinary").eq(bytes(&[1])),
            "~[varbinary] = CAST(@P1 AS varbinary(2)) | 0x01",
        ),
        (
            col("binary").lt(bytes(&[1])),
            "~[binary] <= CAST(@P1 AS binary(2)) | 0x01",
        ),
        (
            col("float").lt(lit(-0.0)),
            "~[float] <= CAST(@P1 AS float) | 0e0",
        ),
        (
            col("float").gt(lit(0.0)),
            "~[float] >= CAST(@P1 AS float) | 0e0",
        ),
        // A query compares exact numbers with a fraction as doubles.
        (
            cast(col("decimal"), DataType::Float64).gt(lit(1.5)),
            "~[decimal] >= CAST(@P1 AS decimal(10,2)) | N'1.48'",
        ),
        (
            cast(col("decimal"), DataType::Float64).eq(lit(1.5)),
            "~([decimal] >= CAST(@P1 AS decimal(10,2)) AND [decimal] <= CAST(@P2 AS decimal(10,2))) | N'1.48', N'1.52'",
        ),
        (
            cast(col("int"), DataType::Float64).lt(lit(1.5)),
            "~[int] <= CAST(@P1 AS int) | 3",
        ),
        (
            cast(col("decimal"), DataType::Float64).not_eq(lit(1.5)),
            "-",
        ),
        (cast(col("decimal"), DataType::Float64).gt(lit(1e9)), "-"),
        (
            cast(col("decimal"), DataType::Float64).gt(lit(f64::NAN)),
            "-",
        ),
    ]);
}

#[test]
fn conditions_are_put_together() {
    let (a, b) = (|| col("int").eq(lit(1)), || col("nvarchar").eq(lit("a")));
    let refused = || col("nvarchar").gt(lit("a"));
    assert_all(vec![
        (col("bit"), "[bit] = CAST(1 AS bit)"),
        (!col("bit"), "NOT [bit] = CAST(1 AS bit)"),
        (
            col("bit").is_true(),
            "([bit] = CAST(1 AS bit) AND [bit] IS NOT NULL)",
        ),
        (
            col("bit").is_not_false(),
            "([bit] = CAST(1 AS bit) OR [bit] IS NULL)",
        ),
        (col("text").is_null(), "[text] IS NULL"),
        (col("xml").is_not_null(), "[xml] IS NOT NULL"),
        (
            !a().or(col("bit")),
            "NOT ([int] = CAST(@P1 AS int) OR [bit] = CAST(1 AS bit)) | 1",
        ),
        (
            a().and(b()),
            "~([int] = CAST(@P1 AS int) AND [nvarchar] = CAST(@P2 AS nvarchar(5))) | 1, N'a'",
        ),
        (
            a().or(b()),
            "~([int] = CAST(@P1 AS int) OR [nvarchar] = CAST(@P2 AS nvarchar(5))) | 1, N'a'",
        ),
        (a().and(refused()), "~([int] = CAST(@P1 AS int)) | 1"),
        (!(a().and(refused())), "-"),
        (a().or(refused()), "-"),
        (
            a().or(refused().and(col("bit"))),
            "~([int] = CAST(@P1 AS int) OR ([bit] = CAST(1 AS bit))) | 1",
        ),
        (
            col("int").between(lit(1), lit(3)),
            "([int] >= CAST(@P1 AS int) AND [int] <= CAST(@P2 AS int)) | 1, 3",
        ),
        (
            col("int").not_between(lit(1), lit(3)),
            "NOT ([int] >= CAST(@P1 AS int) AND [int] <= CAST(@P2 AS int)) | 1, 3",
        ),
        (
            col("int").in_list(vec![lit(1), lit(2)], true),
            "NOT [int] IN (CAST(@P1 AS int), CAST(@P2 AS int)) | 1, 2",
        ),
        (
            col("int").in_list(vec![lit(1), lit(ScalarValue::Int32(None))], false),
            "-",
        ),
    ]);
}

#[test]
fn conditions_have_bounded_size_and_depth() {
    let list = |length: i32| col("int").in_list((0..length).map(lit).collect(), false);
    let (short, long) = (list(512), list(513));
    let columns = columns();
    let unsupported = TableProviderFilterPushDown::Unsupported;
    assert_eq!(support(&columns, &[&long]).first(), Some(&unsupported));
    let filter = col("int").eq(lit(1));
    assert_eq!(
        support(
            &columns,
            &[&short, &filter, &col("bit"), &col("nvarchar").eq(lit("a"))]
        ),
        [
            TableProviderFilterPushDown::Exact,
            unsupported.clone(),
            TableProviderFilterPushDown::Exact,
            unsupported,
        ]
    );
    let mut deep = col("bit");
    for level in 0..40 {
        deep = if level % 2 == 0 {
            deep.and(col("bit"))
        } else {
            deep.or(col("bit"))
        };
    }
    assert_eq!(translated(&!deep), "-");
    let long = (0..5_000).fold(col("bit"), |chain, _| chain.or(col("bit")));
    assert!(translated(&long).starts_with("([bit] = CAST(1 AS bit) OR [bit]"));
}
