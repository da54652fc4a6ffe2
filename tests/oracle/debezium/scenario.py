"""A scenario: T-SQL that makes a database, and then what happens while the connector runs or is stopped."""

import dataclasses
import pathlib
import re

# What every scenario begins with. The connector's arrival at a row of oracle_step shows that it has
# delivered everything before it.
PROLOGUE = """\
EXEC sys.sp_cdc_enable_db;
GO
CREATE TABLE dbo.oracle_step (step INT PRIMARY KEY);
GO
EXEC sys.sp_cdc_enable_table N'dbo', N'oracle_step', NULL;
GO
INSERT INTO dbo.oracle_step VALUES (0);
GO
"""

ENABLED = re.compile(
    r"sp_cdc_enable_table\s+(?:@source_schema\s*=\s*)?N?'([^']+)'\s*,\s*(?:@source_name\s*=\s*)?N?'([^']+)'"
    r"(?:[^;]*?@capture_instance\s*=\s*N?'([^']+)')?",
    re.I,
)


@dataclasses.dataclass
class Scenario:
    """One file of the folder `scenarios`."""

    name: str
    about: str
    setup: str
    # Properties of the connector
    properties: dict
    # ("start" | "stop" | "execute", batches)
    acts: list
    # (schema, table): the newest capture instance
    tables: dict
    # Lines of the report that are expected, and why.
    differences: list
    reason: str


def read(path: pathlib.Path) -> Scenario:
    """Reads a scenario: a setup, in which `--@ set NAME=VALUE` may stand, then parts that begin with `--@ start` or
    `--@ stop`."""
    text = path.read_text()
    properties = dict(re.findall(r"^--@ *set ([\w.]+)=(.*)$", text, flags=re.M))
    text = re.sub(r"^--@ *set .*\n", "", text, flags=re.M)
    about = " ".join(re.match(r"(?:--(?!@).*\n)+", text).group().replace("--", "").split())
    parts = re.split(r"^--@ *(\w+) *$", text, flags=re.M)
    acts = []
    for word, body in zip(parts[1::2], parts[2::2]):
        if word not in ("start", "stop"):
            raise SystemExit(f"{path}: unknown directive '{word}'")
        acts += [(word, []), ("execute", batches(body))]
    tables = {(schema, table): name or f"{schema}_{table}" for schema, table, name in ENABLED.findall(text)}
    lines, reason = differences(path.with_suffix(".differs.txt"))
    return Scenario(path.stem, about, PROLOGUE + parts[0], properties, acts, tables, lines, reason)


def differences(path: pathlib.Path):
    """The lines of a report that are expected, and the reason, which stands above them after `#`."""
    if not path.exists():
        return [], ""
    lines = path.read_text().splitlines()
    reason = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return [line for line in lines if line and not line.startswith("#")], reason


def batches(text: str) -> list:
    """The batches of a text: what stands between lines with GO alone."""
    parts = re.split(r"^\s*GO\s*$", text, flags=re.M | re.I)
    return [part for part in parts if re.sub(r"--.*", "", part).strip()]
