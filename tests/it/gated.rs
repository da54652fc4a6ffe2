//! A login that only the gating role lets at the changes reads them through the function.

use crate::served::Served;
use crate::support::Ended;

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, code INT NOT NULL UNIQUE, name NVARCHAR(40) NULL, notes NVARCHAR(MAX) NULL,
    price DECIMAL(19, 4) NULL, seen DATETIME2(7) NULL, stamp ROWVERSION);
GO
INSERT INTO dbo.a (id, code, name, notes, price, seen) VALUES
    (1, 10, N'one', N'first', 1.5, '2026-01-01T00:00:00.1234567'), (2, 20, N'two', NULL, NULL, NULL), (3, 30, NULL, N'third', 3, NULL);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = N'gate', @supports_net_changes = 1;
GO
INSERT INTO dbo.a (id, code, name) VALUES (4, 40, N'four');
GO
CREATE LOGIN gated WITH PASSWORD = N'Gat3d!'
CREATE USER gated FOR LOGIN gated
GRANT SELECT ON OBJECT::cdc.change_tables TO gated
GRANT SELECT ON OBJECT::cdc.captured_columns TO gated
GRANT SELECT ON OBJECT::cdc.index_columns TO gated
GRANT SELECT ON OBJECT::cdc.lsn_time_mapping TO gated
GRANT SELECT ON OBJECT::dbo.a TO gated
GRANT VIEW DATABASE STATE TO gated
ALTER ROLE gate ADD MEMBER gated
";

struct Gated(Served);

impl Gated {
    fn new() -> Self {
        // Logins are the server's, not the database's.
        Self(Served::in_hand_of(SCRIPT))
    }

    fn as_gated(&self, arguments: &[&str]) -> Ended {
        let url = self.0.url("trust_server_certificate=true");
        let (_, server) = url.split_once('@').unwrap();
        let url = format!("sqlserver://gated:Gat3d!@{server}");
        let mut command = self.0.command(arguments);
        Ended::from(command.env("DB_URL", url).output().unwrap())
    }

    fn run(&self) -> Ended {
        self.as_gated(&["run", "pipelines/p.sql"])
    }
}

#[test]
fn a_login_of_the_gating_role_copies_through_the_function() {
    let gated = Gated::new();
    let first = gated.run().succeeded();
    let warning = "this login may not read the change table of capture instance 'dbo_a' (dbo.a)";
    assert_eq!(first.stderr.matches(warning).count(), 1, "{}", first.stderr);
    gated.0.assert_true();
    assert!(gated.run().succeeded().stderr.contains("nothing new"));
    gated.0.execute(
        "UPDATE dbo.a SET id = id + 1; DELETE FROM dbo.a WHERE id = 3;
         INSERT INTO dbo.a (id, code, name) VALUES (9, 90, N'nine'); UPDATE dbo.a SET code = code + 1;
         UPDATE dbo.a SET name = N'NINE', notes = REPLICATE(CAST(N'x' AS NVARCHAR(MAX)), 9000) WHERE id = 9;",
    );
    let status = ["status", "pipelines/p.sql", "--format", "json"];
    for ended in [gated.as_gated(&status), gated.0.cdcql(&status)] {
        let status = ended.succeeded().stdout;
        assert!(status.contains("\"rows_behind\":20,"), "{status}");
    }
    let windows = gated.as_gated(&["run", "--window-transactions", "2", "pipelines/p.sql"]);
    assert!(windows.succeeded().stderr.contains("3 windows"));
    gated.0.assert_true();
    let feed = "SELECT COUNT(*) AS n FROM db.dbo.a CHANGES";
    let counted = gated.as_gated(&["query", "--pipeline", "pipelines/p.sql", "-c", feed]);
    let owners = gated
        .0
        .cdcql(&["query", "--pipeline", "pipelines/p.sql", "-c", feed]);
    assert_eq!(counted.succeeded().stdout, owners.succeeded().stdout);
}

#[test]
fn changes_that_clean_up_took_from_the_function_are_lost_and_not_out_of_range() {
    let gated = Gated::new();
    let _ = gated.run().succeeded();
    gated
        .0
        .execute("EXEC sys.sp_cdc_change_job N'cleanup', @retention = 1;");
    for n in 0..70 {
        gated
            .0
            .execute(&format!("UPDATE dbo.a SET name = N'{n}' WHERE id = 1;"));
    }
    gated.0.capture().clean_up().unwrap();
    gated
        .run()
        .failed(5, &["are no longer on the server", "'dbo_a'"]);
}

#[test]
fn a_login_outside_of_the_gating_role_is_told_what_it_lacks() {
    let gated = Gated::new();
    gated.0.execute("ALTER ROLE gate DROP MEMBER gated;");
    let words = [
        "the changes of dbo.a are hidden from this login",
        "gating role",
    ];
    gated.run().failed(1, &words);
    gated.0.execute("ALTER ROLE gate ADD MEMBER gated;");
    let _ = gated.run().succeeded();
    gated
        .0
        .execute("ALTER ROLE gate DROP MEMBER gated; UPDATE dbo.a SET name = N'x';");
    gated.run().failed(1, &words);
}
