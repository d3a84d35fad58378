"""Which alerts fire, as far as Alertmanager has said: a state, of which its messages tell the changes.

It says once that an alert fires, and then not again for its repeat interval. What the guard was told before a
run, or before its own end, it therefore keeps in mind; whether that still holds, only Alertmanager can say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnback.core.watch.observation import Observation
from turnback.core.watch.shape import problem

MOST_STANDING = 1000


class Standing:
    """A fold of the observations of the probe `alert`."""

    def __init__(self) -> None:
        self._firing: dict[tuple[str, str], Mapping[str, Any]] = {}

    def take(self, o: Observation) -> None:
        """Observations of other probes say nothing here."""
        if o.probe != "alert" or o.value is None or problem(o) is not None:
            return
        key = (o.value["name"], str(o.value.get("fingerprint", "")))
        if o.value.get("status") != "firing":
            self._firing.pop(key, None)
        elif key in self._firing or len(self._firing) < MOST_STANDING:
            self._firing[key] = {**o.value, "fingerprint": key[1]}

    def again(self, before: str) -> list[Mapping[str, Any]]:
        """Values of observations that say: it fired before that, and was not resolved since."""
        return [{**value, "before": before} for value in self._firing.values()]
