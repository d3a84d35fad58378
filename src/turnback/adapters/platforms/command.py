"""Platform `command`: the user's own shell commands start and stop the application (systemd, compose ...)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from turnback.adapters.platforms.environment import Surroundings, open_log
from turnback.adapters.platforms.switches import Switches
from turnback.errors import PlatformError
from turnback.ports import Journal, Platform, Side

PREPARE_SECONDS = 1800.0  # a build or an image pull
COMMAND_SECONDS = 120.0
_TAIL_BYTES = 8192
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./?&~!^*()\[\]{}|<>;-]*")


@dataclass(frozen=True, slots=True)
class CommandSide:
    """Shell commands of one side, and the file that tells the application which side it is on."""

    start: str
    stop: str
    prepare: str | None = None
    available: str | None = None  # status 0: could be started now (its image is there, its unit is loaded)
    env: Mapping[str, str] = field(default_factory=dict)
    env_file: Path | None = None


class CommandPlatform(Platform):
    """See ports.Platform. `running` is what the journal says was done last: these commands do not tell."""

    name = "command"

    def __init__(
        self, sides: Mapping[Side, CommandSide], surroundings: Surroundings, journal: Journal
    ) -> None:
        self._sides = sides
        self._surroundings = surroundings
        self._switches = Switches(journal)

    def prepare(self, side: Side) -> None:
        """The slow work, then `available`: what is not there now would be missed in the window."""
        if command := self._sides[side].prepare:
            self._run(side, command, PREPARE_SECONDS)
        self.check_available(side)

    def check_available(self, side: Side) -> None:
        """Raises PlatformError when the side's `available` command fails. Part of readiness."""
        if command := self._sides[side].available:
            self._run(side, command, COMMAND_SECONDS)

    def stop(self, side: Side, *, graceful_seconds: float) -> None:
        self._run(side, self._sides[side].stop, COMMAND_SECONDS + graceful_seconds)
        self._switches.stopped(side)

    def start(self, side: Side) -> None:
        self._switches.refuse_both(side)
        configured = self._sides[side]
        if configured.env_file is not None:
            self._switch_env_file(side, configured.env_file)
        self._run(side, configured.start, COMMAND_SECONDS)
        self._switches.started(side)

    def running(self, side: Side) -> bool:
        return self._switches.running(side)

    def supervise(self, side: Side) -> str | None:
        return None  # whatever the commands talk to keeps the application alive

    def owned_pids(self) -> frozenset[int]:
        return frozenset()

    def describe(self, action: Literal["prepare", "stop", "start"], side: Side) -> list[str]:
        configured = self._sides[side]
        commands: list[str | None]
        match action:
            case "prepare":
                commands = [configured.prepare, configured.available]
            case "stop":
                commands = [configured.stop]
            case "start":
                env_file = configured.env_file
                written = f"write [app.{side}] env into {env_file}" if env_file else None
                commands = [written, configured.start]
        return [self._surroundings.command(c) for c in commands if c]

    def _run(self, side: Side, command: str, timeout: float) -> None:
        run_command(
            self._surroundings.command(command),
            self._surroundings.environment(side, self._sides[side].env),
            self._surroundings.log,
            timeout,
            cwd=self._surroundings.working_directory,
            secrets=self._surroundings.secrets(side),
        )

    def _switch_env_file(self, side: Side, path: Path) -> None:
        managed = {name for s in self._sides.values() for name in s.env} | {self._surroundings.url_env}
        values = self._surroundings.configured(side, self._sides[side].env)
        write_env_file(path, values, managed)


def run_command(
    command: str,
    env: Mapping[str, str],
    log: Path,
    timeout: float,
    *,
    cwd: Path | None = None,
    secrets: Sequence[str] = (),
) -> None:
    """Runs a shell command to its end, its output appended to the log.

    `env` is the whole environment. Raises PlatformError: status not 0 (with the last line that it wrote,
    without any of `secrets`), or not done in `timeout` seconds; then all of its group is killed. What it
    leaves running in the background (a daemon) is let be when it ended well.
    """
    output = open_log(log)
    try:
        os.write(output, f"--- {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} $ {command}\n".encode())
        begin = os.fstat(output).st_size
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as e:
            raise PlatformError(
                f"`{command}` cannot be started: {e.strerror}: {e.filename}",
                hint="check [app] working_directory in turnback.toml",
            ) from e
    finally:
        os.close(output)
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        raise PlatformError(
            f"`{command}` did not end within {timeout:.0f} s{_last_line(log, begin, secrets)}",
            hint=f"its output: {log}",
        ) from None
    except BaseException:  # Ctrl-C: nothing of ours goes on behind the prompt
        _kill_group(process)
        raise
    if status:
        ending = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        raise PlatformError(
            f"`{command}` {ending}{_last_line(log, begin, secrets)}", hint=f"its output: {log}"
        )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended at this very moment
    process.wait()


def _last_line(log: Path, begin: int, secrets: Sequence[str]) -> str:
    """`: ` and the last line written behind `begin`, or nothing."""
    with log.open("rb") as f:
        f.seek(max(begin, log.stat().st_size - _TAIL_BYTES))
        lines = f.read(_TAIL_BYTES).decode(errors="replace").split("\n")
    line = next((stripped for text in reversed(lines) if (stripped := text.strip())), "")
    for secret in secrets:
        line = line.replace(secret, "***")
    return f": {line}" if line else ""


def write_env_file(path: Path, values: Mapping[str, str], managed: set[str]) -> None:
    """Puts `values` into an environment file, in one step; its other lines stay as they are.

    `managed` are the variables of either side: those that are not in `values` go. The form is the one that
    systemd, compose and a shell read alike: NAME=value, in single quotes where it must be. A new file has
    mode 0600 (it may hold an address with its password), an existing one keeps mode and owner. Raises
    PlatformError: a value that this form cannot hold, or a file that cannot be written.
    """
    lines = [f"{name}={_quoted(name, value, path)}" for name, value in values.items()]
    path = path.resolve()  # a link stays one
    part = path.with_name(f".{path.name}.turnback-{os.getpid()}-{time.monotonic_ns()}")
    try:
        former = path.stat() if path.exists() else None
        kept = path.read_text().splitlines() if former else []
        kept = [line for line in kept if _variable(line) not in managed | set(values)]
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as f:
                f.write("\n".join([*kept, *lines]) + "\n")
                f.flush()
                if former is not None:
                    os.fchown(fd, former.st_uid, former.st_gid)
                    os.fchmod(fd, former.st_mode & 0o7777)
                os.fsync(fd)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not UTF-8"
        raise PlatformError(
            f"{path}: the environment file cannot be written: {reason}", hint="check owner and mode"
        ) from e


def _variable(line: str) -> str | None:
    match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", line)
    return match[1] if match else None


def _quoted(name: str, value: str, path: Path) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value or "\\" in value or not value.isprintable():
        raise PlatformError(
            f"{path}: the value of {name} has a quote, a backslash or a line break",
            hint="environment files hold no such value alike for every reader; choose another",
        )
    return f"'{value}'"
