//! `cdcql doctor`: what holds a run is said, and the T-SQL that is printed mends it.

mod tables;
mod targets;

use serde_json::Value;

use crate::served::Served;
use crate::support::Ended;

const FILE: &str = "pipelines/p.sql";

const TABLE: &str = "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NULL);\nGO\nINSERT INTO dbo.a VALUES (1, 10);\nGO\n";

const CAPTURE: &str = "EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
GO
INSERT INTO dbo.a VALUES (2, 20);
GO
";

/// A login of which the database knows no more than its name.
const LOGIN: &str = "CREATE LOGIN [read]]er] WITH PASSWORD = N'Read3r'\nGO\n";
const USER: &str = "CREATE USER [read]]er] FOR LOGIN [read]]er];\nGO\n";

/// The narrow grants.
const GRANTS: &str = "GRANT SELECT ON OBJECT::cdc.change_tables TO [read]]er];
GRANT SELECT ON OBJECT::cdc.captured_columns TO [read]]er];
GRANT SELECT ON OBJECT::cdc.index_columns TO [read]]er];
GRANT SELECT ON OBJECT::cdc.lsn_time_mapping TO [read]]er];
GRANT SELECT ON OBJECT::cdc.dbo_a_CT TO [read]]er];
GRANT SELECT ON OBJECT::dbo.a TO [read]]er];
GRANT VIEW DATABASE STATE TO [read]]er];
GRANT VIEW DEFINITION TO [read]]er];
GO
ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON;
GO
";

/// A served database, and a login that looks at it.
struct Patient {
    served: Served,
    /// Whether the server's own login looks, and not the reader.
    as_owner: bool,
}

impl Patient {
    fn new(scripts: &[&str]) -> Self {
        Self {
            served: Served::in_hand_of(&scripts.concat()),
            as_owner: false,
        }
    }

    /// A database that can be run from as it is.
    fn healthy() -> Self {
        Self::new(&[TABLE, CAPTURE, LOGIN, USER, GRANTS])
    }

    fn cdcql(&self, arguments: &[&str]) -> Ended {
        let url = self.served.simulator().url();
        let url = if self.as_owner {
            url
        } else {
            let (_, server) = url.split_once('@').unwrap();
            format!("sqlserver://read%5Der:Read3r@{server}")
        };
        let mut command = self.served.command(arguments);
        Ended::from(command.env("DB_URL", url).output().unwrap())
    }

    fn look(&self) -> Look {
        Look::of(self.cdcql(&["doctor", FILE, "--format", "json"]))
    }

    fn run(&self) -> Ended {
        self.cdcql(&["run", FILE])
    }

    /// Executes what is printed for the findings in these states, until there are none; answers with the first look
    /// and the last.
    fn mend(&self, states: &[&str]) -> (Look, Look) {
        let first = self.look();
        let mut last = self.look();
        for _ in 0..4 {
            let remedies = last.remedies(states);
            if remedies.is_empty() {
                break;
            }
            for remedy in remedies {
                self.served.execute(&remedy);
            }
            self.served
                .runtime
                .block_on(self.served.capture().caught_up())
                .unwrap();
            last = self.look();
        }
        (first, last)
    }
}

/// What the program has found.
#[derive(Debug)]
struct Look {
    code: Option<i32>,
    stderr: String,
    findings: Vec<Value>,
}

impl Look {
    fn of(ended: Ended) -> Self {
        let lines = ended.stdout.lines();
        let findings = lines.map(|line| serde_json::from_str(line).unwrap());
        Self {
            code: ended.code,
            stderr: ended.stderr,
            findings: findings.collect(),
        }
    }

    /// The worst finding of a check.
    fn finding(&self, check: &str) -> &Value {
        let mut findings = self.findings.iter();
        let found = findings.find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("no {check} in {self:#?}"))
    }

    fn state(&self, check: &str) -> &str {
        self.finding(check)["state"].as_str().unwrap()
    }

    fn seen(&self, check: &str) -> &str {
        self.finding(check)["seen"].as_str().unwrap()
    }

    fn remedy(&self, check: &str) -> &str {
        self.finding(check)["remedy"].as_str().unwrap_or_default()
    }

    /// The checks in one of these states.
    fn checks(&self, states: &[&str]) -> Vec<&str> {
        let findings = self.findings.iter();
        let findings =
            findings.filter(|finding| states.contains(&finding["state"].as_str().unwrap()));
        findings
            .map(|finding| finding["check"].as_str().unwrap())
            .collect()
    }

    fn remedies(&self, states: &[&str]) -> Vec<String> {
        let findings = self.findings.iter();
        let findings =
            findings.filter(|finding| states.contains(&finding["state"].as_str().unwrap()));
        findings
            .filter_map(|finding| finding["remedy"].as_str().map(str::to_owned))
            .collect()
    }

    #[track_caller]
    fn is_well(&self) {
        assert_eq!(self.code, Some(0), "{self:#?}");
        assert_eq!(self.checks(&["failing", "warning"]), [""; 0], "{self:#?}");
    }
}

