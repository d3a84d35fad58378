"""Prometheus' text format, by hand: counters of requests and of what failed them, a histogram, the pool."""

from __future__ import annotations

import threading
from collections import Counter

from store import Pool

# Close together between 50 and 500 ms: a quantile is no finer than these.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._causes: Counter[str] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()

    def observe(self, endpoint: str, status: int, seconds: float, cause: str | None) -> None:
        """`cause`: what a failed request (5xx) failed on."""
        with self._lock:
            self._requests[endpoint, status] += 1
            if cause is not None:
                self._causes[cause] += 1
            counts = self._buckets.setdefault(endpoint, [0] * (len(BUCKETS) + 1))
            for i, bound in enumerate(BUCKETS):
                counts[i] += seconds <= bound
            counts[-1] += 1
            self._seconds[endpoint] += seconds  # type: ignore[assignment]

    def text(self) -> bytes:
        lines = ["# TYPE http_requests_total counter"]
        with self._lock:
            for (endpoint, status), count in sorted(self._requests.items()):
                labels = f'endpoint="{_escaped(endpoint)}",status="{status}"'
                lines.append(f"http_requests_total{{{labels}}} {count}")
            lines.append("# TYPE http_request_failures_total counter")
            for cause, count in sorted(self._causes.items()):
                lines.append(f'http_request_failures_total{{cause="{cause}"}} {count}')
            lines.append("# TYPE http_request_duration_seconds histogram")
            for endpoint, counts in sorted(self._buckets.items()):
                name, label = "http_request_duration_seconds", f'endpoint="{_escaped(endpoint)}"'
                for bound, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
                    lines.append(f'{name}_bucket{{{label},le="{bound}"}} {count}')
                lines.append(f"{name}_sum{{{label}}} {self._seconds[endpoint]:.6f}")
                lines.append(f"{name}_count{{{label}}} {counts[-1]}")
        for gauge in ("size", "in_use", "waiting"):
            lines += [f"# TYPE db_pool_{gauge} gauge", f"db_pool_{gauge} {getattr(self._pool, gauge)}"]
        timeouts = "db_pool_timeouts_total"
        lines += [f"# TYPE {timeouts} counter", f"{timeouts} {self._pool.timeouts}"]
        return ("\n".join(lines) + "\n").encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
