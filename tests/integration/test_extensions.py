"""What an application's schema uses and SQLite lacks: functions, collations, modules, encryption (HAZARDS F44)."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import apsw
import pytest

import trips
from turnback.core.phases import Intent, Phase
from turnback.errors import SourceError

trip = trips.trip

# The few entries of sqlite3_api_routines that are used, by their place: no header of SQLite is needed.
LIBRARY = r"""
#include <string.h>
#include <ctype.h>
typedef struct sqlite3 sqlite3; typedef struct ctx ctx; typedef struct val val;
typedef void (*any)(void);
static any *api;
/* places in sqlite3_api_routines (sqlite3ext.h) */
#define CREATE_COLLATION %(create_collation)d
#define CREATE_FUNCTION %(create_function)d
#define RESULT_INT %(result_int)d
#define VALUE_BYTES %(value_bytes)d
static int by_length(void *p, int a, const void *x, int b, const void *y) {
  (void)p; int n = a < b ? a : b; if (a != b) return a - b; return memcmp(x, y, n); }
static void weight(ctx *c, int n, val **v) {
  (void)n; int bytes = ((int(*)(val*))api[VALUE_BYTES])(v[0]);
  ((void(*)(ctx*,int))api[RESULT_INT])(c, 10 * bytes); }
int sqlite3_extension_init(sqlite3 *db, char **err, void *routines) {
  (void)err; api = (any *)routines;
  int rc = ((int(*)(sqlite3*,const char*,int,void*,int(*)(void*,int,const void*,int,const void*)))api[CREATE_COLLATION])
    (db, "BYLENGTH", 1, 0, by_length);
  if (rc) return rc;
  return ((int(*)(sqlite3*,const char*,int,int,void*,void(*)(ctx*,int,val**),void*,void*))api[CREATE_FUNCTION])
    (db, "weight", 1, 1 | 0x800, 0, weight, 0, 0);
}
"""
SCHEMA = """
CREATE TABLE part (
  id INTEGER PRIMARY KEY, name TEXT COLLATE BYLENGTH, heavy INTEGER GENERATED ALWAYS AS (weight(name)) STORED,
  CHECK (weight(name) > 0));
