"""A copy of a SQLite file in use: as of one moment, whole or not there."""

from __future__ import annotations

import os
import stat
import threading
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from turnback.adapters.sqlite import snapshot
from turnback.adapters.sqlite.snapshot import backup
from turnback.errors import DiskFull, SourceError
from two_sides import Silent, fill, run_sql, sqlite_file

COMPANIONS = ("-wal", "-shm", "-journal", ".part")


def beside(path: Path) -> list[str]:
    return [s for s in COMPANIONS if Path(str(path) + s).exists()]


def test_what_only_the_wal_holds_is_in_the_copy(tmp_path: Path) -> None:
    source = tmp_path / "a.db"
    with closing(apsw.Connection(str(source))) as writer:
        writer.execute("PRAGMA journal_mode = WAL").fetchall()
        writer.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        writer.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        writer.execute("INSERT INTO t VALUES (1), (2)")
        target = tmp_path / "copy.db"
        backup(source, target, Silent())
    assert run_sql(target, "SELECT id FROM t") == [(1,), (2,)]
    assert run_sql(target, "PRAGMA journal_mode") == [("delete",)]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert beside(target) == []
    assert run_sql(source, "PRAGMA journal_mode") == [("wal",)]


def test_under_a_writer_it_ends_and_is_one_moment(tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "a.db",
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE a (id INTEGER PRIMARY KEY, filler TEXT)",
        "CREATE TABLE b (id INTEGER PRIMARY KEY)",
    )
    fill(source, "a", [(-i, "x" * 1000) for i in range(1, 3000)])
    stop = threading.Event()

    def write() -> None:
        with closing(apsw.Connection(str(source))) as writer:
            writer.set_busy_timeout(5000)
            while not stop.is_set():
                with writer:
                    writer.execute("INSERT INTO a (id) SELECT 1 + max(0, max(id)) FROM a")
                    writer.execute("INSERT INTO b DEFAULT VALUES")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(5):
            target = tmp_path / f"copy{number}.db"
            backup(source, target, Silent())
            ((a, b),) = run_sql(
                target, "SELECT (SELECT count(*) FROM a WHERE id > 0), (SELECT count(*) FROM b)"
            )
            assert a == b
            assert run_sql(target, "PRAGMA integrity_check") == [("ok",)]
    finally:
        stop.set()
        thread.join()


def test_it_replaces_what_an_interrupted_one_left(tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (7)"
    )
    target = sqlite_file(tmp_path / "copy.db", "CREATE TABLE old (x)")
    for suffix in COMPANIONS:
        Path(str(target) + suffix).write_bytes(b"left behind")
    backup(source, target, Silent())
    assert beside(target) == []
    assert run_sql(target, "SELECT id FROM t") == [(7,)]


def test_no_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = sqlite_file(tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(snapshot.shutil, "disk_usage", lambda path: usage(100, 99, 1))
    with pytest.raises(DiskFull, match="1 are free"):
        backup(source, tmp_path / "copy.db", Silent())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.db"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path) -> None:
    """A real limit: the process may not write files beyond 64 KB."""
    source = sqlite_file(tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, filler TEXT)")
    fill(source, "t", [(i, "x" * 1000) for i in range(500)])
    child = os.fork()
    if child == 0:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        try:
            backup(source, tmp_path / "copy.db", Silent())
        except DiskFull:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.db"]


def test_a_source_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("a tombstone " * 100)
    with pytest.raises(SourceError, match="not a SQLite database"):
        backup(tmp_path / "a.db", tmp_path / "copy.db", Silent())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.db"]
