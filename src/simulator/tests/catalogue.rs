//! What the catalogue and the reports of capture say.

use super::{ok, run, session};

const TABLE: &str = "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, v nvarchar(10) NULL DEFAULT N'x', w decimal(9, 2) NULL)
    EXEC sys.sp_cdc_enable_db
    EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL";

#[tokio::test]
async fn information_schema_describes_each_column() {
    let mut s = session(TABLE).await;
    let columns = "SELECT COLUMN_NAME, ORDINAL_POSITION, IS_NULLABLE, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, \
        NUMERIC_PRECISION, NUMERIC_SCALE FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 't' ORDER BY 2";
    let answer = ok(&mut s, columns).await;
    assert_eq!(
        answer.lines(),
        [
            "k|1|NO|int|NULL|10|0",
            "v|2|YES|nvarchar|10|NULL|NULL",
            "w|3|YES|decimal|NULL|9|2",
        ]
    );
    let all = "SELECT * FROM INFORMATION_SCHEMA.COLUMNS";
    let count = "SELECT COUNT(*) FROM INFORMATION_SCHEMA.COLUMNS WHERE COLUMN_DEFAULT IS NOT NULL AND COLUMN_NAME = 'v'";
    assert!(run(&mut s, all).await.numbers().is_empty());
    assert_eq!(ok(&mut s, count).await.value(), "1");
}

#[tokio::test]
async fn settings_and_services_are_told_as_they_are_here() {
    let mut s = session(TABLE).await;
    let largest = "SELECT CAST(value_in_use AS bigint) FROM sys.configurations WHERE name = N'max text repl size (B)'";
    assert_eq!(ok(&mut s, largest).await.value(), "-1");
    let agent = "SELECT status_desc FROM sys.dm_server_services WHERE servicename LIKE N'SQL Server Agent%'";
    assert_eq!(ok(&mut s, agent).await.value(), "Running");
}

#[tokio::test]
async fn the_jobs_have_ids() {
    let mut s = session(TABLE).await;
    let ids = "SELECT COUNT(DISTINCT job_id) FROM msdb.dbo.cdc_jobs WHERE job_id IS NOT NULL";
    assert_eq!(ok(&mut s, ids).await.value(), "2");
    let jobs = ok(&mut s, "EXEC sys.sp_cdc_help_jobs").await;
    assert!(jobs.rows().iter().all(|row| row[0] != "NULL"));
}

#[tokio::test]
async fn the_errors_of_scans_name_the_rows_they_came_from() {
    let mut s = session(TABLE).await;
    let columns = "SELECT start_lsn, begin_lsn, sequence_value FROM sys.dm_cdc_errors";
    assert!(ok(&mut s, columns).await.rows().is_empty());
}
