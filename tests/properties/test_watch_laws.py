"""Laws of the watch, on hours of simulated observations, against the rules written again (watch_oracle.py)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import Any

import watch_oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from observing import Scene, baseline
from turnback.core.watch.observation import Observation, Pool
from turnback.core.watch.rules import Rules
from turnback.core.watch.verdict import Action
from turnback.core.watch.watch import replay

EXAMPLES = int(os.environ.get("TURNBACK_EXAMPLES", "30"))
INTERVALS = {"capture": 10.0, "application": 10.0, "database": 10.0, "server": 10.0, "metrics": 10.0}
RULES = Rules(mode="enforce", intervals=INTERVALS)
NO_WARM_UP = replace(RULES, warm_up_seconds=0.0)
MIX = {"/": 0.8, "/report": 0.2}
MEANS = {"/": 0.05, "/report": 0.25}
BASE = baseline(MEANS)
LAGGING = {"lag_seconds": 600.0}


@dataclass(frozen=True)
class Segment:
    """So many seconds of one state of the application and of what looks at it."""

    seconds: float
    rate: float
    failing: float
    slower: float
    application: str  # ok | fail | broken | off
    database: str
    server: str
    metrics: str  # ok | broken | off
    waiting: float | None
    restart: bool
    ready: bool


seconds = st.sampled_from([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 290.0, 310.0, 400.0, 900.0])
checked = st.sampled_from(["ok", "ok", "ok", "fail", "broken", "off"])
segments = st.builds(
    Segment,
    seconds=seconds,
    rate=st.sampled_from([0.0, 0.2, 1.0, 5.0, 20.0, 20.0]),
    failing=st.sampled_from([0.0, 0.0, 0.03, 0.05, 0.06, 0.3, 1.0]),
    slower=st.sampled_from([1.0, 1.0, 1.4, 1.7, 4.0]),
    application=checked,
    database=checked,
    server=checked,
    metrics=st.sampled_from(["ok", "ok", "ok", "ok", "broken", "off"]),
    waiting=st.sampled_from([None, 0.0, 0.0, 2.0]),
    restart=st.booleans(),
    ready=st.sampled_from([True, True, True, False]),
)
# Nothing is wrong: any traffic, any probe that breaks or falls silent, restarts, failures up to the limit.
harmless = st.builds(
    replace,
    segments,
    failing=st.sampled_from([0.0, 0.01, 0.05]),
    slower=st.sampled_from([0.5, 1.0, 1.4]),
    application=st.sampled_from(["ok", "broken", "off"]),
    database=st.sampled_from(["ok", "broken", "off"]),
    server=st.sampled_from(["ok", "broken", "off"]),
    waiting=st.sampled_from([None, 0.0]),
)
stories = st.lists(segments, min_size=1, max_size=14)


def play(scene: Scene, s: Segment) -> None:
    if s.restart:
        scene.app.restart()
    scene.app.pool = Pool(waiting=s.waiting)
    states = {p: getattr(s, p) for p in ("application", "database", "server", "metrics")}
    values: dict[str, Any] = {p: False for p, state in states.items() if state == "fail"}
    if not s.ready:
        values["capture"] = LAGGING
    scene.run(
        s.seconds,
        rate=s.rate,
        failing=s.failing,
        mix=MIX,
        means={e: m * s.slower for e, m in MEANS.items()},
        broken=[p for p, state in states.items() if state == "broken"],
        off=[p for p, state in states.items() if state == "off"],
        **values,
    )


def fires(scene: Scene, upto: int | None = None) -> set[str]:
    """What the oracle says after the first `upto` observations."""
    return watch_oracle.firing(scene.rules, BASE.to_json(), scene.given[:upto])


class Counted(Scene):
    """Remembers behind which observation each decision came."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.behind: list[int] = []
        super().__init__(*args, **options)

    def take(self, o: Observation) -> None:
        before = len(self.decisions)
        super().take(o)
        if len(self.decisions) > before:
            self.behind.append(len(self.given))


@given(stories, st.sampled_from([-1000.0, -61.0, -59.0, 0.0]))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_trigger_fires_exactly_when_its_rule_says(story: list[Segment], since: float) -> None:
    scene = Scene(NO_WARM_UP, BASE, serving_since=since)
    for segment in story:
        play(scene, segment)
        said = {v.trigger for v in scene.watch.verdicts if v.firing}
        assert said == fires(scene), (scene.at, segment)


@given(stories)
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_rollback_without_a_breach_and_never_two(story: list[Segment]) -> None:
    scene = Counted(RULES, BASE)
    for segment in story:
        play(scene, segment)
    assert len(scene.rollbacks) <= 1
    for decision, upto in zip(scene.decisions, scene.behind, strict=True):
        if decision.action in (Action.ROLLBACK, Action.HOLD):
            assert decision.trigger in fires(scene, upto), decision.reason
        if decision.action is Action.ROLLBACK:
            assert decision.trigger in watch_oracle.shown(RULES, BASE.to_json(), scene.given[:upto])
            assert decision.readiness.ready and not any(p.ok is False for p in decision.readiness.parts)


