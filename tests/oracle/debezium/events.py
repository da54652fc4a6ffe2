"""Debezium's records and cdcql's rows in one form, so that they can be compared.

Where the two write the same value in different ways, both are turned into a third form that loses nothing
but what `README.md` lists.
"""

import dataclasses
import datetime
import decimal
import json
import pathlib
import struct

# What stands for a (max) value that SQL Server did not supply, in either program.
NOT_SUPPLIED = "(not supplied)"
PLACEHOLDER = "__debezium_unavailable_value"

KINDS = {"c": ["insert"], "u": ["update_preimage", "update_postimage"], "d": ["delete"], "r": ["read"]}


@dataclasses.dataclass(frozen=True)
class Image:
    """One image of one row: a row of CHANGES, or a half of a record of Debezium."""

    table: str
    kind: str
    lsn: str
    time: str
    row: tuple

    def __str__(self):
        values = ", ".join(f"{name}={value!r}" for name, value in self.row)
        return f"{self.kind:<16} {self.lsn} {self.time}  {values}"


@dataclasses.dataclass
class Record:
    """A record of Debezium."""

    table: str
    operation: str
    lsn: str
    seqval: str
    snapshot: bool
    images: list
    types: dict
    faults: list


def debezium(path: pathlib.Path) -> list:
    """The records of a file that `Connector.java` wrote, without those of oracle_step."""
    records = []
    with open(path) as file:
        lines = [json.loads(line, parse_float=decimal.Decimal) for line in file]
    for at, line in enumerate(lines):
        if line["value"] is None:
            continue
        payload = line["value"]["payload"]
        if "op" not in payload or payload["source"]["table"] == "oracle_step":
            continue
        record = a_record(payload, line["value"]["schema"], line["key"])
        following = lines[at + 1] if at + 1 < len(lines) else None
        if payload["op"] == "d" and line["key"] is not None:
            if following is None or following["value"] is not None or following["key"] != line["key"]:
                record.faults.append("a delete without its tombstone")
        records.append(record)
    return records


def a_record(payload: dict, schema: dict, key) -> Record:
    source = payload["source"]
    fields = {field["field"]: field for field in schema["fields"]}
    types = {field["field"]: field for field in fields["after"]["fields"]}
    lsn = plain_lsn(source["commit_lsn"])
    time = instant(source["ts_ms"]) if payload["op"] != "r" else ""
    halves = {"c": ["after"], "u": ["before", "after"], "d": ["before"], "r": ["after"]}[payload["op"]]
    images = [
        Image(f"{source['schema']}.{source['table']}", kind, lsn, time, row_of(payload[half], types))
        for kind, half in zip(KINDS[payload["op"]], halves)
    ]
    faults = []
    if key is not None:
        last = dict(images[-1].row)
        for name, value in key["payload"].items():
            if last[name] != from_debezium(value, types[name]):
                faults.append(f"the key's {name} is {value!r}, the row's {last[name]!r}")
    table = f"{source['schema']}.{source['table']}"
    seqval = plain_lsn(source.get("change_lsn") or "")
    snapshot = payload["op"] == "r"
    return Record(table, payload["op"], lsn, seqval, snapshot, images, types, faults)


def plain_lsn(text: str) -> str:
    return text.replace(":", "")


def instant(millis: int) -> str:
    seconds, rest = divmod(millis, 1000)
    at = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{rest:03}"


def row_of(payload: dict, types: dict) -> tuple:
    return tuple((name, from_debezium(value, types[name])) for name, value in payload.items())


def from_debezium(value, field: dict):
    """A value of Debezium in the common form; `field` is its Kafka Connect schema."""
    if value is None:
        return None
    if value in (PLACEHOLDER, PLACEHOLDER.encode().hex()):
        return NOT_SUPPLIED
    return common(value, field)


def from_cdcql(value, field: dict):
    """A value of cdcql's JSON in the common form of a column for which Debezium has that schema."""
    return None if value is None else common(value, field)


def common(value, field: dict):
    name, base = field.get("name") or "", field["type"]
    if name.startswith("io.debezium.time.Iso") or name == "io.debezium.time.ZonedTimestamp":
        return temporal(str(value))
    if base in ("float", "double", "float32", "float64"):
        return single(value) if base in ("float", "float32") else repr(float(value))
    if isinstance(value, (int, decimal.Decimal)) and not isinstance(value, bool):
        return number(value)
    if base == "string" and field.get("parameters", {}).get("__debezium.source.column.type") in DECIMALS:
        return number(value)
    source = field.get("parameters", {}).get("__debezium.source.column.type")
    return str(value).lower() if source == "UNIQUEIDENTIFIER" else value


