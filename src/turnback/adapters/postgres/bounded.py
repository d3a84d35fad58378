"""A session for probes: one deadline for everything, also against a server that is frozen.

libpq's connect_timeout counts whole seconds, two at least, and statement_timeout is kept by the server, which
may be what hangs. So this drives libpq itself, without blocking (documentation: libpq, Asynchronous Command
Processing). No startup options: a pooler refuses them.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from types import TracebackType

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from turnback.adapters.postgres.connect import place, scrub
from turnback.errors import ServerError, ServerGone

NAME = "turnback probe"  # what pg_stat_activity shows; the fence never ends a session of turnback's

Row = tuple[str | None, ...]

_DONE = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY)


class Refused(ServerError):
    """The server answered with an error; `sqlstate` is its code."""

    def __init__(self, message: str, sqlstate: str) -> None:
        super().__init__(message, hint=f"SQLSTATE {sqlstate}")
        self.sqlstate = sqlstate


class BoundedSession:
    """Connects at once; a context manager. `seconds` are for connecting and all statements together.

    Raises ServerGone (no answer, not in time) and Refused; no password in their text.
    """

    def __init__(self, dsn: str, seconds: float) -> None:
        self._dsn = dsn
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        try:
            conninfo = make_conninfo(dsn, application_name=NAME, client_encoding="UTF8")
            self._pgconn = pq.PGconn.connect_start(conninfo.encode())
        except psycopg.Error as e:
            raise self._gone(str(e)) from None
        try:
            self._connect()
        except BaseException:
            self._pgconn.finish()
            raise

    def __enter__(self) -> BoundedSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pgconn.finish()

    def query(self, sql: str, parameters: Sequence[str] = ()) -> list[Row]:
        """The rows of the last result, as text. Several statements in one text only without parameters."""
        try:
            if parameters:
                self._pgconn.send_query_params(sql.encode(), [p.encode() for p in parameters])
            else:
                self._pgconn.send_query(sql.encode())
            rows: list[Row] = []
            refused: Refused | None = None
            while (result := self._next_result()) is not None:
                if result.status not in _DONE:
                    refused = refused or self._refused(result)
                else:
                    rows = [_row(result, number) for number in range(result.ntuples)]
        except psycopg.Error as e:
            raise self._gone(str(e)) from None
        if refused is not None:
            raise refused
        return rows

    # ---- libpq, without blocking -----------------------------------------------------------------

    def _connect(self) -> None:
        while True:
            match self._pgconn.connect_poll():
                case pq.PollingStatus.OK:
                    self._pgconn.nonblocking = 1
                    return
                case pq.PollingStatus.READING:
                    self._wait(select.POLLIN)
                case pq.PollingStatus.WRITING:
                    self._wait(select.POLLOUT)
                case _:
                    raise self._gone(self._pgconn.get_error_message())

    def _next_result(self) -> pq.abc.PGresult | None:
        while self._pgconn.flush():
            self._wait(select.POLLIN | select.POLLOUT)
            self._pgconn.consume_input()
        while self._pgconn.is_busy():
            self._wait(select.POLLIN)
            self._pgconn.consume_input()
        return self._pgconn.get_result()

    def _wait(self, events: int) -> None:
        left = self._deadline - time.monotonic()
        poll = select.poll()
        poll.register(self._pgconn.socket, events)
        if left <= 0 or not poll.poll(left * 1000):
            raise ServerGone(
                f"{place(self._dsn)}: no answer within {self._seconds:g} s",
                hint="check that PostgreSQL runs and that the address is right",
            )

    def _gone(self, text: str) -> ServerGone:
        line = next(iter(scrub(text, self._dsn).strip().splitlines()), "the connection ended")
        return ServerGone(
            f"{place(self._dsn)}: {line}", hint="check that PostgreSQL runs and that the address is right"
        )

    def _refused(self, result: pq.abc.PGresult) -> Refused:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        text = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"no message").decode(
            errors="replace"
        )
        return Refused(f"{place(self._dsn)}: {scrub(text, self._dsn)}", state)


def _row(result: pq.abc.PGresult, number: int) -> Row:
    values = (result.get_value(number, column) for column in range(result.nfields))
    return tuple(None if v is None else v.decode() for v in values)
