"""Laws of the watch over all modes, with other services, requests of the guard's own, runs and restarts of the
guard in between. What is right is said here once more, from the issue's words.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_watch_laws import BASE, EXAMPLES, MEANS, MIX, NO_WARM_UP, RULES, Segment, segments

from observing import Scene, check
from turnback.app.watching import reach_seconds
from turnback.core.watch.observation import Pool
from turnback.core.watch.rules import ErrorRate, Rules
from turnback.core.watch.verdict import Action, Decision
from turnback.core.watch.watch import Watch

MORE = replace(
    RULES,
    intervals=RULES.intervals | {"dependency:billing": 10.0, "synthetic": 10.0, "postgres": 10.0},
    error_rate=ErrorRate(min_requests=6),
    other_causes=("billing",),
    critical_endpoints=("/report",),
)
modes = st.sampled_from(["observe", "recommend", "enforce"])
severities = ("critical", "high", "medium", "low")
answered = st.sampled_from([True, True, False])
# (what happens, the other service, the guard's own request, all connections taken, unanswered, a run follows)
moments = st.tuples(
    segments, answered, answered, st.booleans(), st.booleans(), st.sampled_from(["", "", "", "run", "undone"])
)
stories = st.lists(moments, min_size=1, max_size=10)


def play(scene: Scene, moment: tuple[Any, ...]) -> None:
    s, service, own, full, unanswered, then = moment
    if s.restart:
        scene.app.restart()
    scene.app.pool = Pool(waiting=s.waiting)
    states = {p: getattr(s, p) for p in ("application", "database", "server", "metrics")}
    failed = check(False, answered=False) if unanswered else check(False)
    values: dict[str, Any] = {p: failed for p, state in states.items() if state == "fail" and p != "metrics"}
    if values.get("server"):
        values["server"] = check(False, step="connect")
    if not s.ready:
        values["capture"] = {"lag_seconds": 600.0}
    for cause, share in (("billing", 0.7), ("database", 0.3)):
        scene.app.causes[cause] = scene.app.causes.get(cause, 0.0) + s.seconds * s.rate * s.failing * share
    scene.run(
        s.seconds,
        rate=s.rate,
        failing=s.failing,
        mix=MIX,
        means={e: m * s.slower for e, m in MEANS.items()},
        broken=[p for p, state in states.items() if state == "broken"],
        off=[p for p, state in states.items() if state == "off"],
        dependency_billing=service,
        synthetic=own,
        postgres={"connections": 100} if full else {},
        **values,
    )
    if then:
        scene.situate(phase="rolling_back", open_run="r")
        scene.run(20, application=False, database=False, server=False)
        scene.situate(phase="on_postgres" if then == "undone" else "on_sqlite", open_run=None, latched=True)


def told(story: list[Any], mode: Any, each: tuple[Any, ...]) -> Scene:
    lines = {n: replace(RULES.severities[n], mode=m) for n, m in zip(severities, each, strict=True)}
    scene = Scene(replace(MORE, mode=mode, severities=lines), BASE)
    for moment in story:
        play(scene, moment)
    return scene


def by_share(share: float) -> str:
    """The runbook: complete failure, over 50 %, over 20 %, less."""
    return "critical" if share >= 0.95 else "high" if share > 0.5 else "medium" if share > 0.2 else "low"


GIVEN = {
    "database-health": "critical",
    "application-health": "critical",
    "never-healthy": "critical",
    "latency": "medium",
    "pool": "high",
}
OBJECTIVE = {"critical": 300.0, "high": 900.0, "medium": 3600.0, "low": None}


def is_right(scene: Scene, d: Decision) -> None:
    if d.trigger.startswith("probe:"):
        assert d.action in (Action.PAGE, Action.RESOLVED) and not d.emergency and d.objective_seconds is None
        return
    assert d.objective_seconds == OBJECTIVE[d.severity]
    assert d.emergency is (d.severity in ("critical", "high"))
    if d.trigger == "error-rate":
        assert d.affected_share is not None
        by_endpoint = d.affected_of == "critical endpoints"
        assert d.severity == (
            "high" if by_endpoint and d.affected_share > 0.5 else by_share(d.affected_share)
        )
    else:
        assert d.severity == GIVEN[d.trigger]
    mode = scene.rules.severities[d.severity].mode or scene.rules.mode
    allowed = {
        Action.OBSERVE: mode == "observe",
        Action.RECOMMEND: mode == "recommend" or (mode == "enforce" and d.held_back is not None),
        Action.HOLD: mode == "enforce" and d.held_back is not None,
        Action.ROLLBACK: mode == "enforce" and d.held_back is None,
        Action.PAGE: mode != "observe",
        Action.RESOLVED: True,
    }
    assert allowed[d.action], (d.action, mode, d.reason)


@given(stories, modes, st.tuples(*[st.none() | modes] * 4))
@settings(max_examples=EXAMPLES, deadline=None)
def test_every_decision_is_one_that_its_severity_and_mode_allow(
    story: list[Any], mode: Any, each: tuple[Any, ...]
) -> None:
    scene = told(story, mode, each)
    for decision in scene.decisions:
        is_right(scene, decision)
    assert len(scene.rollbacks) <= 1
    for d in scene.rollbacks:
        assert d.readiness.ready and all(p.ok is not False for p in d.readiness.parts)


@given(stories, modes, st.tuples(*[st.none() | modes] * 4))
@settings(max_examples=EXAMPLES, deadline=None)
def test_nothing_is_told_twice_and_nothing_ends_that_was_not_told(
    story: list[Any], mode: Any, each: tuple[Any, ...]
) -> None:
    """Between two ends of a trigger every decision of it says something new; an end needs a beginning."""
    scene = told([(*moment[:5], "") for moment in story], mode, each)
    known: dict[str, tuple[Action, str]] = {}
    heard: set[str] = set()
    for d in scene.decisions:
        if d.action is Action.RESOLVED:
            assert d.trigger in heard, d.reason
            known.pop(d.trigger, None)
            heard.discard(d.trigger)
            continue
        if d.action is Action.OBSERVE:
            continue
        assert known.get(d.trigger) != (d.action, d.severity), d.reason
        known[d.trigger] = (d.action, d.severity)
        heard.add(d.trigger)


@given(stories)
@settings(max_examples=EXAMPLES, deadline=None)
def test_what_another_service_causes_is_not_rolled_back(story: list[Any]) -> None:
    """It fails from the begin to the end; the database is well, and so is the pool."""
    scene = Scene(MORE, BASE)
    for s, _, own, _, _, _ in story:
        well = replace(s, database="ok", server="ok", waiting=0.0)
        play(scene, (well, False, own, False, False, ""))
    assert scene.rollbacks == []


well_seen = st.builds(
    replace,
    segments,
    application=st.sampled_from(["ok", "ok", "fail"]),
    database=st.sampled_from(["ok", "ok", "fail"]),
    server=st.sampled_from(["ok", "ok", "fail"]),
    metrics=st.just("ok"),
    rate=st.sampled_from([5.0, 20.0]),
    ready=st.just(True),
)


@given(st.lists(well_seen, min_size=1, max_size=10), st.integers(0, 100), st.sampled_from([0, 5, 20]))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_guard_that_starts_again_goes_on_where_it_was(
    story: list[Segment], percent: int, away: float
) -> None:
    """What the guard before recorded is folded as Watching does it: as if latched, then the situation as it is."""
    scene = Scene(NO_WARM_UP, BASE)
    for s in story:
        play(scene, (s, True, True, False, False, ""))
    at = scene.at * percent / 100
    seen = [o for o in scene.given if o.at <= at]
    after = [o for o in scene.given if o.at > at + away]
    watch = restarted(NO_WARM_UP, seen, at)
    if scene.rollbacks and scene.rollbacks[0].at <= at:
        return
    watch.take(replace(scene.given[0], at=at))
    found = [d for o in after if (d := watch.take(o)) is not None and d.action is Action.ROLLBACK]
    assert [d.trigger for d in found] == [d.trigger for d in scene.rollbacks]
    for one, other in zip(found, scene.rollbacks, strict=True):
        assert 0 <= one.at - other.at <= away + 10


def restarted(rules: Rules, seen: list[Any], at: float) -> Watch:
    watch = Watch(rules, BASE)
    for o in [seen[0], *(o for o in seen[1:] if o.at > at - reach_seconds(rules))]:
        latched = o.probe == "situation"
        watch.take(replace(o, value={**o.value, "latched": True}) if latched else o)
    return watch
