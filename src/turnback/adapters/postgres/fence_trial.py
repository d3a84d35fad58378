"""Whether a fence holds: writes are tried that would change no row, and must be refused all the same."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from turnback.adapters.postgres.connect import Connection, translated
from turnback.core.sqltext import identifier, qualified

FENCE_SQLSTATE = "TBF01"
APPLICATION_TIMEOUT_SECONDS = 3  # it stands in the way of a rollback


@dataclass(frozen=True, slots=True)
class FencedTable:
    """A table of the plan's, or a partition or an inheriting table below it."""

    oid: int
    schema: str
    name: str
    fenced: bool
    column: str | None  # one that can be set: not generated, not identity ALWAYS

    @property
    def sql(self) -> str:
        return qualified(self.schema, self.name)


def application_session(dsn: str) -> Connection:
    """A session as the application has it: no pinned settings, which a pooler would refuse."""
    with translated(dsn):
        return psycopg.connect(
            dsn,
            autocommit=True,
            application_name="turnback canary",
            connect_timeout=APPLICATION_TIMEOUT_SECONDS,
            prepare_threshold=None,
        )


def application_writes(session: Connection, tables: list[FencedTable], who: str) -> list[str]:
    return [
        f"{what} by the application in {who}"
        for table in tables
        for what in accepted(session, table, rights_may_lack=True)
    ]


def accepted(session: Connection, table: FencedTable, *, rights_may_lack: bool) -> list[str]:
    """What the table did not refuse as a fenced one. The statements change no row where it accepts them.

    A database that is read-only by default refuses too, and proves nothing: any session can switch that off.
    """
    statements = [f"DELETE FROM {table.sql} WHERE false"]
    if table.column is not None:
        column = identifier(table.column)
        statements += [
            f"UPDATE {table.sql} SET {column} = {column} WHERE false",
            f"INSERT INTO {table.sql} ({column}) SELECT {column} FROM {table.sql} WHERE false",
        ]
    wrong = []
    for statement in statements:
        what = f"{statement.split(' ', 1)[0]} on table {table.name}"
        try:
            session.execute(b"BEGIN READ WRITE; " + statement.encode())
        except psycopg.errors.InsufficientPrivilege as e:
            if not rights_may_lack:
                wrong.append(f"{what} refused for another reason: {e.diag.message_primary}")
        except psycopg.Error as e:
            if session.closed:
                raise
            if e.sqlstate != FENCE_SQLSTATE:
                wrong.append(f"{what} refused for another reason: {e.diag.message_primary}")
        else:
            wrong.append(f"{what} was accepted")
        finally:
            if not session.closed:
                session.execute(b"ROLLBACK")
    return wrong
