use super::*;

fn declared(base: &str, max_length: i32, precision: i32, scale: i32) -> SqlType {
    SqlType::from_catalogue(&DeclaredType {
        base: Some(base),
        declared: base,
        max_length,
        precision,
        scale,
        encrypted: false,
    })
}

#[test]
#[rustfmt::skip]
fn every_type_has_its_arrow_form() {
    let cases = [
        (declared("tinyint", 1, 3, 0), DataType::Int16, "tinyint"),
        (declared("decimal", 17, 38, 38), DataType::Decimal128(38, 38), "decimal(38,38)"),
        (declared("money", 8, 19, 4), DataType::Decimal128(19, 4), "money"),
        (declared("time", 5, 16, 7), DataType::Utf8, "time(7)"),
        (declared("nvarchar", 256, 0, 0), DataType::Utf8, "nvarchar(128)"),
        (declared("varbinary", -1, 0, 0), DataType::Binary, "varbinary(max)"),
        (declared("timestamp", 8, 0, 0), DataType::Binary, "rowversion"),
        (declared("uniqueidentifier", 16, 0, 0), DataType::Utf8, "uniqueidentifier"),
        (declared("datetimeoffset", 10, 34, 7), utc_timestamp(), "datetimeoffset(7)"),
    ];
    for (sql_type, arrow, name) in cases {
        assert_eq!(sql_type.arrow(), arrow, "{name}");
        assert_eq!(sql_type.to_string(), name);
        assert!(sql_type.is_supported());
    }
}

#[test]
fn types_without_a_form_keep_their_name() {
    let of_an_assembly = DeclaredType {
        base: None,
        declared: "complex_number",
        max_length: -1,
        precision: 0,
        scale: 0,
        encrypted: false,
    };
    let clr = SqlType::from_catalogue(&of_an_assembly);
    assert_eq!(clr, SqlType::Unsupported("complex_number".to_string()));
    assert!(!declared("decimal", 17, 39, 0).is_supported());
    let encrypted = SqlType::from_catalogue(&DeclaredType {
        base: Some("nvarchar"),
        declared: "nvarchar",
        max_length: 22,
        encrypted: true,
        ..of_an_assembly
    });
    assert!(!encrypted.is_supported());
    assert_eq!(
        encrypted.to_string(),
        "nvarchar(11) encrypted by Always Encrypted"
    );
}

#[test]
fn types_that_the_driver_cannot_read_are_text_or_bytes_on_the_wire() {
    let select = |base| declared(base, -1, 0, 0).select("c", "x");
    assert_eq!(select("json"), "CAST(c.[x] AS nvarchar(max)) AS [x]");
    assert_eq!(select("vector"), "CAST(c.[x] AS nvarchar(max)) AS [x]");
    assert_eq!(
        select("hierarchyid"),
        "CAST(c.[x] AS nvarchar(4000)) AS [x]"
    );
    assert_eq!(
        select("geography"),
        "CAST(c.[x].STSrid AS binary(4)) + c.[x].AsBinaryZM() AS [x]"
    );
    let variant = select("sql_variant");
    assert!(
        variant.contains("WHEN N'float' THEN CONVERT(nvarchar(max), CAST(c.[x] AS float), 3) ")
    );
    assert!(variant.ends_with("ELSE CAST(c.[x] AS nvarchar(max)) END AS [x]"));
}

#[test]
fn only_out_of_row_types_are_large() {
    assert!(declared("nvarchar", -1, 0, 0).is_large());
    assert!(declared("ntext", 16, 0, 0).is_large());
    assert!(declared("xml", -1, 0, 0).is_large());
    assert!(declared("json", -1, 0, 0).is_large());
    assert!(declared("geometry", -1, 0, 0).is_large());
    assert!(!declared("sql_variant", 8016, 0, 0).is_large());
    assert!(!declared("nvarchar", 8000, 0, 0).is_large());
}

#[test]
fn money_is_cast_by_the_server() {
    assert_eq!(
        declared("money", 8, 19, 4).select("t", "a]b"),
        "CAST(t.[a]]b] AS decimal(19, 4)) AS [a]]b]"
    );
    assert_eq!(declared("int", 4, 10, 0).select("c", "x"), "c.[x]");
}

#[test]
fn text_of_a_code_page_is_made_unicode_by_the_server() {
    let select = |base, bytes| declared(base, bytes, 0, 0).select("t", "x");
    assert_eq!(select("varchar", 40), "CAST(t.[x] AS nvarchar(40)) AS [x]");
    assert_eq!(select("char", 4000), "CAST(t.[x] AS nvarchar(4000)) AS [x]");
    assert_eq!(
        select("varchar", 4001),
        "CAST(t.[x] AS nvarchar(max)) AS [x]"
    );
    assert_eq!(select("varchar", -1), "CAST(t.[x] AS nvarchar(max)) AS [x]");
    assert_eq!(select("text", 16), "CAST(t.[x] AS nvarchar(max)) AS [x]");
    for base in ["nchar", "nvarchar", "ntext"] {
        assert_eq!(select(base, 40), "t.[x]");
    }
}

#[test]
fn the_seventh_decimal_is_lost() {
    assert!(declared("datetime2", 8, 27, 7).is_inexact());
    assert!(declared("datetimeoffset", 10, 34, 7).is_inexact());
    assert!(!declared("datetime2", 8, 26, 6).is_inexact());
    assert!(!declared("time", 5, 16, 7).is_inexact(), "text keeps it");
}
