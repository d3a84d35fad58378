"""Paced writes on the example application, by several clients."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

from turnback.entrypoints.demo_traffic import Client


class Traffic:
    """`clients` threads that together try `per_second` writes a second, until `stop`.

    Each write has its own moment: one that is refused or late does not move the next.
    """

    def __init__(self, url: str, per_second: float, clients: int = 4) -> None:
        self._stopping = threading.Event()
        self._acknowledged: list[list[float]] = [[] for _ in range(clients)]  # moments (monotonic)
        self._threads = [
            threading.Thread(
                target=self._write,
                args=(url, n, clients / per_second, self._acknowledged[n]),
                name=f"client-{n}",
            )
            for n in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def pause(self, seconds: float) -> None:
        """Lets them write for so long."""
        self._stopping.wait(seconds)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def acknowledged(self) -> int:
        return sum(map(len, self._acknowledged))

    def longest_silence(self) -> float:
        """The longest time (seconds) in which no client was told that a write stands: what users see."""
        moments = sorted(at for told in self._acknowledged for at in told)
        return max((b - a for a, b in pairwise(moments)), default=0.0)

    def _write(self, url: str, number: int, every: float, acknowledged: list[float]) -> None:
        client = Client(url, "benchmark", number)
        due = time.monotonic() + every * number / len(self._acknowledged)
        try:
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                attempt = client.step()
                now = time.monotonic()
                if attempt.outcome == "acknowledged":
                    acknowledged.append(now)
                due = max(due + every, now)  # what was missed while nobody served is not made up for
        finally:
            client.close()
