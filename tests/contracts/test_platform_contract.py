"""One suite over the platforms that act by themselves: process and command. A real application each time."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from turnback.adapters.journal import SqliteJournal
from turnback.adapters.platforms.command import CommandPlatform, CommandSide
from turnback.adapters.platforms.environment import Surroundings
from turnback.adapters.platforms.process import ProcessPlatform, ProcessSide
from turnback.errors import PlatformError
from turnback.ports import Platform, Side

URL = "postgresql://app:s3cret@db.internal/app"

# Writes what it was given, then lives until SIGTERM.
APPLICATION = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
seen = {k: os.environ[k] for k in ("DATABASE_URL", "ADMIN_URL", "DATABASE_PATH", "DSN") if k in os.environ}
print("up as", os.getpid(), flush=True)
with open("started", "a") as f:
    f.write(json.dumps({"pid": os.getpid(), "side": sys.argv[1], "cwd": os.getcwd(), "seen": seen}) + "\\n")
while True:
    time.sleep(60)
"""


@dataclass
class World:
    platform: Platform
    journal: SqliteJournal
    folder: Path
    log: Path

    def starts(self) -> list[dict[str, object]]:
        path = self.folder / "started"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def alive(self) -> list[int]:
        pids = [s["pid"] for s in self.starts()]
        return [p for p in pids if isinstance(p, int) and is_alive(p)]

    def await_starts(self, count: int) -> list[dict[str, object]]:
        await_true(lambda: len(self.starts()) >= count)
        return self.starts()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def await_true(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


ENV: dict[Side, dict[str, str]] = {
    "sqlite": {"DATABASE_PATH": "{sqlite_path}"},
    "postgres": {"DSN": "{postgres_url}"},
}


def process_platform(journal: SqliteJournal, around: Surroundings, app: Path) -> Platform:
    return ProcessPlatform(
        {
            side: ProcessSide((sys.executable, str(app), side), env, prepare=f"echo prepared {side}")
            for side, env in ENV.items()
        },
        around,
        journal,
    )


def command_platform(journal: SqliteJournal, around: Surroundings, app: Path) -> Platform:
    """As an init script would: a daemon with a pid file."""
    run = f"{shlex.quote(sys.executable)} {shlex.quote(str(app))}"
    stop = "test ! -f pid || { kill $(cat pid); while kill -0 $(cat pid) 2>&-; do sleep 0.01; done; rm pid; }"
    return CommandPlatform(
        {
            side: CommandSide(
                start=f"test -f pid || {{ setsid {run} {side} & echo $! > pid; }}",
                stop=stop,
                prepare=f"echo prepared {side}",
                available="test -d .",
                env=env,
            )
            for side, env in ENV.items()
        },
        around,
        journal,
    )


MAKERS = {"process": process_platform, "command": command_platform}


@pytest.fixture(params=sorted(MAKERS))
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    app = tmp_path / "app.py"
    app.write_text(APPLICATION)
    folder = tmp_path / "working directory"
    folder.mkdir()
    monkeypatch.setenv("DATABASE_URL", "postgresql://ours")  # as the guard itself was given it
    monkeypatch.setenv("ADMIN_URL", "postgresql://admin:hush@db/app")
    around = Surroundings(
        sqlite_path=tmp_path / "app.db",
        postgres_url=lambda: URL,
        url_env="DATABASE_URL",
        working_directory=folder,
        log=tmp_path / "state/app.log",
        withheld=frozenset({"ADMIN_URL"}),
    )
    with SqliteJournal(tmp_path / "state/journal.db") as journal:
        world = World(MAKERS[request.param](journal, around, app), journal, folder, around.log)
        try:
            yield world
        finally:
            for pid in world.alive():
                os.kill(pid, signal.SIGKILL)


def test_postgres_does_not_run_before_it_was_started(world: World) -> None:
    assert not world.platform.running("postgres")


def test_started_on_sqlite_it_sees_the_file_and_no_server(world: World) -> None:
    world.platform.start("sqlite")
    (start,) = world.await_starts(1)
    assert start["side"] == "sqlite"
    assert start["cwd"] == str(world.folder)
    assert start["seen"] == {"DATABASE_PATH": str(world.folder.parent / "app.db")}
    assert world.platform.running("sqlite") and not world.platform.running("postgres")
    assert world.platform.supervise("sqlite") is None


def test_started_on_postgres_it_gets_the_address_by_the_environment(world: World) -> None:
    world.platform.stop("sqlite", graceful_seconds=5)
    world.platform.start("postgres")
    (start,) = world.await_starts(1)
    assert start["seen"] == {"DATABASE_URL": URL, "DSN": URL}
    assert world.platform.running("postgres") and not world.platform.running("sqlite")


def test_start_may_be_repeated(world: World) -> None:
    world.platform.start("sqlite")
    world.await_starts(1)
    world.platform.start("sqlite")
    assert len(world.alive()) == 1
    assert len(world.starts()) == 1


def test_stop_leaves_no_process_and_may_be_repeated(world: World) -> None:
    world.platform.start("sqlite")
    world.await_starts(1)
    for _ in range(2):
        world.platform.stop("sqlite", graceful_seconds=5)
        assert world.alive() == []
        assert not world.platform.running("sqlite")


def test_there_and_back(world: World) -> None:
    for number, side in enumerate(("sqlite", "postgres", "sqlite"), start=1):
        world.platform.start(side)  # type: ignore[arg-type]
        assert world.await_starts(number)[-1]["side"] == side
        assert len(world.alive()) == 1
        world.platform.stop(side, graceful_seconds=5)  # type: ignore[arg-type]
    assert world.alive() == []


def test_it_never_runs_on_both_sides(world: World) -> None:
    world.platform.start("sqlite")
    world.await_starts(1)
    with pytest.raises(PlatformError, match="still runs on SQLite"):
        world.platform.start("postgres")
    assert [s["side"] for s in world.starts()] == ["sqlite"]
    assert not world.platform.running("postgres")


def test_prepare_runs_before_anything_is_stopped(world: World) -> None:
    world.platform.prepare("postgres")
    assert "prepared postgres\n" in world.log.read_text()
    assert not world.platform.running("postgres")


def test_output_goes_to_a_private_log(world: World) -> None:
    world.platform.start("sqlite")
    (start,) = world.await_starts(1)
    assert f"up as {start['pid']}" in world.log.read_text()
    assert world.log.stat().st_mode & 0o777 == 0o600


def test_no_secret_in_journal_or_description(world: World) -> None:
    world.platform.stop("sqlite", graceful_seconds=5)
    world.platform.start("postgres")
    world.await_starts(1)
    world.platform.stop("postgres", graceful_seconds=5)
    told = json.dumps([dict(r.body) for r in world.journal.records()])
    assert world.journal.records()
    for action in ("prepare", "stop", "start"):
        described = world.platform.describe(action, "postgres")  # type: ignore[arg-type]
        assert described and all(described)
        told += "".join(described)
    assert "s3cret" not in told


# ---- process only --------------------------------------------------------------------------------

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleeper = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"]
same = subprocess.Popen(sleeper)
group = subprocess.Popen(sleeper, process_group=0)
daemon = subprocess.Popen(sleeper, start_new_session=True)
print(*(p.pid for p in (same, group, daemon)), flush=True)
if sys.argv[1] == "leave":
    os._exit(7)
time.sleep(60)
"""


@dataclass
class Own:
    """A process platform whose command and clock the test chooses."""

    folder: Path
    journal: SqliteJournal
    now: float = 1000.0

    def platform(self, *command: str, prepare: str | None = None) -> ProcessPlatform:
        side = ProcessSide(command, prepare=prepare)
        around = Surroundings(
            self.folder / "app.db", lambda: URL, "DATABASE_URL", self.folder, self.folder / "app.log"
        )
        return ProcessPlatform(
            {"sqlite": side, "postgres": side}, around, self.journal, monotonic=lambda: self.now
        )

    def python(self, code: str, *arguments: str) -> ProcessPlatform:
        return self.platform(sys.executable, "-c", code, *arguments)

    def printed(self, lines: int = 1) -> list[int]:
        log = self.folder / "app.log"
        await_true(lambda: log.exists() and log.read_text().count("\n") >= lines)
        return [int(word) for word in log.read_text().split()]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    with SqliteJournal(tmp_path / "journal.db") as journal:
        yield Own(tmp_path, journal)
        for record in journal.records(kind="process_started"):
            try:
                os.killpg(record.body["pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass  # as it should be


def what_it_did(platform: Platform) -> str:
    deadline = time.monotonic() + 60
    while not (said := platform.supervise("sqlite")):
        assert time.monotonic() < deadline, "supervise did nothing"
        time.sleep(0.01)
    return said


def test_stop_kills_what_ignores_sigterm_wherever_it_went(own: Own) -> None:
    platform = own.python(STUBBORN, "stay")
    platform.start("sqlite")
    children = own.printed()
    assert set(children) < platform.owned_pids()
    began = time.monotonic()
    platform.stop("sqlite", graceful_seconds=0.3)
    assert 0.3 <= time.monotonic() - began < 30
    assert not any(is_alive(pid) for pid in children)
    stopped = own.journal.last("process_stopped")
    assert stopped is not None and stopped.body["forced"] is True


def test_what_a_dead_leader_left_is_ended_before_the_next_start(own: Own) -> None:
    platform = own.python(STUBBORN, "leave")
    platform.start("sqlite")
    children = own.printed()
    await_true(lambda: platform.supervise("sqlite") is not None)
    assert platform.running("sqlite")  # its children still are
    exited = own.journal.last("process_exited")
    assert exited is not None and exited.body["status"] == 7
    platform.start("sqlite")
    assert not any(is_alive(pid) for pid in children)
    platform.stop("sqlite", graceful_seconds=0.1)


BARE = """
import os, subprocess, sys, time
bare = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={})
print(bare.pid, flush=True)
"""


def test_a_child_without_the_marker_is_known_by_its_session(own: Own) -> None:
    platform = own.python(BARE)
    platform.start("sqlite")
    (child,) = own.printed()
    assert what_it_did(platform).endswith("it starts again in 1 s")
    assert platform.owned_pids() == {child}
    platform.stop("sqlite", graceful_seconds=5)
    assert not is_alive(child)


def test_a_session_number_given_to_another_is_not_ours(own: Own) -> None:
    stranger = ["/bin/sh", "-c", "sleep 60 >&- 2>&- & echo $! $$"]  # its leader is gone, as a daemon's is
    printed = subprocess.run(stranger, start_new_session=True, capture_output=True, text=True, check=True)
    pid, session = (int(word) for word in printed.stdout.split())
    try:
        assert os.getsid(pid) == session
        body = {"side": "sqlite", "pid": session, "birth": "1@an-earlier-boot", "marker": "0" * 32}
        own.journal.append("process_started", body)
        platform = own.python("")
        assert not platform.running("sqlite")
        platform.stop("sqlite", graceful_seconds=0)
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_dead_application_is_started_again_after_growing_pauses(own: Own) -> None:
    platform = own.python("import os; print(os.getpid(), flush=True)")
    platform.start("sqlite")
    waits = []
    for number in range(1, 8):
        assert len(own.printed(number)) == number
        said = what_it_did(platform)
        assert "ended with status 0; it starts again in" in said
        wait = float(said.split()[-2])
        waits.append(wait)
        own.now += wait - 0.01
        assert platform.supervise("sqlite") is None
        own.now += 0.02
        assert (platform.supervise("sqlite") or "").startswith("the application was started again (pid ")
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert len(own.printed(8)) == 8
    platform.stop("sqlite", graceful_seconds=1)
    assert platform.supervise("sqlite") is None
    assert own.printed(8) == own.printed()


def test_an_application_that_was_steady_is_started_again_at_once(own: Own) -> None:
    platform = own.python("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    platform.start("sqlite")
    for expected in ("1 s", "1 s"):
        own.now += 61
        pid = own.printed()[-1]
        os.kill(pid, signal.SIGKILL)
        said = what_it_did(platform)
        assert said.endswith(f"was ended by signal 9; it starts again in {expected}")
        own.now += 1
        assert platform.supervise("sqlite")
        await_true(lambda pid=pid: own.printed()[-1] != pid)  # type: ignore[misc]
    platform.stop("sqlite", graceful_seconds=1)


def test_supervise_never_starts_what_was_never_started(own: Own) -> None:
    platform = own.python("print(1, flush=True)")
    assert platform.supervise("sqlite") is None
    assert own.journal.records() == []


def test_another_platform_adopts_stops_and_never_starts_a_second(own: Own) -> None:
    first = own.python("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    first.start("sqlite")
    (pid,) = own.printed()
    second = own.python("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    assert second.supervise("sqlite") == f"the running application was adopted (pid {pid})"
    assert second.supervise("sqlite") is None
    second.start("sqlite")
    assert second.owned_pids() == {pid}
    second.stop("sqlite", graceful_seconds=5)
    assert not is_alive(pid)
    assert first.supervise("sqlite") is None
    assert own.printed() == [pid]


def test_a_number_given_to_another_process_is_not_ours(own: Own) -> None:
    platform = own.python("import time; print(1, flush=True); time.sleep(60)")
    platform.start("sqlite")
    record = own.journal.last("process_started")
    assert record is not None
    forged = dict(record.body) | {"birth": "1@another-boot", "marker": "0" * 32}
    own.journal.append("process_started", forged)
    assert not platform.running("sqlite")
    assert platform.owned_pids() == frozenset()
    platform.stop("sqlite", graceful_seconds=0)
    assert is_alive(record.body["pid"])
    os.killpg(record.body["pid"], signal.SIGKILL)


def test_a_stop_cut_short_is_finished_before_the_side_starts_again(own: Own) -> None:
    platform = own.python("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    platform.start("sqlite")
    (pid,) = own.printed()
    record = own.journal.last("process_started")
    assert record is not None
    own.journal.append("process_stopping", {"side": "sqlite", "marker": record.body["marker"]})
    own.python("").supervise("sqlite")
    assert own.printed() == [pid]
    platform.start("sqlite")
    assert not is_alive(pid)
    assert own.printed(2)[-1] != pid
    platform.stop("sqlite", graceful_seconds=1)


@pytest.mark.parametrize("command", ["no-such-program", "./app.db", "/"])
def test_a_command_that_cannot_be_executed_is_named(own: Own, command: str) -> None:
    (own.folder / "app.db").write_text("not a program")
    with pytest.raises(PlatformError, match=f"`{command} --flag` cannot be started: .") as caught:
        own.platform(command, "--flag").start("sqlite")
    assert "[app.sqlite] command" in caught.value.hint


def test_a_missing_working_directory_is_named(own: Own) -> None:
    around = Surroundings(own.folder / "a.db", lambda: URL, "U", own.folder / "gone", own.folder / "log")
    platform = ProcessPlatform({"sqlite": ProcessSide(("true",))}, around, own.journal)
    with pytest.raises(PlatformError, match="cannot be started: No such file or directory"):
        platform.start("sqlite")
    assert own.journal.records() == []
