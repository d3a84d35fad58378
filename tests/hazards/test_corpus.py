"""The corpus: for every hazard file the outcome that its case names, the carried ones there and back."""

from __future__ import annotations

import pytest

from corpus.cases import CASES, Case
from corpus.everything import everything
from trips import offers, same, trip  # noqa: F401 (a fixture)
from turnback.core.findings import blocking


def named(outcome: str) -> list[str]:
    return [name for name, case in CASES.items() if case.outcome == outcome]


def there_and_back(trip, case: Case, settle: str = "") -> None:  # noqa: F811
    """Twice over the stream: each row is touched, then each is written anew by PostgreSQL."""
    moved = trip(case.make, settle=settle)
    without_rowids = moved.image(rowids=False)
    moved.there()
    assert moved.proven_equal()
    moved.touch_every_row()
    if case.anew:
        moved.write_every_row_anew()
    moved.back()
    same(without_rowids, moved.image(rowids=False))


@pytest.mark.parametrize("name", named("carried"))
def test_carried(trip, name: str) -> None:  # noqa: F811
    there_and_back(trip, CASES[name])


@pytest.mark.parametrize("name", named("choice"))
def test_a_choice_that_settles_it(trip, name: str) -> None:  # noqa: F811
    case = CASES[name]
    asked = trip(case.make, look=bool(case.settle))
    stops = blocking(asked.assess().findings)
    (finding,) = [f for f in stops if f.code == case.number]
    assert finding.severity == "choice" and set(case.keys) <= set(finding.keys)
    assert finding.settle
    offers(finding, case.settle)
    asked.demand_untouched()
    if case.settle:
        assert len(stops) == 1, [(f.code, f.message) for f in stops]
        there_and_back(trip, case, case.settle)


@pytest.mark.parametrize("name", named("refused"))
def test_stopped_with_the_reason(trip, name: str) -> None:  # noqa: F811
    case = CASES[name]
    refused = trip(case.make, look=False)
    found = refused.assess()
    stops = [f for f in blocking(found.findings) if f.code == case.number]
    assert found.plan is None and [f.severity for f in stops] == ["refused"], [(f.code, f.message) for f in found.findings]
    assert set(case.keys) <= set(stops[0].keys)
    refused.demand_untouched()


@pytest.mark.long  # in make test: each case for itself, without the commands
def test_everything_by_the_commands(trip) -> None:  # noqa: F811
    """all.db by the commands as a user types them: every row touched, then every row written anew."""
    moved = trip(everything)
    without_rowids = moved.image(rowids=False)
    moved.command("assess")
    moved.command("migrate")
    moved.command("cutover", "--yes")
    moved.touch_every_row()
    moved.command("rollback", "--yes")
    same(moved.before, moved.image())
    moved.command("assess")
    moved.command("migrate", "--again")
    moved.command("cutover", "--yes")
    moved.write_every_row_anew()
    assert moved.command("verify")["equal"] is True
    moved.command("rollback", "--yes")
    same(without_rowids, moved.image(rowids=False))
