"""The certificate: written where something is proven, true to what was seen, and sealed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from bench_app import Bench
from conftest import Database
from mutants import Place
from mutants.move import Move
from turnback.app import certify, recheck, steps_rollback
from turnback.core.certificate import seal_holds
from turnback.core.codecs.text import Text
from turnback.core.phases import Intent
from turnback.entrypoints import verifying
from turnback.errors import ServerGone
from two_sides import Silent


@pytest.fixture
def move(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Move]:
    with Move(Place(tmp_path, database, monkeypatch)) as made:
        yield made


def newest(move: Move, what: str) -> dict[str, Any]:
    paths = sorted(move.setup.certificates_folder.glob(f"*-{what}*.json"), key=lambda p: p.stat().st_mtime_ns)
    document = json.loads(paths[-1].read_text())
    assert isinstance(document, dict) and seal_holds(document)
    assert paths[-1].stat().st_mode & 0o777 == paths[-1].with_suffix(".html").stat().st_mode & 0o777 == 0o600
    return document


def table(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [t for t in document["tables"] if t["table"] == name]
    assert isinstance(found, dict)
    return found


def original(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [t for t in document["original"]["tables"] if t["table"] == name]
    assert isinstance(found, dict)
    return found


def test_a_round_trip_without_writes_comes_back_value_for_value(move: Move) -> None:
    move.to_postgres()
    assert move.attempt(Intent.ROLLBACK) is None
    loaded, back = newest(move, "migrate"), newest(move, "rollback")
    assert loaded["verdict"] == back["verdict"] == "equal"
    assert back["original"]["made"] and back["original"]["equal"]
    assert original(back, "person")["rows_original"] == original(back, "person")["rows_now"] == 20
    for name in ("team", "person"):
        here = table(back, name)
        assert here["equal"] and here["digest_sqlite"] == here["digest_postgres"]
        assert here["digest_sqlite"] == table(loaded, name)["digest_sqlite"], (
            "comparable between certificates"
        )
    classes = {c["column"]: c["sqlite_classes"] for c in table(back, "person")["columns"]}
    assert classes["score"] == {"null": 0, "integer": 0, "real": 20, "text": 0, "blob": 0}
    assert classes["picture"]["blob"] == 20 and classes["active"]["integer"] == 20
    assert all(c["sqlite_classes"] == c["postgres_classes"] for c in table(back, "person")["columns"])
    assert back["checks"] == {certify.FILE_CHECKS: "ok"}
    assert (
        back["postgres"]["state"] == "fenced"
        and back["postgres"]["lsn"]
        and back["postgres"]["system_identifier"]
    )
    assert back["plan"] == move.plan.digest()
    assert back["sequences"]["person"] == {"postgres": 20, "sqlite": 20}
    assert move.last_run().done["watch_after"]["certificate"].endswith("-rollback.json")
    password = move.setup.urls.app_dsn
    assert password not in json.dumps(back) and "password" not in json.dumps(back)


def test_after_writes_it_counts_what_the_stay_on_postgresql_changed(move: Move) -> None:
    move.to_postgres()
    session = move.admin()
    session.execute("UPDATE person SET name = 'new name' WHERE id IN (3, 4)")
    session.execute("DELETE FROM person WHERE id = 5")
    session.execute(
        "INSERT INTO person (id, team_id, name) VALUES (101, 1, 'a'), (102, 1, 'b'), (103, 2, 'c')"
    )
    assert move.attempt(Intent.ROLLBACK) is None
    document = newest(move, "rollback")
    assert document["verdict"] == "equal", "PostgreSQL and the new file are the same"
    assert document["original"]["equal"] is False
    person = original(document, "person")
    assert (person["changed"], person["new"], person["gone"], person["counted_all"]) == (2, 3, 1, True)
    assert original(document, "team")["equal"] is True


def test_changed_rows_are_a_lower_bound_when_they_are_too_many_to_hold(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certify, "MAX_HELD_ROWS", 8)
    monkeypatch.setattr(certify, "LEAST_ROWS_PER_CHUNK", 2)
    move.to_postgres()
    move.admin().execute("UPDATE person SET name = 'new name'")
    assert move.attempt(Intent.ROLLBACK) is None
    person = original(newest(move, "rollback"), "person")
    assert 0 < person["changed"] < 20 and person["counted_all"] is False


def test_a_file_without_wal_is_compared_by_a_copy_of_the_switch_s_state(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Move(Place(tmp_path, database, monkeypatch), journal_mode="delete") as move:
        move.to_postgres()
        move.admin().execute("UPDATE person SET name = 'new name' WHERE id = 7")
        assert move.attempt(Intent.ROLLBACK) is None
        document = newest(move, "rollback")
        assert document["verdict"] == "equal" and table(document, "person")["equal"] is True
        assert original(document, "person")["changed"] == 1
        assert not list(tmp_path.rglob("*-held*"))


def test_where_the_state_of_the_switch_cannot_be_held_it_does_not_say_equal(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_rollback, "HELD_COPY_BYTES", 100)
    with Move(Place(tmp_path, database, monkeypatch), journal_mode="delete") as move:
        move.to_postgres()
        assert move.attempt(Intent.ROLLBACK) is None
        document = newest(move, "rollback")
        assert (document["verdict"], document["equal"]) == ("not compared", False)
        assert document["original"]["made"] is False and document["tables"] == []
        assert "not held" in document["reason"]
        page = next(move.setup.certificates_folder.glob("*-rollback.html")).read_text()
        assert "Not compared" in page and ">Equal<" not in page


def test_a_fallback_that_differs_gets_a_certificate_that_says_so(move: Move) -> None:
    move.to_postgres()
    move.in_fallback("UPDATE person SET name = 'sabotage' WHERE id = 7")
    result = verifying.verify(move.setup, Silent(), "me@here")
    document = newest(move, "verify")
    assert not result.equal and document["verdict"] == "different" and document["by"] == "me@here"
    assert table(document, "person")["equal"] is False and table(document, "team")["equal"] is True
    (difference,) = document["differences"]
    assert (difference["table"], difference["key"], difference["columns"]) == ("person", ["7"], ["name"])


def test_a_foreign_key_that_breaks_is_no_equal_certificate_though_the_rows_are(move: Move) -> None:
    """Both sides have the orphan: PostgreSQL's constraint is off."""
    move.to_migrated()
    session = move.admin()
    session.execute("SET session_replication_role = replica")
    session.execute("UPDATE person SET team_id = 99 WHERE id = 1")
    with closing(apsw.Connection(os.fspath(move.path))) as file:
        file.execute("UPDATE person SET team_id = 99 WHERE id = 1")
    result = verifying.verify(move.setup, Silent(), "me")
    assert result.comparison.equal and not result.equal
    assert "refers to no row" in result.headline()


