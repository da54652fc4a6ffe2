//! SQL Server's messages, by number, as in `sys.messages`.

use super::protocol::{Collation, ServerError};

impl ServerError {
    /// A message of level 16, at line 1.
    pub(crate) fn new(number: u32, message: impl Into<String>) -> Self {
        Self {
            number,
            severity: 16,
            state: 1,
            line: 1,
            message: message.into(),
        }
    }

    /// The same message at another line.
    pub(crate) fn at_line(mut self, line: u32) -> Self {
        self.line = line;
        self
    }

    fn with_severity(mut self, severity: u8) -> Self {
        self.severity = severity;
        self
    }

    /// 102.
    pub(crate) fn syntax(near: &str) -> Self {
        Self::new(102, format!("Incorrect syntax near '{near}'.")).with_severity(15)
    }

    /// 105.
    pub(crate) fn unclosed_quote(text: &str) -> Self {
        let text: String = text.chars().take(40).collect();
        Self::new(
            105,
            format!("Unclosed quotation mark after the character string '{text}'."),
        )
        .with_severity(15)
    }

    /// 15151.
    pub(crate) fn not_found(kind: &str, name: &str) -> Self {
        Self::new(
            15151,
            format!(
                "Cannot find the {kind} '{name}', because it does not exist or you do not have permission."
            ),
        )
    }

    /// 137.
    pub(crate) fn undeclared_variable(name: &str) -> Self {
        Self::new(137, format!("Must declare the scalar variable \"{name}\".")).with_severity(15)
    }

    /// 191.
    pub(crate) fn nested_too_deeply() -> Self {
        Self::new(
            191,
            "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into smaller queries.",
        )
        .with_severity(15)
    }

    /// 195.
    pub(crate) fn unknown_function(name: &str) -> Self {
        Self::new(
            195,
            format!("'{name}' is not a recognized built-in function name."),
        )
        .with_severity(15)
    }

    /// 207.
    pub(crate) fn invalid_column(name: &str) -> Self {
        Self::new(207, format!("Invalid column name '{name}'."))
    }

    /// 208.
    pub(crate) fn invalid_object(name: &str) -> Self {
        Self::new(208, format!("Invalid object name '{name}'."))
    }

    /// 209.
    pub(crate) fn ambiguous_column(name: &str) -> Self {
        Self::new(209, format!("Ambiguous column name '{name}'."))
    }

    /// 313: what the change functions say of an LSN out of range.
    pub(crate) fn insufficient_arguments(function: &str) -> Self {
        Self::new(
            313,
            format!(
                "An insufficient number of arguments were supplied for the procedure or function {function} ... ."
            ),
        )
    }

    /// 515.
    pub(crate) fn null_in_column(column: &str, table: &str, verb: &str) -> Self {
        let mut error = Self::new(
            515,
            format!(
                "Cannot insert the value NULL into column '{column}', table '{table}'; column does not allow nulls. {verb} fails."
            ),
        );
        error.state = 2;
        error
    }

    /// 544.
    pub(crate) fn explicit_identity(table: &str) -> Self {
        Self::new(
            544,
            format!(
                "Cannot insert explicit value for identity column in table '{table}' when IDENTITY_INSERT is set to OFF."
            ),
        )
    }

    /// 911.
    pub(crate) fn unknown_database(name: &str) -> Self {
        Self::new(
            911,
            format!(
                "Database '{name}' does not exist. Make sure that the name is entered correctly."
            ),
        )
    }

    /// 229: a permission on an object is missing.
    pub(crate) fn permission_denied(
        permission: &str,
        object: &str,
        database: &str,
        schema: &str,
    ) -> Self {
        let mut error = Self::new(
            229,
            format!(
                "The {permission} permission was denied on the object '{object}', database '{database}', schema '{schema}'."
            ),
        );
        error.severity = 14;
        error.state = 5;
        error
    }

    /// 262: a permission on the database is missing.
    pub(crate) fn permission_denied_in(permission: &str, database: &str) -> Self {
        let mut error = Self::new(
            262,
            format!("{permission} permission denied in database '{database}'."),
        );
        error.severity = 14;
        error
    }

    /// 916: the login has no user in the database.
    pub(crate) fn no_user(login: &str, database: &str) -> Self {
        let mut error = Self::new(
            916,
            format!(
                "The server principal \"{login}\" is not able to access the database \"{database}\" under the current security context."
            ),
        );
        error.severity = 14;
        error
    }

    /// 15247: the user may not do that.
    pub(crate) fn not_permitted() -> Self {
        Self::new(
            15247,
            "User does not have permission to perform this action.",
        )
    }

    /// 1205.
    pub(crate) fn deadlock(session: i64) -> Self {
        let mut error = Self::new(
            1205,
            format!(
                "Transaction (Process ID {session}) was deadlocked on lock resources with another process and has been chosen as the deadlock victim. Rerun the transaction."
            ),
        )
        .with_severity(13);
        error.state = 51;
        error
    }

    /// 1222.
    pub(crate) fn lock_timeout() -> Self {
        let mut error = Self::new(1222, "Lock request time out period exceeded.");
        error.state = 51;
        error
    }

    /// 2627.
    pub(crate) fn duplicate_key(
        primary: bool,
        constraint: &str,
        object: &str,
        values: &str,
    ) -> Self {
        let kind = if primary { "PRIMARY KEY" } else { "UNIQUE KEY" };
        Self::new(
            2627,
            format!(
                "Violation of {kind} constraint '{constraint}'. Cannot insert duplicate key in object '{object}'. The duplicate key value is ({values})."
            ),
        )
        .with_severity(14)
    }

