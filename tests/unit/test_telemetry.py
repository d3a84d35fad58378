"""The metrics page: what the status holds, all of it, and nothing that it does not hold."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from status_example import AT, full
from turnback.adapters.telemetry import METRICS, render
from turnback.entrypoints import reference

Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def page(status: dict[str, Any]) -> Page:
    """(name, sorted labels) -> value; a series that stands there twice fails."""
    found: Page = {}
    for family in text_string_to_metric_families(render(status).decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def series(status: dict[str, Any], name: str) -> dict[tuple[str, ...], float]:
    """Label values in the table's order -> value."""
    [metric] = [m for m in METRICS if m.name == name]
    return {
        tuple(dict(labels)[n] for n in metric.labels): value
        for (found, labels), value in page(status).items()
        if found == name
    }


def names(status: dict[str, Any]) -> set[str]:
    return {name for name, _ in page(status)}


def test_a_whole_status_gives_every_metric() -> None:
    assert names(full()) == {m.name for m in METRICS}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("turnback_up", {(): 1}),
        ("turnback_build_info", {("0.1.0",): 1}),
        ("turnback_status_timestamp_seconds", {(): AT.timestamp()}),
        ("turnback_trigger_value", {("error-rate",): 0.073, ("application-health",): 0}),
        ("turnback_trigger_limit", {("error-rate",): 0.05, ("application-health",): 5, ("pool",): 3}),
        (
            "turnback_trigger_firing",
            {("error-rate",): 1, ("application-health",): 0, ("latency",): 0, ("pool",): 0},
        ),
        ("turnback_trigger_off", {("error-rate",): 0, ("application-health",): 0, ("latency",): 1, ("pool",): 0}),
        ("turnback_ready", {(): 0}),
        ("turnback_ready_part", {("server",): 1, ("slot",): 0}),
        ("turnback_lag_bytes", {(): 4096}),
        ("turnback_lag_seconds", {(): 1.5}),
        ("turnback_rpo_seconds", {(): 0}),
        ("turnback_suspended", {(): 1}),
        ("turnback_latched", {(): 0}),
        ("turnback_mode", {("observe",): 0, ("recommend",): 0, ("enforce",): 1}),
        (
            "turnback_slot_wal_status",
            {("reserved",): 0, ("extended",): 1, ("unreserved",): 0, ("lost",): 0},
        ),
        ("turnback_slot_safe_wal_bytes", {(): 1073741824}),
        ("turnback_probe_error", {("metrics",): 1, ("server",): 0}),
        ("turnback_last_decision_timestamp_seconds", {("hold", "error-rate", "high"): AT.timestamp()}),
        ("turnback_last_verification_equal", {(): 1}),
        ("turnback_notices_sent_total", {(): 7}),
        ("turnback_notices_waiting", {(): 1}),
        ("turnback_trace_error", {(): 0}),
        ("turnback_notices_failed_total", {(): 2}),
    ],
)  # fmt: skip
def test_values(name: str, expected: dict[tuple[str, ...], float]) -> None:
    assert series(full(), name) == expected


def test_one_phase_and_one_verdict_hold() -> None:
    phases = series(full(), "turnback_phase")
    assert len(phases) == 8 and [p for p, v in phases.items() if v] == [("on_postgres",)]
    verdicts = series(full(), "turnback_trigger_verdict")
    assert len(verdicts) == 16
    assert {v for v, on in verdicts.items() if on} == {
        ("error-rate", "breach"),
        ("application-health", "ok"),
        ("latency", "no_data"),
        ("pool", "error"),
    }


def test_before_anything_was_seen_only_the_guard_is_there() -> None:
    assert page({}) == {("turnback_up", ()): 1}
    assert names({"phase": "planned", "capture": None, "watch": None}) == {"turnback_up", "turnback_phase"}


def test_no_slot_and_no_reading_of_it_are_two_things() -> None:
    status = full()
    status["slot"] = {"wal_status": None, "safe_wal_size": None, "retained_bytes": 0}
    assert set(series(status, "turnback_slot_wal_status").values()) == {0}
    assert "turnback_slot_safe_wal_bytes" not in names(status)
    status["slot"] = None
    assert not any("slot" in name for name in names(status))


def _paths(body: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path else []
    for key, value in body.items() if isinstance(body, dict) else ():
        found += _paths(value, (*path, key))
    return found


INSIDE_ENTRIES = {"decision", "probes", "trace"}  # their entries are whole or not there


@given(
    st.sets(st.sampled_from([p for p in _paths(full()) if not (INSIDE_ENTRIES & set(p[:-1]))])),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_missing_is_absent_and_all_else_stays(missing: set[tuple[str, ...]], none: bool) -> None:
    """Removing parts, or setting them None, only ever removes series; it changes and adds none."""
    status = copy.deepcopy(full())
    for path in missing:
        body: Any = status
        for key in path[:-1]:
            body = body.get(key) if isinstance(body, dict) else None
        if isinstance(body, dict) and path[-1] in body:
            if none:
                body[path[-1]] = None
            else:
                del body[path[-1]]
    whole, left = page(full()), page(status)
    changed = {key for key, value in left.items() if whole.get(key) != value}
    assert all(name == "turnback_slot_wal_status" for name, _ in changed)  # None there: no slot
    assert ("turnback_up", ()) in left
    if ("rpo_seconds",) in missing:
        assert ("turnback_rpo_seconds", ()) not in left


@given(st.text(min_size=1))
@settings(max_examples=100, deadline=None)
def test_a_name_of_any_characters_stays_a_label(name: str) -> None:
    name = name.encode(errors="replace").decode()
    status = {"watch": {"probes": {name: {"at": 1.0, "error": None}}}}
    lines = render(status).decode().split("\n")
    assert [line for line in lines if not line.startswith(("#", "turnback_"))] == [""]
    assert sum(line.startswith("turnback_probe_error{") for line in lines) == 1


def test_nothing_but_names_and_numbers_is_shown() -> None:
    """Sentences, reasons and errors may quote what the application said; they stay in /status."""
    text = render(full()).decode()
    for private in ("7.3 %", "ConnectError", "wal_status is lost", "no answer", "/srv/"):
        assert private in json.dumps(full()) and private not in text


def test_the_table_follows_prometheus_naming() -> None:
    assert len({m.name for m in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("turnback_") and metric.help.endswith(".")
        assert (metric.type == "counter") == metric.name.endswith("_total")


def test_every_metric_is_documented() -> None:
    text = reference.reference()
    assert "[Metrics](#metrics)" in text
    part = text.split("\n## Metrics\n")[1].split("\n## ")[0]
    for metric in METRICS:
        [line] = [x for x in part.splitlines() if x.startswith(f"| `{metric.name}` |")]
        assert metric.type in line and metric.help in line and all(f"`{x}`" in line for x in metric.labels)
