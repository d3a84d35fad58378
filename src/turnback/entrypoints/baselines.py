"""`turnback baseline`, and the one that a cutover freezes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from turnback.app import baseline
from turnback.app.engine import primary_side
from turnback.core.watch.baseline import Baseline
from turnback.core.watch.observation import MetricsReading
from turnback.core.watch.recording import P95
from turnback.core.watch.window import quantile
from turnback.entrypoints.output import say
from turnback.errors import UsageError
from turnback.ports import Progress

if TYPE_CHECKING:
    from turnback.entrypoints.wiring import Setup


def reader(setup: Setup) -> baseline.Read | None:
    """Reads the application's metrics as the guard does; None where [guard.metrics] names none."""
    from turnback.entrypoints.probing import metrics_probe  # which imports wiring, which imports this

    probe = metrics_probe(setup.config)
    return None if probe is None else lambda: MetricsReading.from_json(probe.observe())


def record(setup: Setup, seconds: float, progress: Progress) -> Baseline:
    """Kept in the journal. Raises UsageError where the application is not on SQLite, or has no metrics;
    ProbeError where they cannot be read or are too few.
    """
    if primary_side(setup.state()) != "sqlite":
        raise UsageError(
            f"the baseline is recorded while the application is on SQLite; the phase is "
            f"{setup.state().phase.value}",
            hint="the one that was frozen at the cutover counts",
        )
    read = reader(setup)
    if read is None:
        raise UsageError(
            "there are no metrics to record from",
            hint="set [guard.metrics] url to the application's metrics endpoint (Prometheus' format)",
        )
    interval = setup.config.guard.metrics.interval_seconds
    made = baseline.record(read, setup.clock, progress, seconds, interval)
    setup.journal.append("baseline", made.to_json())
    return made


def baseline_now(setup: Setup) -> Mapping[str, Any] | None:
    """See app.baseline.baseline_now."""
    return baseline.baseline_now(setup.journal, reader(setup), setup.clock, say)


def said(made: Baseline) -> str:
    """For a person: one line in all, and one for each route."""
    spread = "not known" if made.spread_seconds is None else f"{1000 * made.spread_seconds:.0f} ms"
    lines = [
        f"p95 {1000 * made.p95_seconds:.0f} ms (spread {spread}), {100 * made.error_share:.2f} % errors,"
        f" {made.requests} requests in {made.seconds:.0f} s"
    ]
    for name, route in sorted(made.routes.items()):
        p95 = quantile(route.bounds, route.counts, P95)
        lines.append(
            f"    {name or '(no endpoint)'}: "
            + ("-" if p95 is None else f"p95 {1000 * p95:.0f} ms of {route.counts[-1]:.0f} requests")
        )
    return "\n".join(lines)
