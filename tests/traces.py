"""docs/traces.md: what the watch decides on hours of simulated observations, and when.

`make traces` writes it; a test makes it again and compares. Each trace is made by a fixed seed, with noise:
the number of requests, failures and durations vary from reading to reading, single checks fail.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import cos, exp, inf, pi
from typing import Any

from observing import BOUNDS, GOOD, baseline, check, observation
from turnback.core.watch.observation import (
    CauseCount,
    Latency,
    MetricsReading,
    Observation,
    Pool,
    RequestCount,
    Situation,
)
from turnback.core.watch.rules import Rules
from turnback.core.watch.verdict import Action, Decision
from turnback.core.watch.watch import replay
from turnback.core.watch.window import quantile

EVERY = 10.0  # seconds between two readings of a probe; of the server: half of it
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
MEANS = {"/": 0.03, "/jobs": 0.06, "/report": 0.3}  # mean durations by endpoint, seconds
SHARES = {"/": 0.6, "/jobs": 0.3, "/report": 0.1}
BASELINE = baseline(MEANS, shares=SHARES)
RULES = Rules(
    mode="enforce",
    intervals={
        "capture": EVERY / 2,
        "application": EVERY,
        "database": EVERY,
        "server": EVERY / 2,
        "metrics": EVERY,
        "slot": 60.0,
        "disk": 60.0,
    },
)


class Story:
    """An application with noise. `go` is so much more time of one state; `fault` marks where it gets ill."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.at = 0.0
        self.begun: float | None = None
        self.observations: list[Observation] = []
        self.shares: Mapping[str, float] = SHARES
        self.means: Mapping[str, float] = MEANS
        self.pool = Pool(size=20.0, in_use=4.0, waiting=0.0, timeouts=0.0)
        self.values: dict[str, Mapping[str, Any]] = {}  # of further probes, or what differs from what is good
        self.bounds: tuple[float, ...] = BOUNDS
        self.instances: tuple[str, ...] = ("",)
        self.wall = 0.0  # what a clock on the wall is ahead of one that never jumps
        self._requests: dict[tuple[str, str, str], int] = {}
        self._times: dict[str, list[int]] = {}
        self._causes: dict[str, int] = {}
        self.say("situation", Situation("on_postgres", None, -HOUR).to_json())

    def say(self, probe: str, value: Mapping[str, Any] | None, error: str | None = None) -> None:
        seen = observation(self.at, probe, value, error)
        self.observations.append(replace(seen, utc=seen.utc + timedelta(seconds=self.wall)))

    def fault(self) -> None:
        self.begun = self.at

    def restart(self) -> None:
        self._requests.clear()
        self._times.clear()
        self._causes.clear()

    def go(
        self,
        seconds: float,
        *,
        rate: float = 20.0,
        failing: float = 0.002,
        slower: float = 1.0,
        noise: float = 0.1,
        application: bool = True,
        database: bool = True,
        server: bool = True,
        metrics: str = "ok",
        cause: str = "database",
        slips: float = 0.002,
        stalls: float = 0.0,
        refused: float = 0.0,
        only: str = "",
    ) -> Story:
        """`slips`: the share of health checks that fail for no reason. `metrics`: ok, broken or off. `stalls`:
        the share of requests that take 2 s. `refused`: of those that are answered with 404. `only`: an endpoint
        or an instance, whose requests alone are the ones that fail.
        """
        end = self.at + seconds
        while self.at + EVERY / 2 <= end + 1e-6:
            self.at += EVERY / 2
            self.say("capture", GOOD["capture"] | self.values.get("capture", {}))
            self.say("server", self._check(server, "connect") | {"step": "connect"})
            if self.at % EVERY:
                continue
            if self.at % 60.0 == 0:
                self.say("slot", GOOD["slot"] | self.values.get("slot", {}))
                self.say("disk", GOOD["disk"])
            slipped = self.rng.random() < slips
            asked = {} if application else {"answered": False}
            self.say("application", self._check(application and not slipped, "no answer") | asked)
            self.say("database", self._check(database and application, "503") | asked)
            for probe, value in self.values.items():
                if probe not in GOOD:
                    self.say(probe, value)
            slow = slower * max(0.2, self.rng.gauss(1.0, noise))
            for instance in self.instances:
                self._serve(instance, rate / len(self.instances), failing, slow, cause, stalls, refused, only)
            if metrics == "ok":
                self.say("metrics", self._reading().to_json())
            elif metrics == "broken":
                self.say("metrics", None, "no answer")
        return self

    @staticmethod
    def _check(ok: bool, why: str) -> dict[str, Any]:
        return check(ok, "200" if ok else why)

    def _serve(
        self,
        instance: str,
        rate: float,
        failing: float,
        slower: float,
        cause: str,
        stalls: float,
        refused: float,
        only: str,
    ) -> None:
        for endpoint, share in self.shares.items():
            expected = rate * share * EVERY
            count = self._draw(expected)
            fails = failing if only in ("", endpoint, instance) else 0.0
            failed = count if fails >= 1 else min(count, self._draw(count * fails))
            away = round((count - failed) * refused)
            for status, n in (("200", count - failed - away), ("404", away), ("500", failed)):
                if n:
                    key = (endpoint, status, instance)
                    self._requests[key] = self._requests.get(key, 0) + n
            if failed:
                self._causes[cause] = self._causes.get(cause, 0) + failed
            if count:
                mean, times = (
                    self.means[endpoint] * slower,
                    self._times.setdefault(endpoint, [0] * len(self.bounds)),
                )
                stalled = round(count * stalls)
                for i, bound in enumerate(self.bounds):
                    quick = round((count - stalled) * (1 - exp(-bound / mean)))
                    times[i] += count if bound == inf else quick + (stalled if bound >= 2 else 0)

    def rename(self, status: str, name: str) -> None:
        """The same counter with another label, without a restart."""
        self._requests = {(e, name if s == status else s, at): n for (e, s, at), n in self._requests.items()}

    def _draw(self, expected: float) -> int:
        """About Poisson: a normal where there are many, single events where there are few."""
        if expected > 3:
            return max(0, round(self.rng.gauss(expected, expected**0.5)))
        whole = 0
        while expected > 0:
            whole += self.rng.random() < min(expected, 0.1)
            expected -= 0.1
        return whole

    def _reading(self) -> MetricsReading:
        return MetricsReading(
            tuple(RequestCount(e, s, float(n), at) for (e, s, at), n in self._requests.items()),
            tuple(Latency(e, self.bounds, tuple(map(float, t))) for e, t in self._times.items()),
            self.pool,
            tuple(CauseCount(c, float(n)) for c, n in self._causes.items()),
        )


