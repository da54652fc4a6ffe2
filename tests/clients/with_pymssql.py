"""pymssql: FreeTDS's DB-Library. It writes parameters into the text of the statement."""

import judge

pymssql = judge.client("pymssql")


class Pymssql(judge.Judge):
    def connect(self, password):
        return pymssql.connect(
            server=self.server.host,
            port=str(self.server.port),
            user=self.server.user,
            password=password,
            database=self.server.database,
            encryption="require" if self.server.encrypts else "off",
            use_datetime2=True,
            login_timeout=judge.PATIENCE,
            timeout=judge.PATIENCE,
        )

    def error(self, error):
        number, text = error.args[0] if isinstance(error.args[0], tuple) else error.args
        return number, text.decode()


Pymssql().run()
