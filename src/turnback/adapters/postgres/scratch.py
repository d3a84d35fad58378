"""A database that lives as long as one question: what does the application's own schema command make?"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import conninfo

from turnback.adapters.postgres.connect import connect, translated
from turnback.core.sqltext import identifier

PREFIX = "turnback_assess_"


@dataclass(frozen=True)
class Scratch:
    """The same server and roles, another database."""

    admin_dsn: str = field(repr=False)
    app_dsn: str = field(repr=False)


@contextmanager
def scratch_database(admin_dsn: str, app_dsn: str) -> Iterator[Scratch]:
    """Made for the application's role, dropped at the end. Raises ServerError without the right CREATEDB."""
    name = PREFIX + secrets.token_hex(4)
    role = conninfo.conninfo_to_dict(app_dsn).get("user")
    owner = f" OWNER {identifier(str(role))}" if role and app_dsn != admin_dsn else ""
    with translated(admin_dsn), connect(admin_dsn) as connection:
        connection.execute(f"CREATE DATABASE {identifier(name)}{owner} TEMPLATE template0".encode())
        try:
            yield Scratch(
                conninfo.make_conninfo(admin_dsn, dbname=name), conninfo.make_conninfo(app_dsn, dbname=name)
            )
        finally:
            connection.execute(f"DROP DATABASE {identifier(name)} WITH (FORCE)".encode())
