"""[app.maintenance]: a page for the users while the application is stopped, whatever the platform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from turnback.adapters.platforms.command import COMMAND_SECONDS, run_command
from turnback.adapters.platforms.environment import Surroundings
from turnback.ports import Platform, Side


@dataclass(frozen=True, slots=True)
class MaintenanceCommands:
    on: str
    off: str


class WithMaintenance(Platform):
    """Another platform, with `on` run before each stop and `off` after each start.

    `on` that fails keeps the application running. `off` that fails is an error of the start, which may be
    repeated: the application itself is started once.
    """

    def __init__(self, platform: Platform, commands: MaintenanceCommands, surroundings: Surroundings) -> None:
        self.name = platform.name
        self._platform = platform
        self._commands = commands
        self._surroundings = surroundings

    def prepare(self, side: Side) -> None:
        self._platform.prepare(side)

    def stop(self, side: Side, *, graceful_seconds: float) -> None:
        self._run(side, self._commands.on)
        self._platform.stop(side, graceful_seconds=graceful_seconds)

    def start(self, side: Side) -> None:
        self._platform.start(side)
        self._run(side, self._commands.off)

    def running(self, side: Side) -> bool:
        return self._platform.running(side)

    def supervise(self, side: Side) -> str | None:
        return self._platform.supervise(side)

    def owned_pids(self) -> frozenset[int]:
        return self._platform.owned_pids()

    def describe(self, action: Literal["prepare", "stop", "start"], side: Side) -> list[str]:
        described = self._platform.describe(action, side)
        match action:
            case "stop":
                return [self._surroundings.command(self._commands.on), *described]
            case "start":
                return [*described, self._surroundings.command(self._commands.off)]
            case "prepare":
                return described

    def _run(self, side: Side, command: str) -> None:
        run_command(
            self._surroundings.command(command),
            self._surroundings.environment(side, {}),
            self._surroundings.log,
            COMMAND_SECONDS,
            cwd=self._surroundings.working_directory,
            secrets=self._surroundings.secrets(side),
        )