def test_a_value_of_another_class_is_no_equal_certificate(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal in PostgreSQL's terms, but what PostgreSQL's text means in SQLite is another value."""
    move.to_postgres()
    assert verifying.verify(move.setup, Silent(), "me").equal
    monkeypatch.setattr(Text, "decode", lambda self, t: t.replace("name 7", "Name 7"))
    result = verifying.verify(move.setup, Silent(), "me")
    assert not result.equal and table(newest(move, "verify"), "person")["digests_equal"] is False


def test_a_rollback_names_values_that_are_equal_in_postgresql_terms_alone(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison at the end of a rollback is in PostgreSQL's terms; the certificate is stricter."""
    move.to_postgres()
    move.at(
        "rollback.watch_after:before", lambda: monkeypatch.setattr(Text, "decode", lambda self, t: t + "!")
    )
    assert move.attempt(Intent.ROLLBACK) is None
    document = newest(move, "rollback")
    assert document["verdict"] == "different" and "person" in document["reason"]


# ---- the command -------------------------------------------------------------------------------------------------


def test_the_command_names_the_certificate_and_its_seal_tells_of_every_change(
    tmp_path: Path, database: Database
) -> None:
    bench = Bench(
        tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}", rows=10
    )
    bench.ok("assess")
    migrated = bench.ok("migrate")
    assert migrated["proof"]["certificate"].endswith("-migrate.json")
    verified = bench.ok("verify", "--full")
    path = Path(verified["certificate"])
    assert verified["verdict"] == "equal" and path.parent == bench.state / "certificates"
    assert bench.ok("verify", "--certificate", str(path))["seal"] == "holds"
    shown = bench.turnback("verify", "--certificate", str(path))
    assert (
        shown.returncode == 0
        and "the seal holds" in shown.stdout
        and "12 rows in 2 tables are equal" in shown.stdout
    )

    document = json.loads(path.read_text())
    forged = tmp_path / "forged.json"
    for change in (
        lambda d: d.update(verdict="different"),
        lambda d: d["tables"][0].update(rows_sqlite=0),
        lambda d: d["tables"][1]["columns"][0]["sqlite_classes"].update(null=1),
        lambda d: d.pop("seal"),
        lambda d: d.update(more=1),
    ):
        copy = json.loads(json.dumps(document))
        change(copy)
        forged.write_text(json.dumps(copy))
        assert "seal is broken" in bench.refused("verify", "--certificate", str(forged), status=1)
    forged.write_text("{}")
    assert "not a certificate" in bench.refused("verify", "--certificate", str(forged), status=2)
    assert "not JSON" in bench.refused("verify", "--certificate", str(bench.path), status=2)
    assert "No such file" in bench.refused("verify", "--certificate", "nowhere.json", status=2)
    assert "three different things" in bench.refused("verify", "--full", "--sample", "5", status=2)

    with closing(apsw.Connection(os.fspath(bench.path))) as file:
        file.execute("UPDATE team SET name = 'green' WHERE id = 1")
    done = bench.turnback("verify", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["verdict"] == "different"


# ---- every kind of table --------------------------------------------------------------------------------------------

UPPER = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
KINDS = [
    "CREATE TABLE named (u TEXT, n INTEGER PRIMARY KEY)",
    f"INSERT INTO named VALUES ('{UPPER}', 1), ('{UPPER[:-1].lower()}2', 2)",
    "CREATE TABLE clustered (a TEXT, b INTEGER, c REAL, PRIMARY KEY (a, b)) WITHOUT ROWID",
    "INSERT INTO clustered VALUES ('x', 1, 0.5), ('x', 2, NULL), ('Ä', 1, -0.0)",
    "CREATE TABLE loose (a TEXT, b BLOB)",
    "INSERT INTO loose VALUES ('same', x'00'), ('same', x'00'), (NULL, NULL)",
]  # fmt: skip
CHOICES = """
[tables.named.columns.u]
codec = "uuid_text"
respell = true

[tables.loose]
replica_identity = "full"
"""


def test_every_kind_of_table_is_compared_with_the_original_and_respelled_columns_are_named(
    tmp_path: Path, database: Database
) -> None:
    bench = Bench(
        tmp_path / "a",
        database.app_dsn,
        database.admin_dsn,
        slot=f"turnback_{database.name}",
        rows=3,
        extra=CHOICES,
    )
    with closing(apsw.Connection(os.fspath(bench.path))) as file:
        for statement in KINDS:
            file.execute(statement).fetchall()
    try:
        for words in (["assess"], ["migrate"], ["cutover", "--yes"]):
            bench.ok(*words)
        verified = json.loads(Path(bench.ok("verify")["certificate"]).read_text())
        assert verified["canonical_columns"] == ["named.u"] and table(verified, "named")["equal"]
        with database.connect(app=True) as session:
            session.execute("UPDATE named SET u = 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' WHERE n = 2")
            session.execute("UPDATE clustered SET c = 1 WHERE b = 2")
            session.execute("INSERT INTO clustered VALUES ('new', 1, 1)")
            session.execute("DELETE FROM loose WHERE a IS NULL")
            session.execute("INSERT INTO loose VALUES ('same', '\\x00')")
        rolled = bench.ok("rollback", "--yes")
        document = json.loads(Path(rolled["certificate"]).read_text())
    finally:
        bench.stop_guard()
    assert document["verdict"] == "equal"
    counted = {
        t["table"]: (t["changed"], t["new"], t["gone"])
        for t in document["original"]["tables"]
        if not t["equal"]
    }
    assert counted == {"named": (1, 0, 0), "clustered": (1, 1, 0), "loose": (0, 1, 1)}
    with closing(apsw.Connection(os.fspath(bench.path))) as file:
        assert file.execute("SELECT u FROM named WHERE n = 1").fetchall() == [(UPPER,)], "law 2"


def test_under_load_rows_that_were_being_written_are_looked_at_again_and_said(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look sees another value on one side; the second does not."""
    move.to_postgres()
    move.in_fallback("UPDATE person SET name = 'not yet' WHERE id = 9")
    original_look = recheck.compare_keys

    def arrives(*arguments: Any, **options: Any) -> Any:
        move.in_fallback("UPDATE person SET name = 'name 8' WHERE id = 9")
        monkeypatch.setattr(recheck, "compare_keys", original_look)
        return ()

    monkeypatch.setattr(recheck, "compare_keys", arrives)
    result = verifying.verify(move.setup, Silent(), "me")
    person = table(newest(move, "verify"), "person")
    assert result.equal and person["equal"] and person["looked_at_again"] == 1
    assert person["digests_equal"] is False, "of the first look, and not hidden"
    page = next(move.setup.certificates_folder.glob("*-verify.html")).read_text()
    assert "1 rows were being written and were looked at again" in page


def test_a_rollback_without_the_server_certifies_nothing(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    move.to_postgres()
    monkeypatch.setattr(type(move.world.postgres), "fence", lambda self, plan: GoneFence())
    move.engine.execute(Intent.ROLLBACK, {"plan": move.setup.record_plan(move.plan), "accept_loss": True})
    document = newest(move, "rollback")
    assert document["verdict"] == "not compared" and document["postgres"]["state"] == "unreachable"


class GoneFence:
    """A server that answers nobody."""

    untried = None

    def open_canary(self) -> None:
        pass

    def raise_(self) -> None:
        raise ServerGone("PostgreSQL cannot be reached")

    def close(self) -> None:
        pass


@pytest.mark.hazard("F32", "carried", mode="create")
def test_f32_what_both_sides_compute_is_in_the_certificate_in_every_phase(
    tmp_path: Path, database: Database
) -> None:
    bench = Bench(
        tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}", rows=3
    )
    with closing(apsw.Connection(os.fspath(bench.path))) as file:
        file.execute(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, n INTEGER, twice INTEGER AS (n + n) STORED)"
        ).fetchall()
        file.execute("INSERT INTO item (id, n) VALUES (1, 5), (2, NULL), (3, -7)").fetchall()
        file.execute("CREATE VIEW items AS SELECT id, n FROM item").fetchall()
    try:
        bench.ok("assess")
        paths = [bench.ok("migrate")["proof"]["certificate"], bench.ok("verify")["certificate"]]
        bench.ok("cutover", "--yes")
        with database.connect(app=True) as session:
            session.execute("UPDATE item SET n = 100 WHERE id = 3")
        paths.append(bench.ok("verify")["certificate"])
    finally:
        bench.stop_guard()
    for path in paths:
        document = json.loads(Path(path).read_text())
        computed = {g["table"]: (g["columns"], g["rows"], g["equal"]) for g in document["generated"]}
        assert computed["item"] == (["twice"], 3, True), path
        assert computed["items"][1:] == (3, True), path
        assert document["verdict"] == "equal"
