"""`turnback demo --automatic`: the way back is the guard's own. `turnback demo` itself is `make demo`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from turnback.entrypoints import demo, demo_automatic
from turnback.entrypoints.cli import app
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.demo_stage import Stage, find_example
from turnback.entrypoints.rules import rules

ITSELF = {"trigger": "error-rate", "automatic": True, "outcome": "rolled back", "validated": True}
EXACT = {"lost": 0, "duplicated": 0, "refused_present": 0, "verified": True, "phases": [], "automatic": ITSELF}


@pytest.mark.parametrize(("words", "automatic"), [((), False), (("--automatic",), True)])
def test_the_way_back_is_the_guards_own_only_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], automatic: bool
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(demo, "run", lambda **options: asked.update(options) or 0)
    done = CliRunner().invoke(app, ["demo", *words, "--rows", "7", "--keep", "there"])
    assert done.exit_code == 0, done.output
    assert (asked["automatic"], asked["rows"], asked["keep"]) == (automatic, 7, Path("there"))


@pytest.mark.parametrize("automatic", [False, True])
def test_its_configuration(tmp_path: Path, automatic: bool) -> None:
    stage = Stage(tmp_path, find_example())
    stage.fill(10, demo_automatic.CONFIG.format(url=stage.url) if automatic else "")
    config = load(tmp_path / "turnback.toml")
    decided_by = rules(config)
    assert decided_by.mode == ("enforce" if automatic else "recommend")
    assert decided_by.error_rate.for_seconds == (demo_automatic.FOR_SECONDS if automatic else 300)
    if automatic:
        assert config.guard.metrics.url == f"{stage.url}/api/metrics"
        assert set(config.validate_.endpoints) == {"/api/health", "/api/health/database"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"lost": 1}, {"duplicated": 1}, {"refused_present": 1}, {"verified": False},
        {"phases": [{"serving": True, "acknowledged": 0}]},
        *({"automatic": ITSELF | w} for w in (
            {"trigger": "database-health"}, {"automatic": False}, {"outcome": "held"}, {"validated": False},
        )),
    ],
)  # fmt: skip
def test_what_fails_it(wrong: dict[str, Any]) -> None:
    assert demo.passed(EXACT) and demo.passed(EXACT | {"automatic": None})
    assert not demo.passed(EXACT | wrong)


@pytest.mark.long
def test_the_guard_rolls_back_by_itself_and_nothing_is_lost(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "turnback", "demo", "--automatic", "--json"),
            *("--rows", "500", "--seconds", "2", "--keep", place),
        ],
        capture_output=True, text=True, timeout=400, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["lost"], result["duplicated"], result["verified"]) == (0, 0, True)
    told = result["automatic"]
    assert ITSELF.items() <= told.items() and told["severity"] == "medium"
    assert told["breach_began"] + demo_automatic.FOR_SECONDS <= told["decided"] < told["served"]
    assert result["rto_seconds"] == pytest.approx(told["served"] - told["decided"], abs=0.05)
    phases = {p["name"]: p for p in result["phases"]}
    assert phases["inserts fail"]["refused"] > 50 < phases["inserts fail"]["acknowledged"]
    page = Path(told["page"]).read_text()
    assert page.startswith("<!doctype html>") and told["trigger"] in page
    assert all(part in done.stderr for part in ("the guard decides", *told["reason"].split("; ")))