#[test]
fn where_all_is_well_a_run_works_and_looking_makes_nothing() {
    let patient = Patient::healthy();
    let look = patient.look();
    look.is_well();
    assert_eq!(look.stderr, "");
    assert_eq!(look.checks(&["unknown"]), ["agent", "retention"]);
    assert_eq!(look.state("connection"), "ok");
    assert_eq!(look.finding("connection")["table"], Value::Null);
    assert_eq!(look.finding("change table")["table"], "dbo.a");
    assert!(
        !patient
            .served
            .project
            .path()
            .join("pipelines/lake")
            .exists()
    );
    let _ = patient.run().succeeded();
    let files = || {
        let lake = patient.served.project.path().join("pipelines/lake/a");
        let entries = std::fs::read_dir(lake).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let look = patient.look();
    look.is_well();
    assert!(look.seen("history").starts_with("the source has all since"));
    assert_eq!(files(), before);
}

#[test]
fn a_login_without_rights_is_mended_by_the_narrow_grants_alone() {
    let patient = Patient::new(&[TABLE, CAPTURE, LOGIN, USER]);
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_eq!(first.code, Some(3), "{first:#?}");
    assert!(first.stderr.contains("a run would not do its work"));
    assert_eq!(
        first.remedy("capture metadata"),
        "GRANT SELECT ON OBJECT::cdc.change_tables TO [read]]er];\n\
         GRANT SELECT ON OBJECT::cdc.captured_columns TO [read]]er];\n\
         GRANT SELECT ON OBJECT::cdc.index_columns TO [read]]er];\n\
         GRANT SELECT ON OBJECT::cdc.lsn_time_mapping TO [read]]er];\n\
         -- or, for every captured table, past its gating role: GRANT SELECT ON SCHEMA::cdc TO [read]]er];"
    );
    assert_eq!(
        first.remedy("table"),
        "GRANT SELECT ON OBJECT::[dbo].[a] TO [read]]er];"
    );
    assert_eq!(
        first.remedy("database state"),
        "GRANT VIEW DATABASE PERFORMANCE STATE TO [read]]er];"
    );
    last.is_well();
    let _ = patient.run().succeeded();
    // Nothing broader was granted on the way.
    patient.served.execute("CREATE TABLE dbo.other (id INT NOT NULL PRIMARY KEY); EXEC sys.sp_cdc_enable_table N'dbo', N'other', NULL;");
    let hidden = patient.cdcql(&[
        "query",
        "--pipeline",
        FILE,
        "-c",
        "SELECT * FROM db.cdc.dbo_other_CT",
    ]);
    assert_eq!(hidden.code, Some(3), "{}", hidden.stderr);
}

#[test]
fn a_login_without_a_user_is_let_in_and_the_target_is_looked_at_meanwhile() {
    let patient = Patient::new(&[TABLE, CAPTURE, LOGIN]);
    let look = patient.look();
    assert_eq!(look.code, Some(1), "{look:#?}");
    assert_eq!(look.checks(&["failing"]), ["connection"]);
    assert_eq!(look.state("location"), "ok");
    assert_eq!(
        look.remedy("connection"),
        "USE [app_db];\nCREATE USER [read]]er] FOR LOGIN [read]]er];"
    );
    let (_, last) = patient.mend(&["failing", "warning"]);
    last.is_well();
}

#[test]
fn a_change_table_alone_that_cannot_be_read_is_told_with_its_grant() {
    let patient = Patient::healthy();
    patient
        .served
        .execute("REVOKE SELECT ON OBJECT::cdc.dbo_a_CT FROM [read]]er];");
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_ne!(first.state("change table"), "ok");
    assert_eq!(
        first.remedy("change table"),
        "GRANT SELECT ON OBJECT::[cdc].[dbo_a_CT] TO [read]]er];"
    );
    last.is_well();
}

#[test]
fn a_gating_role_is_asked_for_only_where_the_change_table_cannot_be_read() {
    let gated = CAPTURE.replace("@role_name = NULL", "@role_name = N'the gate'");
    let patient = Patient::new(&[TABLE, &gated, LOGIN, USER, GRANTS]);
    let look = patient.look();
    look.is_well();
    assert!(look.seen("gating role").contains("not needed"));
    patient
        .served
        .execute("REVOKE SELECT ON OBJECT::cdc.dbo_a_CT FROM [read]]er];");
    let look = patient.look();
    assert_ne!(look.code, Some(0));
    assert_eq!(look.state("change table"), "failing");
    assert_eq!(look.state("gating role"), "failing");
    let remedy = look.remedy("gating role");
    assert_eq!(remedy, "ALTER ROLE [the gate] ADD MEMBER [read]]er];");
    patient.served.execute(remedy);
    assert_eq!(patient.look().state("gating role"), "ok");
    let (_, last) = patient.mend(&["failing", "warning"]);
    last.is_well();
}

#[test]
fn capture_that_is_off_is_enabled_for_database_and_table() {
    let patient = Patient::new(&[TABLE, LOGIN, USER]);
    patient
        .served
        .execute("GRANT SELECT ON dbo.a TO [read]]er];");
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_eq!(first.code, Some(3), "{first:#?}");
    assert!(
        first
            .remedy("change data capture")
            .starts_with("EXEC sys.sp_cdc_enable_db;\nGRANT ")
    );
    assert_eq!(
        first.remedy("capture instance"),
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
         @capture_instance = N'dbo_a';\nGRANT SELECT ON OBJECT::[cdc].[dbo_a_CT] TO [read]]er];"
    );
    last.is_well();
    let _ = patient.run().succeeded();
}

