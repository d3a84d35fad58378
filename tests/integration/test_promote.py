"""Fallback, tombstone, promote: each may be cut off at any line, and is complete when it is repeated."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import apsw
import pytest

from turnback.adapters.sqlite.database import open_database
from turnback.adapters.sqlite.fence import FenceState, SqliteFence, is_fenced
from turnback.adapters.sqlite.files import sidecars
from turnback.adapters.sqlite.promote import (
    build_fallback,
    demote,
    is_tombstone,
    place_tombstone,
    promote,
    remove_tombstone,
    remove_turnback_objects,
    set_sqlite_sequence,
)
from turnback.core.schema import FileSettings
from turnback.errors import ProofFailed, SourceError

MODULES = tuple(f"sqlite/{name}.py" for name in ("fence", "promote", "tombstone", "files"))
KILLED = 77


@dataclass
class Steps:
    """A Progress that keeps what it was told."""

    total: int | None = None
    done: int = 0
    ended: bool = field(default=False)

    def begin(self, what: str, total: int | None = None) -> None:
        self.total = total

    def advance(self, amount: int = 1) -> None:
        self.done += amount

    def end(self) -> None:
        self.ended = True


@dataclass(frozen=True)
class Files:
    path: Path
    fallback: Path
    kept: Path
    former: FenceState
    settings: FileSettings
    rows: list[tuple]
    schema: list[tuple]


def read(path: Path, sql: str) -> list[tuple]:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)  # a witness that outlives its killed parent for a moment
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def schema_of(path: Path) -> list[tuple]:
    return read(path, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A fenced database with settings that are not SQLite's defaults."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "app.db"
    connection = apsw.Connection(str(path))
    for name, value in (
        ("page_size", 2048),
        ("auto_vacuum", 2),
        ("encoding", "UTF-16le"),
        ("user_version", 41),
        ("application_id", 0x5455),
        ("journal_mode", "wal"),
    ):
        connection.pragma(name, value)
    for _ in connection.execute(
        "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);"
        "CREATE TABLE plain (id INTEGER PRIMARY KEY, blob BLOB);"
        "CREATE INDEX by_name ON users (name); CREATE VIEW v AS SELECT 1 AS one;"
        "CREATE TRIGGER t AFTER INSERT ON users BEGIN INSERT INTO plain (blob) VALUES (new.name); END;"
        "INSERT INTO users (name) VALUES ('ann'), ('bob'), ('Ünal')"
    ):
        pass
    connection.close()
    if os.geteuid() == 0:
        os.chown(path, 1234, 1235)
    path.chmod(0o640)
    fence = SqliteFence(path, busy_seconds=5)
    former = fence.former_state()
    rows, schema = read(path, "SELECT * FROM users"), schema_of(path)
    fence.raise_()
    settings = FileSettings(2048, "UTF-16le", 2, "wal", 41, 0x5455)
    return Files(path, folder / "app.db.fallback", folder / "app.db.kept", former, settings, rows, schema)


def capture(fallback: Path) -> None:
    """What a running capture leaves in the fallback."""
    connection = apsw.Connection(str(fallback))
    connection.pragma("journal_mode", "wal")
    for _ in connection.execute(
        "CREATE TABLE _turnback_position (lsn); INSERT INTO _turnback_position VALUES (1);"
        "CREATE TABLE _turnback_touched (k TEXT); CREATE INDEX _turnback_by_k ON _turnback_touched (k);"
        "CREATE TRIGGER _turnback_x AFTER INSERT ON plain BEGIN SELECT 1; END;"
        "INSERT INTO users (name) VALUES ('new')"
    ):
        pass
    connection.close()


def build(files: Files) -> None:
    build_fallback(files.path, files.fallback, files.former, Steps())


# ---- whole ---------------------------------------------------------------------------------------


@pytest.mark.hazard("R18", "carried")
def test_the_fallback_equals_the_original_without_its_fence(files: Files) -> None:
    progress = Steps()
    build_fallback(files.path, files.fallback, files.former, progress)
    assert progress.ended and progress.done == progress.total
    assert read(files.fallback, "SELECT * FROM users") == files.rows
    assert schema_of(files.fallback) == files.schema
    for name in ("page_size", "encoding", "auto_vacuum", "user_version", "application_id"):
        assert read(files.fallback, f"PRAGMA {name}") == read(files.path, f"PRAGMA {name}") != [(0,)]
    now = files.fallback.stat()
    assert (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (files.former.uid, files.former.gid, 0o640)
    assert is_fenced(files.path)
    assert sorted(p.name for p in files.path.parent.iterdir()) == ["app.db", "app.db.fallback"]


def test_there_and_back(files: Files) -> None:
    build(files)
    place_tombstone(files.path, files.kept)
    capture(files.fallback)
    promote(files.fallback, files.path, files.former, files.settings)
    promote(files.fallback, files.path, files.former, files.settings)  # already promoted
    assert sorted(p.name for p in files.path.parent.iterdir()) == ["app.db", "app.db.kept"]
    assert schema_of(files.path) == files.schema
    assert [r[1] for r in read(files.path, "SELECT * FROM users")] == ["ann", "bob", "Ünal", "new"]
    found = {
        name: read(files.path, f"PRAGMA {name}")[0][0]
        for name in ("page_size", "encoding", "auto_vacuum", "journal_mode", "user_version", "application_id")
    }
    assert found == {name: getattr(files.settings, name) for name in found}
    now = files.path.stat()
    assert (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (files.former.uid, files.former.gid, 0o640)
    assert is_fenced(files.kept)


@pytest.mark.hazard("F43", "carried")
def test_promote_restores_what_capture_s_owner_changed(files: Files) -> None:
    build(files)
    place_tombstone(files.path, files.kept)
    connection = apsw.Connection(str(files.fallback))
    connection.pragma("user_version", 99)
    connection.close()
    files.fallback.chmod(0o600)
    promote(files.fallback, files.path, replace(files.former, journal_mode="delete"), files.settings)
    assert read(files.path, "PRAGMA user_version") == [(41,)]
    assert read(files.path, "PRAGMA journal_mode") == [("delete",)]
    assert stat.S_IMODE(files.path.stat().st_mode) == 0o640


def test_a_setting_that_cannot_be_restored_stops_promote(files: Files) -> None:
    build(files)
    place_tombstone(files.path, files.kept)
    with pytest.raises(ProofFailed, match="page_size is 2048, the original's is 4096"):
        promote(files.fallback, files.path, files.former, replace(files.settings, page_size=4096))
    assert is_tombstone(files.path)


def test_demote_is_promote_s_inverse(files: Files) -> None:
    build(files)
    place_tombstone(files.path, files.kept)
    promote(files.fallback, files.path, files.former, files.settings)
    demote(files.path, files.fallback, files.kept)
    demote(files.path, files.fallback, files.kept)
    assert is_tombstone(files.path)
    assert read(files.fallback, "SELECT * FROM users") == files.rows
    promote(files.fallback, files.path, files.former, files.settings)
    assert read(files.path, "SELECT * FROM users") == files.rows


# ---- the tombstone -------------------------------------------------------------------------------


def test_the_tombstone_is_no_database_and_says_so(files: Files) -> None:
    place_tombstone(files.path, files.kept)
    place_tombstone(files.path, files.kept)
    assert is_tombstone(files.path) and not is_tombstone(files.kept)
    with pytest.raises(apsw.NotADBError, match="file is not a database"):
        read(files.path, "SELECT * FROM sqlite_schema")
    with pytest.raises(SourceError, match="not a SQLite database"):
        open_database(files.path)
    writer = apsw.Connection(str(files.path))
    with pytest.raises(apsw.NotADBError):
        writer.execute("CREATE TABLE t (x)")
    writer.close()
    assert "app.db.kept" in files.path.read_text()
    assert sidecars(files.path) == []


def test_remove_tombstone_puts_the_same_inode_back(files: Files) -> None:
    inode = files.path.stat().st_ino
    place_tombstone(files.path, files.kept)
    remove_tombstone(files.path, files.kept)
    remove_tombstone(files.path, files.kept)
    assert files.path.stat().st_ino == inode and not files.kept.exists()
    assert files.path.stat().st_nlink == 1
    SqliteFence(files.path, busy_seconds=5).lift(files.former)
    assert schema_of(files.path) == files.schema


def test_an_unfenced_database_is_not_put_away(files: Files) -> None:
    SqliteFence(files.path, busy_seconds=5).lift(files.former)
    with pytest.raises(ProofFailed, match="not fenced"):
        place_tombstone(files.path, files.kept)
    assert not files.kept.exists()


def test_an_earlier_kept_file_is_never_overwritten(files: Files) -> None:
    files.kept.write_bytes(b"an earlier original")
    with pytest.raises(SourceError, match="exists already"):
        place_tombstone(files.path, files.kept)
    assert files.kept.read_bytes() == b"an earlier original"
    assert is_fenced(files.path)


def test_a_tombstone_whose_original_is_gone_is_said(files: Files) -> None:
    place_tombstone(files.path, files.kept)
    files.kept.unlink()
    for call in (place_tombstone, remove_tombstone):
        with pytest.raises(SourceError, match="the original is gone"):
            call(files.path, files.kept)
    assert is_tombstone(files.path)


@pytest.mark.parametrize("size", [0, 1, 512, 1000, 4096])
def test_other_files_are_no_tombstones(tmp_path: Path, size: int) -> None:
    (tmp_path / "f").write_bytes(b"x" * size)
    assert not is_tombstone(tmp_path / "f")
    assert not is_tombstone(tmp_path / "none")


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_sidecar_at_the_path_stops_promote(files: Files, suffix: str) -> None:
    """A fallback renamed over a file whose -wal was left behind lost all its rows, integrity_check "ok"."""
    build(files)
    place_tombstone(files.path, files.kept)
    left = files.path.with_name(files.path.name + suffix)
    left.write_bytes(b"left behind")
    with pytest.raises(ProofFailed, match=suffix):
        promote(files.fallback, files.path, files.former, files.settings)
    left.unlink()
    promote(files.fallback, files.path, files.former, files.settings)
    assert read(files.path, "SELECT * FROM users") == files.rows


def test_a_database_that_somebody_put_at_the_path_is_not_overwritten(files: Files) -> None:
    build(files)
    place_tombstone(files.path, files.kept)
    files.path.unlink()
    shutil.copy(files.kept, files.path)
    with pytest.raises(ProofFailed, match="something else"):
        promote(files.fallback, files.path, files.former, files.settings)


def test_a_fallback_that_is_open_elsewhere_is_not_promoted(files: Files, monkeypatch) -> None:
    monkeypatch.setattr("turnback.adapters.sqlite.promote.DEFAULT_BUSY_SECONDS", 0.2)
    build(files)
    place_tombstone(files.path, files.kept)
    capture(files.fallback)
    other = apsw.Connection(str(files.fallback))
    other.execute("SELECT * FROM users").fetchall()
    with pytest.raises(SourceError, match="locked"):
        promote(files.fallback, files.path, files.former, files.settings)
    assert is_tombstone(files.path)
    other.close()
    promote(files.fallback, files.path, files.former, files.settings)


def test_promote_without_a_fallback_is_said(files: Files) -> None:
    place_tombstone(files.path, files.kept)
    with pytest.raises(SourceError, match="no such file"):
        promote(files.fallback, files.path, files.former, files.settings)


def test_a_fallback_that_capture_wrote_to_is_never_made_anew(files: Files) -> None:
    build(files)
    build(files)  # nothing of capture in it yet: made anew
    capture(files.fallback)
    with pytest.raises(SourceError, match="already a fallback"):
        build(files)
    assert len(read(files.fallback, "SELECT * FROM users")) == len(files.rows) + 1


# ---- sqlite_sequence -----------------------------------------------------------------------------


@pytest.mark.hazard("R16", "carried")
def test_sqlite_sequence_is_raised_and_never_lowered(files: Files) -> None:
    build(files)
    connection = apsw.Connection(str(files.fallback))
    set_sqlite_sequence(connection, {"users": 2})
    assert connection.execute("SELECT * FROM sqlite_sequence").fetchall() == [("users", 3)]
    set_sqlite_sequence(connection, {"users": 40})
    connection.execute("INSERT INTO users (name) VALUES ('next')")
    assert connection.execute("SELECT max(id) FROM users").fetchall() == [(41,)]
    connection.execute("DELETE FROM sqlite_sequence")
    with connection:  # also inside a transaction of the caller
        set_sqlite_sequence(connection, {"users": 50})
    assert connection.execute("SELECT * FROM sqlite_sequence").fetchall() == [("users", 50)]
    for wrong in ("plain", "missing"):
        with pytest.raises(SourceError, match="has no AUTOINCREMENT"):
            set_sqlite_sequence(connection, {"users": 60, wrong: 1})
    assert connection.execute("SELECT * FROM sqlite_sequence").fetchall() == [("users", 50)]
    connection.close()


@pytest.mark.hazard("R18", "carried")
def test_every_turnback_object_is_removed_and_nothing_else(files: Files) -> None:
    build(files)
    capture(files.fallback)
    connection = apsw.Connection(str(files.fallback))
    remove_turnback_objects(connection)
    remove_turnback_objects(connection)
    connection.close()
    assert schema_of(files.fallback) == files.schema


# ---- cut off at any line -------------------------------------------------------------------------


def killed_at(line: int, work: Callable[[], None]) -> bool:
    """Runs `work` in a child that dies at the line-th line of MODULES; False when it came to its end."""
    child = os.fork()
    if child == 0:
        seen = 0

        def trace(frame, event, _argument):
            nonlocal seen
            if not frame.f_code.co_filename.endswith(MODULES):
                return None
            if event == "line":
                seen += 1
                if seen == line:
                    os._exit(KILLED)
            return trace

        try:
            sys.settrace(trace)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED), f"line {line}: failed by itself"
    return code == KILLED


def copy_of(files: Files, folder: Path) -> Files:
    shutil.copytree(files.path.parent, folder, copy_function=shutil.copy2)
    moved = {name: folder / getattr(files, name).name for name in ("path", "fallback", "kept")}
    copied = replace(files, **moved)
    if os.geteuid() == 0:
        for path in folder.iterdir():
            os.chown(path, files.former.uid, files.former.gid)
    return copied


def every_kill(
    files: Files, tmp_path: Path, work: Callable[[Files], None], check: Callable[[Files], None], step: int = 1
) -> int:
    """Cuts `work` off at each line, checks that the path is never absent, repeats it, checks the end."""
    line, kills = 1, 0
    while True:
        trial = copy_of(files, tmp_path / f"trial{line}")
        killed = killed_at(line, lambda trial=trial: work(trial))
        assert trial.path.exists(), f"line {line}: the path is absent"
        assert is_tombstone(trial.path) or read(trial.path, "SELECT count(*) FROM users") == [(3,)]
        work(trial)
        check(trial)
        leftover = {p.name for p in trial.path.parent.iterdir()} - {
            p.name for p in (trial.path, trial.fallback, trial.kept)
        }
        assert leftover == set(), f"line {line}: left behind {leftover}"
        shutil.rmtree(trial.path.parent)
        if not killed:
            return kills
        kills += 1
        line += step


def test_the_fence_cut_off_at_any_line(files: Files, tmp_path: Path) -> None:
    SqliteFence(files.path, busy_seconds=5).lift(files.former)

    def work(trial: Files) -> None:
        SqliteFence(trial.path, busy_seconds=5).raise_()

    def check(trial: Files) -> None:
        fence = SqliteFence(trial.path, busy_seconds=5)
        fence.prove()
        fence.lift(trial.former)
        assert schema_of(trial.path) == trial.schema
        assert fence.former_state() == trial.former

    assert every_kill(files, tmp_path, work, check, step=5) > 5


def test_lift_cut_off_at_any_line(files: Files, tmp_path: Path) -> None:
    def work(trial: Files) -> None:
        SqliteFence(trial.path, busy_seconds=5).lift(trial.former)

    def check(trial: Files) -> None:
        assert schema_of(trial.path) == trial.schema
        assert SqliteFence(trial.path, busy_seconds=5).former_state() == trial.former

    assert every_kill(files, tmp_path, work, check) > 10


def test_the_fallback_cut_off_at_any_line(files: Files, tmp_path: Path) -> None:
    def check(trial: Files) -> None:
        assert schema_of(trial.fallback) == trial.schema
        assert read(trial.fallback, "SELECT * FROM users") == trial.rows

    assert every_kill(files, tmp_path, build, check, step=3) > 10


def test_the_tombstone_cut_off_at_any_line(files: Files, tmp_path: Path) -> None:
    def check(trial: Files) -> None:
        assert is_tombstone(trial.path) and is_fenced(trial.kept)

    assert every_kill(files, tmp_path, lambda t: place_tombstone(t.path, t.kept), check) > 20


def test_removing_the_tombstone_cut_off_at_any_line(files: Files, tmp_path: Path) -> None:
    place_tombstone(files.path, files.kept)

    def check(trial: Files) -> None:
        assert is_fenced(trial.path) and trial.path.stat().st_nlink == 1 and not trial.kept.exists()

    assert every_kill(files, tmp_path, lambda t: remove_tombstone(t.path, t.kept), check) > 20


def test_promote_cut_off_at_any_line(files: Files, tmp_path: Path) -> None:
    build(files)
    place_tombstone(files.path, files.kept)

    def prepare(trial: Files) -> None:
        if trial.fallback.exists() and not read(
            trial.fallback, "SELECT 1 FROM sqlite_schema WHERE name GLOB '_turnback*'"
        ):
            connection = apsw.Connection(str(trial.fallback))
            connection.execute("CREATE TABLE _turnback_position (lsn)")
            connection.close()

    prepare(files)

    def check(trial: Files) -> None:
        assert schema_of(trial.path) == trial.schema
        assert read(trial.path, "SELECT * FROM users") == trial.rows
        assert read(trial.path, "PRAGMA journal_mode") == [("wal",)]
        assert not trial.fallback.exists() and is_fenced(trial.kept)

    work: Callable[[Files], None] = lambda t: promote(t.fallback, t.path, t.former, t.settings)  # noqa: E731
    assert every_kill(files, tmp_path, work, check) > 30


def test_demote_cut_off_at_any_line(files: Files, tmp_path: Path) -> None:
    build(files)
    place_tombstone(files.path, files.kept)
    promote(files.fallback, files.path, files.former, files.settings)

    def check(trial: Files) -> None:
        assert is_tombstone(trial.path)
        assert read(trial.fallback, "SELECT * FROM users") == trial.rows

    assert every_kill(files, tmp_path, lambda t: demote(t.path, t.fallback, t.kept), check) > 15
