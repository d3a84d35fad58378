"""Laws of what probes read: every line once, every counter as it was set, and no input that is neither."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections import Counter as Tally
from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from metrics_pages import NAMES
from turnback.adapters.probes import log
from turnback.adapters.probes.fetch import Answer
from turnback.adapters.probes.log import LogErrors
from turnback.adapters.probes.metrics_query import MetricsQuery
from turnback.adapters.probes.metrics_text import parse
from turnback.core.watch.observation import MetricsReading
from turnback.errors import ProbeError

PIECE = st.lists(
    st.sampled_from([b"ERROR", b"\n", b"fine ", b"\r\n", b"\xff", b"E", b"RROR\n", b"x" * 50])
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(PIECE, st.booleans(), st.sampled_from(["", "", "", "rename", "truncate"])), max_size=12
    )
)
def test_every_line_of_a_log_counts_once(steps: list[tuple[bytes, bool, str]]) -> None:
    """In whatever pieces it is written, whenever it is looked at, through rotation of either kind."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "CHUNK_BYTES", 7)
        path = Path(folder) / "app.log"
        path.touch()
        probe = LogErrors(path, re.compile("ERROR"), 1)
        probe.observe()
        expected, current = 0, b""
        for number, (piece, look, rotation) in enumerate(steps):
            with path.open("ab") as file:
                file.write(piece)
            current += piece
            if look:
                assert probe.observe()["errors"] == expected + counted(current)
            if rotation and current:
                probe.observe()  # what a truncation takes away unseen nobody can count
                expected += counted(current)
                current = b""
                if rotation == "rename":
                    path.rename(path.with_name(f"app.log.{number}"))
                    path.touch()
                else:
                    path.write_bytes(b"")
                    probe.observe()
        assert probe.observe()["errors"] == expected + counted(current)


def counted(content: bytes) -> int:
    return sum(b"ERROR" in line for line in content.split(b"\n")[:-1])


LABEL = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
CALL = st.tuples(LABEL, st.sampled_from(["200", "404", "500", "5xx"]), st.floats(0, 20, allow_nan=False))


@settings(max_examples=150, deadline=None)
@given(st.lists(CALL, max_size=30), st.booleans())
def test_what_a_client_library_counts_is_what_is_read(
    calls: list[tuple[str, str, float]], openmetrics: bool
) -> None:
    registry = CollectorRegistry()
    requests = Counter("http_requests", "Requests.", ["endpoint", "status", "method"], registry=registry)
    seconds = Histogram(
        "http_request_duration_seconds", "Time.", ["endpoint"], buckets=(0.1, 1, 10), registry=registry
    )
    expected: Tally[tuple[str, str]] = Tally()
    for number, (endpoint, status, taken) in enumerate(calls):
        requests.labels(endpoint, status, "GET" if number % 2 else "POST").inc()
        seconds.labels(endpoint).observe(taken)
        if endpoint not in NAMES.ignore_endpoints:
            expected[endpoint, status] += 1
    page = (generate_openmetrics if openmetrics else generate_latest)(registry).decode()
    found = parse(page, NAMES, openmetrics=openmetrics, deadline=time.monotonic() + 10)
    assert {(r.endpoint, r.status): r.total for r in found.requests} == expected
    for latency in found.latencies:
        mine = [taken for endpoint, _, taken in calls if endpoint == latency.endpoint]
        assert latency.bounds == (0.1, 1, 10, inf)
        assert latency.totals == tuple(sum(t <= bound for t in mine) for bound in latency.bounds)
    assert sum(h.totals[-1] for h in found.latencies) == sum(expected.values())
    assert MetricsReading.from_json(json.loads(json.dumps(found.to_json()))) == found


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "1", "NaN", "matrix", "success"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "data", "resultType", "result", "metric", "values", "__name__"]), inner
        )
    ),
    max_leaves=12,
)
SERIES = st.fixed_dictionaries(
    {
        "metric": st.dictionaries(
            st.sampled_from(["__name__", "status", "le"]), JSON | st.just("http_requests_total")
        ),
        "values": st.lists(st.tuples(st.floats() | JSON, JSON)) | JSON,
    }
)


@settings(max_examples=300, deadline=None)
@given(
    JSON
    | st.lists(SERIES | JSON, max_size=4).map(
        lambda r: {"status": "success", "data": {"resultType": "matrix", "result": r}}
    )
)
def test_whatever_prometheus_answers_is_a_reading_or_one_line(body: object) -> None:
    headers = {"date": "Fri, 15 Jan 2027 08:00:00 GMT"}
    probe = MetricsQuery("http://127.0.0.1:1", "", NAMES, 1 << 20, 10, 1)
    try:
        probe._reading(Answer(200, "OK", headers, json.dumps(body).encode(), True))
    except ProbeError as e:
        assert "\n" not in str(e) and len(str(e)) < 500
