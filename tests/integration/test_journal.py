"""The journal: durable, append-only, one order for all its writers, refused where it cannot be trusted."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import apsw
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnback.adapters.journal import SqliteJournal, filesystem, refuse_filesystem
from turnback.errors import ConfigError, DiskFull, SourceError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(tmp_path / "state/journal.db") as journal:
        yield journal


def test_records_come_back_in_order_and_by_kind_and_run(journal: SqliteJournal) -> None:
    first = journal.append("phase", {"phase": "planned"})
    second = journal.append("step", {"step": "copy_rows"}, run="r1")
    third = journal.append("step", {"step": "copy_rows"}, run="r2")
    assert [first.sequence, second.sequence, third.sequence] == [1, 2, 3]
    assert journal.records() == [first, second, third]
    assert journal.records(after=1) == [second, third]
    assert journal.records(kind="step", run="r2") == [third]
    assert journal.records(after=2, kind="phase") == []
    assert journal.last("step") == third
    assert journal.last("phase") == first
    assert journal.last("never") is None


def test_moments_are_utc(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 60, timezone(timedelta(hours=5)))
    with SqliteJournal(tmp_path / "journal.db", now=lambda: at) as journal:
        written = journal.append("x", {})
        read = journal.last("x")
    assert read == written
    assert written.at == at
    assert written.at.tzinfo is UTC


@settings(max_examples=50, deadline=None)
@given(body=st.dictionaries(st.text(), JSON, max_size=4))
def test_any_json_body_comes_back(body: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    with SqliteJournal(tmp_path_factory.getbasetemp() / "bodies.db") as journal:
        assert journal.append("body", body).body == body
        last = journal.last("body")
        assert last is not None and last.body == body


def test_a_path_with_undecodable_bytes_comes_back(journal: SqliteJournal) -> None:
    name = os.fsdecode(b"caf\xe9.db")
    journal.append("x", {"path": name})
    last = journal.last("x")
    assert last is not None and os.fsencode(last.body["path"]) == b"caf\xe9.db"


@pytest.mark.parametrize("body", [{"x": b"bytes"}, {"x": datetime.now(UTC)}])
def test_what_is_not_json_is_refused_and_nothing_is_written(
    journal: SqliteJournal, body: dict[str, object]
) -> None:
    with pytest.raises(TypeError):
        journal.append("x", body)
    assert journal.records() == []


def test_the_file_and_what_stands_beside_it_are_private(journal: SqliteJournal) -> None:
    journal.append("x", {})
    modes = {p.name: p.stat().st_mode & 0o777 for p in journal.path.parent.iterdir()}
    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET body = '{}' WHERE sequence = 1",
        "DELETE FROM record",
        "INSERT OR REPLACE INTO record VALUES (1, 'now', 'forged', NULL, '{}')",
    ],
)
def test_history_cannot_be_changed(journal: SqliteJournal, statement: str) -> None:
    written = journal.append("x", {"kept": True})
    other = apsw.Connection(str(journal.path))
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        other.execute(statement).fetchall()
    other.close()
    assert journal.records() == [written]


def test_every_commit_reaches_the_disk(journal: SqliteJournal) -> None:
    assert journal._connection.pragma("synchronous") == 2
    assert journal._connection.pragma("journal_mode") == "wal"


WRITER = """
import sys
from pathlib import Path
from turnback.adapters.journal import SqliteJournal
with SqliteJournal(Path(sys.argv[1])) as journal:
    for number in range(int(sys.argv[3])):
        print(journal.append("w", {"by": sys.argv[2], "number": number}).sequence, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_processes_and_threads_write_at_once_and_nothing_is_lost(journal: SqliteJournal) -> None:
    processes = [writer(journal.path, name, 40) for name in ("p1", "p2")]

    def write(name: str) -> None:
        for number in range(40):
            journal.append("w", {"by": name, "number": number})

    threads = [threading.Thread(target=write, args=(name,)) for name in ("t1", "t2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        with process:
            assert process.stdout is not None
            process.stdout.read()
        assert process.returncode == 0
    records = journal.records()
    assert [r.sequence for r in records] == list(range(1, 161))
    assert [r.at for r in records] == sorted(r.at for r in records)
    for name in ("p1", "p2", "t1", "t2"):
        assert [r.body["number"] for r in records if r.body["by"] == name] == list(range(40))


def test_processes_that_open_a_new_journal_at_once_all_get_it(tmp_path: Path) -> None:
    """A guard begins while somebody asks for the status: neither is refused."""
    code = (
        "import sys, time; from pathlib import Path; from turnback.adapters.journal import SqliteJournal\n"
        "time.sleep(max(0, float(sys.argv[1]) - time.time()))\n"
        "for path in map(Path, sys.argv[2:]):\n"
        "    with SqliteJournal(path) as journal: journal.append('note', {})\n"
    )
    paths = [str(tmp_path / f"{n}/journal.db") for n in range(40)]
    command = [sys.executable, "-c", code, str(time.time() + 1.0), *paths]
    openers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(p.communicate(timeout=60)[1], p.returncode) for p in openers] == [("", 0)] * 3
    for path in paths:
        with SqliteJournal(Path(path)) as journal:
            assert len(journal.records()) == 3


def test_what_append_returned_survives_kill_9(journal: SqliteJournal) -> None:
    with writer(journal.path, "killed", 100_000) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(25)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    present = [r.sequence for r in journal.records()]
    assert present[: len(acknowledged)] == acknowledged
    assert len(present) <= len(acknowledged) + 1  # one may be durable and not yet told
    assert journal.append("after", {}).sequence == len(present) + 1


def test_a_second_opening_and_closing_keeps_the_locks_of_the_first(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnback.adapters.journal.BUSY_SECONDS", 0.1)
    journal._connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(SourceError):
        SqliteJournal(journal.path)  # waits for the lock, gives up, closes
    code = (
        "import apsw, sys\n"
        "c = apsw.Connection(sys.argv[1])\n"
        "try: c.execute('BEGIN IMMEDIATE')\n"
        "except apsw.BusyError: print('busy')\n"
    )
    opened = subprocess.run(
        [sys.executable, "-c", code, str(journal.path)], capture_output=True, text=True, check=True
    )
    assert opened.stdout == "busy\n"
    journal._connection.execute("ROLLBACK")


def test_another_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE users (id INTEGER)").fetchall()
    connection.close()
    with pytest.raises(SourceError, match="not a turnback journal"):
        SqliteJournal(path)
    text = tmp_path / "notes.txt"
    text.write_text("not a database at all, " * 100)
    with pytest.raises(SourceError, match="not a turnback journal"):
        SqliteJournal(text)
    assert text.read_text().startswith("not a database")


def test_a_newer_format_is_refused(journal: SqliteJournal) -> None:
    other = apsw.Connection(str(journal.path))
    other.pragma("user_version", 2)
    other.close()
    with pytest.raises(SourceError, match="format 2, this turnback knows 1"):
        SqliteJournal(journal.path)


def test_a_full_disk_is_said_and_the_journal_goes_on_afterwards(journal: SqliteJournal) -> None:
    kept = journal.append("x", {"n": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        with pytest.raises(DiskFull) as caught:
            journal.append("x", {"n": "much" * 10_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)
    assert "turnback resume" in caught.value.hint
    assert journal.records() == [kept]
    assert journal.append("x", {"n": 2}).sequence == 2


def test_the_body_is_readable_with_any_sqlite_tool(journal: SqliteJournal) -> None:
    journal.append("step", {"step": "gate", "ok": True}, run="r")
    other = apsw.Connection(str(journal.path))
    ((kind, run, body),) = other.execute("SELECT kind, run, body FROM record").fetchall()
    other.close()
    assert (kind, run, json.loads(body)) == ("step", "r", {"step": "gate", "ok": True})


# ---- where the state may lie ---------------------------------------------------------------------


def memory_folder() -> Path:
    found = [p.mountpoint for p in psutil.disk_partitions(all=True) if p.fstype == "tmpfs"]
    if not found:
        pytest.skip("no tmpfs is mounted here")
    return Path(found[0])


def test_memory_is_refused_unless_allowed() -> None:
    folder = memory_folder() / "not/there/yet"
    assert filesystem(folder) == "tmpfs"
    with pytest.raises(ConfigError, match="tmpfs") as caught:
        refuse_filesystem(folder)
    assert "allow_any_filesystem" in caught.value.hint
    refuse_filesystem(folder, allow=True)


@pytest.mark.parametrize("kind", ["overlay", "nfs4", "cifs"])
def test_the_innermost_and_latest_mount_decides(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mounts(*mounted: tuple[str, str]) -> None:
        found = [psutil._ntuples.sdiskpart("dev", point, fstype, "rw") for point, fstype in mounted]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: found)

    mounts(("/", kind), (str(tmp_path), "ext4"))
    refuse_filesystem(tmp_path / "state")
    mounts(("/", "ext4"), (str(tmp_path), kind), (str(tmp_path / "statement"), "ext4"))
    with pytest.raises(ConfigError, match=kind):
        refuse_filesystem(tmp_path / "state")
    mounts((str(tmp_path), "ext4"), (str(tmp_path), kind))
    with pytest.raises(ConfigError, match=kind):
        refuse_filesystem(tmp_path / "state")