@dataclass(frozen=True)
class Trace:
    """`expected`: (action, trigger) of each decision, in order. `soon`: seconds from the fault to the first."""

    name: str
    what: str
    expected: tuple[tuple[str, str], ...]
    tell: Callable[[Story], object]
    soon: float = 0.0
    rules: Rules = RULES

    def observations(self) -> tuple[list[Observation], float | None]:
        story = Story(self.name)
        self.tell(story)
        return story.observations, story.begun


TRACES: list[Trace] = []


def trace(
    what: str, *expected: str, soon: float = 0.0, rules: Rules = RULES
) -> Callable[[Callable[[Story], object]], Callable[[Story], object]]:
    """`expected` are words such as "rollback error-rate"."""

    def add(tell: Callable[[Story], object]) -> Callable[[Story], object]:
        pairs = tuple((e.split()[0], e.split()[1]) for e in expected)
        TRACES.append(Trace(tell.__name__.replace("_", " "), what, pairs, tell, soon, rules))
        return tell

    return add


# ---- nothing is to be done -----------------------------------------------------------------------


@trace("20 requests a second, 0.2 % fail, single checks fail, every reading differs")
def a_healthy_day(s: Story) -> None:
    s.go(DAY, slips=0.01, noise=0.15)


@trace("from 40 requests a second at noon to one in a minute at night, when only the slow reports run")
def day_and_night(s: Story) -> None:
    for minute in range(0, 24 * 60, 5):
        busy = (1 - cos(2 * pi * minute / (24 * 60))) / 2
        s.shares = {"/": 0.6 * busy, "/jobs": 0.3 * busy, "/report": 0.05 + 0.05 * busy}
        s.go(5 * MINUTE, rate=0.02 + 40 * busy)


