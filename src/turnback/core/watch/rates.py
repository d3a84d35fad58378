"""The triggers of rates over a window: failed requests, slow answers, error lines in the log.

A window lags behind: it still shows a burst that is over. So a breach fires only when what is newest is over
the limit too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from turnback.core.watch.baseline import Baseline, RouteBaseline
from turnback.core.watch.rules import ErrorRate, LatencyRule, LogErrors
from turnback.core.watch.severity import CRITICAL_ENDPOINT_SHARE, worst_of
from turnback.core.watch.sustained import Sustained
from turnback.core.watch.trigger import MOST_POINTS, Input, Trigger
from turnback.core.watch.verdict import Outcome
from turnback.core.watch.window import GAP_INTERVALS, Bounds, Slice, Window, quantile, rebucketed

NO_BASELINE = "no baseline: record one while on SQLite with `turnback baseline` (a cutover does it too)"
SYNTHETIC = "(the guard's own requests)"
LOG_WINDOW_SECONDS = 60.0

_GAP = "the first reading, or one behind a gap: there is no rate yet"


class RateTrigger(Trigger):
    """A value over a window, judged at every slice."""

    def __init__(
        self, name: str, fed_by: tuple[str, ...], for_seconds: float, window: float, recover: float
    ) -> None:
        super().__init__(name, fed_by, 2 * (for_seconds + window), MOST_POINTS)
        self._lasting = Sustained(for_seconds)
        self._recover_share = recover
        self.window = Window(window)

    def again(self) -> None:
        self._lasting = Sustained(self._lasting.for_seconds)
        self.firing, self.since = False, None

    def lasting(self) -> tuple[float, float] | None:
        if self.since is None or self.firing:
            return None
        return self._lasting.lasted(), self._lasting.for_seconds

    def _no_data(self, why: str) -> None:
        self.outcome, self._problem = Outcome.NO_DATA, why
        self._lasting.no_data()

    def _step(self, at: float, *, over: bool, confirmed: bool, recovered: bool) -> None:
        if over:
            self.outcome = Outcome.BREACH
            self._lasting.over(at, confirmed=confirmed)
            self.acute = self._lasting.met
        else:
            self.outcome = Outcome.OK
            self._lasting.below(at, recovered=recovered)
        self.firing, self.since = self._lasting.firing, self._lasting.since

    def _broken(self, probe: str, outcome: Outcome, problem: str) -> None:
        # A reading that failed is no evaluation: the next one covers its time too, or is behind a gap.
        super()._broken(probe, outcome, problem)
        if outcome is Outcome.NO_DATA:
            self._lasting.no_data()


class ErrorRateTrigger(RateTrigger):
    """The share of failed requests, those of the guard's own (synthetic) among them; and that of each
    critical endpoint, which may be a few of many requests.

    Where the application's counters were seen and are not, its own requests may show a breach, never its end.
    """

    def __init__(self, rule: ErrorRate, recover_share: float, critical: tuple[str, ...] = ()) -> None:
        probes = ("metrics", "synthetic")
        super().__init__("error-rate", probes, rule.for_seconds, rule.window_seconds, recover_share)
        self.limit = rule.limit
        self._rule = rule
        self._critical = critical
        self._worst: tuple[str, float] | None = None  # of the critical endpoints, where it is over
        self._counted = False  # the application's counters have given a rate
        self._blind = False  # and do not now

    def _judge(self, seen: Input, value: Mapping[str, Any]) -> None:
        at, rule, window = seen.o.at, self._rule, self.window
        newest = seen.slice
        if seen.o.probe == "synthetic":
            newest = Slice({SYNTHETIC: 1.0}, {} if value["ok"] else {SYNTHETIC: 1.0})
        else:
            self._counted = self._counted or newest is not None
            self._blind = self._counted and newest is None
        if newest is None:
            window.pass_to(at)
            self._no_data(_GAP)
            return
        window.add(at, replace(newest, latencies={}))
        total, failed = window.total, window.failed
        self.value = failed / total if total else None
        if self.value is None or total < rule.min_requests:
            self._no_data(
                f"{total:,.0f} requests in the last {rule.window_seconds:g} s are no sample"
                f" ({rule.min_requests} would be)"
            )
            return
        over = self.value > rule.limit
        if over and failed < rule.min_failures:
            self._no_data(f"{failed:.0f} failed requests are no sample ({rule.min_failures} would be)")
            return
        of_newest = newest.total
        confirmed = of_newest > 0 and newest.failed / of_newest > rule.limit
        worst = worst_of(self._critical, window, rule.min_failures)
        half = CRITICAL_ENDPOINT_SHARE
        self._worst = worst if worst is not None and worst[1] > half else None
        if self._worst is not None and not over:
            now = worst_of(self._worst[:1], newest, 1)
            over, confirmed = True, now is not None and now[1] > half
        if self._blind and not (over and confirmed):
            self._no_data("the application's counters are not seen: nothing is known to be over")
            return
        calm = worst is None or worst[1] < half * self._recover_share
        self._step(
            at,
            over=over,
            confirmed=confirmed,
            recovered=calm and self.value < rule.limit * self._recover_share,
        )

    def _broken(self, probe: str, outcome: Outcome, problem: str) -> None:
        self._blind = self._blind or (probe == "metrics" and self._counted)
        if probe == "synthetic" and self.outcome in (Outcome.OK, Outcome.BREACH):
            return  # the application's own counters are what counts
        super()._broken(probe, outcome, problem)

    def _sentence(self) -> str:
        w = self.window
        told = (
            f"{100 * (self.value or 0.0):.1f} % of {w.total:,.0f} requests failed in the last {w.seconds:g} s"
            f" (limit {100 * self._rule.limit:g} %)"
        )
        if self._worst is None:
            return told
        name, share = self._worst
        limit = 100 * CRITICAL_ENDPOINT_SHARE
        return f"{told}; of the critical endpoint {name} {100 * share:.0f} % (limit {limit:g} %)"


class LatencyTrigger(RateTrigger):
    """The quantile of the requests against the baseline of the same routes, in the mix of now."""

    def __init__(self, rule: LatencyRule, recover_share: float, baseline: Baseline | None) -> None:
        super().__init__("latency", ("metrics",), rule.for_seconds, rule.window_seconds, recover_share)
        self._rule = rule
        self._against = Against(baseline) if baseline is not None else None
        if self._against is None:
            self.off = NO_BASELINE

    def _judge(self, seen: Input, value: Mapping[str, Any]) -> None:
        at, rule = seen.o.at, self._rule
        assert self._against is not None  # without one it is off, and takes nothing
        if seen.slice is None:
            self.window.pass_to(at)
            self._no_data(_GAP)
            return
        self.window.add(at, Slice(latencies=seen.slice.latencies))
        count, now, before = self._against.compare(self.window.latencies, rule.quantile)
        if now is None or before is None or count < rule.min_requests:
            self.value = None
            self._no_data(
                f"{count:,.0f} requests of the baseline's routes are no sample ({rule.min_requests} would be)"
            )
            return
        self.value, self.baseline = now, before
        self.limit = limit = allowed(before, rule)
        over = now > limit
        self._step(
            at,
            over=over,
            confirmed=over and self._slice_is_slow(seen.slice),
            # Where the ratio is small, a share of the limit would be faster than the baseline itself.
            recovered=now < max(limit * self._recover_share, (before + limit) / 2),
        )

    def _slice_is_slow(self, newest: Slice) -> bool:
        assert self._against is not None
        of_slice = {(name, h.bounds): h.counts for name, h in newest.latencies.items()}
        _, now, before = self._against.compare(of_slice, self._rule.quantile)
        return now is not None and before is not None and now > allowed(before, self._rule)

    def _sentence(self) -> str:
        now, before = self.value or 0.0, self.baseline or 0.0
        change = f"{100 * (now / before - 1):+.0f} %" if before else "no baseline"
        return (
            f"p{100 * self._rule.quantile:g} is {1000 * now:.0f} ms against {1000 * before:.0f} ms in the"
            f" baseline of the same routes ({change}; limit {1000 * (self.limit or 0.0):.0f} ms)"
        )


def allowed(before: float, rule: LatencyRule) -> float:
    """Seconds: over the ratio AND over the floor."""
    return max(before * rule.ratio, before + rule.floor_seconds)


class Against:
    """A baseline whose routes are weighed as the requests of now: another mix of requests is no slowdown.

    Only routes that both have count. Where the bounds of the histograms differ, both are laid onto the
    union of the bounds, linear inside a bucket: the quantile is wrong by one bucket's width at most.
    """

    def __init__(self, baseline: Baseline) -> None:
        self._routes = {name: route for name, route in baseline.routes.items() if _counted(route)}
        self._laid: dict[tuple[str, Bounds], tuple[float, ...]] = {}  # shares, on other bounds

    def compare(
        self, now: Mapping[tuple[str, Bounds], Any], q: float
    ) -> tuple[float, float | None, float | None]:
        """(requests that count, the quantile now, the baseline's) of histograms by route and bounds."""
        routes = self._routes
        common = [(name, bounds, counts) for (name, bounds), counts in now.items() if name in routes]
        if not common:
            return 0.0, None, None
        onto = common[0][1]
        if any(bounds != onto or routes[name].bounds != onto for name, bounds, _ in common):
            every = {b for name, bounds, _ in common for b in (*bounds, *routes[name].bounds)}
            onto = tuple(sorted(every))
        mixed, expected = [0.0] * len(onto), [0.0] * len(onto)
        total = 0.0
        for name, bounds, counts in common:
            weight = counts[-1]
            total += weight
            shares = self._shares(name, onto)
            laid = counts if bounds == onto else rebucketed(bounds, counts, onto)
            for i, count in enumerate(laid):
                mixed[i] += count
                expected[i] += weight * shares[i]
        return total, quantile(onto, mixed, q), quantile(onto, expected, q)

    def _shares(self, name: str, onto: Bounds) -> tuple[float, ...]:
        known = self._laid.get((name, onto))
        if known is None:
            route = self._routes[name]
            counts = route.counts if route.bounds == onto else rebucketed(route.bounds, route.counts, onto)
            if len(self._laid) > 10_000:  # bounds that change all the time are not kept
                self._laid.clear()
            known = self._laid[(name, onto)] = tuple(c / route.counts[-1] for c in counts)
        return known


def _counted(route: RouteBaseline) -> bool:
    return bool(route.counts) and route.counts[-1] > 0


class LogErrorsTrigger(RateTrigger):
    """Lines with errors a minute, over the last minute."""

    def __init__(self, rule: LogErrors, recover_share: float, interval: float) -> None:
        super().__init__("log-errors", ("log",), rule.for_seconds, LOG_WINDOW_SECONDS, recover_share)
        self.limit = rule.limit
        self._gap = GAP_INTERVALS * interval
        self._before: tuple[float, int] | None = None

    def _judge(self, seen: Input, value: Mapping[str, Any]) -> None:
        at, errors = seen.o.at, int(value["errors"])
        before, self._before = self._before, (at, errors)
        if before is None or not 0 < at - before[0] <= self._gap:
            self.window.pass_to(at)
            self._no_data(_GAP)
            return
        grown = errors - before[1] if errors >= before[1] else errors  # it fell: the file was rotated
        self.window.add(at, Slice({"lines": float(grown)}))
        self.value = self.window.total * 60.0 / LOG_WINDOW_SECONDS
        limit = self.limit or 0.0
        self._step(
            at,
            over=self.value > limit,
            confirmed=grown * 60.0 / (at - before[0]) > limit,
            recovered=self.value < limit * self._recover_share,
        )

    def _sentence(self) -> str:
        return f"{self.value or 0.0:.0f} lines with errors in the last minute (limit {self.limit:g})"
