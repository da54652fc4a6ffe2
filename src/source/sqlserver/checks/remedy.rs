//! T-SQL that mends what was found, for a person who may: names come from the catalogue and are quoted.

use crate::source::sqlserver::ident::{TableName, quote};

/// A text as a literal.
pub(super) fn literal(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

/// Lets the database be captured.
pub(super) const ENABLE_DATABASE: &str = "EXEC sys.sp_cdc_enable_db;";

/// Lets snapshots of the database be read.
pub(super) const ALLOW_SNAPSHOT: &str = "ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON;";

/// Makes a capture job where there is none.
pub(super) const ADD_CAPTURE_JOB: &str = "EXEC sys.sp_cdc_add_job @job_type = N'capture';";

/// Starts the capture job.
pub(super) const START_CAPTURE_JOB: &str = "EXEC sys.sp_cdc_start_job @job_type = N'capture';";

/// Lets the application write large values of any size.
pub(super) const UNLIMITED_LARGE_VALUES: &str = "\
EXEC sys.sp_configure N'max text repl size (B)', -1;
RECONFIGURE;";

/// Keeps changes for so many minutes.
pub(super) fn keep(minutes: i64) -> String {
    format!("EXEC sys.sp_cdc_change_job @job_type = N'cleanup', @retention = {minutes};")
}

/// Who is granted what.
#[derive(Debug, Clone)]
pub(super) struct Grantee {
    /// The user; `None` for one who may do everything, to whom nothing can be granted.
    pub(super) user: Option<String>,
}

impl Grantee {
    fn to(&self, grant: impl FnOnce(String) -> String) -> String {
        self.user
            .as_ref()
            .map(|user| grant(quote(user)))
            .unwrap_or_default()
    }

    /// SELECT on a table.
    pub(super) fn select(&self, table: &TableName) -> String {
        self.to(|user| format!("GRANT SELECT ON OBJECT::{} TO {user};", table.quoted()))
    }

    /// SELECT on tables of schema `cdc`, and the broader way as a comment.
    pub(super) fn select_metadata(&self, tables: &[&str]) -> String {
        let grants = tables
            .iter()
            .map(|table| self.to(|user| format!("GRANT SELECT ON OBJECT::cdc.{table} TO {user};")));
        let broader = self.to(|user| {
            format!(
                "-- or, for every captured table, past its gating role: GRANT SELECT ON SCHEMA::cdc TO {user};"
            )
        });
        let lines = grants.chain([broader]).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// A permission on the database.
    pub(super) fn on_database(&self, permission: &str) -> String {
        self.to(|user| format!("GRANT {permission} TO {user};"))
    }

    /// UNMASK, of a table where the server has that and else of the database.
    pub(super) fn unmask(&self, table: &TableName, by_table: bool) -> String {
        self.to(|user| {
            if by_table {
                format!("GRANT UNMASK ON OBJECT::{} TO {user};", table.quoted())
            } else {
                format!("GRANT UNMASK TO {user};")
            }
        })
    }

    /// Membership of a role.
    pub(super) fn in_role(&self, role: &str) -> String {
        self.to(|user| format!("ALTER ROLE {} ADD MEMBER {user};", quote(role)))
    }

    /// The table of the jobs, which is in `msdb`; then back to `database`.
    pub(super) fn read_jobs(&self, login: &str, database: &str) -> String {
        let login = quote(login);
        self.to(|_| {
            format!(
                "USE msdb;\nCREATE USER {login} FOR LOGIN {login};\n\
                 GRANT SELECT ON OBJECT::dbo.cdc_jobs TO {login};\nUSE {};",
                quote(database)
            )
        })
    }
}

/// An instance to be made of a table.
#[derive(Debug)]
pub(super) struct NewInstance<'a> {
    pub(super) table: &'a TableName,
    /// Its name.
    pub(super) name: &'a str,
    pub(super) role: Option<&'a str>,
    pub(super) index: Option<&'a str>,
    /// Whether SWITCH of partitions is to be refused.
    pub(super) without_switch: bool,
}

impl NewInstance<'_> {
    /// Makes it, and lets `grantee` read it.
    pub(super) fn enable(&self, grantee: &Grantee) -> String {
        let role = self.role.map_or_else(|| "NULL".to_string(), literal);
        let mut text = format!(
            "EXEC sys.sp_cdc_enable_table @source_schema = {}, @source_name = {}, @role_name = {role}, @capture_instance = {}",
            literal(&self.table.schema),
            literal(&self.table.name),
            literal(self.name),
        );
        if let Some(index) = self.index {
            text.push_str(&format!(", @index_name = {}", literal(index)));
        }
        if self.without_switch {
            text.push_str(", @allow_partition_switch = 0");
        }
        text.push(';');
        let grant = grantee.select(&TableName::new("cdc", &change_table(self.name)));
        if !grant.is_empty() {
            text.push('\n');
            text.push_str(&grant);
        }
        text
    }
}

/// The name that a change table has by default. The catalogue's name is better, where the login may see it.
pub(super) fn change_table(instance: &str) -> String {
    format!("{instance}_CT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Grantee {
        Grantee {
            user: Some("read]er".to_string()),
        }
    }

    #[test]
    fn names_and_texts_are_quoted() {
        let table = TableName::new("d'bo", "odd]name");
        assert_eq!(
            reader().select(&table),
            "GRANT SELECT ON OBJECT::[d'bo].[odd]]name] TO [read]]er];"
        );
        let instance = NewInstance {
            table: &table,
            name: "d'bo_odd]name",
            role: Some("ga'te"),
            index: None,
            without_switch: true,
        };
        assert_eq!(
            instance.enable(&reader()),
            "EXEC sys.sp_cdc_enable_table @source_schema = N'd''bo', @source_name = N'odd]name', @role_name = N'ga''te', \
             @capture_instance = N'd''bo_odd]name', @allow_partition_switch = 0;\n\
             GRANT SELECT ON OBJECT::[cdc].[d'bo_odd]]name_CT] TO [read]]er];"
        );
    }

    #[test]
    fn nothing_is_granted_to_who_may_do_everything() {
        let owner = Grantee { user: None };
        assert_eq!(owner.select_metadata(&["change_tables"]), "");
        assert_eq!(owner.in_role("gate"), "");
    }

    #[test]
    fn the_narrow_grants_come_first_and_the_broad_one_is_a_comment() {
        assert_eq!(
            reader().select_metadata(&["change_tables", "index_columns"]),
            "GRANT SELECT ON OBJECT::cdc.change_tables TO [read]]er];\n\
             GRANT SELECT ON OBJECT::cdc.index_columns TO [read]]er];\n\
             -- or, for every captured table, past its gating role: GRANT SELECT ON SCHEMA::cdc TO [read]]er];"
        );
    }
}
