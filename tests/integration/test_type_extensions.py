"""Types that an extension of PostgreSQL brings: whether it can be had is known before migrate (HAZARDS F31)."""

from __future__ import annotations

import secrets

import pytest
from psycopg import conninfo

from trips import findings, same
from trips import trip as trip

NAMES = "CREATE TABLE t (id INTEGER PRIMARY KEY, c TEXT COLLATE NOCASE UNIQUE); INSERT INTO t VALUES (1, 'Ada')"
CITEXT = '[tables.t.columns.c]\npg_type = "citext"'


@pytest.mark.hazard("F31", "choice", mode="create")
def test_f31_an_extension_in_another_schema_is_said(trip) -> None:
    moved = trip(NAMES, settle=CITEXT)
    with moved.database.connect() as admin:
        admin.execute("CREATE SCHEMA elsewhere")
        admin.execute("CREATE EXTENSION citext WITH SCHEMA elsewhere")
        found = moved.assess()
        (finding,) = findings(found, "rights.extension")
        assert found.plan is None and "is in the schema elsewhere" in finding.message
        statement = finding.settle.splitlines()[0].removeprefix("let somebody who may run: ")
        admin.execute(statement.encode())
    moved.there()
    moved.write_every_row_anew()
    moved.back()
    same(moved.before, moved.image())


@pytest.mark.hazard("F31", "choice", mode="create")
def test_f31_the_right_to_create_the_extension_is_tried(trip, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = trip(NAMES, settle=CITEXT)
    role, word = f"mover_{moved.database.name}", secrets.token_hex(8)
    with moved.database.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{word}' IN ROLE app".encode())
        admin.execute(f"REVOKE CREATE ON DATABASE {moved.database.name} FROM PUBLIC, app".encode())
        try:
            own = conninfo.make_conninfo(moved.database.app_dsn, user=role, password=word)
            monkeypatch.setenv("ADMIN_URL", own)
            (finding,) = findings(moved.assess(), "rights.extension")
            assert "cannot be created" in finding.message and finding.severity == "choice"
            assert admin.execute("SELECT count(*) FROM pg_extension WHERE extname = 'citext'").fetchone() == (0,)
        finally:
            moved.close()
            admin.execute(f"DROP OWNED BY {role}".encode())
            admin.execute(f"DROP ROLE {role}".encode())
