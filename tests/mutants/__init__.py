"""Each safety check of the product, taken out on purpose.

A scenario is what the check is there for: something goes wrong, and the promise must hold all the same. A
mutant takes one check out; the scenario must then end in Harm, with the words that the mutant names. Where a
second check stands behind the first, the harm of the first alone is that the second has to refuse; a mutant
that takes out both shows what would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import Database


@dataclass(frozen=True)
class Place:
    """What a scenario may use. `patch` is undone when the test ends."""

    folder: Path
    database: Database
    patch: pytest.MonkeyPatch


Scenario = Callable[[Place], None]


@dataclass(frozen=True)
class Mutant:
    removed: str  # a sentence: what the product no longer does
    remove: Callable[[Place], None]
    scenario: Scenario
    harm: str  # a pattern of what the scenario then says


class Harm(AssertionError):
    """The promise of a scenario was broken."""


def demand(holds: bool, harm: str) -> None:
    if not holds:
        raise Harm(harm)


def nothing(*_: object, **__: object) -> None:
    """In place of a check that raises when something is wrong."""


def always(*_: object, **__: object) -> bool:
    """In place of a check that says whether all is well."""
    return True


def never(*_: object, **__: object) -> bool:
    """In place of a check that says whether something must be done again."""
    return False


def no_findings(*_: object, **__: object) -> list[str]:
    """In place of a check that lists what is wrong."""
    return []
