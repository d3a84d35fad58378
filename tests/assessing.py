"""Assessing a SQLite file that a test describes in SQL."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from turnback.adapters.postgres.connect import connect
from turnback.adapters.postgres.introspect import read_schema as read_postgres
from turnback.adapters.postgres.value_trial import ServerTrial
from turnback.adapters.sqlite.census import Census
from turnback.adapters.sqlite.database import run_script
from turnback.adapters.sqlite.introspect import read_schema as read_sqlite
from turnback.app.assess import Assessment, assess
from turnback.core.choices import Choices
from turnback.core.findings import Finding


class NoProgress:
    def begin(self, what: str, total: int | None = None) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass

    def end(self) -> None:
        pass


def make_file(path: Path, sql: str) -> Path:
    with closing(apsw.Connection(str(path))) as connection:
        run_script(connection, sql)
    return path


def assess_file(
    path: Path,
    choices: Choices | None = None,
    *,
    target_dsn: str | None = None,
    existing: bool = False,
    server_trial: ServerTrial | None = None,
) -> Assessment:
    """As the command does it; `existing` maps to what the target's schema public holds."""
    target = None
    if target_dsn is not None:
        with closing(connect(target_dsn)) as connection:
            target = read_postgres(connection, "public")
    with Census(path) as census:
        return assess(
            read_sqlite(census.connection, path),
            census,
            choices or Choices(),
            mode="existing" if existing else "create",
            target=target,
            progress=NoProgress(),
            server_trial=server_trial,
        )


def run_statements(dsn: str, statements: list[str]) -> None:
    with closing(connect(dsn)) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def the_finding(found: Assessment, code: str) -> Finding:
    """The only finding of that code."""
    (finding,) = [f for f in found.findings if f.code == code]
    return finding


def column(found: Assessment, table: str, name: str) -> tuple[str, str]:
    """(PostgreSQL type, codec) in the draft of the plan."""
    (plan,) = [c for c in found.draft.table(table).columns if c.sqlite == name]
    return plan.pg_type, plan.codec
