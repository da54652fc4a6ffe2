"""Reads a Delta table with readers that are not cdcql's, and compares the rows with those of a Parquet file.

Usage: compare.py TABLE PARQUET. Prints one line for each reader that sees the same rows; ends with an error otherwise.
"""

import importlib.resources
import sys

import duckdb


def with_duckdb(connection, table):
    extension = importlib.resources.files("duckdb_extension_delta")
    path = extension / "extensions" / f"v{duckdb.__version__}" / "delta.duckdb_extension"
    connection.execute(f"LOAD '{path}'")
    connection.execute(f"CREATE VIEW read AS SELECT * FROM delta_scan('{table}')")


def with_deltalake(connection, table):
    import pyarrow
    from deltalake import DeltaTable, QueryBuilder

    batches = QueryBuilder().register("t", DeltaTable(table)).execute("SELECT * FROM t")
    connection.register("read", pyarrow.Table.from_batches([pyarrow.record_batch(b) for b in batches]))


def with_sail(connection, table):
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    server = SparkConnectServer()
    server.start()
    _, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    connection.register("read", session.read.format("delta").load(table).toArrow())
    session.stop()
    server.stop()


def differences(connection, parquet):
    """How many rows only one side has."""
    columns = ", ".join(
        f'"{name}"' for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM '{parquet}'").fetchall()
    )
    own, read = f"SELECT {columns} FROM '{parquet}'", f"SELECT {columns} FROM read"
    query = "SELECT count(*) FROM ({} EXCEPT ALL {})"
    missing = connection.execute(query.format(own, read)).fetchone()[0]
    extra = connection.execute(query.format(read, own)).fetchone()[0]
    return missing, extra


def main():
    table, parquet = sys.argv[1:]
    for name, read in [("duckdb", with_duckdb), ("deltalake", with_deltalake), ("sail", with_sail)]:
        connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        connection.execute("SET TimeZone = 'UTC'")
        read(connection, table)
        rows = connection.execute("SELECT count(*) FROM read").fetchone()[0]
        missing, extra = differences(connection, parquet)
        if missing or extra:
            sys.exit(f"{name}: {missing} rows are missing and {extra} are not cdcql's")
        print(f"{name}: {rows} rows")


main()
