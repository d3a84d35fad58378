"""Virtual tables on the way back: with triggers off nothing keeps them current (HAZARDS F33, R17)."""

from __future__ import annotations

import os
import tomllib
from contextlib import closing

import apsw
import pytest

import trips
from turnback.adapters.sqlite import side
from turnback.core.phases import Phase
from turnback.errors import ProofFailed

trip = trips.trip

NOTES = """
CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL, body TEXT);
CREATE VIRTUAL TABLE found USING fts5 (title, body, content = 'note', content_rowid = 'id');
CREATE TRIGGER note_new AFTER INSERT ON note BEGIN
  INSERT INTO found (rowid, title, body) VALUES (new.id, new.title, new.body); END;
CREATE TRIGGER note_gone AFTER DELETE ON note BEGIN
  INSERT INTO found (found, rowid, title, body) VALUES ('delete', old.id, old.title, old.body); END;
INSERT INTO note VALUES (1, 'first', 'written on sqlite'), (2, 'second', 'also there');
"""
LEAVE = '[sqlite]\nleave_behind = ["note_new", "note_gone"]'

PLACES = """
CREATE TABLE place (id INTEGER PRIMARY KEY, name TEXT, x0 REAL, x1 REAL, hidden INTEGER NOT NULL DEFAULT 0);
CREATE VIRTUAL TABLE area USING rtree (id, x0, x1);
CREATE TRIGGER place_new AFTER INSERT ON place WHEN new.hidden = 0 BEGIN
  INSERT INTO area (id, x0, x1) VALUES (new.id, new.x0, new.x1); END;
INSERT INTO place VALUES (1, 'a', 0, 1, 0), (2, 'b', 5, 9, 0), (3, 'c', 2, 3, 1);
"""


def match(t, word: str) -> list[int]:
    return [r[0] for r in t.in_sqlite(f"SELECT rowid FROM found WHERE found MATCH '{word}' ORDER BY 1")]


def messages(found, code: str) -> list[str]:
    return [f"{f.severity}: {f.message}" for f in found.findings if f.code == code]


@pytest.mark.hazard("R17", "carried", mode="create")
@pytest.mark.hazard("F33", "carried", mode="create")
def test_r17_a_row_written_on_postgresql_is_found_by_match_after_the_way_back(trip) -> None:
    t = trip(NOTES, settle=LEAVE)
    t.there()
    t.write("INSERT INTO note VALUES (3, 'third', 'written on postgresql')", "DELETE FROM note WHERE id = 2")
    t.back()
    assert t.phase is Phase.ON_SQLITE
    assert match(t, "postgresql") == [3] and match(t, "second") == [] and match(t, "sqlite") == [1]
    with closing(apsw.Connection(os.fspath(t.path))) as file:
        file.execute("INSERT INTO found (found, rank) VALUES ('integrity-check', 1)")
        # its triggers are there again, and keep it current from here
        file.execute("INSERT INTO note VALUES (9, 'ninth', 'after the way back')")
    assert match(t, "ninth") == [9]
    promoted = t.setup.state().runs[-1].done["promote_fallback"]
    assert promoted["rebuilt_seconds"]["found"] >= 0


@pytest.mark.hazard("R17", "carried", mode="existing")
@pytest.mark.hazard("F33", "carried", mode="existing")
def test_r17_f33_the_same_with_the_applications_own_schema(trip) -> None:
    t = trip(NOTES, postgres="CREATE TABLE note (id bigint PRIMARY KEY, title text NOT NULL, body text)")
    t.there()
    t.write("INSERT INTO note VALUES (3, 'third', 'written on postgresql')")
    t.back()
    assert match(t, "postgresql") == [3]


def test_r17_without_the_rebuild_the_new_row_is_not_found(trip, monkeypatch) -> None:
    """The mutation: what the two tests above rest on."""
    t = trip(NOTES, settle=LEAVE)
    t.there()
    t.write("INSERT INTO note VALUES (3, 'third', 'written on postgresql')")
    monkeypatch.setattr(side, "rebuild_virtual", lambda *_, **__: {})
    t.back()
    assert t.in_sqlite("SELECT count(*) FROM note") == [(3,)] and match(t, "postgresql") == []
    assert t.in_sqlite("PRAGMA integrity_check") == [("ok",)]


def test_r17_a_rebuild_that_fails_stops_before_the_switch(trip) -> None:
    t = trip(NOTES, settle=LEAVE)
    t.there()
    t.write("INSERT INTO note VALUES (3, 'third', 'written on postgresql')")
    with closing(apsw.Connection(os.fspath(t.setup.sqlite.fallback))) as file:
        file.set_busy_timeout(5000)
        file.execute("DROP TABLE found")
    with pytest.raises(ProofFailed, match="virtual table found cannot be made current"):
        t.back()
    assert t.phase is Phase.ON_POSTGRES
    t.write("INSERT INTO note VALUES (4, 'fourth', 'PostgreSQL serves on')")


@pytest.mark.hazard("R17", "choice")
@pytest.mark.hazard("F33", "choice")
def test_f33_r17_an_index_that_triggers_keep_is_offered_the_rebuild_that_they_amount_to(trip) -> None:
    t = trip(PLACES, settle='[sqlite]\nleave_behind = ["place_new"]')
    (finding,) = [f for f in t.assess().findings if f.code == "F33" and f.table == "area"]
    assert finding.severity == "choice" and "place_new" in finding.message
    t.settle(finding.settle.split("\nor:\n")[0])
    found = t.assess()
    assert found.plan is not None and "within a rollback" in messages(found, "R17")[0]
    assert found.plan.virtual[0].rebuild == (
        'DELETE FROM "area"',
        'INSERT INTO "area" (id, x0, x1) SELECT new.id, new.x0, new.x1 FROM "place" AS new WHERE new.hidden = 0',
    )
    t.there()
    t.write("INSERT INTO place VALUES (4, 'd', 7, 8, 0), (5, 'e', 7, 8, 1)", "DELETE FROM place WHERE id = 1")
    t.back()
    assert t.in_sqlite("SELECT id FROM area WHERE x1 > 0 ORDER BY id") == [(2,), (4,)]
    assert t.in_sqlite("SELECT rtreecheck('area')") == [("ok",)]


