"""Whose failure it is when nobody answers a check of the database, which the application is to answer."""

from __future__ import annotations

from turnback.core.watch.observation import Observation
from turnback.core.watch.sight import Sight

MOST_WITHHELD = 100


class Whose:
    """An application that answers nobody says nothing of its database: it is the one that is dead.

    Which of the two it is shows with the application's own check. The first unanswered ones of the database
    are withheld until then: an application that is asked less often is not taken for a dead database.
    """

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._withheld: list[Observation] = []

    def sift(self, o: Observation) -> tuple[Observation, ...]:
        """What the triggers are to take now, of `o` (which the sight has taken) and of what was withheld."""
        if o.probe == "application":
            return (o,) if self._dead() else (*self._released(), o)
        if not _unanswered(o):
            return (*self._released(), o)
        if self._dead():
            return ()
        if self._not_heard_since(o):
            if len(self._withheld) < MOST_WITHHELD:
                self._withheld.append(o)
            return ()
        return (*self._released(), o)

    def _released(self) -> list[Observation]:
        released, self._withheld = self._withheld, []
        return released

    def _dead(self) -> bool:
        seen = self._sight.probes.get("application")
        dead = seen is not None and seen.refused > 0 and seen.value is not None
        if not dead or seen is None or seen.value is None or seen.value.get("answered") is not False:
            return False
        self._withheld = []
        return True

    def _not_heard_since(self, o: Observation) -> bool:
        """Whether the application has said nothing since the database's checks began to fail, and will."""
        application, database = self._sight.probes.get("application"), self._sight.probes["database"]
        if application is None or self._sight.silent("application", o.at):
            return False
        return database.refused_since is not None and application.at <= database.refused_since


def _unanswered(o: Observation) -> bool:
    return o.value is not None and o.value.get("answered") is False
