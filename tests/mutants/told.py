"""A test of the suite as a scenario: taken out what the mutant takes out, that test must fail."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from mutants import Harm, Place, Scenario
from trips import Trip
from turnback.errors import TurnbackError

# A ValueError: what `(finding,) = ...` says where there is none, or more than one.
_WORDS = (AssertionError, TurnbackError, psycopg.Error, pytest.fail.Exception, ValueError)


@dataclass(frozen=True)
class Made:
    """In place of a test module's own fixture."""

    make: Callable[[Place], AbstractContextManager[Any]]


def told_by(test: Callable[..., None], **given: object) -> Scenario:
    """The test, with these values for its parameters. What makes it fail is the harm.

    tmp_path, database, monkeypatch and trip come from the place. An error that no promise speaks of (a
    KeyError, say) is not taken for the test's word.
    """

    def scenario(place: Place) -> None:
        with ExitStack() as fixtures:
            known: dict[str, object] = {
                "tmp_path": place.folder,
                "database": place.database,
                "monkeypatch": place.patch,
            }
            wanted = {}
            for name in inspect.signature(test).parameters:
                value = given.get(name, known.get(name))
                if name == "trip":
                    value = fixtures.enter_context(trips_in(place))
                elif isinstance(value, Made):
                    value = fixtures.enter_context(value.make(place))
                wanted[name] = value
            try:
                test(**wanted)
            except _WORDS as e:
                raise Harm(f"{test.__name__}: {type(e).__name__}: {e}") from e

    scenario.__name__ = test.__name__
    return scenario


@contextmanager
def trips_in(place: Place) -> Iterator[Callable[..., Trip]]:
    """As the fixture `trip`."""
    place.patch.setenv("APP_URL", place.database.app_dsn)
    place.patch.setenv("ADMIN_URL", place.database.admin_dsn)
    made: list[Trip] = []

    def make(what: Any, **more: Any) -> Trip:
        made.append(Trip(place.folder / f"trip{len(made)}", place.database, what, **more))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.close()
            one.stop_guard()


def fixture(definition: Any) -> Made:
    """A test module's own fixture, of no other one than tmp_path."""
    function = inspect.unwrap(definition)
    takes = inspect.signature(function).parameters

    def make(place: Place) -> AbstractContextManager[Any]:
        given = {"tmp_path": place.folder} if "tmp_path" in takes else {}
        if inspect.isgeneratorfunction(function):
            return contextmanager(function)(**given)
        return nullcontext(function(**given))

    return Made(make)


def swap(target: object, name: str, value: object) -> Callable[[Place], None]:
    """Takes out by putting something else there."""
    return lambda place: place.patch.setattr(target, name, value)


def both(*removals: Callable[[Place], None]) -> Callable[[Place], None]:
    """Several checks that stand behind each other, at once."""

    def remove(place: Place) -> None:
        for one in removals:
            one(place)

    return remove
