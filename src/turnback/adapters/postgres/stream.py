"""One logical slot's stream, over libpq's replication protocol (PostgreSQL documentation: Streaming
Replication Protocol, and Logical Streaming Replication Protocol).
"""

from __future__ import annotations

import select
import time
from struct import Struct

from psycopg import Error, conninfo, errors, pq

from turnback.adapters.postgres.connect import (
    CONNECT_TIMEOUT_SECONDS,
    options,
    place,
    scrub,
    translated,
    without_transaction_timeout,
)
from turnback.adapters.postgres.slot import REBUILD_HINT
from turnback.core import lsn as lsn_text
from turnback.core.lsn import Lsn
from turnback.core.pgoutput import Decoder
from turnback.core.sqltext import identifier, literal
from turnback.errors import NotReady, ServerError, ServerGone, WayBackLost
from turnback.ports import ChangeStream, Keepalive, StreamItem

_XLOG_DATA = Struct(">QQq")  # start of the WAL data, current end of WAL, server's clock
_KEEPALIVE = Struct(">QqB")  # current end of WAL, server's clock, reply requested
_STATUS = Struct(">cQQQqB")  # 'r', written, flushed, applied, our clock, reply requested

_EPOCH_2000_US = 946_684_800_000_000
_BATCH = 5000  # messages given at once: bounds memory, and how long a commit can be waited for
_ASK_SECONDS = 1.0  # an idle server is asked where it stands, so that "lag 0" is never older than that
_LONGEST_KEEPALIVE_SECONDS = 10.0

_MISSING = ("42704",)  # undefined_object: slot or publication
_IN_USE = ("55006",)  # object_in_use: the slot's former reader is not gone yet


