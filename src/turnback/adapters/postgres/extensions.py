"""Whether the extensions that the plan's types need can be had: tried, and undone (HAZARDS F31)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import psycopg

from turnback.adapters.postgres.connect import connect, translated
from turnback.core.findings import Finding
from turnback.core.sqltext import identifier

_THERE = """
SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname = %s
"""


def try_extensions(admin_dsn: str, names: Sequence[str], schema: str) -> tuple[Finding, ...]:
    """One finding for each that is in another schema, or that this role may not create.

    Raises ServerError.
    """
    found = []
    with closing(connect(admin_dsn, application_name="turnback assess")) as connection:
        for name in names:
            with translated(admin_dsn):
                row = connection.execute(_THERE.encode(), (name,)).fetchone()
                if row is not None and row[0] == schema:
                    continue
                if row is not None:
                    move = f"ALTER EXTENSION {identifier(name)} SET SCHEMA {identifier(schema)};"
                    found.append(
                        _finding(name, f"is in the schema {row[0]}, and the plan needs it in {schema}", move)
                    )
                    continue
                create = f"CREATE EXTENSION {identifier(name)} WITH SCHEMA {identifier(schema)};"
                try:
                    with connection.transaction(force_rollback=True):
                        connection.execute(create.encode())
                except (
                    psycopg.errors.InsufficientPrivilege,
                    psycopg.errors.UndefinedFile,
                    psycopg.errors.FeatureNotSupported,
                ) as e:
                    refusal = e.diag.message_primary or type(e).__name__
                    found.append(_finding(name, f"cannot be created: {refusal}", create))
    return tuple(found)


def _finding(name: str, problem: str, statement: str) -> Finding:
    return Finding(
        "rights.extension",
        "choice",
        f"PostgreSQL's extension {name} {problem}",
        settle=f"let somebody who may run: {statement}\nor choose another type for its columns",
    )
