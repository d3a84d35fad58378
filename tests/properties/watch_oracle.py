"""The rules of the triggers, written again as plainly as they are meant, over whole lists: the oracle.

Shares no code with core/watch: no windows that move, no counters that are kept, everything is counted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

from turnback.core.watch.observation import Observation
from turnback.core.watch.rules import Rules

GAP = 35.0  # three intervals of ten seconds, and a half


@dataclass(frozen=True)
class Evaluation:
    """`over` None: no data. `newest`: the newest slice is over too. `calm`: below the recovery level."""

    at: float
    over: bool | None
    newest: bool = False
    calm: bool = False


# ---- how long ------------------------------------------------------------------------------------


def checks(results: Sequence[bool], needed: int) -> bool:
    """Fires from `needed` failures in a row until as many successes in a row."""
    firing = False
    for i in range(len(results)):
        last = results[max(0, i + 1 - needed) : i + 1]
        if len(last) == needed and not any(last):
            firing = True
        if len(last) == needed and all(last):
            firing = False
    return firing


def never_healthy(results: Sequence[tuple[float, bool]], begun: float, seconds: float) -> bool:
    """(at, ok) of the checks since the one start: fires while none was ok, until all were for `seconds`."""
    firing, good = False, False
    for i, (at, ok) in enumerate(results):
        if not ok:
            firing = firing or (not good and at - begun >= seconds)
            continue
        since = i
        while since > 0 and results[since - 1][1]:
            since -= 1
        if not firing or at - results[since][0] >= seconds:
            firing, good = False, True
    return firing


def some_of(results: Sequence[bool], needed: int, of: int) -> bool:
    firing = False
    for i in range(len(results)):
        last = results[max(0, i + 1 - of) : i + 1]
        if sum(last) >= needed:
            firing = True
        if not any(last):
            firing = False
    return firing


def covered(evaluations: Sequence[Evaluation]) -> float:
    """Seconds between evaluations that follow each other, both with data."""
    return sum(b.at - a.at for a, b in pairwise(evaluations) if a.over is not None and b.over is not None)


def sustained(evaluations: Sequence[Evaluation], seconds: float) -> bool:
    firing, fired_at = False, 0
    for i, e in enumerate(evaluations):
        if e.over is None:
            continue
        begin = i
        if not firing:
            while begin > 0 and evaluations[begin - 1].over in (True, None):
                begin -= 1
            while begin < i and evaluations[begin].over is None:
                begin += 1
            if e.over and e.newest and covered(evaluations[begin : i + 1]) > seconds:
                firing, fired_at = True, i
        elif e.calm and not e.over:
            while begin - 1 > fired_at and (
                evaluations[begin - 1].over is None
                or (evaluations[begin - 1].calm and not evaluations[begin - 1].over)
            ):
                begin -= 1
            while evaluations[begin].over is None:
                begin += 1
            if covered(evaluations[begin : i + 1]) >= seconds:
                firing = False
    return firing


# ---- the counters --------------------------------------------------------------------------------


def growth(before: Mapping[Any, float], after: Mapping[Any, float]) -> dict[Any, float]:
    return {
        k: v - before[k] if k in before and v >= before[k] else v
        for k, v in after.items()
    }  # fmt: skip


Series = tuple[dict[Any, float], dict[str, tuple[tuple[float, ...], tuple[float, ...]]]]


def series(value: Mapping[str, Any]) -> Series:
    counts = {(e, s): total for e, s, total, _, _ in value["requests"]}
    times = {e: (tuple(float(b) for b in bounds), tuple(t)) for e, bounds, t, _ in value["latencies"]}
    return counts, times


@dataclass(frozen=True)
class Part:
    at: float
    total: float
    failed: float
    times: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]


def parts(metrics: Sequence[Observation]) -> list[tuple[float, Part | None]]:
    """(at of the reading, what happened since the one before, or None)."""
    found: list[tuple[float, Part | None]] = []
    before: tuple[float, Series] | None = None
    for o in metrics:
        if o.value is None:
            continue
        now = series(o.value)
        if before is None or o.at - before[0] > GAP:
            found.append((o.at, None))
        else:
            grown = growth(before[1][0], now[0])
            times = {}
            for e, (bounds, totals) in now[1].items():
                old = before[1][1].get(e)
                steps = totals
                if (
                    old is not None
                    and old[0] == bounds
                    and all(a >= b for a, b in zip(totals, old[1], strict=True))
                ):
                    steps = tuple(a - b for a, b in zip(totals, old[1], strict=True))
                if steps[-1] > 0:
                    times[e] = (bounds, steps)
            failed = sum(n for (_, status), n in grown.items() if status.startswith("5"))
            found.append((o.at, Part(o.at, sum(grown.values()), failed, times)))
        before = (o.at, now)
    return found


def window(found: Sequence[tuple[float, Part | None]], i: int, seconds: float) -> list[Part]:
    at = found[i][0]
    return [p for end, p in found[: i + 1] if p is not None and at - seconds < end <= at]


def error_rate(rules: Rules, metrics: Sequence[Observation]) -> list[Evaluation]:
    rule, found = rules.error_rate, parts(metrics)
    judged = []
    for i, (at, newest) in enumerate(found):
        inside = window(found, i, rule.window_seconds)
        total, failed = sum(p.total for p in inside), sum(p.failed for p in inside)
        if newest is None or total < rule.min_requests or total == 0:
            judged.append(Evaluation(at, None))
            continue
        share = failed / total
        if share > rule.limit and failed < rule.min_failures:
            judged.append(Evaluation(at, None))
            continue
        own = newest.total > 0 and newest.failed / newest.total > rule.limit
        judged.append(Evaluation(at, share > rule.limit, own, share < rule.limit * rules.recover_share))
    return judged


def p_of(bounds: Sequence[float], counts: Sequence[float], q: float) -> float:
    """The value below which q lies, from the counts of each bucket."""
    rank, seen = q * counts[-1], 0.0
    lower = 0.0
    for i, bound in enumerate(bounds):
        inside = counts[i] - (counts[i - 1] if i else 0.0)
        if seen + inside >= rank and inside > 0:
            return lower if bound == inf else lower + (bound - lower) * (rank - seen) / inside
        seen += inside
        lower = bound
    return lower


def latency(rules: Rules, baseline: Mapping[str, Any], metrics: Sequence[Observation]) -> list[Evaluation]:
    """All histograms here have the baseline's bounds."""
    rule, found, routes = rules.latency, parts(metrics), baseline["routes"]

    def both(of: Sequence[Part]) -> tuple[float, float, float] | None:
        known = [(e, t) for p in of for e, (_, t) in p.times.items() if e in routes]
        count = sum(t[-1] for _, t in known)
        if not count:
            return None
        bounds = [float(b) for b in routes[known[0][0]]["bounds"]]
        now = [sum(t[i] for _, t in known) for i in range(len(bounds))]
        then = [
            sum(t[-1] * routes[e]["counts"][i] / routes[e]["counts"][-1] for e, t in known)
            for i in range(len(bounds))
        ]
        return count, p_of(bounds, now, rule.quantile), p_of(bounds, then, rule.quantile)

    judged = []
    for i, (at, newest) in enumerate(found):
        seen = both(window(found, i, rule.window_seconds)) if newest is not None else None
        if seen is None or newest is None or seen[0] < rule.min_requests:
            judged.append(Evaluation(at, None))
            continue
        _, now, then = seen
        limit = max(then * rule.ratio, then + rule.floor_seconds)
        own = both([newest])
        own_over = own is not None and own[1] > max(own[2] * rule.ratio, own[2] + rule.floor_seconds)
        calm = now < max(limit * rules.recover_share, (then + limit) / 2)
        judged.append(Evaluation(at, now > limit, own_over, calm))
    return judged


