"""The SQLite fence: refused for connections that are open already, proven by another process, undone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnback.adapters.sqlite.fence import FenceState, SqliteFence, fence_objects, is_fenced
from turnback.adapters.sqlite.files import sidecars
from turnback.adapters.sqlite.holders import holders
from turnback.adapters.sqlite.witness import MESSAGE, unfenced
from turnback.errors import ProofFailed, SourceError

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE CHECK (length(name) < 9));
CREATE TABLE "odd ""one" (a TEXT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE strict_one (x ANY NOT NULL, y TEXT AS (x || 'y')) STRICT;
CREATE VIRTUAL TABLE words USING fts5(body);
CREATE VIRTUAL TABLE boxes USING rtree(id, low, high);
CREATE VIEW names AS SELECT name FROM users;
CREATE TRIGGER insert_name INSTEAD OF INSERT ON names BEGIN INSERT INTO users (name) VALUES (new.name); END;
INSERT INTO users (name) VALUES ('ann'), ('bob');
INSERT INTO words VALUES ('hello');
INSERT INTO boxes VALUES (1, 0, 1);
ANALYZE;
"""

WRITES = (
    "INSERT INTO users (name) VALUES ('c')",
    "INSERT OR IGNORE INTO users (name) VALUES ('c')",
    "INSERT OR REPLACE INTO users (id, name) VALUES (1, 'c')",
    "REPLACE INTO users (id, name) VALUES (1, 'c')",
    "INSERT OR FAIL INTO users (name) VALUES ('c')",
    "INSERT OR ROLLBACK INTO users (name) VALUES ('c')",
    "INSERT INTO users (id, name) VALUES (1, 'c') ON CONFLICT DO UPDATE SET name = 'd'",
    "INSERT INTO users (id, name) VALUES (1, 'c') ON CONFLICT DO NOTHING",
    "UPDATE users SET name = 'c' WHERE id = 1",
    "UPDATE OR IGNORE users SET name = 'bob' WHERE id = 1",
    "UPDATE OR REPLACE users SET name = 'bob' WHERE id = 1",
    "DELETE FROM users WHERE id = 1",
    "DELETE FROM users",
    "INSERT INTO names VALUES ('c')",
    """INSERT INTO "odd ""one" VALUES ('a', 'b')""",
    "INSERT INTO strict_one VALUES (1)",
    "INSERT INTO words VALUES ('more')",
    "DELETE FROM words",
    "INSERT INTO boxes VALUES (2, 0, 1)",
    "DELETE FROM boxes",
)


def make(path: Path, *, journal_mode: str, mode: int = 0o640) -> Path:
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", journal_mode)
    for _ in connection.execute(SCHEMA):
        pass
    connection.close()
    path.chmod(mode)
    return path


def content(path: Path) -> list[tuple]:
    connection = apsw.Connection(str(path))
    try:
        schema = connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid"
        ).fetchall()
        return schema + [
            row
            for (name,) in connection.execute(
                "SELECT name FROM pragma_table_list WHERE type = 'table'"
            ).fetchall()
            for row in connection.execute(f'SELECT * FROM "{name.replace(chr(34), chr(34) * 2)}"').fetchall()
            if name != "sqlite_schema"
        ]
    finally:
        connection.close()


@pytest.fixture(params=["wal", "delete"])
def journal_mode(request) -> str:
    return request.param


@pytest.fixture
def path(tmp_path: Path, journal_mode: str) -> Path:
    return make(tmp_path / "app db.sqlite", journal_mode=journal_mode)