@trace("six deploys: 30 s without an answer, then 40 s with a third failing, a minute twice as slow")
def deploys(s: Story) -> None:
    for _ in range(6):
        s.go(110 * MINUTE)
        s.go(30, rate=0, application=False, metrics="broken")
        s.restart()
        s.go(40, failing=0.33, slower=3).go(MINUTE, slower=2)


@trace("four checks fail, one is ok, for six hours")
def flapping_checks(s: Story) -> None:
    for _ in range(int(6 * HOUR / 50)):
        s.go(40, application=False).go(10, slips=0)


@trace("failures go up to 8 % and down to 3 % every three minutes, for six hours")
def around_the_limit(s: Story) -> None:
    for _ in range(60):
        s.go(3 * MINUTE, failing=0.08).go(3 * MINUTE, failing=0.03)


@trace("a request every 20 s; in one hour eight of ten fail")
def low_traffic(s: Story) -> None:
    s.go(6 * HOUR, rate=0.05, failing=0.02).go(HOUR, rate=0.05, failing=0.8).go(HOUR, rate=0.05)


@trace("no requests at all for eight hours")
def a_quiet_night(s: Story) -> None:
    s.go(HOUR).go(8 * HOUR, rate=0).go(HOUR)


@trace("2.5 times as slow for two to four minutes, three times an hour")
def a_noisy_neighbour(s: Story) -> None:
    for _ in range(18):
        s.go(16 * MINUTE).go(s.rng.choice([120, 180, 240]), slower=2.5)


@trace("half of all requests fail for four minutes")
def a_burst_of_four_minutes(s: Story) -> None:
    s.go(2 * HOUR).go(4 * MINUTE, failing=0.5).go(HOUR)


@trace("everything fails for 4:50")
def a_burst_just_below_five_minutes(s: Story) -> None:
    s.go(2 * HOUR).go(290, failing=1.0).go(HOUR)


@trace("PostgreSQL is restarted in 8 s: the sessions fail, requests fail, capture connects again")
def a_restart_of_postgresql(s: Story) -> None:
    for _ in range(4):
        s.go(HOUR)
        s.values["capture"] = {"state": "reconnecting"}
        s.go(10, server=False, database=False, failing=0.8)
        s.values["capture"] = {}
    s.go(HOUR)


@trace("3 % fail, and the application restarts every ten minutes")
def counter_resets(s: Story) -> None:
    for _ in range(36):
        s.go(10 * MINUTE, failing=0.03)
        s.restart()


@trace("ninety seconds without a reading in every ten minutes, with half of the requests failing in them")
def scrape_gaps(s: Story) -> None:
    for _ in range(36):
        s.go(510).go(90, metrics="off", failing=0.5)


@trace("three times as slow, from 4 ms to 12 ms: below the floor of 50 ms")
def slow_below_the_floor(s: Story) -> None:
    s.means = dict.fromkeys(MEANS, 0.004)
    s.go(HOUR).go(6 * HOUR, slower=3)


@trace("ten times the requests, and 30 % slower by it")
def a_surge(s: Story) -> None:
    s.go(2 * HOUR).go(2 * HOUR, rate=200, slower=1.3).go(HOUR)