class SlotStream(ChangeStream):
    """Starts streaming at once, from behind `start_lsn`, which is also the first acknowledged position.

    Raises ServerGone: unreachable, or the slot is still in use by an earlier connection; NotReady: slot or
    publication missing, or the slot lost what it should have kept. `acknowledge` takes durable positions
    only.
    """

    def __init__(
        self,
        admin_dsn: str,
        slot: str,
        publication: str,
        start_lsn: Lsn,
        *,
        application_name: str = "turnback capture",
    ) -> None:
        self._dsn = admin_dsn
        self._slot = slot
        self._decoder = Decoder()
        self._acknowledged = start_lsn
        self._pg = _connect(admin_dsn, application_name)
        try:
            self._keepalive_seconds = self._sender_timeout_seconds() / 3
            self._refuse_missing(publication)
            self._start(slot, publication, start_lsn)
            self._pg.nonblocking = 1
            self._last_status = self._last_asked = time.monotonic()
            self._send_status(reply=True)
        except BaseException:
            self._pg.finish()
            raise

    def receive(self, timeout: float) -> list[StreamItem | Keepalive]:
        """See ChangeStream. At most a few thousand messages at a time."""
        items = self._take()
        if not items:
            self._ask_when_idle()
            self._wait(timeout)
            items = self._take()
        self.keepalive()
        return items

    def acknowledge(self, lsn: Lsn) -> None:
        if lsn > self._acknowledged:
            self._acknowledged = lsn
            self._send_status()

    def keepalive(self) -> None:
        if time.monotonic() - self._last_status >= self._keepalive_seconds:
            self._send_status()

    def close(self) -> None:
        self._pg.finish()

    # ---- receiving -------------------------------------------------------------------------------

    def _take(self) -> list[StreamItem | Keepalive]:
        """What libpq holds, and what the socket gives without waiting."""
        items: list[StreamItem | Keepalive] = []
        decode = self._decoder.decode
        read = self._pg.get_copy_data
        consumed = False
        while len(items) < _BATCH:
            try:
                size, data = read(1)
            except Error as e:
                raise self._gone(str(e)) from None
            if size > 0:
                raw = bytes(data)
                if raw[0] == 119:  # 'w': XLogData
                    start, end, clock = _XLOG_DATA.unpack_from(raw, 1)
                    message = decode(raw[25:])
                    if message is not None:
                        items.append(StreamItem(Lsn(start), Lsn(end), clock, message))
                elif raw[0] == 107:  # 'k': keepalive
                    items.append(self._keepalive_of(raw))
                else:
                    raise ServerError(f"{place(self._dsn)}: unknown replication message {raw[:1]!r}")
            elif size == 0:
                if consumed:
                    break
                self._consume()
                consumed = True
            else:
                self._raise_end()
        return items

    def _keepalive_of(self, raw: bytes) -> Keepalive:
        end, clock, wanted = _KEEPALIVE.unpack_from(raw, 1)
        if wanted:
            self._send_status()
        return Keepalive(Lsn(end), clock, bool(wanted))

    def _consume(self) -> None:
        try:
            self._pg.consume_input()
        except Error as e:
            raise self._gone(str(e)) from None

    def _wait(self, timeout: float) -> None:
        """Until the socket has something, `timeout` seconds at most, or a sign of life is due."""
        due = self._last_status + self._keepalive_seconds - time.monotonic()
        poll = select.poll()
        poll.register(self._pg.socket, select.POLLIN)
        poll.poll(max(0.0, min(timeout, due)) * 1000)

    def _ask_when_idle(self) -> None:
        now = time.monotonic()
        if now - self._last_asked >= _ASK_SECONDS:
            self._last_asked = now
            self._send_status(reply=True)

    # ---- sending ---------------------------------------------------------------------------------

    def _send_status(self, *, reply: bool = False) -> None:
        at = self._acknowledged
        clock = time.time_ns() // 1000 - _EPOCH_2000_US
        try:
            self._pg.put_copy_data(_STATUS.pack(b"r", at, at, at, clock, int(reply)))
            # A full socket buffer is not waited for: the next status carries the newer position anyway.
            self._pg.flush()
        except Error as e:
            raise self._gone(str(e)) from None
        self._last_status = time.monotonic()

    # ---- starting and ending ---------------------------------------------------------------------

    def _sender_timeout_seconds(self) -> float:
        result = self._pg.exec_(
            b"SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'"
        )
        value = result.get_value(0, 0) if result.status == pq.ExecStatus.TUPLES_OK else None
        if value is None:
            raise self._failure(result)
        milliseconds = int(value)
        return min(milliseconds / 1000 if milliseconds else 3600.0, 3 * _LONGEST_KEEPALIVE_SECONDS)

    def _refuse_missing(self, publication: str) -> None:
        """PostgreSQL 18 streams without a publication that is gone, and leaves its changes out (tried)."""
        result = self._pg.exec_(
            f"SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = {literal(publication)}".encode()
        )
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise self._failure(result)
        if result.ntuples == 0:
            raise NotReady(
                f"{place(self._dsn)}: the publication {publication} is gone",
                hint="changes since then may be missing in the fallback: `turnback fallback rebuild`",
            )

    def _start(self, slot: str, publication: str, start_lsn: Lsn) -> None:
        names = literal(identifier(publication))
        result = self._pg.exec_(
            f"START_REPLICATION SLOT {identifier(slot)} LOGICAL {lsn_text.text(start_lsn)} "
            f"(proto_version '1', publication_names {names}, messages 'true')".encode()
        )
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise self._failure(result)

    def _raise_end(self) -> None:
        """The server ended the stream: with an error that it says, or by going away."""
        try:
            result = self._pg.get_result()
        except Error as e:
            raise self._gone(str(e)) from None
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            raise self._failure(result)
        raise self._gone("the server ended the stream")

    def _failure(self, result: pq.abc.PGresult) -> ServerError | NotReady:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or self._pg.error_message
        text = scrub(primary.decode(errors="replace").strip(), self._dsn)
        where = place(self._dsn)
        if state in _IN_USE:
            return ServerGone(f"{where}: {text}", hint="an earlier capture is still connected; it goes soon")
        if (
            state in _MISSING or state == "55000"
        ):  # object_not_in_prerequisite_state: invalidated, or wal_level
            return WayBackLost(f"{where}: {text}", hint=REBUILD_HINT)
        if not state or state.startswith(("57P", "08")):
            return self._gone(text)
        if state == "54000" or "invalid memory alloc request size" in text:
            # Text of bytea has twice its size, and a message ends at 1 GB: the slot is stuck there for good.
            return WayBackLost(
                f"{where}: a row with a value of about 500 MB or more was written and cannot be sent: {text}",
                hint="make that value smaller in PostgreSQL, then run `turnback fallback rebuild`",
            )
        raised = errors.lookup(state).__name__ if state else ""
        return ServerError(f"{where}: slot {self._slot}: {text}", hint=f"SQLSTATE {state} {raised}".strip())

    def _gone(self, text: str) -> ServerGone:
        line = scrub(text.strip().splitlines()[0] if text.strip() else "the connection ended", self._dsn)
        return ServerGone(
            f"{place(self._dsn)}: the change stream ended: {line}", hint="turnback connects again"
        )


def _connect(dsn: str, application_name: str) -> pq.abc.PGconn:
    with translated(dsn):
        info = conninfo.make_conninfo(
            dsn,
            replication="database",
            application_name=application_name,
            options=options(),
            client_encoding="UTF8",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
    connection = pq.PGconn.connect(info.encode())
    if connection.status != pq.ConnStatus.OK:
        text = scrub(connection.error_message.decode(errors="replace").strip(), dsn)
        connection.finish()
        raise ServerGone(
            f"{place(dsn)}: PostgreSQL cannot be reached: {text.splitlines()[-1] if text else 'no answer'}",
            hint="check that it runs and that the address is right",
        )
    without_transaction_timeout(connection, dsn)
    return connection
