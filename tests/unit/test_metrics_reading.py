"""Pages of metrics as readings: every library's own form, and everything that is refused as a whole."""

from __future__ import annotations

import dataclasses
import json
import time
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_pages import GO, NAMES, PAGES, Page, python_openmetrics, python_text
from turnback.adapters.probes import metrics_text, reading
from turnback.adapters.probes.metrics_text import parse
from turnback.adapters.probes.reading import MetricNames
from turnback.core.watch.observation import MetricsReading, Pool
from turnback.errors import ProbeError


def read(text: str, names: MetricNames = NAMES, *, openmetrics: bool = False) -> MetricsReading:
    return parse(text, names, openmetrics=openmetrics, deadline=time.monotonic() + 5)


def refused(text: str, names: MetricNames = NAMES, *, openmetrics: bool = False) -> str:
    with pytest.raises(ProbeError) as caught:
        read(text, names, openmetrics=openmetrics)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_a_library_prints_is_read(page: Page) -> None:
    found = read(page.text, openmetrics="openmetrics" in page.kind)
    assert {(r.endpoint, r.status): r.total for r in found.requests} == page.requests
    assert {h.endpoint: (h.bounds, h.totals) for h in found.latencies} == page.latencies
    assert dataclasses.astuple(found.pool) == page.pool
    assert MetricsReading.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_the_first_name_that_has_a_status_counts() -> None:
    text = 'http_requests_total{path="/"} 5\nhttp_request_duration_seconds_count{path="/",code="200"} 4\n'
    assert [(r.status, r.total) for r in read(text).requests] == [("200", 4)]


def test_a_counter_without_a_status_is_refused() -> None:
    said = refused('http_requests_total{path="/",result="good"} 5\n')
    assert said.startswith("http_requests_total has none of the labels status, code,")
    assert said.endswith("it has path, result")


def test_users_instances_and_prometheus_own_renaming() -> None:
    names = dataclasses.replace(NAMES, user_label="user")
    text = (
        'http_requests_total{endpoint="http",exported_endpoint="/a",status="200",user="ann",instance="i1"} 1\n'
        'http_requests_total{endpoint="http",exported_endpoint="/a",status="200",user="bob",instance="i2"} 2\n'
    )
    assert [(r.endpoint, r.user, r.instance, r.total) for r in read(text, names).requests] == [
        ("/a", "ann", "i1", 1),
        ("/a", "bob", "i2", 2),
    ]
    assert [r.user for r in read(text).requests] == ["", ""]


def test_causes() -> None:
    names = dataclasses.replace(NAMES, causes="failures_total", cause_label="on")
    text = 'failures_total{on="smtp",x="1"} 2\nfailures_total{on="smtp",x="2"} 3\nfailures_total{on="pg"} 1\n'
    assert [(c.cause, c.total) for c in read(text, names).causes] == [("pg", 1), ("smtp", 5)]


def test_of_several_pools_the_fullest_counts() -> None:
    text = (
        'db_pool_size{pool="read"} 10\ndb_pool_size{pool="write"} 4\n'
        'db_pool_in_use{pool="read"} 0\ndb_pool_in_use{pool="write"} 4\n'
        'db_pool_waiting{pool="read"} 0\ndb_pool_waiting{pool="write"} 2\n'
    )
    assert read(text).pool == Pool(4, 4, 2, None), "a sum, 4 of 14, would hide that nobody can write"


def test_a_histogram_in_milliseconds_by_its_name_alone() -> None:
    names = dataclasses.replace(NAMES, latency=("http_request_duration_milliseconds",))
    text = (
        'http_request_duration_milliseconds_bucket{le="250"} 1\n'
        'http_request_duration_milliseconds_bucket{le="+Inf"} 2\n'
    )
    assert read(text, names).latencies[0].bounds == (0.25, inf)


def test_a_summary_gives_no_latency_and_the_next_name_is_looked_for() -> None:
    names = dataclasses.replace(NAMES, latency=("app_seconds", "http_request_duration_seconds"))
    summary = '# TYPE app_seconds summary\napp_seconds{quantile="0.95"} 9\napp_seconds_count 4\n'
    assert read(summary, names).latencies == ()
    assert read(summary + GO, names).latencies[0].endpoint == "/push"


def test_a_fresh_application_without_requests_is_a_reading() -> None:
    assert read("# TYPE http_requests_total counter\n") == MetricsReading()


def test_a_counter_whose_name_lacks_total_is_found() -> None:
    names = dataclasses.replace(NAMES, requests=("app_requests",))
    for text in ("# TYPE app_requests counter\n", ""):
        assert read(text + 'app_requests{status="200"} 3\n', names).requests[0].total == 3