@trace(
    "all clients come back at once after a deploy: five times the requests, four times as slow, a fifth fails, 3 min"
)
def a_thundering_herd(s: Story) -> None:
    for _ in range(3):
        s.go(40 * MINUTE).go(30, rate=0, application=False, metrics="broken")
        s.restart()
        s.go(3 * MINUTE, rate=100, slower=4, failing=0.2)
    s.go(20 * MINUTE)


@trace("a batch on the hour: twice the requests and four times as slow for three minutes")
def cron_on_the_hour(s: Story) -> None:
    for _ in range(6):
        s.go(3 * MINUTE, rate=40, slower=4).go(57 * MINUTE)


@trace("a robot asks for pages that are not there: four of five requests are answered with 404")
def a_flood_of_client_errors(s: Story) -> None:
    s.go(HOUR).go(2 * HOUR, rate=100, refused=0.8).go(30 * MINUTE)


@trace("every second health check fails, for three hours; all requests are answered")
def a_check_that_fails_every_second_time(s: Story) -> None:
    for _ in range(int(3 * HOUR / 20)):
        s.go(10, application=False).go(10, slips=0)


@trace("one of a hundred requests takes 2 s: nothing of it shows in the p95")
def slow_at_the_99th_percentile_only(s: Story) -> None:
    s.go(HOUR).go(2 * HOUR, stalls=0.01)


@trace("one endpoint of three fails whole, with 3 % of the requests, and nobody named it critical")
def one_small_endpoint_fails(s: Story) -> None:
    s.shares = {"/": 0.65, "/jobs": 0.32, "/report": 0.03}
    s.go(HOUR).go(2 * HOUR, failing=1.0, only="/report")


@trace("the wall clock is set back by an hour at three, and a day later forward again")
def the_clock_is_set(s: Story) -> None:
    s.go(3 * HOUR)
    s.wall = -HOUR
    s.go(2 * HOUR)
    s.wall = 0.0
    s.go(HOUR)


@trace("a release counts 5xx where the one before counted 500, and goes on from the same totals")
def a_counter_is_renamed(s: Story) -> None:
    s.go(6 * HOUR, failing=0.02)
    s.rename("500", "5xx")
    s.go(HOUR, failing=0.02)


@trace("a release has other, coarser buckets, and is as fast as the one before")
def other_buckets(s: Story) -> None:
    s.go(HOUR)
    s.restart()
    s.bounds = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, inf)
    s.go(3 * HOUR)


# ---- a person is told ----------------------------------------------------------------------------


@trace("gone for an hour", "page probe:metrics", "resolved probe:metrics", soon=2 * MINUTE)
def the_metrics_endpoint_vanishes(s: Story) -> None:
    s.go(2 * HOUR)
    s.fault()
    s.go(HOUR, metrics="broken").go(HOUR)


@trace(
    "40 % of the requests fail for half an hour because another service does; the database is ok",
    "recommend error-rate",
    "resolved error-rate",
    soon=6.5 * MINUTE,
    rules=replace(RULES, intervals=RULES.intervals | {"dependency:billing": EVERY}),
)
def a_dependency_fails(s: Story) -> None:
    s.values["dependency:billing"] = check(True)
    s.go(2 * HOUR)
    s.fault()
    s.values["dependency:billing"] = check(False)
    s.go(30 * MINUTE, failing=0.4)
    s.values["dependency:billing"] = check(True)
    s.go(HOUR)


@trace(
    "12 % fail, most of them counted by the application as another service's",
    "recommend error-rate",
    soon=6.5 * MINUTE,
    rules=replace(RULES, other_causes=("billing",)),
)
def failures_of_another_cause(s: Story) -> None:
    s.go(HOUR)
    s.fault()
    s.go(20 * MINUTE, failing=0.12, cause="billing")