# ---- what fires ----------------------------------------------------------------------------------


def firing(rules: Rules, baseline: Mapping[str, Any] | None, seen: Sequence[Observation]) -> set[str]:
    """The triggers that fire after these observations (since everything began anew)."""

    def results(probe: str, of: Callable[[Mapping[str, Any]], bool]) -> list[bool]:
        return [of(o.value) for o in seen if o.probe == probe and o.value is not None]

    metrics = [o for o in seen if o.probe == "metrics"]
    found = set()
    if checks(results("application", lambda v: v["ok"]), rules.application_health.failures):
        found.add("application-health")
    answers = [(o.at, bool(o.value["ok"])) for o in seen if o.probe == "application" and o.value is not None]
    # The first observation says where the move stands. Of an older start nobody knows that it never was.
    assert seen[0].value is not None
    watched = seen[0].at - seen[0].value["serving_since"] < rules.never_healthy.seconds
    if watched and never_healthy(answers, seen[0].at, rules.never_healthy.seconds):
        found.add("never-healthy")
    for probe in ("database", "server"):
        if checks(results(probe, lambda v: v["ok"]), rules.database_health.failures):
            found.add("database-health")
    pool = [o.value["pool"][2] for o in metrics if o.value is not None]
    if some_of([n > 0 for n in pool if n is not None], rules.pool.breaches, rules.pool.of):
        found.add("pool")
    if sustained(error_rate(rules, metrics), rules.error_rate.for_seconds):
        found.add("error-rate")
    if baseline is not None and sustained(latency(rules, baseline, metrics), rules.latency.for_seconds):
        found.add("latency")
    return found