R = 'http_requests_total{status="200"}'
B = "http_request_duration_seconds_bucket"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty page"),
        ("\n \n", "an empty page"),
        (f"{R} 1", "cut off"),
        (python_text()[:-3], "cut off"),
        ("<!DOCTYPE html>\n<html></html>\n", "line 1 is no line of metrics: <!DOCTYPE html>"),
        ('{"status": "UP"}\n', "line 1 is no line of metrics"),
        (f"{R} 1\n\0\1\2garbage\n", r"line 2 is no line of metrics: \x00\x01\x02garbage"),
        (f"{R} one\n", "line 1: "),
        (f"{R} \n", "line 1 is no line of metrics"),
        (f"{R}\n", "line 1 is no line of metrics"),
        ('http_requests_total{status="200} 1\n', "line 1"),
        ("http_requests_total{status=200} 1\n", "line 1"),
        (f"{R} NaN\n", "is nan"),
        (f"{R} +Inf\n", "is inf"),
        (f"{R} 1e999\n", "is inf"),
        (f"{R} -1\n", "never negative"),
        (f"{R} 1\n{R} 2\n", "is there twice"),
        ("db_pool_size NaN\n", "db_pool_size{} is nan"),
        (f'{B}{{le="0.1"}} 1\n', "lacks its bucket +Inf"),
        (f'{B}{{le="0.1"}} 3\n{B}{{le="+Inf"}} 2\n', "is not cumulative"),
        (f'{B}{{le="fast"}} 3\n', "has no bound"),
        (f"{B} 3\n", "has no bound"),
        (f'{B}{{le="NaN"}} 3\n', "has no bound"),
        (
            f'{B}{{m="a",le="1"}} 1\n{B}{{m="a",le="+Inf"}} 1\n{B}{{m="b",le="+Inf"}} 1\n',
            "different buckets",
        ),
        ("up 1\n", "none of the configured metrics is there (http_requests_total, "),
        ("up 1\n" + "x" * 70_000 + " 1\n", "line 2 has more than 65536 characters"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    assert said in refused(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (python_openmetrics().removesuffix("# EOF\n"), "# EOF is missing"),
        (python_openmetrics() + f"{R} 1\n", "something behind # EOF"),
        (f"# TYPE http_requests counter\n{R} -1\n# EOF\n", "line 2"),
    ],
)
def test_what_is_refused_as_openmetrics(text: str, said: str) -> None:
    assert said in refused(text, openmetrics=True)


def test_a_label_with_a_value_per_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_SERIES", 100)
    text = "".join(f'http_requests_total{{path="/{i}",code="200"}} 1\n' for i in range(101))
    assert "101 series after summing, 100 at most" in refused(text)
    assert len(read(text.replace('path="/100"', 'path="/99",m="x"')).requests) == 100


def test_lines_of_no_interest_cost_little_and_reading_ends_in_time() -> None:
    other = "".join(f'other_metric{{a="{i}",b="x y {{z}}"}} {i}.5\n' for i in range(100_000))
    began = time.monotonic()
    assert read(other + GO).requests
    assert time.monotonic() - began < 30
    wanted = "".join(f'http_requests_total{{status="200",n="{i}"}} 1\n' for i in range(100_000))
    began = time.monotonic()
    with pytest.raises(ProbeError, match="takes too long"):
        parse(wanted, NAMES, openmetrics=False, deadline=began + 0.2)
    assert time.monotonic() - began < 30


def test_lines_made_to_be_slow_are_not() -> None:
    for line in (
        "http_requests_total{" + "} " * 30_000,
        "# " * 30_000,
        "a" + " " * 60_000 + "!",
        "{" * 60_000,
    ):
        began = time.monotonic()
        refused(f"{line}\n{R}\n")
        assert time.monotonic() - began < 30, line[:60]


NAMES_AND_WORDS = (
    *("http_requests_total", "http_request_duration_seconds_bucket", "status", "le"),
    *("# TYPE ", "# HELP ", " counter", " histogram", "# EOF\n", ' # {a="b"} 1', "1", "NaN", "+Inf"),
)
PIECES = st.sampled_from([*NAMES_AND_WORDS, *'{}"=, \t\n\\é'])


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join), st.booleans())
def test_whatever_comes_is_a_reading_or_one_line(text: str, openmetrics: bool) -> None:
    try:
        read(text + "\n", openmetrics=openmetrics)
    except ProbeError as e:
        assert "\n" not in str(e) and len(str(e)) < 500


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(PAGES),
    st.integers(0, 10_000),
    st.sampled_from(["", "\0", "{", '"', "\n", "-", "NaN", " "]),
)
def test_a_damaged_page_is_a_reading_or_one_line(page: Page, at: int, put: str) -> None:
    at %= len(page.text)
    damaged = page.text[:at] + put + page.text[at + 1 :]
    try:
        read(damaged, openmetrics="openmetrics" in page.kind)
    except ProbeError as e:
        assert "\n" not in str(e)


def test_the_limit_of_a_line_is_the_one_that_is_told() -> None:
    assert metrics_text.MAX_LINE == 65536
