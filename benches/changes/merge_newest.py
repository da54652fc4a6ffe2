"""Reads the rows of a change table after an LSN as Arrow, and merges the newest of each key into a Delta table.

Prints seconds, seconds of processor time, bytes read, bytes written and the peak memory in MiB, from the connection to the commit.
"""

import os
import sys
import time

import mssql_python
import numpy
import pyarrow
from deltalake import DeltaTable

COLUMNS = ["id", "name", "amount", "changed", "active"]


def transferred():
    with open("/proc/self/io") as file:
        counters = dict(line.split(": ") for line in file)
    return int(counters["rchar"]), int(counters["wchar"])


def peak_memory():
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


target, after = sys.argv[1:]
read, written = transferred()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
start, worked = time.perf_counter(), time.process_time()

connection = mssql_python.connect(os.environ["SERVER"])
cursor = connection.cursor()
cursor.execute(
    f"SELECT __$operation AS operation, {', '.join(COLUMNS)} FROM cdc.dbo_big_CT "
    f"WHERE __$start_lsn > 0x{after} AND __$operation <> 3 ORDER BY __$start_lsn, __$seqval, __$operation"
)
changes = cursor.arrow(batch_size=65536)
places = pyarrow.array(numpy.arange(changes.num_rows))
newest = changes.append_column("place", places).group_by("id").aggregate([("place", "max")])
newest = changes.take(newest["place_max"])

values = {name: f"s.{name}" for name in COLUMNS}
(
    DeltaTable(target)
    .merge(newest, predicate="t.id = s.id", source_alias="s", target_alias="t")
    .when_matched_delete(predicate="s.operation = 1")
    .when_matched_update(updates=values)
    .when_not_matched_insert(predicate="s.operation <> 1", updates=values)
    .execute()
)

seconds, worked = time.perf_counter() - start, time.process_time() - worked
read, written = (now - before for now, before in zip(transferred(), (read, written)))
print(seconds, worked, read, written, peak_memory())
