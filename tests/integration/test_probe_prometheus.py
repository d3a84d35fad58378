"""Metrics through Prometheus: a real server that scrapes small exporters, and answers that no Prometheus gives."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from pathlib import Path
from typing import Any

import pytest

from metrics_pages import NAMES
from turnback.adapters.probes.metrics_query import MetricsQuery
from turnback.core.watch.observation import MetricsReading, Pool
from turnback.errors import ProbeError

SCRAPE_SECONDS = 0.5
PROMETHEUS = shutil.which("prometheus")


class Quick(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, *_: Any) -> None:
        pass  # a client that stops reading


@contextmanager
def answering(answer: Callable[[str], tuple[int, str, dict[str, str]]]) -> Iterator[str]:
    """Answers each path with (status, body, headers)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, body, headers = answer(self.path + " " + self.rfile.read(length).decode())
            self.send_response_only(status)
            for name, value in (headers | {"Content-Length": str(len(body.encode()))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = Quick(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def probe(address: str, selector: str = "", *, interval: float = 10, seconds: float = 5) -> MetricsQuery:
    return MetricsQuery(address, selector, NAMES, 1 << 20, interval, seconds)


# ---- answers that no Prometheus gives --------------------------------------------------------------

NOW = 1_800_000_000.0
DATE = {"Date": formatdate(NOW, usegmt=True), "Content-Type": "application/json"}
REQUESTS = {"__name__": "http_requests_total", "status": "200", "instance": "a:1"}


def matrix(*series: tuple[dict[str, str], list[tuple[float, str]]]) -> str:
    result = [{"metric": m, "values": [list(v) for v in values]} for m, values in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (200, "<html></html>", DATE, "answered 200 OK, no JSON"),
        (200, "[" * 100_000, DATE, "answered 200 OK, no JSON"),
        (200, "[]", DATE, "answered 200 OK: no reason"),
        (
            200,
            '{"status": "error", "error": "query timed out\\nin expression"}',
            DATE,
            r"query timed out\nin expression",
        ),
        (400, '{"status": "error", "error": "parse error"}', DATE, "answered 400 Bad Request: parse error"),
        (502, "", DATE, "answered 502 Bad Gateway, no JSON"),
        (200, '{"status": "success"}', DATE, "no range of samples"),
        (
            200,
            '{"status": "success", "data": {"resultType": "vector", "result": []}}',
            DATE,
            "no range of samples",
        ),
        (
            200,
            '{"status": "success", "data": {"resultType": "matrix", "result": 3}}',
            DATE,
            "no range of samples",
        ),
        (200, matrix(), DATE, "it has no such series"),
        (200, matrix((REQUESTS, [])), DATE, "another form"),
        (200, matrix(({"status": "200"}, [(NOW, "1")])), DATE, "a series without a name"),
        (200, matrix((REQUESTS, [(NOW, "many")])), DATE, "another form"),
        (200, matrix((REQUESTS, [(float("nan"), "1")])), DATE, "another form"),
        (200, matrix((REQUESTS, [(NOW, "NaN")])), DATE, "is nan"),
        (200, matrix((REQUESTS, [(NOW, "-1")])), DATE, "never negative"),
        (200, matrix((REQUESTS, [(NOW, "1")])), {}, "its answer has no date"),
        (200, matrix((REQUESTS, [(NOW, "1")])), {"Date": "yesterday"}, "its answer has no date"),
        (
            200,
            matrix((REQUESTS, [(NOW - 60, "1"), (NOW - 45, "1")])),
            DATE,
            "newest sample is 45 s old, it scrapes every 15 s",
        ),
        (200, " " * (1 << 20) + matrix(), DATE, "more than 1048576 bytes"),
    ],
)
def test_what_is_no_answer_of_prometheus(status: int, body: str, headers: dict[str, str], said: str) -> None:
    with answering(lambda _: (status, body, headers)) as address:
        with pytest.raises(ProbeError) as caught:
            probe(address).observe()
    assert str(caught.value).startswith(f"Prometheus at {address}: ") and said in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.hint


def test_a_series_whose_sample_is_older_than_two_scrapes_is_left_out() -> None:
    def series(instance: str, age: float, total: str) -> tuple[dict[str, str], list[tuple[float, str]]]:
        times = [NOW - age - 15 * n for n in (3, 2, 1, 0)]
        return REQUESTS | {"instance": instance}, [(at, total) for at in times]

    body = matrix(series("a:1", 3, "10"), series("b:1", 29, "20"), series("gone:1", 33, "30"))
    with answering(lambda _: (200, body, DATE)) as address:
        found = probe(address).read()
    assert [(r.instance, r.total) for r in found.requests] == [("a:1", 10), ("b:1", 20)]


def test_with_one_sample_each_the_probes_own_interval_counts() -> None:
    body = matrix((REQUESTS, [(NOW - 8, "1")]))
    with answering(lambda _: (200, body, DATE)) as address:
        assert probe(address, interval=5).read().requests[0].total == 1
        with pytest.raises(ProbeError, match="8 s old, it scrapes every 3 s"):
            probe(address, interval=3).read()


def test_the_question_is_a_range_of_the_configured_names() -> None:
    asked: list[str] = []

    def answer(question: str) -> tuple[int, str, dict[str, str]]:
        asked.append(question)
        return 200, matrix((REQUESTS, [(NOW, "1")])), DATE

    with answering(answer) as address:
        probe(address + "/prefix/", 'job="app"').read()
    assert asked[0].startswith("/prefix/api/v1/query query=%7B__name__%3D~%22") and asked[0].endswith(
        "%5B180s%5D"
    )
    assert "http_requests_total%7C" in asked[0] and "job%3D%22app%22" in asked[0]


# ---- a real one ------------------------------------------------------------------------------------


@dataclass
class Exporter:
    total: int = 0
    broken: bool = False

    def __call__(self, question: str) -> tuple[int, str, dict[str, str]]:
        if self.broken:
            return 500, "", {}
        page = (
            "# TYPE http_requests_total counter\n"
            f'http_requests_total{{endpoint="/a",status="200"}} {self.total}\n'
            f'http_requests_total{{endpoint="/a",status="500"}} 2\n'
            "# TYPE http_request_duration_seconds histogram\n"
            'http_request_duration_seconds_bucket{endpoint="/a",le="0.1"} 3\n'
            f'http_request_duration_seconds_bucket{{endpoint="/a",le="+Inf"}} {self.total + 3}\n'
            f'http_request_duration_seconds_count{{endpoint="/a"}} {self.total + 3}\n'
            'http_request_duration_seconds_sum{endpoint="/a"} 1\n'
            "# TYPE db_pool_size gauge\ndb_pool_size 5\n# TYPE db_pool_in_use gauge\ndb_pool_in_use 2\n"
        )
        return 200, page, {"Content-Type": "text/plain; version=0.0.4"}


@contextmanager
def prometheus(folder: Path, targets: list[str]) -> Iterator[str]:
    if PROMETHEUS is None:
        pytest.skip("no prometheus here: the query API is tested against canned answers only")
    listed = ", ".join(f'"{t.removeprefix("http://")}"' for t in targets)
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: {int(SCRAPE_SECONDS * 1000)}ms, scrape_timeout: 400ms}}\n"
        f"scrape_configs: [{{job_name: app, static_configs: [{{targets: [{listed}]}}]}}]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def until(look: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except ProbeError as e:
            found = e
        if wanted(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def totals(found: Any) -> dict[tuple[str, str], float]:
    assert isinstance(found, MetricsReading), found
    return {(r.instance, r.status): r.total for r in found.requests}


def test_a_real_prometheus_is_read_and_what_it_no_longer_reaches_is_no_data(tmp_path: Path) -> None:
    first, second = Exporter(total=10), Exporter(total=7)
    with answering(first) as one, answering(second) as two, prometheus(tmp_path, [one, two]) as address:
        a, b = (t.removeprefix("http://") for t in (one, two))
        asked = probe(address, 'job="app"', interval=SCRAPE_SECONDS)
        both = until(asked.read, lambda r: isinstance(r, MetricsReading) and len(r.requests) == 4)
        assert totals(both) == {(a, "200"): 10, (a, "500"): 2, (b, "200"): 7, (b, "500"): 2}
        assert {(h.instance, h.endpoint, h.bounds, h.totals) for h in both.latencies} == {
            (a, "/a", (0.1, inf), (3, 13)),
            (b, "/a", (0.1, inf), (3, 10)),
        }
        assert both.pool == Pool(5, 2, None, None)

        first.total = 25
        until(asked.read, lambda r: isinstance(r, MetricsReading) and totals(r)[a, "200"] == 25)

        second.broken = True  # one of the two: it is left out, and the other goes on
        left = until(asked.read, lambda r: isinstance(r, MetricsReading) and len(r.requests) == 2)
        assert set(totals(left)) == {(a, "200"), (a, "500")}

        first.broken = True  # an instant query would go on showing the counters as they were
        gone = until(asked.read, lambda r: isinstance(r, ProbeError))
        said = r"its newest sample is \d+ s old, it scrapes every \d\.?\d* s$"  # measured: no scrape is on the dot
        assert re.search(said, str(gone)), gone

        with pytest.raises(ProbeError, match="it has no such series"):
            probe(address, 'job="other"').read()
        with pytest.raises(ProbeError, match="answered 400 Bad Request: invalid parameter"):
            probe(address, 'job="app').read()