    /// 2628.
    pub(crate) fn truncated(table: &str, column: &str, value: &str) -> Self {
        Self::new(
            2628,
            format!(
                "String or binary data would be truncated in table '{table}', column '{column}'. Truncated value: '{value}'."
            ),
        )
    }

    /// 2714.
    pub(crate) fn object_exists(name: &str) -> Self {
        let mut error = Self::new(
            2714,
            format!("There is already an object named '{name}' in the database."),
        );
        error.state = 6;
        error
    }

    /// 2715.
    pub(crate) fn unknown_type(name: &str) -> Self {
        Self::new(
            2715,
            format!("Cannot find data type {name}, or the simulator does not support it."),
        )
    }

    /// 448, or 40510 for a collation of SQL Server's whose code page is not known here.
    pub(crate) fn unknown_collation(name: &str) -> Self {
        let upper = name.to_ascii_uppercase();
        if upper.starts_with("SQL_") && upper.contains("_CP") {
            return Self::unsupported(format!("the collation {name}"));
        }
        Self::new(448, format!("Invalid collation '{name}'."))
    }

    /// 468.
    pub(crate) fn collation_conflict(left: Collation, right: Collation, operator: &str) -> Self {
        Self::new(
            468,
            format!(
                "Cannot resolve the collation conflict between \"{left}\" and \"{right}\" in the {operator} operation."
            ),
        )
    }

    /// 2812.
    pub(crate) fn unknown_procedure(name: &str) -> Self {
        let mut error = Self::new(2812, format!("Could not find stored procedure '{name}'."));
        error.state = 62;
        error
    }

    /// 3701.
    pub(crate) fn cannot_drop(kind: &str, name: &str) -> Self {
        Self::new(
            3701,
            format!(
                "Cannot drop the {kind} '{name}', because it does not exist or you do not have permission."
            ),
        )
        .with_severity(11)
    }

    /// 3906.
    pub(crate) fn read_only_database(name: &str) -> Self {
        let mut error = Self::new(
            3906,
            format!("Failed to update database \"{name}\" because the database is read-only."),
        );
        error.state = 2;
        error
    }

    /// 4060.
    pub(crate) fn cannot_open_database(name: &str) -> Self {
        Self::new(
            4060,
            format!("Cannot open database \"{name}\" requested by the login. The login failed."),
        )
        .with_severity(11)
    }

    /// 4104.
    pub(crate) fn unbound_identifier(name: &str) -> Self {
        Self::new(
            4104,
            format!("The multi-part identifier \"{name}\" could not be bound."),
        )
    }

    /// 8134.
    pub(crate) fn divide_by_zero() -> Self {
        Self::new(8134, "Divide by zero error encountered.")
    }

    /// 8623.
    pub(crate) fn no_plan() -> Self {
        Self::new(
            8623,
            "The query processor ran out of internal resources and could not produce a query plan. This is a rare event and only expected for extremely complex queries or queries that reference a very large number of tables or partitions. Please simplify the query. If you believe you have received this message in error, contact Customer Support Services for more information.",
        )
    }

    /// 40510: a statement that a record of the script could not repeat.
    pub(crate) fn unrecordable(why: impl AsRef<str>) -> Self {
        Self::new(
            40510,
            format!(
                "The statement cannot be recorded, as the simulator was started to do: {}.",
                why.as_ref()
            ),
        )
    }

    /// 40510 as on Azure SQL Database: a statement that the simulator lacks.
    pub(crate) fn unsupported(what: impl AsRef<str>) -> Self {
        Self::new(
            40510,
            format!(
                "The simulator does not support {}; see its documentation for the T-SQL that it speaks.",
                what.as_ref()
            ),
        )
    }
}

/// 8115 for a value that does not fit a type.
pub(crate) fn overflow(target: super::protocol::SqlType) -> ServerError {
    let name = match target {
        super::protocol::SqlType::Decimal { .. } => "numeric",
        other => other.base_name(),
    };
    let mut error = ServerError::new(
        8115,
        format!("Arithmetic overflow error converting expression to data type {name}."),
    );
    error.state = 2;
    error
}

/// Why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// A statement of a script failed.
    #[error("{file}:{line}: the script stops at `{statement}`")]
    Script {
        /// The script.
        file: String,
        /// The line, from 1.
        line: u32,
        /// That line.
        statement: String,
        /// What the server says.
        source: ServerError,
    },
    /// The end of a script was not written as a whole.
    #[error(
        "{file}:{line}: the batch that was recorded last is torn, and was not committed; remove it from there to the end"
    )]
    Torn {
        /// The script.
        file: String,
        /// The line where the batch begins, from 1.
        line: u32,
        /// What the server says.
        source: ServerError,
    },
    /// A server that records was to have a clock that a replay does not have.
    #[error("what is recorded under the machine's clock would have other times in a replay")]
    Clock,
    /// The address cannot be listened on, or no certificate can be made.
    #[error("the simulator cannot listen on {address}; choose another address or a free port")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No random password or seed could be made.
    #[error("no random number can be had for a password or a seed")]
    Random {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A login that reads cannot be made.
    #[error("no login that reads can be made")]
    Reader {
        /// Why.
        source: ServerError,
    },
    /// The script has no thread to run on.
    #[error("the script cannot run")]
    Thread {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
