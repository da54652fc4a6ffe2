"""Runs scenarios through Debezium and through cdcql, and says where their events differ."""

import argparse
import contextlib
import difflib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import events
import scenario

HERE = pathlib.Path(__file__).parent
PASSWORD = "Debezium-1"
# What the JDBC driver alone makes of the server is judged like a scenario.
DRIVER = scenario.Scenario(
    "driver", "The JDBC driver's metadata, prepared statements, batches, keys, transactions and errors.", "", {}, [], {}, [], ""
)
# Where and when a change was committed; left out of the differences that are expected.
PLACE = r" +[0-9a-f]{20} \S+"
# Seconds that a program may take to answer.
DEADLINE = 600
# A difference is shown with so many lines at most.
SHOWN = 40


class Failed(Exception):
    """Why a scenario could not be judged."""


@contextlib.contextmanager
def in_time(process: subprocess.Popen):
    """Kills a process that does not answer, so that reading from it ends."""
    timer = threading.Timer(DEADLINE, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def finish(command: list, **options) -> subprocess.CompletedProcess:
    """Runs a program to its end."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, **options)
    except subprocess.TimeoutExpired as late:
        raise Failed(str(late)) from late


class Java:
    """The process of `Connector.java`."""

    def __init__(self, classpath: str, log: pathlib.Path):
        self.log = open(log, "w")
        self.process = subprocess.Popen(
            ["java", "-Dlog4j2.level=WARN", "-Duser.timezone=UTC", "-cp", classpath, "Connector"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def tell(self, do: str, **arguments):
        """Gives a command and waits for its answer."""
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        with in_time(self.process):
            answer = self.process.stdout.readline()
        if not answer:
            raise Failed(f"the Java process ended; see {self.log.name}")
        if error := json.loads(answer).get("error"):
            raise Failed(f"{do}: {error}")

    def close(self):
        if self.log.closed:
            return
        self.process.stdin.close()
        with in_time(self.process):
            self.process.wait()
        self.log.close()


@contextlib.contextmanager
def simulator(folder: pathlib.Path, setup: str):
    """Serves the database of a script; gives its port."""
    script = folder / "app_db.sql"
    script.write_text(setup)
    environment = {**os.environ, "CDCQL_SIMULATOR_PASSWORD": PASSWORD}
    with open(folder / "simulate.log", "w+") as log:
        process = subprocess.Popen(
            [os.environ["CDCQL"], "simulate", script, "--listen", "127.0.0.1:0"],
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        with in_time(process):
            line = process.stderr.readline()
        log.write(line)
        # What it says later must not fill the pipe.
        rest = threading.Thread(target=shutil.copyfileobj, args=(process.stderr, log))
        rest.start()
        try:
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            if not found:
                raise Failed(f"cdcql simulate: {line}; see {log.name}")
            yield int(found.group(1))
        finally:
            process.kill()
            process.wait()
            rest.join()


def cdcql(folder: pathlib.Path, port: int, sql: str) -> str:
    """The rows of a query as JSON, one object a line."""
    connection = folder / "connection.sql"
    connection.write_text("CREATE CONNECTION app_db TYPE sqlserver OPTIONS (url env('APP_DB_URL'));\n")
    url = f"sqlserver://sa:{PASSWORD}@127.0.0.1:{port}/app_db?trust_server_certificate=true"
    done = finish(
        [os.environ["CDCQL"], "query", "--format", "json", "--pipeline", connection, "-c", sql],
        env={**os.environ, "APP_DB_URL": url},
    )
    if done.returncode:
        raise Failed(f"cdcql query {sql}: {done.stderr}")
    return done.stdout


def jdbc_url(port: int) -> str:
    return (
        f"jdbc:sqlserver://127.0.0.1:{port};databaseName=app_db;user=sa;password={PASSWORD};"
        "encrypt=true;trustServerCertificate=true"
    )


def properties(folder: pathlib.Path, port: int, given: dict) -> dict:
    """The connector's settings: its defaults, but for the forms of values, and shorter waits."""
    return {
        "name": "oracle",
        "connector.class": "io.debezium.connector.sqlserver.SqlServerConnector",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "0",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": str(folder / "schema_history"),
        "topic.prefix": "oracle",
        "database.hostname": "127.0.0.1",
        "database.port": str(port),
        "database.user": "sa",
        "database.password": PASSWORD,
        "database.names": "app_db",
        "driver.encrypt": "true",
        "driver.trustServerCertificate": "true",
        "table.include.list": r"dbo\..*",
        "poll.interval.ms": "100",
        "errors.max.retries": "0",
        "decimal.handling.mode": "string",
        "binary.handling.mode": "hex",
        "time.precision.mode": "isostring",
        # The source's types, by which values are compared.
        "datatype.propagate.source.type": r".+\..+",
        "column.propagate.source.type": r".*",
        **given,
    }


def play(java: Java, acts: list, folder: pathlib.Path, port: int, given: dict):
    """Lets the acts of a scenario happen; calls back when the snapshot is complete."""
    step, running, first = 0, False, True
    for word, batches in acts + [("stop", [])]:
        if word == "execute":
            java.tell("execute", url=jdbc_url(port), batches=batches)
        elif word == "start":
            java.tell("start", properties=properties(folder, port, given), events=str(folder / "debezium.json"))
            running = True
            if first:
                java.tell("await", event="snapshot")
                yield
                first = False
        elif running:
            step += 1
            java.tell("execute", url=jdbc_url(port), batches=[f"INSERT INTO dbo.oracle_step VALUES ({step})"])
            java.tell("await", event=str(step))
            java.tell("stop")
            running = False


def driver(classpath: str, folder: pathlib.Path) -> list:
    """Lets the JDBC driver look at a database; gives the lines that are not as in driver.txt."""
    with simulator(folder, (HERE / "driver.sql").read_text()) as port:
        done = finish(["java", "-Duser.timezone=UTC", "-cp", classpath, "Driver", jdbc_url(port)])
    if done.returncode:
        raise Failed(f"{done.stdout[-500:]}{done.stderr}")
    (folder / "driver.txt").write_text(done.stdout)
    expected = (HERE / "driver.txt").read_text().splitlines()
    lines = difflib.unified_diff(done.stdout.splitlines(), expected, "driver", "driver.txt", n=0, lineterm="")
    return list(lines)


def judge(java: Java, told: scenario.Scenario, folder: pathlib.Path, given: dict) -> list:
    """Runs a scenario; gives the lines in which the two programs differ."""
    live = {}
    with simulator(folder, told.setup) as port:
        for _ in play(java, told.acts, folder, port, {**told.properties, **given}):
            for schema, table in told.tables:
                live[f"{schema}.{table}"] = cdcql(folder, port, f'SELECT * FROM app_db.{schema}."{table}"')
        records = events.debezium(folder / "debezium.json")
        report = faults(records)
        log = []
        reads = [record for record in records if record.snapshot]
        changes = [record for record in records if not record.snapshot]
        for (schema, table), instance in told.tables.items():
            name = f"{schema}.{table}"
            of_table = [record for record in records if record.table == name]
            if not of_table:
                report += [f"{name}: Debezium has nothing"]
                continue
            types = of_table[-1].types
            ours = events.cdcql(name, live.get(name, ""), types)
            theirs = [image for record in reads if record.table == name for image in record.images]
            theirs = [image.__class__(image.table, "read", "", "", image.row) for image in theirs]
            report += compare(f"{name}, snapshot", sorted(map(str, ours)), sorted(map(str, theirs)))
            after = max((record.lsn for record in reads), default="")
            rows = events.cdcql(name, cdcql(folder, port, f'SELECT * FROM app_db.{schema}."{table}" CHANGES'), types)
            raw = events.change_table(cdcql(folder, port, f'SELECT * FROM app_db.cdc."{instance}_CT"'))
            ours = [image for image in events.as_supplied(rows, raw, types) if image.lsn > after]
            theirs = [image for record in changes if record.table == name for image in record.images]
            report += compare(f"{name}, changes", list(map(str, ours)), list(map(str, theirs)))
            log += [(name, row) for row in raw if row["__$start_lsn"] > after]
        report += compare("order of all tables", events.order_of_log(log), events.order_of(changes))
    return report


def faults(records: list) -> list:
    """What is wrong with Debezium's records by themselves."""
    found = [f"{record.table}: {fault}" for record in records for fault in record.faults]
    commits = [record.lsn for record in records if not record.snapshot]
    if commits != sorted(commits):
        found.append("Debezium's commits are out of order")
    return found


def compare(what: str, ours: list, theirs: list) -> list:
    """A unified difference: `-` is cdcql's, `+` is Debezium's."""
    if ours == theirs:
        return []
    lines = difflib.unified_diff(ours, theirs, "cdcql", "Debezium", n=0, lineterm="")
    return [f"{what}: {line}" for line in lines if not line.startswith(("---", "+++", "@@"))]


def show(told: scenario.Scenario, report: list) -> bool:
    """Prints a scenario's outcome; whether it is the expected one."""
    good = [re.sub(PLACE, "", line) for line in report] == told.differences
    print(f"{'ok     ' if good else 'DIFFERS'} {told.name}: {told.about}")
    if good and report:
        print(f"        It differs as expected. {told.reason}")
    if not good:
        for line in report[:SHOWN]:
            print(f"    {line}")
        if len(report) > SHOWN:
            print(f"    … and {len(report) - SHOWN} more lines")
        for line in told.differences:
            print(f"    expected: {line}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classpath", required=True)
    parser.add_argument("--keep", type=pathlib.Path, help="keep every scenario's files in this folder")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="set a property of the connector"
    )
    parser.add_argument("scenarios", nargs="*", help="names in the folder scenarios; all without any")
    arguments = parser.parse_args()
    given = dict(one.split("=", 1) for one in arguments.set)
    paths = sorted((HERE / "scenarios").glob("*.sql"))
    if arguments.scenarios:
        unknown = set(arguments.scenarios) - {path.stem for path in paths} - {DRIVER.name}
        if unknown:
            parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
        paths = [path for path in paths if path.stem in arguments.scenarios]
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        java = Java(arguments.classpath, folder / "java.log")
        stack.callback(java.close)
        every = [scenario.read(path) for path in paths]
        if not arguments.scenarios or DRIVER.name in arguments.scenarios:
            every.append(DRIVER)
        good = 0
        for told in every:
            place = folder / told.name
            place.mkdir()
            try:
                report = driver(arguments.classpath, place) if told is DRIVER else judge(java, told, place, given)
                good += show(told, report)
            except Failed as failure:
                print(f"FAILED  {told.name}: {failure}")
                java.close()
                java = Java(arguments.classpath, folder / f"java-{told.name}.log")
                stack.callback(java.close)
        print(f"{good} of {len(every)} as expected")
    return 0 if good == len(every) else 1


if __name__ == "__main__":
    sys.exit(main())
