//! Text.

use super::*;

#[test]
fn text_is_looked_for_as_a_superset() {
    assert_all(vec![
        (
            col("nvarchar").eq(lit("é")),
            "~[nvarchar] = CAST(@P1 AS nvarchar(5)) | N'é'",
        ),
        (
            col("nvarchar_max").eq(lit("it's")),
            "~[nvarchar_max] = CAST(@P1 AS nvarchar(max)) | N'it''s'",
        ),
        (
            col("nvarchar").in_list(vec![lit("a"), lit("b"), lit("c")], false),
            "~[nvarchar] IN (CAST(@P1 AS nvarchar(5)), CAST(@P2 AS nvarchar(5)), CAST(@P3 AS nvarchar(5)), CAST(@P4 AS nvarchar(5))) \
             | N'a', N'b', N'c', N'c'",
        ),
    ]);
}

#[test]
fn text_of_a_code_page_is_compared_in_it_where_it_has_the_literal() {
    assert_all(vec![
        (
            col("char").eq(lit("a")),
            "~[char] = CAST(@P1 COLLATE Latin1_General_CI_AS AS char(5)) | N'a'",
        ),
        (
            col("varchar").in_list(vec![lit("a"), lit("é€")], false),
            "~[varchar] IN (CAST(@P1 COLLATE Latin1_General_CI_AS AS varchar(5)), \
             CAST(@P2 COLLATE Latin1_General_CI_AS AS varchar(5))) | N'a', N'é€'",
        ),
        (
            col("varchar").eq(lit("ж")),
            "~CAST([varchar] AS nvarchar(5)) = CAST(@P1 AS nvarchar(5)) | N'ж'",
        ),
        (
            col("utf8").eq(lit("ж")),
            "~[utf8] = CAST(@P1 COLLATE Latin1_General_100_CI_AS_SC_UTF8 AS varchar(5)) | N'ж'",
        ),
        (
            col("japanese").eq(lit("~")),
            "~[japanese] = CAST(@P1 COLLATE Japanese_CI_AS AS varchar(5)) | N'~'",
        ),
        // Some characters are at two places of this code page.
        (
            col("japanese").eq(lit("表")),
            "~CAST([japanese] AS nvarchar(5)) = CAST(@P1 AS nvarchar(5)) | N'表'",
        ),
    ]);
}

#[test]
fn a_collation_of_a_strange_name_is_not_written_into_a_statement() {
    let mut columns = columns();
    for column in &mut columns {
        column.collation = Some(collation("x AS int) --", 1252));
    }
    let mut translator = Translator::new(&columns);
    for name in ["char", "varchar", "nvarchar", "utf8"] {
        assert_eq!(translator.translate(&col(name).eq(lit("a"))), None);
    }
}

#[test]
fn text_is_ordered_by_the_server_only_where_its_code_points_are() {
    assert_all(vec![
        // 'b' and a tab is more than 'b' here and less there: so the bound is what comes before 'b'.
        (
            col("bin2").gt(lit("ab")),
            "~[bin2] >= CAST(@P1 AS nvarchar(5)) | N'aa'",
        ),
        (
            col("bin2").lt(lit("ab")),
            "~[bin2] <= CAST(@P1 AS nvarchar(5)) | N'ab'",
        ),
        (
            col("bin2").between(lit("b"), lit("d")),
            "~([bin2] >= CAST(@P1 AS nvarchar(5)) AND [bin2] <= CAST(@P2 AS nvarchar(5))) | N'a', N'd'",
        ),
        (
            col("varchar_bin2").gt_eq(lit("b")),
            "~CAST([varchar_bin2] AS nvarchar(5)) >= CAST(@P1 AS nvarchar(5)) | N'a'",
        ),
        (
            col("varchar_bin2").eq(lit("b")),
            "~[varchar_bin2] = CAST(@P1 COLLATE Latin1_General_100_BIN2 AS varchar(5)) | N'b'",
        ),
        (col("bin2").gt(lit("")), "-"),
        (col("bin2").gt(lit("a\t")), "-"),
        (col("bin2").lt(lit("a ")), "-"),
        (col("bin2").gt(lit("😀")), "-"),
    ]);
}
