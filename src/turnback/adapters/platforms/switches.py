"""Where a platform cannot see the application, what it last did to it, by the journal."""

from __future__ import annotations

from turnback.adapters.platforms.environment import OTHER, still_runs
from turnback.ports import Journal, Side

STARTED, STOPPED = "application_started", "application_stopped"


class Switches:
    """Before the first record the application runs on SQLite: nobody has moved it yet."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def refuse_both(self, side: Side) -> None:
        """Raises PlatformError where the application was not stopped on the other side."""
        if self.running(OTHER[side]):
            raise still_runs(OTHER[side])

    def started(self, side: Side) -> None:
        self._journal.append(STARTED, {"side": side})

    def stopped(self, side: Side) -> None:
        self._journal.append(STOPPED, {"side": side})

    def running(self, side: Side) -> bool:
        newest: dict[Side, tuple[int, bool]] = {"sqlite": (0, True), "postgres": (0, False)}
        for kind, running in ((STARTED, True), (STOPPED, False)):
            for record in self._journal.records(kind=kind):
                at: Side = record.body["side"]
                newest[at] = max(newest[at], (record.sequence, running))
        return newest[side][1]
