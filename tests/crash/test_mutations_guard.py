"""Each check of the guard, its probes, its listener and of validation has a test that fails without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import patience
from mutants import Harm, Mutant, Place, Scenario, fuse, guard, hearing, listener, probes, validation, watch

MODULES = (watch, guard, fuse, hearing, listener, validation, probes)
MUTANTS: dict[str, Mutant] = {name: mutant for module in MODULES for name, mutant in module.MUTANTS.items()}
SCENARIOS: list[Scenario] = [*watch.SCENARIOS, *guard.SCENARIOS, *fuse.SCENARIOS, *validation.SCENARIOS]

CHECKS = (
    "consecutive count",
    "one ok check starts it again",
    "error rate: min_requests",
    "error rate: min_failures",
    "every evaluation over the limit",
    "for so long",
    "error rate: the newest slice is over",
    "counter reset",
    "scrape gap",
    "no data is never ok",
    "no data ends nothing",
    "no data adds nothing",
    "an error is never ok",
    "an error is no ok check",
    "an error is no failed check",
    "latency: the floor",
    "latency: the ratio",
    "latency: the mix of routes",
    "hysteresis: below the recovery level",
    "warm-up: soft triggers wait",
    "warm-up: hard ones do not",
    "suspension: nothing is taken",
    "discrimination: another service",
    "discrimination: causes",
    *(
        f"readiness: {part}"
        for part in (
            "server", "fallback", "verification", "integrity", "schema", "slot", "platform", "disk",
            "inside the RPO", "outside the RPO",
        )
    ),
    "latch: of this watch",
    "latch: of the journal",
    "mode observe",
    "mode recommend",
    "mode of a severity",
    "the decision stands before the run",
    "a decision is carried out once",
    "void: too old",
    "void: another boot",
    "void: another phase",
    "contact: in the future",
    "a contact in the future is not known",
    "the server is waited for",
    "rules are frozen",
    "token: missing",
    "token: of the webhook",
    "token: of the metrics",
    "loopback",
    "body: longer than it says",
    "alerts: unknown",
    "alerts: none during a run",
    "alerts: none in the warm-up",
    "alerts: taken just before a run",
    "alerts: those from before wait",
    "alerts: not for ever",
    "alerts: what is not taken comes again",
    "metrics: the size",
    "metrics: the time as a whole",
    "endpoint: status",
    "page: marker",
    "database: missing",
    "integrity",
    "foreign keys",
    "orphans",
    "rows: a failed query",
    "state: the value",
    "memory",
    "log: errors",
    "a failed validation fails the step",
    "secret: webhook",
    "secret: alertmanager",
    "trace: of this boot only",
    "trace: a torn line is left out",
    "fuse: two readings",
    "fuse: the ceiling",
    "fuse: needed",
    "fuse: the journal first",
    "fuse: not in a run",
    "fuse: proven ours when decided",
    "fuse: proven ours when dropped",
    "fuse: whose slot: system_identifier",
    "fuse: whose slot: confirmed_flush_lsn",
    "fuse: no rollback without a way back",
)  # fmt: skip


def test_every_check_has_a_mutant_and_no_name_is_given_twice() -> None:
    assert set(CHECKS) <= MUTANTS.keys()
    assert len(MUTANTS) == sum(len(module.MUTANTS) for module in MODULES)


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
    place.patch.setattr(patience, "SECONDS", patience.OF_A_MUTANT)
    with pytest.raises(Harm, match=mutant.harm):
        mutant.scenario(place)
