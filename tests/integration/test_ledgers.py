"""Existing mode: migration ledgers are not carried, and those of both sides have to agree (HAZARDS F36)."""

from __future__ import annotations

from pathlib import Path

import pytest

from assessing import assess_file, make_file, run_statements
from conftest import Database
from turnback.app.assess import Assessment
from turnback.core.choices import Choices, TableChoice
from turnback.core.findings import Finding, blocking

TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY);"
TARGET = "CREATE TABLE public.t (id bigint PRIMARY KEY);"

# framework: (SQLite, PostgreSQL, two migrations as rows)
SHARED = {
    "Django": (
        "django_migrations (id INTEGER PRIMARY KEY, app TEXT, name TEXT, applied DATETIME)",
        "django_migrations (id bigint PRIMARY KEY, app text, name text, applied timestamptz)",
        ("(1, 'auth', '0001_initial', '2024-01-01 00:00:00')", "(2, 'auth', '0002_more', '2024-01-01 00:00:00')"),
    ),
    "Alembic": (
        "alembic_version (version_num VARCHAR(32) NOT NULL)",
        "alembic_version (version_num varchar(32) NOT NULL)",
        ("('975ea566c')", "('1975ea83')"),
    ),
    "Rails": (
        "schema_migrations (version VARCHAR NOT NULL PRIMARY KEY)",
        "schema_migrations (version varchar NOT NULL PRIMARY KEY)",
        ("('20240101000000')", "('20240202000000')"),
    ),
    "FluentMigrator": (
        '"VersionInfo" ("Version" INTEGER NOT NULL, "AppliedOn" DATETIME, "Description" TEXT)',
        '"VersionInfo" ("Version" bigint NOT NULL, "AppliedOn" timestamp, "Description" text)',
        ("(1, NULL, 'first')", "(2, NULL, NULL)"),
    ),
}  # fmt: skip


def both(
    tmp_path: Path, database: Database, sqlite: str, postgres: str, choices: Choices | None = None
) -> Assessment:
    run_statements(database.admin_dsn, [s for s in postgres.split(";") if s.strip()])
    path = make_file(tmp_path / "a.db", sqlite)
    return assess_file(path, choices, target_dsn=database.admin_dsn, existing=True)


def of_table(found: Assessment, table: str) -> list[Finding]:
    return [
        f for f in found.findings if f.table == table and f.code == "F36" and "left alone" not in f.message
    ]


def filled(made: str, rows: tuple[str, ...], schema: str = "") -> str:
    name = made.split(" (")[0]
    return f"CREATE TABLE {schema}{made};" + "".join(f"INSERT INTO {schema}{name} VALUES {r};" for r in rows)


@pytest.mark.parametrize("framework", SHARED)
@pytest.mark.hazard("F36", "carried", mode="existing")
def test_f36_ledgers_that_agree(tmp_path: Path, database: Database, framework: str) -> None:
    here, there, rows = SHARED[framework]
    found = both(
        tmp_path,
        database,
        TABLE + filled(here, rows),
        TARGET + filled(there, rows[::-1], "public."),
    )
    assert found.plan is not None
    assert [t.sqlite for t in found.plan.tables] == ["t"]
    (said,) = of_table(found, here.split(" (")[0].strip('"'))
    assert said.severity == "carries" and f"ledgers of {framework} agree (2 migrations)" in said.message


@pytest.mark.parametrize("framework", SHARED)
@pytest.mark.parametrize("behind", ["PostgreSQL", "SQLite"])
@pytest.mark.hazard("F36", "choice", mode="existing")
def test_f36_a_ledger_that_is_behind(tmp_path: Path, database: Database, framework: str, behind: str) -> None:
    here, there, rows = SHARED[framework]
    name = here.split(" (")[0].strip('"')
    sqlite = TABLE + filled(here, rows if behind == "PostgreSQL" else rows[:1])
    found = both(
        tmp_path,
        database,
        sqlite,
        TARGET + filled(there, rows[:1] if behind == "PostgreSQL" else rows, "public."),
    )
    (said,) = of_table(found, name)
    assert found.plan is None and said.severity == "choice"
    assert f"{behind} lacks" in said.message and said.count == 1 and len(said.keys) == 1
    assert f"on {behind}" in said.settle
    (tmp_path / "a.db").unlink()
    knowing = both(tmp_path, database, sqlite, "", Choices({name: TableChoice(exclude=True)}))
    assert blocking(knowing.findings) == ()


def test_no_ledger_on_the_other_side(tmp_path: Path, database: Database) -> None:
    here, _, rows = SHARED["Alembic"]
    found = both(tmp_path, database, TABLE + filled(here, rows), TARGET)
    (said,) = blocking(found.findings)
    assert said.table == "alembic_version" and "no migration ledger of Alembic" in said.message
    assert "alembic upgrade head" in said.settle


@pytest.mark.parametrize(
    ("tables", "framework"),
    [
        (["_prisma_migrations (id TEXT PRIMARY KEY, checksum TEXT)"], "Prisma"),
        (["__drizzle_migrations (id INTEGER PRIMARY KEY, hash TEXT)"], "Drizzle"),
        (
            ["applied_schema_deltas (version INTEGER, file TEXT)", "schema_version (version INTEGER)"],
            "Synapse",
        ),
        (["schema_migrations (version INTEGER, dirty INTEGER)"], "golang-migrate"),
    ],
)
@pytest.mark.hazard("F36", "carried", mode="existing")
def test_f36_where_each_engine_has_its_own_migrations_the_tables_are_compared(
    tmp_path: Path, database: Database, tables: list[str], framework: str
) -> None:
    found = both(tmp_path, database, TABLE + "".join(f"CREATE TABLE {t};" for t in tables), TARGET)
    assert blocking(found.findings) == () and found.plan is not None
    for made in tables:
        (said,) = of_table(found, made.split(" (")[0])
        assert framework in said.message and "PostgreSQL has none" in said.message
    assert {e.name for e in found.plan.excluded} == {t.split(" (")[0] for t in tables}


def test_a_table_of_that_name_that_is_no_ledger(tmp_path: Path, database: Database) -> None:
    """schema_version alone is nobody's: it is met like any other table."""
    found = both(
        tmp_path,
        database,
        "CREATE TABLE schema_version (version INTEGER PRIMARY KEY)",
        "CREATE TABLE public.schema_version (version bigint PRIMARY KEY)",
    )
    assert found.plan is not None and [t.sqlite for t in found.plan.tables] == ["schema_version"]


def test_in_create_mode_a_ledger_is_a_table(tmp_path: Path) -> None:
    here, _, rows = SHARED["Rails"]
    path = make_file(tmp_path / "a.db", TABLE + filled(here, rows))
    found = assess_file(path)
    assert found.plan is not None and {t.sqlite for t in found.plan.tables} == {"t", "schema_migrations"}
    assert not [f for f in found.findings if f.code == "F36"]