@trace("gone, and nothing may be lost (RPO 0)", "hold database-health", soon=15)
def postgresql_is_destroyed(s: Story) -> None:
    s.go(2 * HOUR)
    s.fault()
    for second in range(0, 1800, 10):
        s.values["capture"] = {"state": "reconnecting", "contact_age_seconds": float(second + 1)}
        s.go(10, server=False, database=False, failing=1.0)


@trace(
    "gone for 40 s, and back before it could be drained",
    "hold database-health",
    "resolved database-health",
    soon=15,
)
def a_slow_restart_of_postgresql(s: Story) -> None:
    s.go(2 * HOUR)
    s.fault()
    for second in range(0, 40, 10):
        s.values["capture"] = {"state": "reconnecting", "contact_age_seconds": float(second + 1)}
        s.go(10, server=False, database=False, failing=1.0)
    s.values["capture"] = {}
    s.go(HOUR)


# ---- a rollback ----------------------------------------------------------------------------------


@trace("refuses every connection", "rollback application-health", soon=50)
def sudden_death(s: Story) -> None:
    s.go(2 * HOUR)
    s.fault()
    s.go(10 * MINUTE, application=False, metrics="broken", rate=0)


@trace(
    "ends by itself every 30 s, and is started again",
    "rollback crash-loop",
    soon=2 * MINUTE,
    rules=replace(RULES, intervals=RULES.intervals | {"process": EVERY}),
)
def a_crash_loop(s: Story) -> None:
    s.values["process"] = {"starts": 1, "exits": 0, "started": True}
    s.go(HOUR)
    s.fault()
    for n in range(1, 12):
        s.values["process"] = {"starts": 1 + n, "exits": n, "started": True}
        s.restart()
        s.go(20, failing=0.1).go(10, application=False, metrics="broken")


@trace("a right was revoked: 30 % fail from then on", "rollback error-rate", soon=6.5 * MINUTE)
def lasting_failures(s: Story) -> None:
    s.go(2 * HOUR)
    s.fault()
    s.go(15 * MINUTE, failing=0.3)


@trace("6 % fail, just over the limit, with noise", "rollback error-rate", soon=20 * MINUTE)
def just_over_the_limit(s: Story) -> None:
    s.go(2 * HOUR)
    s.fault()
    s.go(2 * HOUR, failing=0.065, rate=60)


@trace("in one step, on every route", "rollback latency", soon=7 * MINUTE)
def sixty_percent_slower(s: Story) -> None:
    s.go(2 * HOUR)
    s.fault()
    s.go(30 * MINUTE, slower=1.65, noise=0.03)


@trace("a little slower every minute, twice as slow after eight hours", "rollback latency", soon=6 * HOUR)
def a_slow_leak(s: Story) -> None:
    s.go(HOUR)
    s.fault()
    for minute in range(8 * 60):
        s.go(MINUTE, slower=1 + minute / (8 * 60), noise=0.05)


@trace("one connection more every ten minutes, until requests wait", "rollback pool", soon=3 * HOUR)
def the_pool_fills_up(s: Story) -> None:
    s.go(HOUR)
    s.fault()
    for taken in range(4, 24):
        s.pool = Pool(
            size=20.0, in_use=float(min(taken, 20)), waiting=float(max(0, taken - 20)), timeouts=0.0
        )
        s.go(10 * MINUTE)


@trace(
    "the path from the application is cut; the guard still reaches PostgreSQL",
    "rollback database-health",
    soon=30,
)
def the_application_loses_its_database(s: Story) -> None:
    s.go(2 * HOUR)
    s.fault()
    s.go(2 * MINUTE, database=False, failing=1.0)


@trace("clients repeat what fails: 60 % of four times the requests", "rollback error-rate", soon=6.5 * MINUTE)
def a_storm_of_retries(s: Story) -> None:
    s.go(HOUR)
    s.fault()
    s.go(15 * MINUTE, rate=80, failing=0.6)


