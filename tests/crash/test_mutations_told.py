"""Each check that guards values, proofs and the way back's details has a test that fails without it."""

from __future__ import annotations

from pathlib import Path

import pytest

import patience
from mutants import Harm, Mutant, Place, Scenario, carried, certified, targets, values

MUTANTS: dict[str, Mutant] = values.MUTANTS | certified.MUTANTS | carried.MUTANTS | targets.MUTANTS


@pytest.fixture
def place(tmp_path: Path, database, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, database, monkeypatch)


@pytest.mark.parametrize(
    "scenario", certified.SCENARIOS + carried.SCENARIOS + targets.SCENARIOS, ids=lambda s: s.__name__
)
def test_the_promise_holds(scenario: Scenario, place: Place) -> None:
    scenario(place)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.long) if n in certified.LONG | carried.LONG else n for n in MUTANTS],
)
def test_a_test_fails_without(name: str, place: Place) -> None:
    mutant = MUTANTS[name]
    mutant.remove(place)
    place.patch.setattr(patience, "SECONDS", patience.OF_A_MUTANT)
    with pytest.raises(Harm, match=mutant.harm):
        mutant.scenario(place)
