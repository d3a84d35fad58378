"""Each safety check has a test that fails without it: `mutants` has the scenarios and what is taken out."""

from __future__ import annotations

from pathlib import Path

import pytest

import patience
from mutants import Harm, Mutant, Place, Scenario, alone, capture, fences, gate, proofs

MUTANTS: dict[str, Mutant] = fences.MUTANTS | gate.MUTANTS | proofs.MUTANTS | capture.MUTANTS | alone.MUTANTS
SCENARIOS: list[Scenario] = list(dict.fromkeys(m.scenario for m in MUTANTS.values()))

CHECKS = (
    "the PostgreSQL fence",
    "the proof of the PostgreSQL fence",
    "the PostgreSQL fence anew after a crash",
    "the SQLite fence",
    "the proof of the SQLite fence",
    "the witness of the SQLite fence",
    "the token of the gate",
    "gate: position",
    "gate: fence still raised",
    "gate: catalogue fingerprint",
    "gate: publication",
    "gate: touched rows compared",
    "gate: foreign keys of touched rows",
    "the timeline",
    "the system identifier",
    "the position against the slot",
    "the last proof of cutover",
    "the proof of migrate",
    "law 2: the comparison",
    "exactly once: what is applied is left out",
    "acknowledge only after commit",
    "strangers at cutover",
    "the tombstone",
    "the journalled point of no return",
    "the go-ahead of the launcher",
    "the lease",
)


@pytest.fixture
def place(tmp_path: Path, database, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, database, monkeypatch)


def test_every_check_has_a_mutant() -> None:
    assert set(CHECKS) <= MUTANTS.keys()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_the_promise_holds(scenario: Scenario, place: Place) -> None:
    scenario(place)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_promise_is_broken_without(name: str, place: Place) -> None:
    mutant = MUTANTS[name]
    mutant.remove(place)
    place.patch.setattr(patience, "SECONDS", patience.OF_A_MUTANT)
    with pytest.raises(Harm, match=mutant.harm):
        mutant.scenario(place)
