//! The pipelines that come with the program run on the embedded server as they stand.

use crate::served::Served;
use crate::support::{Ended, Project};

fn query(project: &Project, pipeline: &str, sql: &str) -> String {
    let arguments = [
        "query",
        "--pipeline",
        pipeline,
        "--format",
        "csv",
        "-c",
        sql,
    ];
    project.cdcql(&arguments).succeeded().stdout
}

#[test]
fn the_history_of_customers_keeps_versions_and_counts_what_is_not_expected() {
    let project = Project::new();
    let pipeline = "pipelines/customers_history.sql";
    let told = project.cdcql(&["run", pipeline]).succeeded().stderr;
    assert!(told.contains("'known_city' violated: 1 row kept"), "{told}");
    project.append_to_database(
        "UPDATE dbo.customers SET city = N'Smallville' WHERE first_name = N'Clark';
GO
UPDATE dbo.customers SET email = N'none' WHERE first_name = N'Bruce';
GO
UPDATE dbo.customers SET email = N'diana@jl.example' WHERE first_name = N'Diana';",
    );
    let told = project.cdcql(&["run", pipeline]).succeeded().stderr;
    assert!(
        told.contains("'valid_email' violated: 1 row dropped"),
        "{told}"
    );
    let sql = "SELECT first_name, city, email, valid_to IS NULL AS valid FROM customers_history ORDER BY customer_id, valid_from";
    assert_eq!(
        query(&project, pipeline, sql),
        "first_name,city,email,valid\n\
         Bruce,Gotham City,bruce@wayne.example,false\n\
         Clark,Metropolis,clark@dailyplanet.example,false\n\
         Clark,Smallville,clark@dailyplanet.example,true\n\
         Diana,UNKNOWN,diana@jl.example,true\n"
    );
}

#[test]
fn orders_are_enriched_for_the_region_that_is_given() {
    let project = Project::new();
    let pipeline = "pipelines/orders_enriched.sql";
    let _ = project
        .cdcql(&["run", pipeline])
        .failed(3, &["orders_enriched.sql:", ":region", "--set region="]);
    let _ = project
        .cdcql(&["run", pipeline, "--set", "region=EU"])
        .succeeded();
    let sql = "SELECT order_id, customer, tier, country, gross, is_deleted FROM orders_enriched ORDER BY order_id";
    let rows = || {
        let arguments = [
            "query",
            "--pipeline",
            pipeline,
            "--format",
            "csv",
            "--set",
            "region=EU",
            "-c",
            sql,
        ];
        project.cdcql(&arguments).succeeded().stdout
    };
    assert_eq!(
        rows(),
        "order_id,customer,tier,country,gross,is_deleted\n\
         100,Bruce Wayne,gold,DE,119.00,false\n101,Clark Kent,basic,FR,12.00,false\n"
    );
    let script = project.read("pipelines/shop.sql");
    let more = "DELETE FROM dbo.orders WHERE order_id = 100;\nGO\n\
                INSERT INTO dbo.customers VALUES (3, N'Diana Prince', N'gold');\n\
                INSERT INTO dbo.orders VALUES (103, 3, N'EU', N'gr', 50.00, 0.24);\nGO\n";
    project.write("pipelines/shop.sql", &format!("{script}{more}"));
    let _ = project
        .cdcql(&["run", pipeline, "--set", "region=EU"])
        .succeeded();
    assert_eq!(
        rows(),
        "order_id,customer,tier,country,gross,is_deleted\n\
         100,Bruce Wayne,gold,DE,119.00,true\n101,Clark Kent,basic,FR,12.00,false\n\
         103,Diana Prince,gold,GR,62.00,false\n"
    );
}

#[test]
fn everything_copies_every_captured_table() {
    let project = Project::new();
    let pipeline = "pipelines/everything.sql";
    let _ = project.cdcql(&["check", pipeline]).succeeded();
    let _ = project.cdcql(&["run", pipeline]).succeeded();
    let orders = "SELECT count(*) AS n, sum(net) AS net FROM bronze.orders";
    assert_eq!(query(&project, pipeline, orders), "n,net\n3,130.00\n");
    let customers =
        "SELECT name, valid_to IS NULL AS valid FROM bronze.customers_history ORDER BY customer_id";
    assert_eq!(
        query(&project, pipeline, customers),
        "name,valid\nBruce Wayne,true\nClark Kent,true\n"
    );
    let lake = project.path().join("pipelines/lake/bronze");
    assert!(!lake.join("customers").exists() && !lake.join("audit_log").exists());
    let script = project.read("pipelines/shop.sql");
    let more = "CREATE TABLE dbo.notes (id INT NOT NULL PRIMARY KEY, line NVARCHAR(20) NULL);\nGO\n\
                EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'notes', @role_name = NULL;\nGO\n\
                INSERT INTO dbo.notes VALUES (1, N'first');\nDELETE FROM dbo.orders WHERE order_id = 100;\nGO\n";
    project.write("pipelines/shop.sql", &format!("{script}{more}"));
    let _ = project.cdcql(&["run", pipeline]).succeeded();
    assert_eq!(query(&project, pipeline, orders), "n,net\n2,30.00\n");
    let notes = "SELECT * FROM bronze.notes";
    assert_eq!(query(&project, pipeline, notes), "id,line\n1,first\n");
}

#[test]
fn the_tutorial_copies_its_table_from_a_server() {
    let script = Project::new().read("pipelines/app_db.sql");
    let served = Served::of(&script);
    let command = |arguments: &[&str]| {
        let mut command = served.command(arguments);
        command.env("APP_DB_URL", served.source.url());
        Ended::from(command.output().unwrap()).succeeded()
    };
    let run = ["run", "pipelines/customers.sql"];
    let of = |table: &str| {
        let sql = format!("SELECT * FROM {table} ORDER BY customer_id");
        let query = ["query", "--pipeline", run[1], "-c", &sql];
        command(&query).stdout
    };
    let _ = command(&run);
    assert_eq!(of("customers"), of("app_db.dbo.customers"));
    served.execute(
        "UPDATE dbo.customers SET city = N'Smallville' WHERE first_name = N'Clark';
         DELETE FROM dbo.customers WHERE first_name = N'Diana';",
    );
    let told = command(&run).stderr;
    assert!(told.contains("1 updated, 1 deleted"), "{told}");
    assert_eq!(of("customers"), of("app_db.dbo.customers"));
}
