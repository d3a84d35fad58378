"""Sessions with PostgreSQL: pinned settings, one translation of errors, no password in any message.

The settings are those of REPLICATION: a database's own settings must not change the text that arrives, a
row-level security policy must not hide rows, and no timeout of the role may end a long copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import conninfo, pq

from turnback.errors import DiskFull, ServerError, ServerGone, TurnbackError

Connection = psycopg.Connection[tuple[object, ...]]

PINNED = {
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "timezone": "UTC",
    "standard_conforming_strings": "on",
    "row_security": "off",
    "default_transaction_read_only": "off",  # also of a database that somebody made read-only
    "search_path": "",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    "synchronous_commit": "on",
}

CONNECT_TIMEOUT_SECONDS = 10
MINIMUM_VERSION = 140000
_TRANSACTION_TIMEOUT_SINCE = 170000

_POOLER = re.compile(r"(-pooler\.|\.pooler\.|\.proxy-[a-z0-9]+\.)")


def options(extra: dict[str, str] | None = None) -> str:
    """libpq's `options`: the pinned settings as -c arguments."""
    settings = PINNED | (extra or {})
    return " ".join(
        f"-c {name}={value.replace(chr(92), chr(92) * 2).replace(' ', chr(92) + ' ')}"
        for name, value in settings.items()
    )


def connect(
    dsn: str,
    *,
    application_name: str = "turnback",
    autocommit: bool = True,
    settings: dict[str, str] | None = None,
) -> Connection:
    """A session with the pinned settings. `settings` are added to them.

    Raises ServerError: unreachable, refused, older than PostgreSQL 14.
    """
    with translated(dsn):
        connection = psycopg.connect(
            dsn,
            autocommit=autocommit,
            application_name=application_name,
            options=options(settings),
            client_encoding="UTF8",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            prepare_threshold=None,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
    if connection.info.server_version < MINIMUM_VERSION:
        version = connection.info.server_version // 10000
        connection.close()
        raise ServerError(f"PostgreSQL {version} is too old", hint="turnback needs PostgreSQL 14 or newer")
    without_transaction_timeout(connection.pgconn, dsn)
    return connection


def without_transaction_timeout(session: pq.abc.PGconn, dsn: str) -> None:
    """Pins transaction_timeout, too. A server that does not know it refuses it as a startup option.

    It ends a walsender that sends a long transaction, and a session that holds a snapshot, as any other.
    """
    if session.server_version < _TRANSACTION_TIMEOUT_SINCE:
        return
    result = session.exec_(b"SET transaction_timeout = 0")
    if result.status != pq.ExecStatus.COMMAND_OK:
        text = scrub(session.error_message.decode(errors="replace").strip(), dsn)
        session.finish()
        raise ServerGone(
            f"{place(dsn)}: PostgreSQL cannot be reached: {text.splitlines()[0] if text else 'no answer'}",
            hint="check that it runs and that the address is right",
        )


def refuse_pooler(dsn: str) -> None:
    """Raises ServerError where the DSN names a pooler: replication and session settings do not pass one."""
    parts = conninfo.conninfo_to_dict(dsn)
    host, port = str(parts.get("host") or ""), str(parts.get("port") or "")
    if _POOLER.search(host) or port == "6543":
        raise ServerError(
            f"{place(dsn)} is a connection pooler",
            hint="set [postgres] admin_url to the server's direct address",
        )


def place(dsn: str) -> str:
    """Where the DSN points to, for messages: host, port and database; never user or password."""
    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        return "the DSN"
    host = parts.get("host") or parts.get("hostaddr") or "local socket"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


@contextmanager
def translated(dsn: str) -> Iterator[None]:
    """psycopg's errors as turnback's, without any secret of the DSN."""
    try:
        yield
    except psycopg.Error as e:
        raise translate(e, dsn) from None  # the library's own text may quote the DSN


def translate(error: psycopg.Error, dsn: str) -> TurnbackError:
    """The turnback error for one of psycopg's."""
    state = error.sqlstate or ""
    text = scrub(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__, dsn)
    where = place(dsn)
    if state == "53100":
        return DiskFull(
            f"{where}: no room on the server: {text}", hint="make room, then run `turnback resume`"
        )
    if state in ("28P01", "28000") or "authentication failed" in text:
        return ServerError(
            f"{where}: the server refused user or password", hint="check [postgres] url and admin_url"
        )
    if state == "3D000" or re.search(r'database ".*" does not exist', text):
        return ServerError(
            f"{where}: no such database", hint="create it, or check [postgres] url and admin_url"
        )
    if state == "42501":
        return ServerError(
            f"{where}: {text}", hint="`turnback assess` tries every right and names what to grant"
        )
    if state.startswith(("57P", "08")) or (isinstance(error, psycopg.OperationalError) and not state):
        return ServerGone(
            f"{where}: PostgreSQL cannot be reached: {text}",
            hint="check that it runs and that the address is right",
        )
    return ServerError(f"{where}: {text}", hint=f"SQLSTATE {state}" if state else "")


def scrub(text: str, dsn: str) -> str:
    """The text without the DSN's password, should a library quote it."""
    try:
        password = conninfo.conninfo_to_dict(dsn).get("password")
    except psycopg.Error:
        return text.replace(dsn, "the DSN")
    return text.replace(str(password), "***") if password else text
