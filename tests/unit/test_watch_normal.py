"""After a rollback: when all is back to normal, and what is not yet."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from observing import ENFORCE, Scene, baseline
from turnback.core.watch.normal import BackToNormal

RULES = replace(
    ENFORCE,
    intervals={
        "application": 10.0,
        "database": 10.0,
        "metrics": 10.0,
        "disk": 10.0,
        "server": 5.0,
        "slot": 10.0,
    },
)
BASE = baseline({"/": 0.05})
ON_SQLITE = ["server", "slot"]


class After(Scene):
    """The scene's observations go to BackToNormal."""

    def __init__(self, seconds: float = 300.0, recorded: bool = True) -> None:
        self.normal = BackToNormal(RULES, BASE if recorded else None, seconds)
        self.told: list[dict[str, Any]] = []
        super().__init__(RULES, BASE if recorded else None, phase="on_sqlite")

    def take(self, o: Any) -> None:
        told = self.normal.take(o)
        if told is not None:
            self.told.append(told)

    def go(self, seconds: float, **state: Any) -> After:
        self.run(seconds, off=[*ON_SQLITE, *state.pop("off", [])], **state)
        return self


def test_it_says_once_when_all_has_been_ok_for_so_long() -> None:
    scene = After().go(300)
    assert scene.told == []
    scene.go(20)
    assert len(scene.told) == 1
    told = json.loads(json.dumps(scene.told[0]))
    assert told["seconds"] >= 300 and scene.normal.still == ()
    judged = {v["trigger"] for v in told["judged"]}
    assert {"application-health", "error-rate", "latency"} <= judged
    assert "log-errors" in told["not_judged"]
    scene.go(3600)
    assert len(scene.told) == 1


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ({"application": False}, "application-health"),
        ({"failing": 0.1}, "error-rate"),
        ({"mean": 0.2}, "latency"),
        ({"broken": ["metrics"]}, "metrics"),
        ({"off": ["metrics"]}, "metrics"),
        ({"off": ["application"]}, "application"),
        ({"database": False}, "database-health"),
    ],
)
def test_what_is_not_normal_is_named_and_starts_it_again(state: dict[str, Any], names: str) -> None:
    scene = After().go(200).go(120, **state)
    assert any(names in s for s in scene.normal.still), scene.normal.still
    scene.go(290)
    assert scene.told == []
    scene.go(450)
    assert len(scene.told) == 1


def test_one_failed_check_starts_it_again() -> None:
    scene = After()
    for _ in range(10):
        scene.go(280).go(10, application=False)
    assert scene.told == []


def test_a_probe_that_never_answered_is_not_normal() -> None:
    scene = After().go(3600, off=["application"])
    assert scene.told == [] and "the probe application has said nothing" in scene.normal.still


def test_too_few_requests_are_named_as_not_judged() -> None:
    scene = After().go(400, rate=0.1)
    assert "no sample" in scene.told[0]["not_judged"]["error-rate"]
    assert "no sample" in scene.told[0]["not_judged"]["latency"]


def test_without_a_baseline_the_rest_is_judged() -> None:
    scene = After(recorded=False).go(400)
    assert "turnback baseline" in scene.told[0]["not_judged"]["latency"]


def test_with_nothing_to_judge_it_never_is() -> None:
    normal = BackToNormal(replace(RULES, intervals={"disk": 10.0}), None, 10.0)
    scene = After(10.0)
    scene.normal = normal
    scene.go(600, off=["application", "database", "metrics"])
    assert scene.told == [] and "nothing can be judged" in scene.normal.still[0]