@given(stories)
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_breach_that_lasts_is_rolled_back_within_one_interval(story: list[Segment]) -> None:
    """At the end of every segment that is longer: what fires, and is still seen, with the way back ready."""
    scene = Scene(RULES, BASE)
    for segment in story:
        play(scene, segment)
        if segment.seconds > 10 and segment.ready and scene.watch.readiness.ready:
            seen = watch_oracle.shown(scene.rules, BASE.to_json(), scene.given)
            if fires(scene) & seen:
                assert len(scene.rollbacks) == 1, (scene.at, segment)


@given(
    quiet=st.lists(harmless, max_size=4),
    failing=st.floats(0.1, 1.0),
    rate=st.floats(10.0, 50.0),
    long=st.sampled_from([400.0, 1800.0]),
    broken=st.sampled_from([0, 2, 3, 5]),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_lasting_failures_are_found_in_time(
    quiet: list[Segment], failing: float, rate: float, long: float, broken: int
) -> None:
    """Told from what was made, not from what was seen: window, five minutes, one interval after the begin.

    Every `broken`th reading of the metrics fails; a reading after it shows what was missed. (With fewer requests
    single readings show no failure by chance, and the newest one has to show some.)
    """
    scene = Scene(RULES, BASE)
    for segment in quiet:
        play(scene, segment)
    scene.run(60, rate=rate, mix=MIX, means=MEANS)
    begun, scene.decisions[:] = scene.at, []
    while scene.at < begun + long:
        dark = broken and int(scene.at / 10) % broken == 0
        scene.run(10, rate=rate, failing=failing, mix=MIX, means=MEANS, broken=["metrics"] if dark else [])
    assert [d.trigger for d in scene.rollbacks] == ["error-rate"]
    # An interval more where every second reading fails: then they are 20 s apart.
    assert scene.rollbacks[0].at - begun <= 60 + 300 + 10 + (20 if broken else 0)


@given(st.lists(harmless, min_size=1, max_size=14))
@settings(max_examples=EXAMPLES, deadline=None)
def test_without_a_breach_there_is_nothing_but_pages_of_blindness(story: list[Segment]) -> None:
    scene = Scene(RULES, BASE)
    for segment in story:
        play(scene, segment)
    for decision in scene.decisions:
        assert decision.action in (Action.PAGE, Action.RESOLVED), decision.reason
        assert decision.trigger.startswith("probe:")


@given(stories, st.sampled_from(["broken", "off"]))
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_data_alone_never_rolls_back(story: list[Segment], how: str) -> None:
    """Whatever happens, behind probes that say nothing of it."""
    scene = Scene(RULES, BASE).run(60, mix=MIX, means=MEANS)
    for s in story:
        play(scene, replace(s, application=how, database=how, server=how, metrics=how))
    assert {d.action for d in scene.decisions} <= {Action.PAGE}


@given(stories, st.lists(st.integers(0, 13), max_size=3), st.lists(st.integers(0, 13), max_size=2))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_replay_decides_the_same(story: list[Segment], runs: list[int], cutovers: list[int]) -> None:
    """With runs in between, through the JSON of a trace."""
    scene = Scene(RULES, BASE, serving_since=0.0)
    for i, segment in enumerate(story):
        if i in runs:
            scene.situate(phase="rolling_back", open_run=f"r{i}")
        play(scene, segment)
        if i in runs:
            scene.situate(
                phase="on_postgres" if i in cutovers else "on_sqlite", open_run=None, serving_since=scene.at
            )
    told = [Observation.from_json(json.loads(json.dumps(o.to_json()))) for o in scene.given]
    again = replay(Rules.from_json(json.loads(json.dumps(RULES.to_json()))), BASE, told)
    assert [json.dumps(d.to_json()) for d in again] == [json.dumps(d.to_json()) for d in scene.decisions]


@given(stories, st.lists(st.sampled_from(["run", "undone", "cutover", "none", "none"]), max_size=14))
@settings(max_examples=EXAMPLES, deadline=None)
def test_at_most_one_automatic_rollback_for_each_cutover(story: list[Segment], between: list[str]) -> None:
    scene = Scene(RULES, BASE)
    cutovers = 1
    for segment, what in zip(story, between, strict=False):
        play(scene, segment)
        if what in ("run", "undone"):
            scene.situate(phase="rolling_back", open_run="r")
            scene.run(10)
            scene.situate(phase="on_postgres" if what == "undone" else "on_sqlite", open_run=None)
        if what == "cutover":
            cutovers += 1
            scene.situate(phase="cutting_over", open_run="c")
            scene.situate(phase="on_postgres", open_run=None)
        assert len(scene.rollbacks) <= cutovers