def lasts(evaluations: Sequence[Evaluation], seconds: float) -> bool:
    """Whether the newest is over, and every one before it for longer than that; no data does not count."""
    row: list[Evaluation] = []
    for e in reversed(evaluations):
        if e.over is False:
            break
        row.insert(0, e)
    while row and row[0].over is None:
        row.pop(0)
    return bool(row) and row[-1].over is True and row[-1].newest and covered(row) > seconds


def shown(rules: Rules, baseline: Mapping[str, Any] | None, seen: Sequence[Observation]) -> set[str]:
    """The triggers whose rule is met by the newest observation, of the last ten seconds: so many failed checks
    in a row, over the limit for so long without one evaluation that was not.
    """
    recent = [o for o in seen if o.at > seen[-1].at - 10]
    newest = {o.probe: o.value for o in recent}
    found = set()
    for probe, trigger, needed in (
        ("application", "application-health", rules.application_health.failures),
        ("database", "database-health", rules.database_health.failures),
        ("server", "database-health", rules.database_health.failures),
    ):
        results = [bool(o.value["ok"]) for o in seen if o.probe == probe and o.value is not None]
        if newest.get(probe) is not None and len(results) >= needed and not any(results[-needed:]):
            found.add(trigger)
    if newest.get("application") is not None:
        answers = [
            (o.at, bool(o.value["ok"])) for o in seen if o.probe == "application" and o.value is not None
        ]
        bad = len(answers)
        while bad > 0 and not answers[bad - 1][1]:
            bad -= 1
        begun = answers[bad][0] if 0 < bad < len(answers) else seen[0].at
        if bad < len(answers) and answers[-1][0] - begun >= rules.never_healthy.seconds:
            found.add("never-healthy")
    metrics = [o for o in seen if o.probe == "metrics"]
    if newest.get("metrics") is not None:
        pool = [o.value["pool"][2] for o in metrics if o.value is not None]
        waits = [n > 0 for n in pool if n is not None]
        if pool[-1] and sum(waits[-rules.pool.of :]) >= rules.pool.breaches:
            found.add("pool")
        if lasts(error_rate(rules, metrics), rules.error_rate.for_seconds):
            found.add("error-rate")
        if baseline is not None and lasts(latency(rules, baseline, metrics), rules.latency.for_seconds):
            found.add("latency")
    return found