#[test]
fn a_table_that_is_not_captured_is_enabled() {
    let capture = "EXEC sys.sp_cdc_enable_db;\nGO\n";
    let mut patient = Patient::new(&[TABLE, capture]);
    patient.as_owner = true;
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_eq!(first.code, Some(3), "{first:#?}");
    assert_eq!(first.state("capture instance"), "failing");
    let remedy = first.remedy("capture instance");
    assert!(
        !remedy.contains("GRANT"),
        "an owner is granted nothing: {remedy}"
    );
    last.is_well();
}

#[test]
fn a_capture_job_that_is_missing_or_stands_is_made_and_started() {
    let mut patient = Patient::healthy();
    patient.as_owner = true;
    patient
        .served
        .execute("EXEC sys.sp_cdc_drop_job @job_type = N'capture';");
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_eq!(first.code, Some(1), "{first:#?}");
    assert_eq!(first.checks(&["failing"]), ["capture job"]);
    assert_eq!(first.state("agent"), "ok");
    last.is_well();
    patient.served.execute(
        "EXEC sys.sp_cdc_stop_job @job_type = N'capture'; INSERT INTO dbo.a VALUES (3, 30);",
    );
    let look = patient.look();
    assert_eq!(look.checks(&["failing", "warning"]), ["log reuse"]);
    assert_eq!(look.code, Some(0));
    let (_, last) = patient.mend(&["failing", "warning"]);
    last.is_well();
}

#[test]
fn a_capture_that_stands_for_minutes_holds_a_first_copy_and_delays_changes() {
    let mut patient = Patient::healthy();
    patient.as_owner = true;
    let stand = || {
        let stop = "EXEC sys.sp_cdc_stop_job @job_type = N'capture';";
        // Each moves the server's clock by a second.
        let writes = "UPDATE dbo.a SET n = n + 1 WHERE id = 1;".repeat(7 * 60);
        patient.served.execute(&format!("{stop}{writes}"));
    };
    stand();
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_eq!(first.code, Some(1), "{first:#?}");
    assert_eq!(first.checks(&["failing"]), ["capture job"]);
    assert!(
        first
            .seen("capture job")
            .contains("a first copy would wait for it in vain")
    );
    assert_eq!(first.checks(&["warning"]), ["log reuse"]);
    last.is_well();
    let _ = patient.run().succeeded();
    stand();
    let look = patient.look();
    assert_eq!(look.code, Some(0), "{look:#?}");
    assert_eq!(look.state("capture job"), "warning");
}

#[test]
fn what_a_login_may_not_know_it_knows_by_what_is_printed() {
    let patient = Patient::healthy();
    let (first, last) = patient.mend(&["unknown"]);
    assert_eq!(first.state("retention"), "unknown");
    assert_eq!(last.seen("retention"), "changes are kept for 3 d 0 h");
    assert_eq!(last.checks(&["unknown"]), ["agent"]);
    assert_eq!(last.remedy("agent"), "", "no grant is narrow enough");
}

#[test]
fn changes_that_are_kept_for_an_hour_are_kept_longer() {
    let mut patient = Patient::healthy();
    patient.as_owner = true;
    patient
        .served
        .execute("EXEC sys.sp_cdc_change_job @job_type = N'cleanup', @retention = 60;");
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_eq!(first.code, Some(0));
    assert_eq!(
        first.seen("retention"),
        "changes are kept for 1 h 0 min: a flow that does not run within that loses some"
    );
    last.is_well();
    assert_eq!(last.seen("retention"), "changes are kept for 3 d 0 h");
}

#[test]
fn changes_that_are_lost_are_told_with_exit_code_5_or_as_the_policy_has_it() {
    let patient = Patient::healthy();
    let _ = patient.run().succeeded();
    let served = &patient.served;
    served.lose_changes();
    let look = patient.look();
    assert_eq!(look.code, Some(5), "{look:#?}");
    assert_eq!(look.checks(&["failing"]), ["history"]);
    assert!(look.seen("history").contains("are no longer on the server"));
    let with_policy = served.project.read(FILE).replace(
        "LOCATION 'lake/a'",
        "LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onGap' = 'resnapshot')",
    );
    served.project.write(FILE, &with_policy);
    let look = patient.look();
    assert_eq!(look.code, Some(0), "{look:#?}");
    assert_eq!(look.state("history"), "warning");
}
