"""Which checks have been answered properly at least once, at the address that they ask now.

One that never was may be asked at a wrong address: its failures say nothing of the application.
"""

from __future__ import annotations

from collections.abc import Mapping

from turnback.core.phases import Intent
from turnback.core.state import State
from turnback.core.watch.observation import Observation
from turnback.errors import TurnbackError
from turnback.ports import Journal

KIND = "check_proven"


class Proofs:
    """`targets` names what each check asks. What is proven stands in the journal: a guard that begins while
    the application is dead knows it too. Another target has to be proven anew.
    """

    def __init__(self, journal: Journal, targets: Mapping[str, str]) -> None:
        self._journal = journal
        self._targets = targets
        records = journal.records(kind=KIND) if targets else ()
        self._recorded = {
            r.body["check"] for r in records if targets.get(r.body["check"]) == r.body["target"]
        }
        self._proven = set(self._recorded)

    def unproven(self, state: State) -> tuple[str, ...]:
        return tuple(c for c in self._targets if c not in self._proven and not self._by_cutover(c, state))

    def take(self, o: Observation) -> bool:
        """Whether this proves a check that was not."""
        if o.probe not in self._targets or o.value is None or o.value.get("ok") is not True:
            return False
        if o.probe not in self._recorded:
            self._record(o.probe)
        new = o.probe not in self._proven
        self._proven.add(o.probe)
        return new

    def _record(self, check: str) -> None:
        try:
            self._journal.append(KIND, {"check": check, "target": self._targets[check]})
        except TurnbackError:
            return  # a full disk: it is proven all the same, and recorded by a later answer
        self._recorded.add(check)

    def _by_cutover(self, check: str, state: State) -> bool:
        """The cutover waits for a healthy answer; where that was asked of the same address it is proven."""
        cutover = state.last(Intent.CUTOVER)
        if check != "application" or cutover is None:
            return False
        answered = str(cutover.done.get("await_healthy", {}).get("health", ""))
        return answered.startswith(f"GET {self._targets[check]}: ")
