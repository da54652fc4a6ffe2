"""What every client must see, for clients of Python's DB-API.

`cases.json` holds the types and values that all clients share: a value is its exact text, and a kind says how a
client's own value becomes that text. A new type is one more line there; `except` names the clients that cannot take
part in it, and why.

The server is named by the variables SERVER_HOST, SERVER_PORT, SERVER_DATABASE, SERVER_USER, SERVER_PASSWORD,
SERVER_CERTIFICATE (its certificate as a PEM file) and SERVER_ENCRYPTION (`tls` or `plain`). A script ends with 0
when all is well, with 1 after it has said what is not, and with 3 when its client is not installed.
"""

import datetime
import decimal
import importlib
import json
import os
import pathlib
import signal
import struct
import sys
import uuid

NOT_INSTALLED = 3
# Seconds that a client may wait for the server's answer, and seconds after which a script is ended.
PATIENCE = 60
DEADLINE = 900

signal.alarm(DEADLINE)


def client(name):
    """The module of a client; ends the script when it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        print(f"not installed: {missing}", file=sys.stderr)
        sys.exit(NOT_INSTALLED)


class Server:
    """Where to connect to, and as whom."""

    def __init__(self, variables=os.environ):
        self.host = variables["SERVER_HOST"]
        self.port = int(variables["SERVER_PORT"])
        self.database = variables["SERVER_DATABASE"]
        self.user = variables["SERVER_USER"]
        self.password = variables["SERVER_PASSWORD"]
        self.certificate = variables["SERVER_CERTIFICATE"]
        self.encrypts = variables["SERVER_ENCRYPTION"] == "tls"


class Case:
    """A type and its values, each as its exact text or None."""

    def __init__(self, number, line):
        self.table = f"dbo.case_{number}"
        self.type = line["type"]
        self.kind = line["kind"]
        self.values = [whole(value) for value in line["values"]]

    def rows(self):
        """A nullable value and one that is not, for each value."""
        some = next(value for value in self.values if value is not None)
        return [(value, some if value is None else value) for value in self.values]


def whole(value):
    return value["text"] * value["times"] if isinstance(value, dict) else value


def cases():
    lines = json.loads(pathlib.Path(__file__).with_name("cases.json").read_text("utf-8"))
    own = pathlib.Path(sys.argv[0]).stem.removeprefix("with_")
    return [Case(number, line) for number, line in enumerate(lines, 1) if own not in line.get("except", {})]


def literal(kind, text):
    """T-SQL for a value."""
    if text is None:
        return "NULL"
    if kind == "bytes":
        return f"0x{text}"
    if kind in ("integer", "bit", "decimal", "real", "float"):
        return text
    quoted = text.replace("'", "''")
    return f"N'{quoted}'"


def native(kind, text):
    """Python's own value, which keeps six digits of a second."""
    if text is None:
        return None
    match kind:
        case "integer":
            return int(text)
        case "bit":
            return text == "1"
        case "decimal":
            return decimal.Decimal(text)
        case "real" | "float":
            return float(text)
        case "bytes":
            return bytes.fromhex(text)
        case "guid":
            return uuid.UUID(text)
        case "date":
            return datetime.date.fromisoformat(text)
        case "time":
            return datetime.time.fromisoformat(text[:15])
        case "datetime":
            return datetime.datetime.fromisoformat(text[:26])
        case "offset":
            moment, zone = text.rsplit(" ", 1)
            return datetime.datetime.fromisoformat(moment[:26] + zone)
    return text


def differs(kind, read, text):
    """What is wrong with a value read; None when it is the one expected, its Python type included."""
    expected = native(kind, text)
    if kind == "real" and isinstance(read, float):
        read, expected = (struct.pack("<f", value) for value in (read, expected))
    if kind == "guid" and isinstance(read, str):
        read = uuid.UUID(read)
    if kind == "bytes" and isinstance(read, (bytearray, memoryview)):
        read = bytes(read)
    if type(read) is type(expected) and read == expected:
        return None
    return f"{read!r} instead of {expected!r}"


