"""Each check of the guard, its probes, its listener and of validation has a test that fails without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mutants import Harm, Mutant, Place, Scenario, guard, listener, probes, validation, watch

MUTANTS: dict[str, Mutant] = (
    watch.MUTANTS | guard.MUTANTS | listener.MUTANTS | validation.MUTANTS | probes.MUTANTS
)
SCENARIOS: list[Scenario] = watch.SCENARIOS + guard.SCENARIOS + validation.SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_the_promise_holds(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario(Place(tmp_path, None, monkeypatch))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_test_fails_without(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    database = request.getfixturevalue("database") if name in probes.WITH_POSTGRES else None
    mutant, place = MUTANTS[name], Place(tmp_path, database, monkeypatch)
    mutant.remove(place)
    with pytest.raises(Harm, match=mutant.harm):
        mutant.scenario(place)