def number(value) -> str:
    """A number without zeros that say nothing."""
    return format(decimal.Decimal(value).normalize(), "f")


# Debezium writes these as texts, with decimal.handling.mode=string.
DECIMALS = ("DECIMAL", "NUMERIC", "MONEY", "SMALLMONEY")


def single(value) -> str:
    """A REAL by its four bytes, since the two programs print it with different digits."""
    return struct.pack(">f", float(value)).hex()


def temporal(text: str) -> str:
    """A date, time or timestamp: in UTC, its fraction cut to the microseconds that Delta has."""
    if ":" not in text:
        return text.removesuffix("Z")
    date, separator, rest = text.rpartition("T")
    clock, offset = split_offset(rest)
    whole, _, fraction = clock.partition(".")
    fraction = fraction[:6].ljust(6, "0")
    if len(whole) == 5:
        whole += ":00"
    if not separator:
        return f"{whole}.{fraction}"
    if offset:
        at = datetime.datetime.fromisoformat(f"{date}T{whole}") - offset
        date, whole = at.isoformat().split("T")
    return f"{date}T{whole}.{fraction}"


def split_offset(clock: str):
    clock = clock.removesuffix("Z")
    for sign, factor in (("+", 1), ("-", -1)):
        if sign in clock:
            clock, _, offset = clock.partition(sign)
            hours, minutes = offset.split(":")
            return clock, factor * datetime.timedelta(hours=int(hours), minutes=int(minutes))
    return clock, None


def cdcql(table: str, lines: str, types: dict) -> list:
    """Rows of `SELECT * FROM … CHANGES` or of the table itself, printed as JSON."""
    images = []
    for line in lines.splitlines():
        row = json.loads(line, parse_float=decimal.Decimal)
        kind = row.pop("_change_type", "read")
        lsn = row.pop("_commit_version", "")
        time = row.pop("_commit_timestamp", None)
        time = temporal(time)[:-3] if time else ""
        values = tuple((name, from_cdcql(value, types[name])) for name, value in row.items() if name in types)
        images.append(Image(table, kind, lsn, time, values))
    return images


LOG_ORDER = ("__$start_lsn", "__$command_id", "__$seqval", "__$operation")


def change_table(lines: str) -> list:
    """Rows of a change table, printed as JSON, in the order of the log."""
    rows = [json.loads(line, parse_float=decimal.Decimal) for line in lines.splitlines()]
    return sorted(rows, key=lambda row: [row[name] for name in LOG_ORDER])


def as_supplied(images: list, raw: list, types: dict) -> list:
    """`images` of cdcql with a mark for each value that SQL Server did not supply.

    cdcql's feed has NULL there, as the change table has: in the images of an update, in a column of an old large
    type whose bit of the update mask is not set. Debezium marks such values by the JDBC driver's type, and the
    driver's type of (max) columns is not one of those: there Debezium has NULL, too."""
    marked = []
    for image, row in zip(images, raw):
        captured = [name for name in row if not name.startswith("__$")]
        mask = int(row["__$update_mask"], 16)
        update = row["__$operation"] in (3, 4)
        values = tuple(
            (
                name,
                NOT_SUPPLIED
                if value is None and update and is_old_large(types[name]) and not mask >> captured.index(name) & 1
                else value,
            )
            for name, value in image.row
        )
        marked.append(dataclasses.replace(image, row=values))
    return marked + images[len(raw):]


def is_old_large(field: dict) -> bool:
    """Whether a column is of type text, ntext or image."""
    return field.get("parameters", {}).get("__debezium.source.column.type") in ("TEXT", "NTEXT", "IMAGE")


def order_of_log(rows: list) -> list:
    """The changes of all tables in the order of the log, each as a line; an update is one."""
    rows = [(table, row) for table, row in rows if row["__$operation"] != 3]
    rows.sort(key=lambda entry: [entry[1][name] for name in LOG_ORDER])
    operations = {1: "d", 2: "c", 4: "u"}
    return [
        f"{table} {operations[row['__$operation']]} {row['__$start_lsn']} {row['__$seqval']}" for table, row in rows
    ]


def order_of(records: list) -> list:
    """The same of Debezium's records."""
    return [f"{record.table} {record.operation} {record.lsn} {record.seqval}" for record in records]
