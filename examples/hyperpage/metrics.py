"""Prometheus' text format, by hand: a counter, a histogram and the pool's gauges."""

from __future__ import annotations

import threading
from collections import Counter

from store import Pool

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()

    def observe(self, endpoint: str, status: int, seconds: float) -> None:
        with self._lock:
            self._requests[endpoint, status] += 1
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
            lines.append("# TYPE http_request_duration_seconds histogram")
            for endpoint, counts in sorted(self._buckets.items()):
                name, label = "http_request_duration_seconds", f'endpoint="{_escaped(endpoint)}"'
                for bound, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
                    lines.append(f'{name}_bucket{{{label},le="{bound}"}} {count}')
                lines.append(f"{name}_sum{{{label}}} {self._seconds[endpoint]:.6f}")
                lines.append(f"{name}_count{{{label}}} {counts[-1]}")
        for gauge in ("size", "in_use", "waiting"):
            lines += [f"# TYPE db_pool_{gauge} gauge", f"db_pool_{gauge} {getattr(self._pool, gauge)}"]
        return ("\n".join(lines) + "\n").encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
