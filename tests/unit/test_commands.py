"""Shell commands of the user's: how their failure is told; environment files; the manual platform."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from turnback.adapters.journal import SqliteJournal
from turnback.adapters.platforms.command import CommandPlatform, CommandSide, run_command, write_env_file
from turnback.adapters.platforms.environment import Surroundings
from turnback.adapters.platforms.maintenance import MaintenanceCommands, WithMaintenance
from turnback.adapters.platforms.manual import ManualPlatform
from turnback.errors import PlatformError

ENV = {"PATH": os.environ["PATH"]}


def test_a_failure_names_command_status_and_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(PlatformError) as caught:
        run_command("echo one; echo 'no route for s3cret'; echo; exit 3", ENV, log, 5, secrets=("s3cret",))
    assert str(caught.value).endswith("ended with status 3: no route for ***")
    assert str(log) in caught.value.hint
    run_command("echo fine >&2", ENV, log, 5)
    assert "one\nno route" in log.read_text() and log.read_text().endswith("fine\n")
    assert log.stat().st_mode & 0o777 == 0o600


def test_only_its_own_output_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("yesterday's line\n")
    with pytest.raises(PlatformError, match=r"`exit 1` ended with status 1$"):
        run_command("exit 1", ENV, tmp_path / "log", 5)
    with pytest.raises(PlatformError, match=r"was ended by signal 9: last$"):
        run_command("echo last; kill -9 $$", ENV, tmp_path / "log", 5)


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(PlatformError, match="did not end within 0 s: waiting"):
        run_command(
            "echo waiting; sleep 60 & echo $! > child; wait", ENV, tmp_path / "log", 0.3, cwd=tmp_path
        )
    assert time.monotonic() - began < 30
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{child}").exists()


def test_a_daemon_that_it_leaves_does_not_hold_it_up(tmp_path: Path) -> None:
    began = time.monotonic()
    run_command("sleep 60 & echo $! > child", ENV, tmp_path / "log", 20, cwd=tmp_path)
    assert time.monotonic() - began < 30
    os.kill(int((tmp_path / "child").read_text()), 9)


def test_prepare_fails_where_the_release_is_not_there(tmp_path: Path) -> None:
    around = Surroundings(tmp_path / "a.db", lambda: "postgresql://h/d", "U", tmp_path, tmp_path / "log")
    side = CommandSide(start="true", stop="true", available="echo image gone; false")
    with SqliteJournal(tmp_path / "j") as journal:
        platform = CommandPlatform({"sqlite": side, "postgres": side}, around, journal)
        assert platform.running("sqlite")  # nobody has moved it yet
        with pytest.raises(PlatformError, match="status 1: image gone"):
            platform.prepare("postgres")


def test_the_env_file_is_switched_and_the_rest_of_it_kept(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# ours\nSECRET_KEY=abc\nexport DATABASE_PATH=old.db\n")
    file.chmod(0o640)
    around = Surroundings(
        tmp_path / "app.db", lambda: "postgresql://u:p'w@h/d", "DATABASE_URL", tmp_path, tmp_path / "log"
    )
    sides = {
        "sqlite": CommandSide("cp .env seen", "true", env={"DATABASE_PATH": "{sqlite_path}"}, env_file=file),
        "postgres": CommandSide("true", "true", env={"MODE": "a b"}, env_file=file),
    }
    with SqliteJournal(tmp_path / "j") as journal:
        platform = CommandPlatform(sides, around, journal)  # type: ignore[arg-type]
        platform.start("sqlite")
        kept = "# ours\nSECRET_KEY=abc\n"
        assert (tmp_path / "seen").read_text() == f"{kept}DATABASE_PATH={tmp_path}/app.db\n"
        assert file.stat().st_mode & 0o777 == 0o640
        platform.stop("sqlite", graceful_seconds=1)
        with pytest.raises(PlatformError, match="the value of DATABASE_URL has a quote") as caught:
            platform.start("postgres")
        assert "p'w" not in str(caught.value)
        assert file.read_text() == f"{kept}DATABASE_PATH={tmp_path}/app.db\n"


@pytest.mark.parametrize("value", ["plain", "a b", "$HOME `x`", "#no comment", 'say "x"', "", "a=b?c=d", "é"])
def test_a_shell_reads_back_what_was_written(tmp_path: Path, value: str) -> None:
    file = tmp_path / "env"
    write_env_file(file, {"A": value}, {"A", "B"})
    assert file.stat().st_mode & 0o777 == 0o600
    read = subprocess.run(
        ["/bin/sh", "-c", f'. {shlex.quote(str(file))}; printf %s "$A"'], capture_output=True, check=True
    )
    assert read.stdout.decode() == value


def test_a_link_to_an_env_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("B=1\n")
    (tmp_path / "link").symlink_to("real")
    write_env_file(tmp_path / "link", {"A": "2"}, {"A"})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "B=1\nA=2\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]


def test_maintenance_goes_on_before_the_stop_and_off_after_the_start(tmp_path: Path) -> None:
    around = Surroundings(tmp_path / "a.db", lambda: "postgresql://h/d", "U", tmp_path, tmp_path / "log")
    side = CommandSide(start="echo start >> order", stop="echo stop >> order")
    commands = MaintenanceCommands(on="test ! -f broken && echo on >> order", off="echo off >> order")
    with SqliteJournal(tmp_path / "j") as journal:
        inner = CommandPlatform({"sqlite": side, "postgres": side}, around, journal)
        platform = WithMaintenance(inner, commands, around)
        assert platform.describe("stop", "sqlite") == [commands.on, side.stop]
        assert platform.describe("start", "postgres") == [side.start, commands.off]
        platform.stop("sqlite", graceful_seconds=1)
        platform.start("postgres")
        assert (tmp_path / "order").read_text().split() == ["on", "stop", "start", "off"]
        (tmp_path / "broken").touch()
        with pytest.raises(PlatformError, match="status 1"):
            platform.stop("postgres", graceful_seconds=1)
        assert platform.running("postgres")
        assert (tmp_path / "order").read_text().split() == ["on", "stop", "start", "off"]


def test_a_person_is_told_and_asked(tmp_path: Path) -> None:
    told: list[str] = []
    answers = iter([True, False])
    with SqliteJournal(tmp_path / "j") as journal:
        platform = ManualPlatform(told.append, lambda question: next(answers), journal)
        assert platform.running("sqlite") and not platform.running("postgres")
        platform.stop("sqlite", graceful_seconds=5)
        assert told == ["Stop the application on SQLite now: its processes, workers, scheduled jobs."]
        assert not platform.running("sqlite")
        with pytest.raises(PlatformError, match="was not confirmed"):
            platform.start("postgres")
        assert not platform.running("postgres")


def test_nobody_to_ask_is_refused_without_yes(tmp_path: Path) -> None:
    told: list[str] = []
    with SqliteJournal(tmp_path / "j") as journal:
        with pytest.raises(PlatformError, match="nobody can be asked") as caught:
            ManualPlatform(told.append, None, journal).stop("sqlite", graceful_seconds=0)
        assert "--yes" in caught.value.hint
        platform = ManualPlatform(told.append, None, journal, assume_yes=True)
        platform.stop("sqlite", graceful_seconds=0)
        assert not platform.running("sqlite")
        assert len(told) == 2
