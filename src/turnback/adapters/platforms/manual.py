"""Platform `manual`: a person starts and stops the application; turnback says when, and waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from turnback.adapters.platforms.environment import ENGINE
from turnback.adapters.platforms.switches import Switches
from turnback.errors import PlatformError
from turnback.ports import Announce, Journal, Platform, Side

Confirm = Callable[[str], bool]


class ManualPlatform(Platform):
    """See ports.Platform.

    `confirm` asks on a terminal and returns the answer; None where nobody can be asked. Then `assume_yes`
    (--yes) says that whoever calls turnback has done what it announces, else every step is refused.
    `running` is what the journal says was announced and confirmed last.
    """

    name = "manual"

    def __init__(
        self, announce: Announce, confirm: Confirm | None, journal: Journal, *, assume_yes: bool = False
    ) -> None:
        self._announce = announce
        self._confirm = confirm
        self._assume_yes = assume_yes
        self._switches = Switches(journal)

    def prepare(self, side: Side) -> None:
        for sentence in self.describe("prepare", side):
            self._announce(sentence)

    def stop(self, side: Side, *, graceful_seconds: float) -> None:
        self._ask("stop", side, "Is it stopped?")
        self._switches.stopped(side)

    def start(self, side: Side) -> None:
        self._switches.refuse_both(side)
        self._ask("start", side, "Is it started?")
        self._switches.started(side)

    def running(self, side: Side) -> bool:
        return self._switches.running(side)

    def supervise(self, side: Side) -> str | None:
        return None  # a person does

    def owned_pids(self) -> frozenset[int]:
        return frozenset()

    def describe(self, action: Literal["prepare", "stop", "start"], side: Side) -> list[str]:
        match action:
            case "prepare":
                return [f"Have the application's release for {ENGINE[side]} ready to be started."]
            case "stop":
                return [
                    f"Stop the application on {ENGINE[side]} now: its processes, workers, scheduled jobs."
                ]
            case "start":
                return [f"Start the application on {ENGINE[side]} now."]

    def _ask(self, action: Literal["stop", "start"], side: Side, question: str) -> None:
        for sentence in self.describe(action, side):
            self._announce(sentence)
        if self._assume_yes:
            return
        if self._confirm is None:
            raise PlatformError(
                f"nobody can be asked whether the application's {action} on {ENGINE[side]} was made",
                hint='run it in a terminal, or with --yes, or set [app] platform = "process" or "command"',
            )
        if not self._confirm(question):
            raise PlatformError(
                f"the application's {action} on {ENGINE[side]} was not confirmed",
                hint="run `turnback resume` when it is done",
            )
