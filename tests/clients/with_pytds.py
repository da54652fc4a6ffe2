"""python-tds: Python alone. It begins and ends transactions by transaction manager requests."""

import judge

pytds = judge.client("pytds")
judge.client("OpenSSL")


class Pytds(judge.Judge):
    def connect(self, password):
        return pytds.connect(
            dsn=self.server.host,
            port=self.server.port,
            user=self.server.user,
            password=password,
            database=self.server.database,
            cafile=self.server.certificate if self.server.encrypts else None,
            # It asks pyOpenSSL for the certificate's names in a way that pyOpenSSL no longer has.
            validate_host=False,
            login_timeout=judge.PATIENCE,
            timeout=judge.PATIENCE,
        )

    def bind(self, kind, text):
        value = judge.native(kind, text)
        return pytds.Binary(value) if isinstance(value, bytes) else value

    def error(self, error):
        return getattr(error, "number", getattr(error, "msg_no", None)), str(error)


Pytds().run()
