//! Points in time.

use super::*;

#[test]
fn the_seventh_decimal_of_a_second_is_cut_off_where_it_is_read() {
    let parameter = |number: u8| format!("CAST(@P{number} AS datetime2(7))");
    let (first, second) = (parameter(1), parameter(2));
    let at = "'1970-01-01 00:00:00.000005'";
    let after = "'1970-01-01 00:00:00.000006'";
    let column = || col("datetime2_7");
    let among = format!("([datetime2_7] >= {first} AND [datetime2_7] < {second})");
    let (third, fourth) = (parameter(3), parameter(4));
    let other = format!("([datetime2_7] >= {third} AND [datetime2_7] < {fourth})");
    let ends = format!("{at}, {after}, '1970-01-01 00:00:00', '1970-01-01 00:00:00.000001'");
    let expected = [
        (
            column().in_list(vec![micros(5), micros(0)], false),
            format!("({among} OR {other}) | {ends}"),
        ),
        (
            column().in_list(vec![micros(5), micros(0)], true),
            format!("NOT ({among} OR {other}) | {ends}"),
        ),
        (
            column().eq(micros(5)),
            format!("([datetime2_7] >= {first} AND [datetime2_7] < {second}) | {at}, {after}"),
        ),
        (
            column().not_eq(micros(5)),
            format!("([datetime2_7] < {first} OR [datetime2_7] >= {second}) | {at}, {after}"),
        ),
        (
            column().lt(micros(5)),
            format!("[datetime2_7] < {first} | {at}"),
        ),
        (
            column().lt_eq(micros(5)),
            format!("[datetime2_7] < {first} | {after}"),
        ),
        (
            column().gt(micros(5)),
            format!("[datetime2_7] >= {first} | {after}"),
        ),
        (
            column().gt_eq(micros(5)),
            format!("[datetime2_7] >= {first} | {at}"),
        ),
    ];
    for (filter, expected) in expected {
        assert_eq!(translated(&filter), expected, "{filter}");
    }
    assert_all(vec![
        (
            col("datetimeoffset7").gt_eq(instant(5)),
            "[datetimeoffset7] >= CAST(@P1 AS datetimeoffset(7)) | '1970-01-01 00:00:00.000005'",
        ),
        (col("datetimeoffset7").gt_eq(micros(5)), "-"),
        (column().gt(micros(253_402_300_799_999_999)), "-"),
    ]);
}

#[test]
fn bounds_between_two_values_move_to_the_nearer_one() {
    let last_of_day = 86_399_999_000;
    assert_all(vec![
        (
            col("datetime").lt_eq(micros(last_of_day)),
            "[datetime] <= CAST(@P1 AS datetime) | '1970-01-01 23:59:59.997'",
        ),
        (
            col("datetime").gt(micros(last_of_day)),
            "[datetime] >= CAST(@P1 AS datetime) | '1970-01-02 00:00:00'",
        ),
        (
            col("datetime").between(micros(1_000), micros(5_000)),
            "([datetime] >= CAST(@P1 AS datetime) AND [datetime] <= CAST(@P2 AS datetime)) \
             | '1970-01-01 00:00:00.003', '1970-01-01 00:00:00.003'",
        ),
        (
            col("smalldatetime").lt(micros(last_of_day)),
            "[smalldatetime] <= CAST(@P1 AS smalldatetime) | '1970-01-01 23:59:00'",
        ),
        (
            col("datetime2_3").gt_eq(micros(-1)),
            "[datetime2_3] >= CAST(@P1 AS datetime2(3)) | '1970-01-01 00:00:00'",
        ),
        (
            col("datetime2_3").lt_eq(micros(253_402_300_799_999_999)),
            "[datetime2_3] <= CAST(@P1 AS datetime2(3)) | '9999-12-31 23:59:59.999'",
        ),
    ]);
}