@pytest.fixture
def holder() -> Iterator[Callable[[Path], subprocess.Popen]]:
    """Starts processes that have a file open until the test ends."""
    started: list[subprocess.Popen] = []

    def start(path: Path) -> subprocess.Popen:
        code = (
            "import sys, apsw; c = apsw.Connection(sys.argv[1]); c.execute('SELECT * FROM users').fetchall();"
            " print('open', flush=True); sys.stdin.read()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        return process

    yield start
    for process in started:
        process.communicate()


def test_writes_are_refused_and_lift_restores_everything(path, journal_mode) -> None:
    before, mode = content(path), stat.S_IMODE(path.stat().st_mode)
    fence = SqliteFence(path, busy_seconds=2)
    former = fence.former_state()
    assert former == FenceState(journal_mode, mode, path.stat().st_uid, path.stat().st_gid)
    assert FenceState.from_json(former.to_json()) == former
    assert not is_fenced(path)
    fence.raise_()
    fence.prove()
    assert is_fenced(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert sidecars(path) == []
    connection = apsw.Connection(str(path))
    assert connection.pragma("journal_mode") == "delete"
    for write in WRITES:
        with pytest.raises(apsw.Error):
            connection.execute(write).fetchall()
    connection.close()
    fence.lift(former)
    fence.lift(former)
    assert content(path) == before
    assert fence.former_state() == former


def test_a_connection_that_was_open_before_is_refused_every_kind_of_write(tmp_path) -> None:
    path = make(tmp_path / "a.db", journal_mode="delete")
    old = apsw.Connection(str(path))
    before = old.execute("SELECT * FROM users").fetchall()
    old.execute("SELECT rowid, * FROM words").fetchall()
    fence = SqliteFence(path, busy_seconds=2)
    fence.raise_()
    for write in WRITES:
        with pytest.raises(apsw.Error) as caught:
            old.execute(write).fetchall()
        # a virtual table reports its shadow table's refusal in its own words
        assert MESSAGE in str(caught.value) or "words" in write or "boxes" in write, write
    assert old.execute("SELECT * FROM users").fetchall() == before
    old.close()


@pytest.mark.parametrize(
    "module",
    [
        "fts5(body)",
        "fts5(body, columnsize=0)",
        "fts5(body, content='')",
        "fts5(body, content='', columnsize=0)",
        "fts5(body, content='', contentless_delete=1)",
        "fts5(body, content='source', content_rowid='id')",
        "fts5(body, content='source', content_rowid='id', columnsize=0)",
        'FTS5 (body, prefix="2 3")',
        "fts4(body)",
        "fts4(body, content='source')",
    ],
)
def test_full_text_tables_refuse_and_do_not_crash(tmp_path, module) -> None:
    """With a trigger on every shadow table a refused DELETE ended the process with a segmentation fault."""
    path = tmp_path / "a.db"
    connection = apsw.Connection(str(path))
    for _ in connection.execute(
        "CREATE TABLE source (id INTEGER PRIMARY KEY, body);"
        "INSERT INTO source VALUES (1, 'hello'), (2, 'x');"
        f"CREATE VIRTUAL TABLE words USING {module};"
        "INSERT INTO words (rowid, body) VALUES (1, 'hello'), (2, 'x')"
    ):
        pass
    connection.close()
    SqliteFence(path, busy_seconds=2).raise_()
    SqliteFence(path, busy_seconds=2).prove()
    connection = apsw.Connection(str(path))
    found = "SELECT rowid FROM words WHERE words MATCH 'hello OR new'"
    for write in (
        "INSERT INTO words (rowid, body) VALUES (3, 'new')",
        "REPLACE INTO words (rowid, body) VALUES (1, 'new')",
        "UPDATE words SET body = 'new' WHERE rowid = 1",
        "DELETE FROM words WHERE rowid = 1",
        "DELETE FROM words",
        "INSERT INTO words (words) VALUES ('rebuild')",
    ):
        with pytest.raises(apsw.Error):
            connection.execute(f"BEGIN; {write}; COMMIT").fetchall()
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        assert connection.execute(found).fetchall() == [(1,)]
    connection.close()


def test_what_is_only_in_the_wal_is_in_the_fenced_file(tmp_path) -> None:
    path = make(tmp_path / "a.db", journal_mode="wal")
    writer = apsw.Connection(str(path))
    writer.pragma("wal_autocheckpoint", 0)
    writer.execute("INSERT INTO users (name) VALUES ('late')")
    assert path.with_name("a.db-wal").stat().st_size > 0
    writer.close()
    SqliteFence(path, busy_seconds=2).raise_()
    assert ("late",) in [row[1:2] for row in content(path)]


def test_a_holder_in_wal_mode_stops_the_fence_and_is_named(tmp_path, holder) -> None:
    path = make(tmp_path / "a.db", journal_mode="wal")
    process = holder(path)
    fence = SqliteFence(path, busy_seconds=0.2)
    former = fence.former_state()
    with pytest.raises(SourceError) as caught:
        fence.raise_()
    assert f"pid {process.pid}" in caught.value.hint
    process.communicate()
    fence.raise_()  # repeatable: it goes on from where it was
    fence.prove()
    fence.lift(former)
    assert fence.former_state() == former


def test_a_writer_in_flight_is_waited_for_or_named(path, holder) -> None:
    writer = apsw.Connection(str(path))
    writer.execute("BEGIN IMMEDIATE; INSERT INTO users (name) VALUES ('flying')")
    with pytest.raises(SourceError, match="locked"):
        SqliteFence(path, busy_seconds=0.2).raise_()
    assert fence_objects(writer) == []
    writer.execute("COMMIT")
    writer.close()
    SqliteFence(path, busy_seconds=2).raise_()
    assert ("flying",) in [row[1:2] for row in content(path)]


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TRIGGER _turnback_fence_insert_users",
        "DROP TRIGGER _turnback_fence_delete_users",
        "CREATE TABLE later (x)",
        "DROP TRIGGER _turnback_fence_update_users;"
        " CREATE TRIGGER _turnback_fence_update_users BEFORE UPDATE ON users BEGIN SELECT 1; END",
    ],
)
def test_prove_fails_for_a_damaged_fence_and_raise_repairs_it(path, damage) -> None:
    fence = SqliteFence(path, busy_seconds=2)
    fence.raise_()
    connection = apsw.Connection(str(path))  # root, or the owner after chmod, gets past the mode
    if not os.access(path, os.W_OK):
        pytest.skip("needs to write past the file's mode")
    for _ in connection.execute(damage):
        pass
    connection.close()
    assert not is_fenced(path)
    with pytest.raises(ProofFailed):
        fence.prove()
    fence.raise_()
    fence.prove()


