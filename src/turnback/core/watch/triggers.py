"""The triggers that count checks, starts, exits, connections and alerts. Those of rates are in rates.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from turnback.core.watch.observation import MetricsReading
from turnback.core.watch.rules import Consecutive, CrashLoop, NeverHealthy, PoolRule
from turnback.core.watch.sustained import Row, SomeOf
from turnback.core.watch.trigger import MOST_POINTS, Input, Trigger
from turnback.core.watch.verdict import Outcome

MOST_ALERTS = 1000  # fingerprints of one alert that fire at once
ALERT_LASTS_SECONDS = 180.0  # so long an alert counts after it was said: three of the exported repeats


class Health(Trigger):
    """So many failed checks in a row, of each probe for itself; a broken one hides no other's."""

    def __init__(self, name: str, rule: Consecutive, probes: tuple[str, ...]) -> None:
        super().__init__(name, probes, None, max(20, 4 * rule.failures))
        self.limit = float(rule.failures)
        self._rows = {probe: Row(rule.failures) for probe in probes}
        self._said: dict[str, tuple[Outcome, str]] = {}

    def _judge(self, seen: Input, value: Mapping[str, Any]) -> None:
        ok = bool(value["ok"])
        row = self._rows[seen.o.probe]
        row.step(seen.o.at, ok)
        self.acute = row.met
        self._said[seen.o.probe] = (Outcome.OK if ok else Outcome.BREACH, str(value.get("detail", "")))
        self._sum()

    def _broken(self, probe: str, outcome: Outcome, problem: str) -> None:
        self._said[probe] = (outcome, problem)
        self._sum()

    def again(self) -> None:
        self._rows = {probe: Row(row.needed) for probe, row in self._rows.items()}
        self.firing, self.since, self.value = False, None, 0.0

    def forget(self, probe: str) -> None:
        self._said.pop(probe, None)
        if self._said:  # the other probe knows
            self._sum()
        else:
            super().forget(probe)

    def _sum(self) -> None:
        for outcome in (Outcome.BREACH, Outcome.ERROR, Outcome.NO_DATA, Outcome.OK):
            of = [detail for said, detail in self._said.values() if said is outcome]
            if of:
                self.outcome, self._problem = outcome, of[0]
                break
        rows = self._rows.values()
        self.value = float(max(row.failed for row in rows))
        self.firing = any(row.firing for row in rows)
        self.since = min((row.since for row in rows if row.since is not None), default=None)

    def _sentence(self) -> str:
        probe, row = max(self._rows.items(), key=lambda item: (item[1].failed, item[1].firing))
        if row.failed:
            detail = self._said.get(probe, (Outcome.BREACH, ""))[1]
            what = f"{row.failed} checks" if row.failed != 1 else "1 check"
            return f"{what} of the {probe} in a row failed (limit {row.needed}): {detail}".removesuffix(": ")
        if row.firing:
            return f"{row.passed} of the {row.needed} ok checks of the {probe} in a row that end the breach"
        return "the newest check was ok"


class NeverHealthyTrigger(Trigger):
    """Seconds since a start without one ok check. A start while none was healthy begins nothing anew."""

    def __init__(self, rule: NeverHealthy) -> None:
        super().__init__("never-healthy", ("application", "process"), None, 100)
        self.limit = rule.seconds
        self.started_at: float | None = None
        self._starts: int | None = None
        self._ok_since: float | None = None

    def started(self, at: float) -> None:
        """The application was started, and is watched from `at` on."""
        if self.started_at is None or self._ok_since is not None:
            self.started_at, self._ok_since = at, None

    def _judge(self, seen: Input, value: Mapping[str, Any]) -> None:
        at = seen.o.at
        if seen.o.probe == "process":
            starts = int(value["starts"])
            if self._starts is not None and starts > self._starts:
                self.started(at)
            self._starts = starts
            return
        if value["ok"]:
            self.outcome, self.value = Outcome.OK, 0.0
            self._ok_since = at if self._ok_since is None else self._ok_since
            if not self.firing or at - self._ok_since >= (self.limit or 0.0):
                self.firing, self.since = False, None
            return
        if self.started_at is None or (self._ok_since is not None and not self.firing):
            self.outcome, self.value = Outcome.OK, 0.0  # it was healthy: application-health judges the rest
            return
        if self._ok_since is not None:  # healthy again, but not for long
            self.started_at, self._ok_since = at, None
        self.value = at - self.started_at
        self.outcome = Outcome.OK
        if self.value >= (self.limit or 0.0) or self.firing:
            self.outcome, self.firing = Outcome.BREACH, True
            self.acute = self.value >= (self.limit or 0.0)
            self.since = self.started_at if self.since is None else self.since

    def _broken(self, probe: str, outcome: Outcome, problem: str) -> None:
        if probe == "application":
            super()._broken(probe, outcome, problem)

    def _sentence(self) -> str:
        if self._ok_since is not None:
            return "a healthy answer came after the newest start"
        if self.started_at is None:
            return "no start was seen"
        seconds = self.value or 0.0
        return f"not one healthy answer in the {seconds:.0f} s since the start (limit {self.limit:g} s)"


