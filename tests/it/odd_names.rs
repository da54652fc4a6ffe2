//! Tables and capture instances with names of all kinds.

use crate::served::Served;

fn copied(table: &str, instance: &str) {
    let bracketed = format!("[{}]", table.replace(']', "]]"));
    let text = |text: &str| format!("N'{}'", text.replace('\'', "''"));
    let script = format!(
        "CREATE TABLE dbo.{bracketed} (id INT NOT NULL PRIMARY KEY, n INT NULL);
         GO
         INSERT INTO dbo.{bracketed} SELECT s.value, s.value FROM GENERATE_SERIES(1, 12) AS s;
         GO
         EXEC sys.sp_cdc_enable_db;
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = {}, @role_name = NULL, @capture_instance = {};
         GO
         UPDATE dbo.{bracketed} SET n = 0 WHERE id = 1;",
        text(table),
        text(instance)
    );
    let served = Served::of(&script);
    let quoted = format!("db.dbo.\"{}\"", table.replace('"', "\"\""));
    let pipeline = served
        .project
        .read("pipelines/p.sql")
        .replace("db.dbo.a", &quoted);
    served.project.write("pipelines/p.sql", &pipeline);
    let run = ["run", "pipelines/p.sql", "--chunk-rows", "5"];
    let _ = served.cdcql(&run).succeeded();
    served.execute(&format!(
        "UPDATE dbo.{bracketed} SET n = 7 WHERE id > 9; DELETE FROM dbo.{bracketed} WHERE id = 2;"
    ));
    let _ = served.cdcql(&run).succeeded();
    assert_eq!(served.rows("a"), served.rows(&quoted), "{table}");
    let doctor = served
        .cdcql(&["doctor", "pipelines/p.sql", "-q"])
        .succeeded();
    assert!(!doctor.stdout.contains("failing"), "{}", doctor.stdout);
}

#[test]
fn names_with_spaces_brackets_quotes_and_letters_of_all_kinds_are_names() {
    copied("Order Details", "order details");
    copied("a]b[c", "in]st[ance");
    copied("it's \"so\"", "it's \"so\"");
    copied("Größe_表", "größe_表");
    copied(&"x".repeat(100), &"y".repeat(100));
}