def test_a_trigger_of_the_application_that_swallows_writes_is_no_proof(tmp_path) -> None:
    path = make(tmp_path / "a.db", journal_mode="delete")
    fence = SqliteFence(path, busy_seconds=2)
    fence.raise_()
    connection = apsw.Connection(str(path))
    for _ in connection.execute(
        "CREATE TRIGGER quiet BEFORE INSERT ON users BEGIN SELECT RAISE(IGNORE); END"
    ):
        pass
    connection.close()
    with pytest.raises(ProofFailed, match="accepted"):
        fence.prove()


def test_the_owner_without_root_is_refused_by_the_mode_and_by_the_triggers(journal_mode) -> None:
    """After chmod the file opens read-only: that counts where the triggers stand in the file too."""
    if os.geteuid() != 0:
        pytest.skip("needs to become another user")

    def seen_by_the_owner() -> int:
        child = os.fork()
        if child == 0:
            try:
                os.setuid(65534)
                connection = apsw.Connection(str(path))
                os._exit(10 + len(unfenced(connection)))
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    with tempfile.TemporaryDirectory() as folder:  # tmp_path is closed to others
        os.chmod(folder, 0o777)
        path = make(Path(folder) / "a.db", journal_mode=journal_mode)
        SqliteFence(path, busy_seconds=2).raise_()
        os.chown(path, 65534, 65534)
        assert seen_by_the_owner() == 10
        connection = apsw.Connection(str(path))
        for _ in connection.execute("DROP TRIGGER _turnback_fence_update_users"):
            pass
        connection.close()
        assert seen_by_the_owner() == 11


def test_the_former_state_of_a_fenced_file_cannot_be_asked(path) -> None:
    fence = SqliteFence(path, busy_seconds=2)
    fence.raise_()
    with pytest.raises(SourceError, match="already fenced"):
        fence.former_state()


def test_a_persistent_journal_is_gone(tmp_path) -> None:
    path = make(tmp_path / "a.db", journal_mode="delete")
    writer = apsw.Connection(str(path))
    writer.pragma("journal_mode", "persist")
    writer.execute("INSERT INTO users (name) VALUES ('x')")
    writer.close()
    assert sidecars(path) != []
    SqliteFence(path, busy_seconds=2).raise_()
    assert sidecars(path) == []


def test_what_is_no_database_is_said(tmp_path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        SqliteFence(tmp_path / "none.db", busy_seconds=1).raise_()
    (tmp_path / "text").write_text("hello " * 200)
    with pytest.raises(SourceError, match="not a SQLite database"):
        SqliteFence(tmp_path / "text", busy_seconds=1).raise_()


def test_through_a_symbolic_link(tmp_path) -> None:
    path = make(tmp_path / "a.db", journal_mode="wal")
    (tmp_path / "folder").mkdir()
    link = tmp_path / "folder" / "link.db"
    link.symlink_to(path)
    SqliteFence(link, busy_seconds=2).raise_()
    assert is_fenced(path) and link.is_symlink()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.text(
            st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=12
        ),
        max_size=4,
    )
)
def test_any_table_name(tmp_path_factory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("names") / "a.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE one (x)")
    for name in names:
        quoted = name.replace('"', '""')
        try:
            connection.execute(f'CREATE TABLE "{quoted}" ("{quoted}")')
        except apsw.SQLError:
            continue  # there already, or reserved
    before = connection.execute("SELECT * FROM sqlite_schema").fetchall()
    connection.close()
    fence = SqliteFence(path, busy_seconds=2)
    former = fence.former_state()
    fence.raise_()
    fence.lift(former)
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT * FROM sqlite_schema").fetchall() == before
    connection.close()


def test_holders_are_found_by_inode_and_ourselves_left_out(path, holder, tmp_path) -> None:
    own = apsw.Connection(str(path))
    own.execute("SELECT * FROM users").fetchall()
    assert holders(path) == ()
    process = holder(path)
    (found,) = holders(path)
    assert found.pid == process.pid and "python" in found.command and found.user
    path.rename(tmp_path / "renamed.db")
    assert [h.pid for h in holders(tmp_path / "renamed.db")] == [process.pid]
    own.close()
