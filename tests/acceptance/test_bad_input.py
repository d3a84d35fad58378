"""Bad input: one clear line and a hint, exit status not 0, nothing half-done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from psycopg import conninfo

from bench_app import Bench
from turnback.adapters.postgres.embedded import EmbeddedPostgres


@pytest.fixture
def bench(tmp_path: Path, database) -> Iterator[Bench]:
    made = Bench(tmp_path / "b", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    try:
        yield made
    finally:
        made.stop_guard()


def said(text: str, *parts: str) -> None:
    """An error line and a hint line, and each part somewhere in them."""
    lines = text.splitlines()
    assert any(line.startswith("error: ") for line in lines), text
    assert any(line.startswith("hint:") for line in lines), text
    for part in parts:
        assert part in text, text


def tables_in(database) -> list[str]:
    rows = database.connect().execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return [r[0] for r in rows]


# ---- the SQLite file ----


def test_missing_file(bench: Bench) -> None:
    bench.path.unlink()
    said(bench.refused("assess"), "app.db", "no such file")


def test_not_a_sqlite_file(bench: Bench) -> None:
    bench.path.write_text("this is no database, only a text that is long enough to be read as a header\n" * 20)
    said(bench.refused("assess"), "not a SQLite database")


def test_empty_file(bench: Bench) -> None:
    bench.path.write_bytes(b"")
    said(bench.refused("assess"), "empty")


def test_corrupt_file(bench: Bench) -> None:
    with apsw.Connection(os.fspath(bench.path)) as db:
        for _ in db.execute("PRAGMA wal_checkpoint(TRUNCATE)"):
            pass
    size = bench.path.stat().st_size
    with bench.path.open("r+b") as f:
        f.seek(4096)
        f.write(b"\xff" * (size - 4096))
    said(bench.refused("assess"), "corrupt")


def test_locked_file(bench: Bench) -> None:
    """A rollback-journal database held by an exclusive transaction for longer than the timeout."""
    db = apsw.Connection(os.fspath(bench.path))
    for _ in db.execute("PRAGMA journal_mode=DELETE"):
        pass
    db.execute("BEGIN EXCLUSIVE")
    try:
        said(bench.refused("assess"), "locked")
    finally:
        db.execute("ROLLBACK")
        db.close()


def test_a_stranger_holds_the_file(bench: Bench) -> None:
    bench.ok("assess")
    bench.ok("migrate")
    code = "import sqlite3,sys,time; c=sqlite3.connect(sys.argv[1]); c.execute('select count(*) from team').fetchall(); print('up',flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, os.fspath(bench.path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline()
        said(bench.refused("cutover", "--yes", status=1), f"pid {holder.pid}")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert bench.ok("status")["phase"] == "migrated"
    with apsw.Connection(os.fspath(bench.path)) as db:
        db.execute("INSERT INTO team VALUES (9, 'green')")


# ---- PostgreSQL ----


def test_wrong_host(bench: Bench) -> None:
    text = bench.refused("assess", env={"APP_URL": "postgresql://a:secret@127.0.0.1:1/x", "ADMIN_URL": "postgresql://a:secret@127.0.0.1:1/x"})
    assert "rights.connect" in text and "127.0.0.1:1" in text and "secret" not in text, text


def test_wrong_password(bench: Bench, database) -> None:
    wrong = conninfo.make_conninfo(database.admin_dsn, password="surely-wrong-1")
    text = bench.refused("assess", env={"ADMIN_URL": wrong})
    assert "password" in text and "surely-wrong-1" not in text, text


def test_a_pooler_as_admin_url(bench: Bench) -> None:
    text = bench.refused("assess", env={"ADMIN_URL": "postgresql://a:b@db-pooler.example.invalid:5432/x"})
    assert "is a connection pooler" in text and "direct address" in text and ":b@" not in text, text


@pytest.fixture
def poor(database) -> Iterator[str]:
    """The DSN of a role that may connect and nothing else."""
    admin = database.connect()
    role = f"poor_{database.name}"
    admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'poor-pw-1'")
    admin.execute("REVOKE ALL ON SCHEMA public FROM public")
    yield conninfo.make_conninfo(database.admin_dsn, user=role, password="poor-pw-1")
    admin.execute(f"DROP OWNED BY {role}")
    admin.execute(f"DROP ROLE {role}")


def test_missing_privileges_are_all_named_at_once(bench: Bench, poor: str, database) -> None:
    text = bench.refused("assess", env={"ADMIN_URL": poor}, status=3)
    assert "REPLICATION" in text and "CREATE" in text, text
    assert "poor-pw-1" not in text
    assert tables_in(database) == []


@pytest.mark.parametrize(
    ("settings", "part"),
    [({"wal_level": "replica"}, "wal_level"), ({"max_replication_slots": "0"}, "max_replication_slots")],
    ids=["wal_level_replica", "no_free_slot"],
)
def test_server_settings(tmp_path: Path, settings: dict[str, str], part: str) -> None:
    running = EmbeddedPostgres(tmp_path / "server", settings={"shared_buffers": "16MB"} | settings)
    running.ensure_running()
    try:
        bench = Bench(tmp_path / "b", running.app_dsn(), running.admin_dsn())
        assert part in bench.refused("assess", status=3)
    finally:
        running.remove()


def test_target_schema_not_empty(bench: Bench, database) -> None:
    bench.ok("assess")
    admin = database.connect()
    admin.execute("CREATE TABLE public.person (id int)")
    admin.execute("INSERT INTO public.person VALUES (7)")
    said(bench.refused("migrate"), "not empty", "person")
    assert admin.execute("SELECT id FROM public.person").fetchall() == [(7,)]


def test_an_open_transaction_blocks_the_slot(bench: Bench, database) -> None:
    config = bench.folder / "turnback.toml"
    config.write_text(config.read_text().replace("slot_timeout_seconds = 20", "slot_timeout_seconds = 1"))
    bench.ok("assess")
    bench.ok("migrate")
    blocker = database.connect(autocommit=False)
    blocker.execute("CREATE TABLE public.elsewhere (x int)")
    pid = blocker.info.backend_pid
    said(bench.refused("cutover", "--yes", status=1), str(pid))
    blocker.rollback()
    assert bench.ok("status")["phase"] == "migrated"
    with apsw.Connection(os.fspath(bench.path)) as db:
        db.execute("INSERT INTO team VALUES (9, 'green')")
    left = database.connect().execute("SELECT count(*) FROM pg_replication_slots WHERE database = %s", [database.name]).fetchone()
    assert left == (0,)


# ---- configuration, phases, two at once ----


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('path = "app.db"', 'pth = "app.db"', ("line 2", "pth", "did you mean path")),
        ("busy_seconds = 1", 'busy_seconds = "1"', ("line 3", "busy_seconds")),
        ("[postgres]", "[postgres", ("line 8",)),
        ('url = "env:APP_URL"', 'url = "postgresql://u:hunter2@h/d"', ("line 9", "password")),
    ],
)
def test_malformed_configuration(bench: Bench, old: str, new: str, parts: tuple[str, ...]) -> None:
    path = bench.folder / "turnback.toml"
    path.write_text(path.read_text().replace(old, new))
    text = bench.refused("assess", status=2)
    said(text, *parts)
    assert "hunter2" not in text


def test_no_configuration(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "turnback", "status"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    said(done.stderr, "turnback.toml", "turnback init")


@pytest.mark.parametrize("command", ["migrate", "cutover", "rollback", "verify", "plan"])
def test_commands_in_the_wrong_phase(bench: Bench, command: str) -> None:
    said(bench.refused(command, status=2), "turnback assess" if command != "verify" else "phase new")


def test_unknown_command_and_option(bench: Bench) -> None:
    said(bench.refused("migrat", status=2))
    said(bench.refused("migrate", "--agian", status=2))


def test_two_turnbacks_at_once(bench: Bench) -> None:
    """The second is told who holds the lease."""
    bench.ok("assess")
    first = subprocess.Popen([sys.executable, "-m", "turnback", "guard"], cwd=bench.folder, env=bench.environment, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while '"guard_started"' not in bench.turnback("status", "--json").stdout and bench.ok("status")["guard"] is None:
            assert time.monotonic() < deadline
        said(bench.refused("guard", status=1), f"pid {first.pid}")
    finally:
        first.terminate()
        first.wait(60)
        assert first.stderr is not None
        first.stderr.close()


# ---- disk full ----


def test_disk_full_while_the_snapshot_is_taken_is_said_and_resumed(bench: Bench) -> None:
    """RLIMIT_FSIZE: the snapshot does not fit; with room again, resume ends it."""
    with apsw.Connection(os.fspath(bench.path)) as db:
        db.execute("INSERT INTO person (name, picture) VALUES ('big', zeroblob(8000000))")
    bench.ok("assess")
    code = (
        "import resource,signal,sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000000, 4000000));"
        "sys.argv=['turnback','migrate']; from turnback.entrypoints.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=bench.folder, env=bench.environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    said(done.stderr, "turnback resume")
    assert "Traceback" not in done.stderr
    assert bench.ok("resume")["phase"] == "migrated"


def test_disk_full_while_applying_stops_capture_and_says_so(bench: Bench, database) -> None:
    """The fallback may not grow: capture stops before the transaction, readiness turns false."""
    bench.ok("assess")
    bench.ok("migrate")
    code = (
        "import resource,signal,sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000000, 6000000));"
        "sys.argv=['turnback','guard']; from turnback.entrypoints.cli import main; main()"
    )
    guard = subprocess.Popen([sys.executable, "-c", code], cwd=bench.folder, env=bench.environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while bench.ok("status")["guard"] is None:
            assert time.monotonic() < deadline
        bench.ok("cutover", "--yes")
        app = database.connect(app=True)
        app.execute("INSERT INTO public.person (name, picture, active) VALUES ('big', %s, true)", [os.urandom(9_000_000)])
        deadline = time.monotonic() + 60
        status = bench.ok("status")
        while not any("capture stopped" in reason for reason in status["reasons"]):
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
            status = bench.ok("status")
        assert status["ready"] is False
    finally:
        guard.terminate()
        guard.wait(60)
    bench.ok("rollback", "--yes")  # with room again, by this process
    with apsw.Connection(os.fspath(bench.path), flags=apsw.SQLITE_OPEN_READONLY) as db:
        assert db.execute("SELECT length(picture) FROM person WHERE name = 'big'").fetchall() == [(9_000_000,)]
    shutil.rmtree(bench.state)
