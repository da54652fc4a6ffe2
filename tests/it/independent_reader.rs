//! What cdcql writes, read by a Delta reader that is not ours: the Python package `deltalake`.

use std::process::Command;

use crate::story::{CYBORG, LEX};
use crate::support::Project;

/// Names a Python that has the package; `.ci/run` makes one.
const PYTHON: &str = "CDCQL_TEST_PYTHON";

/// `required` makes a missing reader a failure.
const CLIENTS: &str = "CDCQL_TEST_CLIENTS";

const SCRIPT: &str = "
import sys
from deltalake import DeltaTable, QueryBuilder
table = DeltaTable(sys.argv[1])
query = 'select * from t order by customer_id'
for batch in QueryBuilder().register('t', table).execute(query):
    columns = [column.to_pylist() for column in batch.columns]
    for row in zip(*columns):
        print('|'.join(str(value) for value in row))
print('version', table.version())
";

#[test]
fn another_reader_sees_the_same_rows() {
    let Some(python) = std::env::var_os(PYTHON) else {
        assert!(
            std::env::var_os(CLIENTS).is_none_or(|value| value != "required"),
            "{PYTHON} names no Python to compare with another reader"
        );
        eprintln!(
            "SKIPPED: set {PYTHON} to a Python that has the package deltalake to compare with another reader"
        );
        return;
    };
    let project = Project::new();
    let _ = project.run();
    project.append_to_database(LEX);
    let _ = project.run();
    project.append_to_database(CYBORG);
    let _ = project.run();
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(project.path().join("pipelines/lake/customers"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "1|Bruce|Wayne|bruce@wayne.example|Gotham City\n\
         2|Clark|Kent|clark@dailyplanet.example|Smallville\n\
         3|Diana|Prince|diana@themyscira.example|UNKNOWN\n\
         version 2\n"
    );
}
