"""Whatever a probe or an edited trace gives: the watch goes on, and nothing is rolled back for it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from observing import ENFORCE, INTERVALS, Scene, baseline
from turnback.core.watch.observation import PROBES
from turnback.core.watch.verdict import Action, Outcome

KEYS = ["ok", "state", "requests", "latencies", "pool", "causes", "errors", "starts", "exits", "connections"]
KEYS += [
    "max_connections",
    "wal_status",
    "phase",
    "name",
    "status",
    "lag_seconds",
    "free_bytes",
    "serving_since",
]
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
values = st.dictionaries(st.sampled_from(KEYS), json, max_size=8)
probes = st.sampled_from([p for p in PROBES if p not in ("application", "database", "server", "alert")])


@given(st.lists(st.tuples(probes, values), max_size=60))
@settings(max_examples=150, deadline=None)
def test_garbage_is_survived_and_rolls_nothing_back(given_: list[tuple[str, dict[str, Any]]]) -> None:
    scene = Scene(ENFORCE, baseline({"/": 0.05})).run(60)
    for probe, value in given_:
        if probe != "situation":
            scene.at += 1
            scene.give(probe, value)
    assert scene.watch.to_json()["verdicts"]
    assert {d.action for d in scene.decisions} <= {Action.PAGE, Action.RESOLVED}


@given(values)
@settings(max_examples=150, deadline=None)
def test_a_situation_that_is_none_changes_nothing(value: dict[str, Any]) -> None:
    scene = Scene().run(60)
    scene.give("situation", {k: v for k, v in value.items() if k != "phase"})
    assert scene.watch.situation == scene.situation


@given(st.sampled_from(["application", "database", "server"]), values)
@settings(max_examples=100, deadline=None)
def test_a_check_that_says_neither_is_an_error(probe: str, value: dict[str, Any]) -> None:
    scene = Scene().run(60)
    for _ in range(20):
        scene.give(probe, {k: v for k, v in value.items() if k != "ok"})
    assert {d.action for d in scene.decisions} <= {Action.PAGE}
    trigger = "application-health" if probe == "application" else "database-health"
    assert scene.verdict(trigger).outcome is Outcome.ERROR
    assert set(INTERVALS) <= set(PROBES)
