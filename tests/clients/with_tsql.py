"""tsql of FreeTDS: batches of literals, and rows as text.

Without a locale it shows dates and times to the minute ("Feb 29 2024 12:34PM", times on the first day of 1900),
so that they are compared to the minute here; pymssql, which has FreeTDS inside, reads them whole.
"""

import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import judge

FIELD, ROW = "\x1f", "\x1e"
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
SHOWN = re.compile(r"(\w{3}) +(\d+) +(\d+) +(\d+):(\d+)([AP]M)$")
ERROR = re.compile(r"Msg (\d+) \(severity (\d+), state \d+\) from [^\n]*\n\s*\"(.*?)\"", re.S)


def shown(kind, text):
    """A value as tsql shows it, in the form of the cases."""
    if text == "NULL":
        return None
    if kind in ("bytes", "guid"):
        return text.lower()
    if kind in ("date", "time", "datetime", "offset"):
        return moment(kind, text)
    return text


def moment(kind, text):
    month, day, year, hour, minute, half = SHOWN.match(text).groups()
    date = f"{int(year):04}-{MONTHS.index(month) + 1:02}-{int(day):02}"
    time = f"{int(hour) % 12 + 12 * (half == 'PM'):02}:{minute}"
    return {"date": date, "time": time}.get(kind, f"{date} {time}")


def same(kind, read, text):
    if read is None or text is None:
        return read == text
    match kind:
        case "real":
            return struct.pack("<f", float(read)) == struct.pack("<f", float(text))
        case "float":
            return float(read) == float(text)
        case "time" | "datetime" | "offset":
            return text.startswith(read)
    return read == text


class Tsql:
    def __init__(self):
        self.program = shutil.which("tsql")
        if self.program is None:
            print("not installed: tsql, of the Debian package freetds-bin", file=sys.stderr)
            sys.exit(judge.NOT_INSTALLED)
        self.server = judge.Server()
        self.problems = []

    def run(self, batches, password=None):
        """Runs batches in one connection; gives its rows and its errors."""
        server = self.server
        with tempfile.TemporaryDirectory() as folder:
            settings = pathlib.Path(folder, "freetds.conf")
            settings.write_text(
                f"[judged]\nhost = {server.host}\nport = {server.port}\ntds version = 7.4\nclient charset = UTF-8\n"
                f"text size = 2147483647\nencryption = {'require' if server.encrypts else 'off'}\n"
            )
            login = ["-S", "judged", "-U", server.user, "-P", password or server.password, "-D", server.database]
            ended = subprocess.run(
                [self.program, *login, "-o", "fhq", "-t", FIELD, "-r", ROW],
                input="".join(f"{batch}\nGO\n" for batch in batches),
                capture_output=True,
                encoding="utf-8",
                env=os.environ | {"FREETDSCONF": str(settings), "LC_ALL": "C.UTF-8", "HOME": folder},
                check=False,
                timeout=judge.DEADLINE,
            )
        rows = [row.split(FIELD) for row in ended.stdout.split(ROW) if FIELD in row]
        errors = [(int(number), text) for number, severity, text in ERROR.findall(ended.stderr) if int(severity) > 10]
        return rows, errors, ended.stderr + ended.stdout

    def check(self, holds, problem):
        if not holds:
            self.problems.append(problem)

    def judge(self):
        _, errors, said = self.run([], self.server.password + "?")
        self.check(errors[:1] == [(18456, "Login failed for user 'sa'.")], f"a wrong password: {said}")
        for case in judge.cases():
            self.values(case)
        self.errors()
        self.transactions()
        for problem in self.problems:
            print(problem, file=sys.stderr)
        sys.exit(1 if self.problems else 0)

    def values(self, case):
        pairs = case.rows()
        inserts = [
            f"INSERT INTO {case.table} (id, a, b) VALUES ({number}, "
            + ", ".join(judge.literal(case.kind, text) for text in pair)
            + ")"
            for number, pair in enumerate(pairs)
        ]
        create = f"CREATE TABLE {case.table} (id int NOT NULL PRIMARY KEY, a {case.type} NULL, b {case.type} NOT NULL)"
        select = f"SELECT id, a, b FROM {case.table} ORDER BY id"
        rows, errors, said = self.run([create, *inserts, select])
        self.check(not errors, f"{case.type}: {said}")
        self.check(len(rows) == len(pairs), f"{case.type}: {len(rows)} rows instead of {len(pairs)}: {said}")
        for row, pair in zip(rows, pairs):
            for read, text, column in zip(row[1:], pair, "ab"):
                value = shown(case.kind, read)
                problem = f"{case.type} column {column}: {value!r} ({read!r}) instead of {text!r}"
                self.check(same(case.kind, value, text), problem)

    def errors(self):
        rows, errors, said = self.run(
            [
                "SELECT * FROM dbo.missing",
                "CREATE TABLE dbo.errors (id int NOT NULL CONSTRAINT pk_errors PRIMARY KEY)",
                "INSERT INTO dbo.errors VALUES (1)",
                "INSERT INTO dbo.errors VALUES (1)",
                "SELECT 1 / 0 AS x",
                "SELECT id, id FROM dbo.errors",
            ]
        )
        self.check([number for number, _ in errors] == [208, 2627, 8134], f"the errors are {errors}: {said}")
        self.check(rows == [["1", "1"]], f"after the errors: {rows}")
        self.check(errors and errors[0][1] == "Invalid object name 'dbo.missing'.", f"error 208 says: {errors}")

    def transactions(self):
        batches = [
            "CREATE TABLE dbo.moves (id int NOT NULL PRIMARY KEY)",
            "BEGIN TRANSACTION INSERT INTO dbo.moves VALUES (1)",
            "ROLLBACK TRANSACTION",
            "BEGIN TRANSACTION INSERT INTO dbo.moves VALUES (2)",
            "SAVE TRANSACTION here INSERT INTO dbo.moves VALUES (3) ROLLBACK TRANSACTION here",
            "COMMIT TRANSACTION",
        ]
        _, errors, said = self.run(batches)
        self.check(not errors, f"transactions: {said}")
        rows, _, said = self.run(["SELECT id, id FROM dbo.moves ORDER BY id"])
        self.check(rows == [["2", "2"]], f"rows {rows} after the transactions: {said}")


Tsql().judge()