@trace("one of three instances fails every request that it gets", "rollback error-rate", soon=6.5 * MINUTE)
def one_instance_of_three_fails(s: Story) -> None:
    s.instances = ("a", "b", "c")
    s.go(HOUR)
    s.fault()
    s.go(15 * MINUTE, failing=1.0, only="b")


@trace(
    "3 % of the requests, and all of them are payments",
    "rollback error-rate",
    soon=7 * MINUTE,
    rules=replace(RULES, critical_endpoints=("/report",)),
)
def a_critical_endpoint_fails(s: Story) -> None:
    s.shares = {"/": 0.65, "/jobs": 0.32, "/report": 0.03}
    s.go(HOUR)
    s.fault()
    s.go(15 * MINUTE, failing=1.0, only="/report")


@trace("other buckets, and twice as slow with them", "rollback latency", soon=7 * MINUTE)
def slower_with_other_buckets(s: Story) -> None:
    s.go(HOUR)
    s.restart()
    s.bounds = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, inf)
    s.go(HOUR)
    s.fault()
    s.go(20 * MINUTE, slower=2.2, noise=0.03)


@trace("half of all health checks fail, at random", "rollback application-health", soon=30 * MINUTE)
def a_check_that_fails_half_the_time(s: Story) -> None:
    s.go(HOUR)
    s.fault()
    s.go(30 * MINUTE, slips=0.5)


# ---- the literal reading -------------------------------------------------------------------------


def literal(observations: Sequence[Observation]) -> list[float]:
    """When the runbook's thresholds would have rolled back, read as they stand: the begin of each episode.

    3 and 5 failed checks, a check that could not be made among them. Each reading of the metrics for itself:
    over 5 % failed in every one of 5 minutes; p95 of all requests over 1.5 times the baseline's; waiters in
    the pool. A reading without requests shows nothing wrong. No sample size, no floor, no routes.
    """
    episodes: list[float] = []
    failed = {"application": 0, "database": 0, "server": 0}
    needed = {"application": 5, "database": 3, "server": 3}
    over_since: float | None = None
    was = False
    before: MetricsReading | None = None
    slow = waits = False
    for o in observations:
        if o.probe in failed:
            ok = o.value is not None and o.value["ok"]
            failed[o.probe] = 0 if ok else failed[o.probe] + 1
        elif o.probe == "metrics" and o.value is not None:
            now = MetricsReading.from_json(o.value)
            if before is not None:
                share, p95 = _grown(before, now)
                over_since = (over_since if over_since is not None else o.at) if share > 0.05 else None
                slow = p95 is not None and p95 > 1.5 * BASELINE.p95_seconds
            waits = bool(now.pool.waiting)
            before = now
        bad = (
            any(failed[p] >= needed[p] for p in failed)
            or (over_since is not None and o.at - over_since > 300)
            or slow
            or waits
        )
        if bad and not was:
            episodes.append(o.at)
        was = bad
    return episodes


def _grown(before: MetricsReading, now: MetricsReading) -> tuple[float, float | None]:
    old = {(r.endpoint, r.status, r.instance): r.total for r in before.requests}
    grown = {
        (r.endpoint, r.status, r.instance): max(0.0, r.total - old.get((r.endpoint, r.status, r.instance), 0))
        for r in now.requests
    }
    total = sum(grown.values())
    failed = sum(n for (_, status, _), n in grown.items() if status.startswith("5"))
    olds = {h.endpoint: h.totals for h in before.latencies}
    bounds = now.latencies[0].bounds if now.latencies else BOUNDS
    none = (0.0,) * len(bounds)
    if any(len(t) != len(bounds) for t in olds.values()):
        olds = {}
    counts = [
        sum(max(0.0, h.totals[i] - olds.get(h.endpoint, none)[i]) for h in now.latencies)
        for i in range(len(bounds))
    ]
    return (failed / total if total else 0.0), quantile(bounds, counts, 0.95)