class Judge:
    """Runs the cases with one client.

    A subclass says how its client connects (`connect`), what stands for a parameter (`mark`), how a value is bound
    (`bind`), and what number and text an exception carries (`error`; the number is None where `has_numbers` is false).
    """

    mark = "%s"
    # Whether its exceptions carry the server's error numbers.
    has_numbers = True

    def __init__(self):
        self.server = Server()
        self.problems = []

    def bind(self, kind, text):
        return native(kind, text)

    def mark_of(self, case):
        return self.mark

    def check_number(self, found, number, what):
        self.check(found == (number if self.has_numbers else None), f"{what} is error {found} instead of {number}")

    def check(self, holds, problem):
        if not holds:
            self.problems.append(problem)

    def run(self):
        self.refused_login()
        connection = self.connect(self.server.password)
        for case in cases():
            try:
                self.values(connection, case)
            except Exception as error:  # one type's failure must not hide another's
                self.problems.append(f"{case.type}: {error!r}")
                connection.rollback()
        for part in (self.results, self.errors, self.transactions):
            try:
                part(connection)
            except Exception as error:
                self.problems.append(f"{part.__name__}: {error!r}")
        connection.close()
        for problem in self.problems:
            print(problem, file=sys.stderr)
        sys.exit(1 if self.problems else 0)

    def refused_login(self):
        try:
            self.connect(self.server.password + "?").close()
        except Exception as error:
            number, text = self.error(error)
            self.check_number(number, 18456, "a wrong password")
            self.check("Login failed for user 'sa'" in text, f"a wrong password says: {text}")
        else:
            self.problems.append("a wrong password is accepted")

    def execute(self, connection, sql, parameters=()):
        """Runs a statement; gives its rows, if it has any."""
        cursor = connection.cursor()
        cursor.execute(sql, tuple(parameters)) if parameters else cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else []
        cursor.close()
        return [tuple(row) for row in rows]

    def values(self, connection, case):
        create = f"CREATE TABLE {case.table} (id int NOT NULL PRIMARY KEY, a {case.type} NULL, b {case.type} NOT NULL)"
        self.execute(connection, create)
        insert = f"INSERT INTO {case.table} (id, a, b) VALUES"
        expected = []
        for pair in case.rows():
            literals = ", ".join(literal(case.kind, text) for text in pair)
            self.execute(connection, f"{insert} ({len(expected)}, {literals})")
            expected.append(pair)
            marks = f"{self.mark}, {self.mark_of(case)}, {self.mark_of(case)}"
            values = [self.bind(case.kind, text) for text in pair]
            self.execute(connection, f"{insert} ({marks})", [len(expected), *values])
            expected.append(pair)
        connection.commit()
        rows = self.execute(connection, f"SELECT id, a, b FROM {case.table} ORDER BY id")
        self.check(len(rows) == len(expected), f"{case.type}: {len(rows)} rows instead of {len(expected)}")
        for number, (row, pair) in enumerate(zip(rows, expected)):
            self.check(row[0] == number, f"{case.type}: row {row[0]} instead of {number}")
            for read, text, column in zip(row[1:], pair, "ab"):
                wrong = differs(case.kind, read, text)
                how = "a parameter" if number % 2 else "a literal"
                self.check(wrong is None, f"{case.type} column {column}, from {how}: {wrong}")

    def results(self, connection):
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE dbo.counted (id int NOT NULL PRIMARY KEY)")
        for id in range(3):
            cursor.execute(f"INSERT INTO dbo.counted VALUES ({id})")
        cursor.execute("UPDATE dbo.counted SET id = id + 10 WHERE id > 0")
        self.check(cursor.rowcount == 2, f"an update of two rows counts {cursor.rowcount}")
        cursor.execute("SELECT id FROM dbo.counted ORDER BY id; SELECT 'x' AS a, 2 AS b WHERE 1 = 0; SELECT 'x' AS a, 2 AS b")
        found = [[tuple(row) for row in cursor.fetchall()]]
        while cursor.nextset():
            found.append([tuple(row) for row in cursor.fetchall()])
        expected = [[(0,), (11,), (12,)], [], [("x", 2)]]
        self.check(found == expected, f"results {found} instead of {expected}")
        names = [column[0] for column in cursor.description or ()]
        self.check(names in ([], ["a", "b"]), f"columns {names}")
        cursor.close()
        connection.commit()

    def fails(self, connection, sql, number, words):
        try:
            self.execute(connection, sql)
        except Exception as error:
            found, text = self.error(error)
            self.check_number(found, number, sql)
            self.check(words in text, f"{sql} says: {text}")
        else:
            self.problems.append(f"{sql} succeeds")
        connection.rollback()

    def errors(self, connection):
        self.fails(connection, "SELECT * FROM dbo.missing", 208, "Invalid object name 'dbo.missing'.")
        self.execute(connection, "CREATE TABLE dbo.errors (id int NOT NULL CONSTRAINT pk_errors PRIMARY KEY)")
        self.execute(connection, "INSERT INTO dbo.errors VALUES (1)")
        connection.commit()
        again = "INSERT INTO dbo.errors VALUES (1)"
        self.fails(connection, again, 2627, "Violation of PRIMARY KEY constraint 'pk_errors'")
        self.fails(connection, "SELECT 1 / 0 AS x", 8134, "Divide by zero error encountered.")
        alive = self.execute(connection, "SELECT COUNT(*) FROM dbo.errors")
        self.check(alive == [(1,)], f"after the errors: {alive}")

    def transactions(self, connection):
        other = self.connect(self.server.password)
        self.execute(connection, "CREATE TABLE dbo.moves (id int NOT NULL PRIMARY KEY)")
        connection.commit()
        self.execute(connection, "INSERT INTO dbo.moves VALUES (1)")
        connection.rollback()
        self.seen(connection, [])
        self.execute(connection, "INSERT INTO dbo.moves VALUES (2)")
        connection.commit()
        self.seen(other, [(2,)])
        self.execute(connection, "INSERT INTO dbo.moves VALUES (3)")
        self.execute(connection, "SAVE TRANSACTION here")
        self.execute(connection, "INSERT INTO dbo.moves VALUES (4)")
        self.execute(connection, "ROLLBACK TRANSACTION here")
        connection.commit()
        self.seen(other, [(2,), (3,)])
        other.close()

    def seen(self, connection, expected):
        rows = self.execute(connection, "SELECT id FROM dbo.moves ORDER BY id")
        self.check(rows == expected, f"rows {rows} instead of {expected}")
        connection.commit()
