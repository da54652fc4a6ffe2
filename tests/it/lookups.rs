//! Flows that look up the targets of other flows: they go after them, and stop with them.

use crate::follow::Follower;
use crate::served::Served;

const TABLES: &str = "\
CREATE TABLE dbo.shops (id INT NOT NULL PRIMARY KEY, name NVARCHAR(20) NOT NULL);
CREATE TABLE dbo.sales (id INT NOT NULL PRIMARY KEY, shop INT NOT NULL, n INT NOT NULL);
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'shops', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'sales', @role_name = NULL;
INSERT INTO dbo.shops VALUES (1, N'north');
INSERT INTO dbo.sales VALUES (1, 1, 10);";

/// The flow that looks up comes first in the file.
const PIPELINE: &str = "\
CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL'));
CREATE TABLE IF NOT EXISTS sales USING DELTA LOCATION 'lake/sales';
CREATE TABLE IF NOT EXISTS shops USING DELTA LOCATION 'lake/shops';
MERGE INTO sales AS target USING (
    SELECT s.id, s.n, shops.name AS shop, s._change_type
    FROM STREAM db.dbo.sales CHANGES AS s LEFT JOIN shops ON shops.id = s.shop) AS change
ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
MERGE INTO shops AS target USING STREAM db.dbo.shops CHANGES AS change ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;
";

/// A new shop, and sales of it.
const NEW: &str = "\
BEGIN TRAN; INSERT INTO dbo.shops VALUES (2, N'south'); INSERT INTO dbo.sales VALUES (2, 2, 20); COMMIT;";

fn served() -> Served {
    let served = Served::new();
    served.execute(TABLES);
    served.project.write("pipelines/p.sql", PIPELINE);
    served
}

fn sales(served: &Served) -> String {
    served.csv("SELECT id, n, shop FROM sales ORDER BY id")
}

#[test]
fn what_is_looked_up_is_there() {
    let served = served();
    let _ = served.run().succeeded();
    assert_eq!(sales(&served), "id,n,shop\n1,10,north\n");
    served.execute(NEW);
    let _ = served.run().succeeded();
    assert_eq!(sales(&served), "id,n,shop\n1,10,north\n2,20,south\n");
}

#[test]
fn what_is_looked_up_is_there_for_ever() {
    let served = served();
    let mut follower =
        Follower::spawn(served.command(&["run", "pipelines/p.sql", "--follow", "--every", "50ms"]));
    follower.wait_for(&["sales: first copy:"]);
    served.execute(NEW);
    follower.wait_for(&["sales: 1 inserted"]);
    let _ = follower.end("-TERM");
    assert_eq!(sales(&served), "id,n,shop\n1,10,north\n2,20,south\n");
}

#[test]
fn a_flow_stops_with_one_whose_target_it_looks_up() {
    let served = served();
    let _ = served.run().succeeded();
    let disable = "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'shops', \
                   @capture_instance = N'all';
                   EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'shops', @role_name = NULL;";
    served.execute(disable);
    served.execute(NEW);
    let words = ["flow 'sales' looks up the target of 'shops', which has failed"];
    let _ = served.run().failed(5, &words);
    assert_eq!(sales(&served), "id,n,shop\n1,10,north\n");
    let follow = ["run", "pipelines/p.sql", "--follow", "--every", "50ms"];
    let _ = served
        .cdcql(&follow)
        .failed(5, &["sales: stopped: ", "shops: stopped: "]);
}

#[test]
fn flows_that_look_up_each_other_are_refused() {
    let served = served();
    let circle = PIPELINE.replace(
        "USING STREAM db.dbo.shops CHANGES AS change ON",
        "USING (SELECT s.id, s.name FROM STREAM db.dbo.shops CHANGES AS s \
         WHERE s.id NOT IN (SELECT sales.id FROM sales)) AS change ON",
    );
    served.project.write("pipelines/p.sql", &circle);
    let _ = served.run().failed(3, &["p.sql:4", "looks up this one's"]);
}