# ---- the page ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    trace: Trace
    hours: float
    observations: int
    decisions: tuple[Decision, ...]
    begun: float | None
    literal: tuple[float, ...]

    @property
    def decided(self) -> tuple[tuple[str, str], ...]:
        return tuple((d.action.value, d.trigger) for d in self.decisions)

    @property
    def after(self) -> float | None:
        """Seconds from the fault to the first decision."""
        return self.decisions[0].at - self.begun if self.decisions and self.begun is not None else None

    @property
    def false_rollbacks(self) -> int:
        wanted = any(action == "rollback" for action, _ in self.trace.expected)
        return 0 if wanted else sum(d.action is Action.ROLLBACK for d in self.decisions)

    @property
    def literal_false(self) -> int:
        """Episodes of the literal reading where nothing is to be rolled back, or before it is."""
        wanted = any(action == "rollback" for action, _ in self.trace.expected)
        return sum(not wanted or self.begun is None or at < self.begun for at in self.literal)


def results() -> Iterator[Result]:
    for one in TRACES:
        seen, begun = one.observations()
        decisions = _until_a_rollback(replay(one.rules, BASELINE, seen))
        hours = (seen[-1].at - seen[0].at) / HOUR
        yield Result(one, hours, len(seen), decisions, begun, tuple(literal(seen)))


def _until_a_rollback(decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    """Behind it the guard is at work, and looks at nothing."""
    done = next((i for i, d in enumerate(decisions) if d.action is Action.ROLLBACK), len(decisions))
    return tuple(decisions[: done + 1])


HEAD = """\
# Traces

Made by `make traces`; a test compares. Do not edit.

Simulated observations with noise, by fixed seeds, replayed through the code that decides in the guard (mode
enforce, the profile `runbook`, readings every 10 s, of the server and the stream every 5 s). *After* is the time from the
fault to the first decision: for a rate its window has to fill, then it has to last for more than 5 minutes.

*Literal* is what the runbook's thresholds do on the same observations when they are read as they stand: 3 and
5 failed checks, one that could not be made among them; every reading of the metrics for itself, over 5 % failed
in each of 5 minutes, p95 of all requests over 1.5 times the baseline's, or waiters in the pool; no sample size,
no floor, no routes, no dependencies, no readiness. It counts the rollbacks that nothing called for.

"""


def _words(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{action} {trigger}" for action, trigger in pairs) or "nothing"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < HOUR else f"{seconds / HOUR:.1f} h"


def page(found: Sequence[Result]) -> str:
    lines = [
        "| trace | what happens | hours | observations | expected | decided | after | literal: false rollbacks |",
        "|---|---|---:|---:|---|---|---:|---:|",
    ]
    for r in found:
        decided = "as expected" if r.decided == r.trace.expected else f"**{_words(r.decided)}**"
        after = _time(r.after) if r.after is not None else ""
        lines.append(
            f"| {r.trace.name} | {r.trace.what} | {r.hours:.1f} | {r.observations:,} |"
            f" {_words(r.trace.expected)} | {decided} | {after} | {r.literal_false or ''} |"
        )
    wanted = [r for r in found if any(a == "rollback" for a, _ in r.trace.expected)]
    rest = [r for r in found if r not in wanted]
    hours = sum(r.hours for r in found)
    hit = sum(1 for r in rest if r.literal_false)
    lines += [
        "",
        f"{len(found)} traces, {hours:.0f} hours, {sum(r.observations for r in found):,} observations.",
        "",
        f"- False rollbacks: {sum(r.false_rollbacks for r in found)} in {len(rest)} traces without a cause for one"
        f" ({sum(r.hours for r in rest):.0f} hours). Literal: {sum(r.literal_false for r in rest)}, in {hit} of them.",
        f"- Missed: {sum(1 for r in wanted if r.decided != r.trace.expected)} of {len(wanted)} that call for one.",
        "",
    ]
    return HEAD + "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page(list(results())))
