"""Each check of the guard, its probes, its listener and of validation has a test that fails without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutants import Harm, Mutant, Place, Scenario, guard, listener, validation, watch

MUTANTS: dict[str, Mutant] = watch.MUTANTS | guard.MUTANTS | listener.MUTANTS | validation.MUTANTS
SCENARIOS: list[Scenario] = watch.SCENARIOS + guard.SCENARIOS + validation.SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_the_promise_holds(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario(Place(tmp_path, None, monkeypatch))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_test_fails_without(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[name]
    place = Place(tmp_path, None, monkeypatch)  # type: ignore[arg-type]
    mutant.remove(place)
    with pytest.raises(Harm, match=mutant.harm):
        mutant.scenario(place)
