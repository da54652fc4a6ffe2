"""mssql-python: Microsoft's own ODBC driver, which the package brings along. It prepares statements.

The package takes dates from 1753 on alone, so that they are bound as text, and it drops the numbers of errors.
"""

import judge

mssql_python = judge.client("mssql_python")


class MssqlPython(judge.Judge):
    mark = "?"
    has_numbers = False

    def connect(self, password):
        server = self.server
        encrypt = "yes" if server.encrypts else "no"
        connection = mssql_python.connect(
            f"Server={server.host},{server.port};Database={server.database};UID={server.user};PWD={password};"
            f"Encrypt={encrypt};TrustServerCertificate=yes"
        )
        connection.timeout = judge.PATIENCE
        return connection

    def bind(self, kind, text):
        return text if kind == "date" else judge.native(kind, text)

    def error(self, error):
        return None, str(error)


MssqlPython().run()