CREATE INDEX part_by_name ON part (name);
CREATE INDEX part_by_weight ON part (weight(name)) WHERE weight(name) > 5;
CREATE TABLE log (id INTEGER PRIMARY KEY, what INTEGER);
CREATE TRIGGER part_log AFTER INSERT ON part BEGIN INSERT INTO log (what) VALUES (weight(new.name)); END;
INSERT INTO part (id, name) VALUES (1, 'ccc'), (2, 'b'), (3, 'aa');
"""
LEAVE = '[sqlite]\nleave_behind = ["part_log", "part.check", "part.heavy", "part_by_weight", "part_by_name"]'
POSTGRES = "CREATE TABLE part (id bigint PRIMARY KEY, name text); CREATE TABLE log (id bigint PRIMARY KEY, what bigint);"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SQLite extension with a function and a collation, compiled here."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("NOT TESTED: [sqlite] extensions, because there is no C compiler on this machine")
    folder = tmp_path_factory.mktemp("extension")
    source, target = folder / "own.c", folder / "own.so"
    places = {"create_collation": 43, "create_function": 45, "result_int": 82, "value_bytes": 103}
    source.write_text(LIBRARY % places)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(source)], check=True)
    return target


def with_library(library: Path, sql: str = SCHEMA):
    def make(file: apsw.Connection) -> None:
        file.enable_load_extension(True)
        file.load_extension(str(library))
        for _ in file.execute(sql):
            pass

    return make


def lacks(found) -> dict[str, str]:
    return {f.message.split(" is not part of")[0]: f.message for f in found.findings if f.code == "F44"}


@pytest.mark.hazard("F44", "choice")
def test_f44_what_is_missing_is_named_with_what_uses_it(trip, library: Path) -> None:
    t = trip(with_library(library), settle=LEAVE.replace(', "part_by_weight", "part_by_name"', ""), look=False)
    found = t.assess()
    assert found.plan is None
    said = lacks(found)
    assert set(said) == {"the function weight", "the collation sequence BYLENGTH"}
    for user in ("index part_by_weight", "trigger part_log", "table part"):
        assert user in said["the function weight"]
    assert "index part_by_name" in said["the collation sequence BYLENGTH"]
    assert not [f for f in found.findings if f.code in ("F29", "F30")]  # said once
    finding = next(f for f in found.findings if f.code == "F44")
    trips.offers(finding, '[sqlite]\nextensions = ["/path/of/the/library.so"]')


@pytest.mark.hazard("F44", "carried", mode="existing")
def test_f44_with_the_extension_loaded_all_of_it_goes_there_and_back(trip, library: Path) -> None:
    t = trip(
        with_library(library), postgres=POSTGRES, look=False,
        settle=LEAVE + f'\nextensions = ["{library}"]',
    )
    t.there()
    t.write("INSERT INTO part (id, name) VALUES (4, 'dddd')", "UPDATE part SET name = 'bb' WHERE id = 2")
    t.back()
    assert t.phase is Phase.ON_SQLITE
    with closing(apsw.Connection(os.fspath(t.path))) as file:
        file.enable_load_extension(True)
        file.load_extension(str(library))
        assert list(file.execute("SELECT id, heavy FROM part ORDER BY name, id")) == [(3, 20), (2, 20), (1, 30), (4, 40)]
        assert list(file.execute("SELECT id FROM part INDEXED BY part_by_weight WHERE weight(name) > 5 AND weight(name) = 40")) == [(4,)]
        assert file.pragma("integrity_check") == "ok"
        assert list(file.execute("SELECT count(*) FROM log")) == [(3,)]  # the trigger did not fire in apply


@pytest.mark.hazard("F44", "carried", mode="create")
def test_f44_an_index_in_a_custom_collation_and_the_rebuild_of_the_fallback(trip, library: Path) -> None:
    t = trip(
        with_library(library, "CREATE TABLE word (id INTEGER PRIMARY KEY, w TEXT);"
                              "CREATE INDEX word_by_length ON word (w COLLATE BYLENGTH);"
                              "INSERT INTO word (w) VALUES ('ccc'), ('b'), ('aa')"),
        look=False, settle=f'[sqlite]\nextensions = ["{library}"]\nleave_behind = ["word_by_length"]',
    )
    t.there()
    t.write("INSERT INTO word (w) VALUES ('a')", "DELETE FROM word WHERE w = 'aa'")
    t.run(Intent.REBUILD)
    t.write("INSERT INTO word (w) VALUES ('dddd')")
    t.back()
    with closing(apsw.Connection(os.fspath(t.path))) as file:
        file.enable_load_extension(True)
        file.load_extension(str(library))
        query = "SELECT w FROM word INDEXED BY word_by_length WHERE w > '' COLLATE BYLENGTH ORDER BY w COLLATE BYLENGTH"
        assert [w for (w,) in file.execute(query)] == ["a", "b", "ccc", "dddd"]
        assert file.pragma("integrity_check") == "ok"


@pytest.mark.hazard("F44", "choice")
def test_f44_a_virtual_table_of_an_unknown_module(trip) -> None:
    def make(file: apsw.Connection) -> None:
        for _ in file.execute(
            "CREATE TABLE t (id INTEGER PRIMARY KEY);"
            "PRAGMA writable_schema = 1;"
            "INSERT INTO sqlite_schema VALUES ('table', 'near', 'near', 0, 'CREATE VIRTUAL TABLE near USING vec0(e float[3])');"
            "PRAGMA writable_schema = 0;"
        ):
            pass

    t = trip(make, look=False)
    found = t.assess()
    assert found.plan is None and "the module vec0" in lacks(found)
    t.settle("[tables.near]\nexclude = true")
    assert t.assess().plan is not None


def test_f44_an_extension_that_is_not_there(trip) -> None:
    t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY)", settle='[sqlite]\nextensions = ["./nowhere.so"]')
    with pytest.raises(SourceError, match=r"extension .*nowhere\.so cannot be loaded") as caught:
        t.assess()
    assert "[sqlite] extensions" in caught.value.hint


@pytest.mark.hazard("F44", "refused", why="an encrypted file can be read by nothing but SQLCipher")
def test_f44_an_encrypted_file_is_said(trip) -> None:
    t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    t.path.write_bytes(os.urandom(8192))
    with pytest.raises(SourceError, match="or an encrypted one") as caught:
        t.assess()
    assert "SQLCipher" in caught.value.hint


def test_loading_is_for_turnback_alone(tmp_path: Path, library: Path) -> None:
    """SQL of the file (a trigger, say) cannot load a library through a connection of turnback's."""
    from turnback.adapters.sqlite.database import open_database

    with closing(apsw.Connection(str(tmp_path / "a.db"))) as file:
        file.execute("CREATE TABLE t (x)")
    with closing(open_database(tmp_path / "a.db", extensions=[str(library)])) as connection:
        assert list(connection.execute("SELECT weight('abc')")) == [(30,)]
        with pytest.raises(apsw.SQLError, match=r"not authorized|no such function"):
            list(connection.execute("SELECT load_extension(?)", (str(library),)))
