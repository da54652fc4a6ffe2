"""Reads a table as Arrow and writes it as a Delta table, by `mssql_python` or by `connectorx`.

Prints seconds, seconds of processor time, bytes read, bytes written and the peak memory in MiB, from the connection to the commit.
"""

import os
import sys
import time

from deltalake import write_deltalake

target, reader = sys.argv[1:]
if reader == "mssql_python":
    import mssql_python
else:
    import connectorx


def transferred():
    with open("/proc/self/io") as file:
        counters = dict(line.split(": ") for line in file)
    return int(counters["rchar"]), int(counters["wchar"])


def peak_memory():
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


COLUMNS = "lsn, seq, op, mask, id, name, city, amount, changed, active"
query = f"SELECT {COLUMNS} FROM dbo.big"
read, written = transferred()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
start, worked = time.perf_counter(), time.process_time()

if reader == "mssql_python":
    cursor = mssql_python.connect(os.environ["SERVER"]).cursor()
    cursor.execute(query)
    rows = cursor.arrow_reader(batch_size=65536)
else:
    rows = connectorx.read_sql(os.environ["SERVER_URL"], query, return_type="arrow")
write_deltalake(target, rows)

seconds, worked = time.perf_counter() - start, time.process_time() - worked
read, written = (now - before for now, before in zip(transferred(), (read, written)))
print(seconds, worked, read, written, peak_memory())
