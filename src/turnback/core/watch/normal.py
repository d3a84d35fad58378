"""After a rollback: from when on all is as it was. The same triggers judge, on the SQLite side."""

from __future__ import annotations

from typing import Any

from turnback.core.phases import Phase
from turnback.core.watch.baseline import Baseline
from turnback.core.watch.observation import Observation, Situation
from turnback.core.watch.rules import ALERT, Rules
from turnback.core.watch.verdict import Outcome, Verdict
from turnback.core.watch.watch import Watch

# These say that nothing has happened, which alone is no sign of health.
_SILENT_WHEN_FINE = ("never-healthy", "crash-loop")


class BackToNormal:
    """All that can be judged has to be ok for `seconds`, without a break.

    Not ok are: a breach, one that has not recovered, a probe that breaks, one that was configured and says
    nothing, an alert that fired before and was not resolved. Not judged, and named as such: triggers that are
    off, and rates with too small a sample. With nothing at all to judge it never becomes normal.
    """

    def __init__(self, rules: Rules, baseline: Baseline | None, seconds: float) -> None:
        self._watch = Watch(rules, baseline)
        self._seconds = seconds
        self._begun = False
        self._since: float | None = None
        self._done = False
        self.still: tuple[str, ...] = ("nothing was observed yet",)  # what is not normal, one sentence each

    def take(self, o: Observation) -> dict[str, Any] | None:
        """Once, when all has been ok for long enough: {"at", "utc", "since", "seconds", "judged":
        [Verdict.to_json()], "not_judged": {trigger: why}}.
        """
        if o.probe == "situation":
            return None  # here it is on SQLite, whatever run is still open
        if not self._begun:
            self._begun = True
            on_sqlite = Situation(Phase.ON_SQLITE.value).to_json()
            self._watch.take(Observation(o.at, o.utc, "situation", on_sqlite))
        self._watch.take(o)
        verdicts = self._watch.verdicts
        judged = [v for v in verdicts if v.outcome is Outcome.OK and not v.firing]
        self.still = self._not_normal(verdicts, judged)
        if self.still:
            self._since = None
            return None
        if self._since is None:
            self._since = o.at
        if self._done or o.at - self._since < self._seconds:
            return None
        self._done = True
        return {
            "at": o.at,
            "utc": o.utc.isoformat(),
            "since": self._since,
            "seconds": o.at - self._since,
            "judged": [v.to_json() for v in judged],
            "not_judged": {v.trigger: v.sentence for v in verdicts if v.outcome is not Outcome.OK},
        }

    def _not_normal(self, verdicts: tuple[Verdict, ...], judged: list[Verdict]) -> tuple[str, ...]:
        bad = [
            f"{v.trigger}: {v.sentence}"
            for v in verdicts
            if not v.off and (v.firing or v.outcome in (Outcome.BREACH, Outcome.ERROR) or _is_open(v))
        ]
        bad += [f"the probe {probe} has said nothing" for probe in self._watch.unheard]
        says = [v for v in judged if v.trigger not in _SILENT_WHEN_FINE and not v.trigger.startswith(ALERT)]
        if not bad and not says:
            return ("nothing can be judged: no probe of the application gives anything",)
        return tuple(bad)


def _is_open(v: Verdict) -> bool:
    """An alert that is known from before, and not whether it still fires."""
    return v.trigger.startswith(ALERT) and v.outcome is Outcome.NO_DATA
