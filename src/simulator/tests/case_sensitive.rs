//! A server whose collation tells cases apart.

use std::sync::Arc;

use datafusion::arrow::array::Int32Array;

use super::{ok, open, run, run_with};
use crate::simulator::protocol::{Collation, Parameter, SqlType};
use crate::simulator::session::Session;
use crate::simulator::{Behaviour, Database};

async fn session(collation: &str, script: &str) -> Session {
    let behaviour = Behaviour {
        server_collation: Collation::named(collation).unwrap(),
        ..Behaviour::orderly()
    };
    let database = Database::from_script_with("app_db", "test.sql", script, &behaviour)
        .await
        .unwrap();
    open(&database)
}

const SCRIPT: &str =
    "CREATE TABLE dbo.People (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NULL);
INSERT INTO dbo.People (Id, Name) VALUES (1, N'Ann'), (2, N'ann');
EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table N'dbo', N'People', NULL;";

#[tokio::test]
async fn names_are_those_that_were_declared() {
    for collation in ["Latin1_General_CS_AS", "Latin1_General_BIN2"] {
        let mut s = session(collation, SCRIPT).await;
        for (sql, number) in [
            ("SELECT Id FROM dbo.people", 208),
            ("SELECT Id FROM DBO.People", 208),
            ("SELECT id FROM dbo.People", 207),
            ("SELECT p.NAME FROM dbo.People AS p", 207),
            ("SELECT Id FROM dbo.People WHERE name = N'Ann'", 207),
            ("SELECT Id FROM dbo.People ORDER BY ID", 207),
            ("INSERT INTO dbo.People (id) VALUES (3)", 207),
            ("UPDATE dbo.People SET name = NULL", 207),
            ("DELETE dbo.PEOPLE", 208),
            ("SELECT name FROM sys.Tables", 208),
            ("SELECT Name FROM sys.tables", 207),
            ("SELECT name FROM SYS.tables", 208),
            ("SELECT table_name FROM INFORMATION_SCHEMA.TABLES", 207),
            ("USE App_db", 911),
            ("SELECT [__$Start_lsn] FROM cdc.dbo_People_CT", 207),
            ("SELECT Id FROM cdc.dbo_people_CT", 208),
        ] {
            assert_eq!(run(&mut s, sql).await.numbers(), [number], "{sql}");
        }
        let sql =
            "select p.Id AS ID, P.Name from dbo.People AS p join dbo.People AS P on p.Id = P.Id";
        assert_eq!(run(&mut s, sql).await.results.len(), 0, "{sql}");
        let sql = "select COUNT(*) as n from dbo.People as People where People.Id > 0";
        assert_eq!(ok(&mut s, sql).await.value(), "2");
        let sql = "SELECT name FROM sys.tables WHERE name = N'People'";
        assert_eq!(ok(&mut s, sql).await.lines(), ["People"]);
        let sql = "SELECT name FROM sys.tables WHERE name = N'people'";
        assert!(ok(&mut s, sql).await.lines().is_empty());
    }
}

#[tokio::test]
async fn variables_are_those_that_were_declared() {
    let one = Parameter {
        name: "@P1".to_owned(),
        sql_type: SqlType::Int,
        value: Arc::new(Int32Array::from(vec![1])),
        output: false,
    };
    let one = std::slice::from_ref(&one);
    let mut s = session("Latin1_General_CS_AS", SCRIPT).await;
    assert_eq!(run_with(&mut s, "SELECT @P1", one).await.value(), "1");
    assert_eq!(run_with(&mut s, "SELECT @p1", one).await.numbers(), [137]);
    let mut s = session("Latin1_General_CI_AS", SCRIPT).await;
    assert_eq!(run_with(&mut s, "SELECT @p1", one).await.value(), "1");
}

#[tokio::test]
async fn columns_and_texts_have_the_servers_collation() {
    let mut s = session("Latin1_General_CS_AS", SCRIPT).await;
    let sql = "SELECT COUNT(*) FROM dbo.People WHERE Name = N'ann'";
    assert_eq!(ok(&mut s, sql).await.value(), "1");
    let sql = "SELECT c.name FROM cdc.captured_columns AS cc JOIN sys.columns AS c ON c.name = cc.column_name
        WHERE c.object_id = OBJECT_ID(N'dbo.People') AND cc.column_ordinal = 2";
    assert_eq!(ok(&mut s, sql).await.value(), "Name");
    let sql = "SELECT IIF('a' = 'A', 1, 0)";
    assert_eq!(ok(&mut s, sql).await.value(), "0");
    let sql = "SELECT SERVERPROPERTY('Collation'), collation_name FROM sys.databases WHERE name = N'app_db'";
    let collations = ok(&mut s, sql).await;
    assert_eq!(
        collations.lines(),
        ["Latin1_General_CS_AS|Latin1_General_CS_AS"]
    );
    ok(&mut s, "CREATE DATABASE other COLLATE Latin1_General_CI_AS").await;
    ok(&mut s, "USE other CREATE TABLE dbo.T (Id int)").await;
    assert_eq!(ok(&mut s, "SELECT COUNT(id) FROM dbo.t").await.value(), "0");
}
