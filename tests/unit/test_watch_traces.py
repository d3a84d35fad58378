"""Every trace is decided as expected, in time, and docs/traces.md says what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

import traces

PAGE = Path(__file__).resolve().parents[2] / "docs" / "traces.md"


@pytest.fixture(scope="module")
def results() -> list[traces.Result]:
    return list(traces.results())


def test_every_trace_is_decided_as_expected(results: list[traces.Result]) -> None:
    wrong = {r.trace.name: (r.trace.expected, r.decided) for r in results if r.decided != r.trace.expected}
    assert wrong == {}


def test_what_is_found_is_found_in_time(results: list[traces.Result]) -> None:
    for r in results:
        if r.trace.expected:
            assert r.after is not None and 0 < r.after <= r.trace.soon, (r.trace.name, r.after)


def test_there_is_no_false_rollback_where_the_literal_reading_has_some(results: list[traces.Result]) -> None:
    """Else the traces would not show anything."""
    assert sum(r.false_rollbacks for r in results) == 0
    quiet = [r for r in results if not r.trace.expected]
    assert sum(1 for r in quiet if r.literal_false) >= len(quiet) / 2


def test_the_page_is_what_the_traces_say(results: list[traces.Result]) -> None:
    assert PAGE.read_text() == traces.page(results), "run `make traces`"


def test_the_traces_have_names_of_their_own() -> None:
    names = [t.name for t in traces.TRACES]
    assert len(names) == len(set(names)) >= 14