class CrashLoopTrigger(Trigger):
    """So many exits of the application by itself within a time; over when there was none for that time."""

    def __init__(self, rule: CrashLoop) -> None:
        super().__init__("crash-loop", ("process",), 2 * rule.within_seconds, MOST_POINTS)
        self.limit = float(rule.exits)
        self._within = rule.within_seconds
        self._exits: int | None = None
        self._at_exits: deque[tuple[float, int]] = deque()

    def _judge(self, seen: Input, value: Mapping[str, Any]) -> None:
        at, exits = seen.o.at, int(value["exits"])
        if self._exits is not None and exits != self._exits:
            # A counter that fell has restarted with the guard: what it shows has happened since.
            self._at_exits.append((at, exits - self._exits if exits > self._exits else exits))
        self._exits = exits
        while self._at_exits and self._at_exits[0][0] <= at - self._within:
            self._at_exits.popleft()
        count = sum(n for _, n in self._at_exits)
        self.value = float(count)
        self.acute = count >= (self.limit or 0.0)
        self.outcome = Outcome.BREACH if self.acute else Outcome.OK
        if self.outcome is Outcome.BREACH:
            self.firing = True
            self.since = self._at_exits[0][0] if self.since is None else self.since
        elif count == 0:
            self.firing, self.since = False, None

    def _sentence(self) -> str:
        return (
            f"the application ended by itself {self.value or 0.0:.0f} times in the last {self._within:g} s"
            f" (limit {self.limit:.0f})"
        )


class PoolTrigger(Trigger):
    """Exhausted in so many of the last readings: in the application's own view, or in PostgreSQL's."""

    def __init__(self, rule: PoolRule) -> None:
        super().__init__("pool", ("metrics", "postgres"), None, max(20, 4 * rule.of))
        self.limit = float(rule.breaches)
        self._rule = rule
        self._some = {probe: SomeOf(rule.breaches, rule.of) for probe in self.fed_by}
        self._timeouts: float | None = None
        self._said: dict[str, str] = {}  # probe -> why its newest reading is one, or ""
        self._why = ""

    def _judge(self, seen: Input, value: Mapping[str, Any]) -> None:
        probe = seen.o.probe
        why = self._of_postgres(value) if probe == "postgres" else self._of_metrics(seen.reading)
        if why is None:
            self._broken(probe, Outcome.NO_DATA, "the application's metrics show no connection pool")
            return
        some_of = self._some[probe]
        some_of.step(seen.o.at, bool(why))
        self.acute = bool(why) and some_of.count >= some_of.needed
        self._said[probe] = why
        self._why = why or self._why
        some = self._some.values()
        self.value = float(max(s.count for s in some))
        self.firing = any(s.firing for s in some)
        self.since = min((s.since for s in some if s.since is not None), default=None)
        self.outcome = Outcome.BREACH if any(self._said.values()) else Outcome.OK

    def _broken(self, probe: str, outcome: Outcome, problem: str) -> None:
        self._said.pop(probe, None)
        if self._said:  # the other view still sees
            self.outcome = Outcome.BREACH if any(self._said.values()) else Outcome.OK
        else:
            super()._broken(probe, outcome, problem)

    def _of_metrics(self, reading: MetricsReading | None) -> str | None:
        """Why the pool is exhausted, "" where it is not, None where nothing is exported."""
        if reading is None:
            return None
        pool = reading.pool
        before, self._timeouts = self._timeouts, pool.timeouts
        if pool.waiting is None and pool.timeouts is None and (pool.size is None or pool.in_use is None):
            return None
        if pool.waiting is not None and pool.waiting > 0:
            return f"{pool.waiting:.0f} requests wait for a connection"
        if pool.timeouts is not None and before is not None and pool.timeouts != before:
            grown = pool.timeouts - before if pool.timeouts > before else pool.timeouts
            if grown > 0:
                return f"{grown:.0f} requests got no connection in time"
        full = pool.size is not None and pool.in_use is not None and pool.in_use >= pool.size > 0
        if full and pool.waiting is None:
            return f"all {pool.size:.0f} connections of the pool are in use"
        return ""

    @staticmethod
    def _of_postgres(value: Mapping[str, Any]) -> str:
        taken, most = value["connections"], value["max_connections"]
        if taken >= most:
            return f"PostgreSQL has {taken} of {most} connections taken"
        of_role, limit = value.get("role_connections"), value.get("role_limit")
        if limit is not None and limit >= 0 and of_role is not None and of_role >= limit:
            return f"the role has {of_role} of its {limit} connections taken"
        return ""

    def _sentence(self) -> str:
        if not self.value:
            return "connections are free"
        return (
            f"exhausted in {self.value:.0f} of the last {self._rule.of} readings"
            f" (limit {self._rule.breaches}): {self._why}"
        )


