"""A guard looks for weeks: what fails leaves no descriptor, no thread and no memory behind."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress

import psutil
import pytest

from metrics_pages import NAMES
from turnback.adapters.clock import SystemClock
from turnback.adapters.postgres.own_probe import ServerProbe
from turnback.adapters.probes.http_check import HttpCheck, Synthetic
from turnback.adapters.probes.metrics_text import MetricsText
from turnback.app.probing import Prober
from turnback.errors import ProbeError
from turnback.ports import Probe

ROUNDS = 3000  # of all probes together
WARM = 600
MOST_GROWTH_BYTES = 8 * 1024 * 1024  # 3 KiB a round would be over it
WITHIN_SECONDS = 120.0
EVERY, PATIENCE = 0.002, 0.02

ANSWERS = {
    "/ok": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
    "/sick": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "/elsewhere": b"HTTP/1.1 302 Found\r\nLocation: https://login.invalid/\r\nContent-Length: 0\r\n\r\n",
    "/garbage": bytes(range(256)) * 20,
    "/half": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "/nothing": b"",
}


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server that answers in each of these ways, and keeps nothing of it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    ending = threading.Event()

    def serve() -> None:
        while not ending.is_set():
            client, _ = listener.accept()
            with client:
                client.settimeout(1)
                try:
                    path = client.recv(65536).split(b" ")[1].decode()
                    client.sendall(ANSWERS.get(path, b""))
                except (OSError, IndexError, ValueError):
                    continue  # it has hung up, or speaks something else

    thread = threading.Thread(target=serve)
    thread.start()
    with closing(listener):
        yield int(listener.getsockname()[1])
        ending.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()


def test_thousands_of_failed_rounds_leave_nothing_behind(port: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=1000)) as silent:  # accepts nobody
        mute = silent.getsockname()[1]
        prober = Prober(list(probes(port, mute)), SystemClock())
        prober.start()
        try:
            gather(prober, WARM)
            gc.collect()
            before = psutil.Process().memory_info().rss
            seen = gather(prober, ROUNDS)
            gc.collect()
            grown = psutil.Process().memory_info().rss - before
            threads = [t for t in threading.enumerate() if t.name.startswith("probe-")]
            assert len(threads) == len(prober.names), "a thread for each, as at the beginning"
        finally:
            prober.stop()
    assert set(seen) == set(prober.names) and not prober.faults
    assert grown < MOST_GROWTH_BYTES, f"{grown:,} bytes in {ROUNDS} rounds: {seen}"


def test_no_descriptor_stays_open(port: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=1000)) as silent:
        each = list(probes(port, silent.getsockname()[1]))
        for probe in each:
            observed(probe)
        before = descriptors()
        for _ in range(20):
            for probe in each:
                observed(probe)
        assert descriptors() <= before


def probes(port: int, mute: int) -> Iterator[Probe]:
    here = f"http://127.0.0.1:{port}"
    addresses = [here + path for path in ANSWERS]
    addresses += [f"http://127.0.0.1:{mute}/", "http://127.0.0.1:1/", f"https://127.0.0.1:{port}/ok"]
    for number, url in enumerate(addresses):
        yield HttpCheck(f"dependency:{number}", url, EVERY, PATIENCE)
    yield Synthetic(here + "/sick", "POST", "{}", 200, EVERY, PATIENCE)
    yield MetricsText(here + "/garbage", NAMES, 1 << 20, EVERY, PATIENCE)
    for name, to in (("server", port), ("application", mute), ("database", 1)):
        dsn = f"host=127.0.0.1 port={to} user=app dbname=app sslmode=disable"
        yield ServerProbe(lambda dsn=dsn: dsn, lambda dsn=dsn: dsn, "row", True, EVERY, PATIENCE, name)  # type: ignore[misc]


def observed(probe: Probe) -> None:
    with suppress(ProbeError):  # what it could not say; here only what it leaves counts
        probe.observe()


def gather(prober: Prober, rounds: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    deadline = time.monotonic() + WITHIN_SECONDS
    while seen.total() < rounds or len(seen) < len(prober.names):
        assert time.monotonic() < deadline, f"only {seen}"
        seen.update(o.probe for o in prober.drain())
        time.sleep(0.01)
    return seen


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
