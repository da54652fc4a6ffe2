//! Which of the server's errors pass by themselves. They are known by their numbers, never by their texts, which follow
//! the login's language.

/// The numbers of errors that pass by themselves.
///
/// - Of a busy server: a scan that rows moved under (601), no memory (701, 802, 8628, 8645, 8651), no locks left
///   (1204), deadlock victim (1205), lock or latch time-out (1203, 1221, 1222), a table or row that changed under a
///   snapshot (3960, 3961, 3966).
/// - Of a session that was killed: 596.
/// - Of one that starts, stops, recovers or fails over: 615, 617, 669, 921, 922, 926, 952, 976, 983, 988, 6005, 6006,
///   17142, 17187, 17197, 18401.
/// - Of Azure SQL Database and its kin: what its documentation calls transient
///   (<https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues>), and what Microsoft's
///   clients try again beyond that: SqlClient's `SqlConfigurableRetryFactory` (40143, 40540, 42108, 42109) and Entity
///   Framework Core's `SqlServerTransientExceptionDetector` (10922, 10936).
const TRANSIENT: [u32; 46] = [
    596, 601, 615, 617, 669, 701, 802, 921, 922, 926, 952, 976, 983, 988, 1203, 1204, 1205, 1221,
    1222, 3960, 3961, 3966, 4221, 6005, 6006, 8628, 8645, 8651, 10_922, 10_928, 10_929, 10_936,
    17_142, 17_187, 17_197, 18_401, 40_143, 40_197, 40_501, 40_540, 40_613, 42_108, 42_109, 49_918,
    49_919, 49_920,
];

/// The numbers of errors that mean a wrong name or a missing right as a rule, and a failover where the same database was
/// open a moment ago: 4060, and 40532 of Azure's gateway.
const TRANSIENT_ONCE_OPEN: [u32; 2] = [4060, 40_532];

/// True when what failed with the error `number`, made anew a little later, may succeed.
pub(super) fn passes(number: u32) -> bool {
    TRANSIENT.contains(&number)
}

/// True when a login that was let in before, and failed with the error `number`, may be let in again.
pub(super) fn passes_once_open(number: u32) -> bool {
    passes(number) || TRANSIENT_ONCE_OPEN.contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azures_transient_errors_pass() {
        for number in [
            615, 926, 4221, 10928, 10929, 40197, 40501, 40613, 49918, 49919, 49920,
        ] {
            assert!(passes(number), "{number}");
        }
    }

    #[test]
    fn a_database_that_was_open_may_be_opened_later_and_one_that_was_not_may_not() {
        for number in TRANSIENT_ONCE_OPEN {
            assert!(passes_once_open(number) && !passes(number), "{number}");
        }
    }

    #[test]
    fn errors_of_permission_login_and_syntax_do_not_pass() {
        for number in [
            102, 156, 207, 208, 229, 230, 262, 297, 300, 911, 916, 4064, 8134, 18_452, 18_456,
            18_470, 18_486, 18_487, 18_488, 40_615,
        ] {
            assert!(!passes_once_open(number), "{number}");
        }
    }
}
