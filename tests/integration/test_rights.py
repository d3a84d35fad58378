"""Preflight: each right is tried, everything is said at once, nothing stays behind."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from conftest import FORGETFUL, SMALL, binaries
from turnback.adapters.postgres import rights
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.adapters.postgres.rights import try_rights
from turnback.core.findings import Finding, blocking


def codes(findings: tuple[Finding, ...]) -> set[str]:
    return {f.code for f in findings}


def objects(connection: psycopg.Connection) -> list[tuple]:
    """What try_rights could leave behind."""
    return connection.execute(
        "SELECT relname FROM pg_class WHERE relname LIKE 'turnback%' UNION ALL"
        " SELECT nspname FROM pg_namespace WHERE nspname LIKE 'turnback%' UNION ALL"
        " SELECT pubname FROM pg_publication UNION ALL"
        " SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'turnback_scratch%' UNION ALL"
        " SELECT proname FROM pg_proc WHERE proname LIKE 'turnback%'"
    ).fetchall()


@pytest.mark.parametrize("mode", ["create", "existing"])
def test_a_superuser_with_logical_decoding_has_all_rights(database, mode) -> None:
    database.connect(app=True).execute("CREATE TABLE t (id int PRIMARY KEY)")
    found = try_rights(database.admin_dsn, database.app_dsn, "public", mode)
    assert blocking(found) == ()
    assert objects(database.connect()) == []


def test_a_plain_role_gets_every_finding_at_once_with_what_to_grant(database) -> None:
    admin = database.connect()
    admin.execute("CREATE TABLE theirs (id int)")
    found = try_rights(database.app_dsn, None, "public", "existing")
    by_code = {f.code: f for f in blocking(found)}
    # the app role owns its database, so it may make schemas and publications, but neither replicate nor
    # alter what another role owns
    assert set(by_code) == {"rights.owner", "rights.replication", "rights.slot"}
    assert by_code["rights.owner"].keys == ("theirs",)
    assert by_code["rights.owner"].settle == 'GRANT "turnback" TO "app";'
    assert "REPLICATION" in by_code["rights.replication"].settle
    assert objects(admin) == []


def test_what_settle_says_settles_it(database) -> None:
    """A role with nothing: its findings' statements are run as they stand, and the next try is clean."""
    admin = database.connect()
    admin.execute("CREATE SCHEMA shop")
    role = f"bare_{database.name}"
    admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret-of-bare'")
    try:
        dsn = psycopg.conninfo.make_conninfo(database.admin_dsn, user=role, password="secret-of-bare")
        found = try_rights(dsn, database.app_dsn, "shop", "create")
        assert {"rights.schema", "rights.create", "rights.replication", "rights.slot"} <= codes(found)
        assert all(f.settle for f in found)
        assert not any("secret-of-bare" in f"{f.message}{f.settle}" for f in found)
        for _ in range(2):  # what could not be tried before is tried now, and may say more
            for finding in blocking(found):
                for statement in finding.settle.split(";"):
                    if statement.strip().startswith(("GRANT", "ALTER ROLE")):
                        admin.execute(statement)
            found = try_rights(dsn, database.app_dsn, "shop", "create")
        assert blocking(found) == ()
    finally:
        admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_server_that_cannot_be_reached_is_one_finding_without_its_password() -> None:
    found = try_rights(
        "postgresql://u:hush-hush@127.0.0.1:1/x", "postgresql://u:hush-hush@127.0.0.1:1/x", "public", "create"
    )
    assert codes(found) == {"rights.connect"}
    assert "hush-hush" not in str(found)


def test_a_wrong_password_and_a_missing_database_are_findings(database) -> None:
    wrong = psycopg.conninfo.make_conninfo(database.admin_dsn, password="no")
    assert codes(try_rights(wrong, None, "public", "create")) == {"rights.connect"}
    missing = psycopg.conninfo.make_conninfo(database.admin_dsn, dbname="nowhere")
    assert "nowhere" in try_rights(missing, None, "public", "create")[0].message
    found = try_rights(
        database.admin_dsn,
        psycopg.conninfo.make_conninfo(database.app_dsn, password="no"),
        "public",
        "create",
    )
    assert codes(blocking(found)) == {"rights.application"}


@pytest.mark.parametrize(
    "dsn", ["postgresql://u@ep-x-pooler.eu.neon.tech/db", "postgresql://u@db.example.org:6543/db"]
)
def test_a_pooler_is_refused_by_name_before_it_is_connected_to(dsn) -> None:
    found = try_rights(dsn, None, "public", "create")
    assert codes(found) == {"rights.pooler"} and "admin_url" in found[0].settle


def test_a_missing_schema_says_what_to_run(database) -> None:
    found = try_rights(database.admin_dsn, None, "nowhere", "create")
    assert [f.settle for f in blocking(found)] == ['CREATE SCHEMA "nowhere";']


def test_a_transaction_that_the_slot_waits_for_is_named(database, monkeypatch) -> None:
    monkeypatch.setattr(rights, "SLOT_SECONDS", 1)
    with closing(psycopg.connect(database.admin_dsn, application_name="nightly report")) as other:
        other.execute("CREATE TABLE t ()")  # it has a transaction id now
        found = {f.code: f for f in try_rights(database.admin_dsn, None, "public", "existing")}
    assert "nightly report" in found["rights.slot_waits"].message
    assert "idle in transaction" in found["rights.slot_waits"].message
    assert objects(database.connect()) == []


def test_what_postgres_itself_may_lose_is_said(database) -> None:
    app = database.connect(app=True)
    app.execute("CREATE UNLOGGED TABLE cache (x int)")
    database.connect().execute(f"ALTER ROLE app IN DATABASE {database.name} SET synchronous_commit = off")
    found = {f.code: f for f in try_rights(database.admin_dsn, database.app_dsn, "public", "existing")}
    assert found["rights.unlogged"].table == "cache"
    assert "rights.synchronous_commit" in found
    assert "rights.fsync" in found  # the test server runs without it
    assert all(found[c].severity == "carries" for c in ("rights.unlogged", "rights.synchronous_commit"))


def test_a_server_without_logical_decoding_and_with_a_prepared_transaction(tmp_path) -> None:
    running = EmbeddedPostgres(
        tmp_path / "replica",
        binaries=binaries(),
        settings=SMALL
        | FORGETFUL
        | {
            "wal_level": "replica",
            "max_prepared_transactions": "2",
            "max_slot_wal_keep_size": "-1",
        },
    )
    running.ensure_running()
    try:
        with closing(psycopg.connect(running.admin_dsn(), autocommit=True)) as admin:
            admin.execute("BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'left open'")
            found = {
                f.code: f for f in try_rights(running.admin_dsn(), running.app_dsn(), "public", "create")
            }
            assert {c for c, f in found.items() if f.severity != "carries"} == {
                "rights.wal_level",
                "rights.prepared",
            }
            assert found["rights.wal_retention"].severity == "carries"
            assert "left open" in found["rights.prepared"].message
            admin.execute("ROLLBACK PREPARED 'left open'")
    finally:
        running.remove()