class AlertTrigger(Trigger):
    """An alert of Alertmanager: it has waited there already, so it fires at once, until it is resolved, or is
    not said again: of one that is inhibited when it ends Alertmanager never says that it is over.

    One that is known from before a run, or from a guard before, is no_data until Alertmanager says it again:
    it may be over by now, or be of the run's own making.
    """

    def __init__(self, name: str, alert: str) -> None:
        super().__init__(name, ("alert",), None, 50)
        self.outcome, self.limit, self.value = Outcome.OK, 1.0, 0.0
        self._alert = alert
        self._told = "Alertmanager has reported none"
        # fingerprint -> `at` of its last word, and its summary; or what it fired before, not said again since
        self._firing: dict[str, tuple[float, str]] = {}
        self._before: dict[str, tuple[float, str]] = {}

    def _judge(self, seen: Input, value: Mapping[str, Any]) -> None:
        if value["name"] != self._alert:
            return
        fingerprint = str(value.get("fingerprint", ""))
        fires, before = value["status"] == "firing", value.get("before")
        if not fires or before:
            self._firing.pop(fingerprint, None)
        elif len(self._firing) < MOST_ALERTS:
            self._firing[fingerprint] = (seen.o.at, str(value.get("summary", "")))
        if not fires or not before:
            self._before.pop(fingerprint, None)
        elif len(self._before) < MOST_ALERTS:
            self._before[fingerprint] = (seen.o.at, str(before))
        self._told = "Alertmanager has reported none"
        self._sum_up(seen.o.at)

    def pass_to(self, at: float) -> None:
        known = len(self._firing) + len(self._before)
        for said in (self._firing, self._before):
            for fingerprint in [f for f, (when, _) in said.items() if at - when > ALERT_LASTS_SECONDS]:
                del said[fingerprint]
        if len(self._firing) + len(self._before) < known:
            self._told = f"Alertmanager has not said {self._alert} again for {ALERT_LASTS_SECONDS:.0f} s"
            self._sum_up(at)

    def _sum_up(self, at: float) -> None:
        self.value = float(len(self._firing))
        self.firing = bool(self._firing)
        self.outcome = Outcome.BREACH if self.firing else Outcome.NO_DATA if self._before else Outcome.OK
        if self._before:
            _, since = next(iter(self._before.values()))
            self._problem = (
                f"{self._alert} fired before {since}; Alertmanager has not said yet whether it still does"
            )
        self.since = (self.since or at) if self.firing else None

    def fires(self, fingerprint: str) -> bool:
        """Whether Alertmanager has said that this one does."""
        return fingerprint in self._firing

    def _broken(self, probe: str, outcome: Outcome, problem: str) -> None:
        """Alerts are pushed: nothing heard is no alert."""

    def _sentence(self) -> str:
        if not self._firing:
            return self._told
        _, summary = next(iter(self._firing.values()))
        return f"Alertmanager reports {self._alert}: {summary}".removesuffix(": ")