def test_r17_triggers_that_do_not_tell_the_whole_content_are_offered_no_rebuild(trip) -> None:
    t = trip(PLACES + "INSERT INTO area VALUES (77, 1, 2);", settle='[sqlite]\nleave_behind = ["place_new"]')
    (finding,) = [f for f in t.assess().findings if f.code == "F33" and f.table == "area"]
    assert "exclude = true" in finding.settle and "SELECT new.id" not in finding.settle


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        ('"DELETE FROM area"', "2 of its rows (or indexed words) are missing and 0 are new"),
        ('"DELETE FROM area", "INSERT INTO area SELECT id, x0, x1 FROM place"', "0 of its rows (or indexed words) are missing and 1 are new"),
        ('"DELETE FROM nowhere"', "no such table: nowhere"),
    ],
)
def test_r17_a_wrong_rebuild_is_found_on_a_copy_before_anything(trip, statements: str, says: str) -> None:
    t = trip(PLACES, settle='[sqlite]\nleave_behind = ["place_new"]\n' + f"[tables.area]\nrebuild = [{statements}]")
    found = t.assess()
    assert found.plan is None
    (said,) = messages(found, "R17")
    assert said.startswith("choice") and says in said
    t.demand_untouched()
    assert not list(t.folder.rglob("rebuild-trial*"))


@pytest.mark.hazard("F33", "carried")
def test_f33_what_only_triggers_of_tables_write_that_are_left_out_asks_nothing(trip) -> None:
    t = trip(PLACES + "CREATE TABLE t (id INTEGER PRIMARY KEY);", settle='[sqlite]\nleave_behind = ["place_new"]\n[tables.place]\nexclude = true')
    before = t.in_sqlite("SELECT * FROM area ORDER BY id")
    found = t.assess()
    (finding,) = [f for f in found.findings if f.code == "F33" and f.table == "area"]
    assert found.plan is not None and (finding.severity, finding.settle) == ("carries", "")
    t.there()
    t.write("INSERT INTO t VALUES (1)")
    t.back()
    assert t.in_sqlite("SELECT * FROM area ORDER BY id") == before


def test_f33_every_way_to_settle_it_is_toml(trip) -> None:
    t = trip(PLACES + "CREATE VIRTUAL TABLE words USING fts5 (w);")
    for finding in (f for f in t.assess().findings if f.code == "F33" and f.severity == "choice"):
        ways = finding.settle.split("\nor:\n")
        assert len(ways) == 2 and "#" not in finding.settle
        assert all(tomllib.loads(way)["tables"] for way in ways)


@pytest.mark.hazard("F33", "choice")
def test_f33_what_holds_the_only_copy_stays_as_it_was_by_choice(trip) -> None:
    t = trip("CREATE VIRTUAL TABLE words USING fts5 (w); INSERT INTO words VALUES ('one'), ('two');"
             "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
    found = t.assess()
    (finding,) = [f for f in found.findings if f.code == "F33"]
    assert found.plan is None and "only copy" in finding.message
    t.settle(finding.settle.split("\nor:\n")[0])
    t.there()
    t.write("INSERT INTO t VALUES (2)")
    t.back()
    assert t.in_sqlite("SELECT w FROM words WHERE words MATCH 'two'") == [("two",)]


@pytest.mark.hazard("R17", "choice")
def test_r17_a_full_text_index_that_is_stale_already_is_said(trip) -> None:
    """Rebuilt, a search would find what it does not find now."""
    t = trip(NOTES + "DROP TRIGGER note_new; INSERT INTO note VALUES (7, 'late', 'not indexed');",
             settle='[sqlite]\nleave_behind = ["note_gone"]')
    found = t.assess()
    assert found.plan is None and "stale" in messages(found, "R17")[0]


@pytest.mark.parametrize("made", [
    "CREATE VIRTUAL TABLE found USING fts4 (content=\"note\", title, body)",
    "CREATE VIRTUAL TABLE found USING fts5 (title, body, content='')",
    "CREATE VIRTUAL TABLE found USING fts5 (title, body)",
])
def test_r17_other_full_text_tables_are_rebuilt_by_statements(trip, made: str) -> None:
    words = "INSERT INTO found(found) VALUES('rebuild')" if "fts4" in made else "INSERT INTO found(rowid, title, body) SELECT id, title, body FROM note"
    t = trip(
        "CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT, body TEXT); INSERT INTO note VALUES (1, 'one', 'first');"
        f"{made}; {words};"
    )
    empty = "INSERT INTO found(found) VALUES('delete-all')" if "content=''" in made else "DELETE FROM found"
    if "fts4" not in made:
        t.settle(f'[tables.found]\nrebuild = ["{empty}", "{words}"]')
    t.there()
    t.write("INSERT INTO note VALUES (2, 'two', 'written later')", "DELETE FROM note WHERE id = 1")
    t.back()
    assert match(t, "later") == [2] and match(t, "first") == []


def test_a_rebuild_for_an_ordinary_table_is_refused(trip) -> None:
    t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY)", settle='[tables.t]\nrebuild = ["DELETE FROM t"]')
    found = t.assess()
    assert found.plan is None and "no virtual table" in found.findings[-1].message
