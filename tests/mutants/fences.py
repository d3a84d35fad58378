"""Both fences and what proves them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import apsw
import test_fence_postgres as fence_of_postgres

from mutants import Mutant, Place, always, demand, never, no_findings, nothing
from mutants.move import Move
from mutants.rewritten import caught_by, rewritten
from mutants.told import Made
from turnback.adapters.postgres import fence_trial
from turnback.adapters.postgres.fence import FUNCTION, PostgresFence
from turnback.adapters.sqlite import fence as sqlite_fence
from turnback.adapters.sqlite import side, tombstone
from turnback.adapters.sqlite.fence import SqliteFence
from turnback.adapters.sqlite.witness import Witness, fence_triggers
from turnback.app.steps_rollback import _Rollback
from turnback.core.phases import Intent, Phase
from turnback.errors import TurnbackError


@contextmanager
def _a_fence(place: Place) -> Iterator[PostgresFence]:
    """The fixture of its tests, closed whatever they meet."""
    made = next(inspect.unwrap(fence_of_postgres.fence)(place.database))
    with closing(made):
        yield made


def a_late_write_to_postgres(place: Place) -> None:
    """A session that was open before the fence writes behind the promote: refused, or in SQLite."""
    with Move(place) as move:
        move.to_postgres()
        old = place.database.connect(app=True)
        move.at("rollback.fence_postgres:before", lambda: move.write(old, 9001))
        move.at("rollback.promote_fallback:effect", lambda: move.write(old, 9002))
        error = move.attempt(Intent.ROLLBACK)
        move.demand_none_lost()
        demand(error is None, f"the rollback was refused: {error}")
        assert move.acknowledged == {9001}


def a_fence_of_postgres_that_lets_writes_through(place: Place) -> None:
    """Its triggers stand, but the function behind them was replaced: the rollback stops."""
    proper = PostgresFence.raise_

    def raise_in_vain(fence: PostgresFence) -> None:
        proper(fence)
        with closing(place.database.connect()) as admin:
            admin.execute(
                f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql "
                "AS 'BEGIN RETURN NULL; END'".encode()
            )

    with Move(place) as move:
        move.to_postgres()
        place.patch.setattr(PostgresFence, "raise_", raise_in_vain)
        old = place.database.connect(app=True)
        move.at("rollback.promote_fallback:effect", lambda: move.write(old, 9001))
        error = move.attempt(Intent.ROLLBACK)
        move.demand_none_lost()
        move.demand_stayed_on_postgres(error)
        assert move.failed_step() == "fence_postgres"


def a_late_write_to_sqlite(place: Place) -> None:
    """A session that had the file open writes behind the last proof: refused, or in PostgreSQL."""
    with Move(place, journal_mode="delete") as move:
        move.to_migrated()
        with closing(apsw.Connection(os.fspath(move.path))) as old:
            move.at("cutover.fence_sqlite:before", lambda: move.write_file(old, 9001))
            move.at("cutover.last_proof:effect", lambda: move.write_file(old, 9002))
            error = move.attempt(Intent.CUTOVER)
        move.demand_none_lost()
        demand(error is None, f"the cutover was refused: {error}")
        assert move.acknowledged == {9001}


def a_fence_of_sqlite_taken_down_for_a_while(place: Place) -> None:
    """A job drops the triggers of one table before the last proof, writes, and puts them back."""
    triggers = fence_triggers("person")
    with Move(place, journal_mode="delete") as move:
        move.to_migrated()
        with closing(apsw.Connection(os.fspath(move.path))) as job:

            def take_down() -> None:
                for name in triggers:
                    job.execute(f'DROP TRIGGER "{name}"')

            def put_back() -> None:
                for statement in triggers.values():
                    job.execute(statement)

            move.at("cutover.last_proof:before", take_down)
            move.at("cutover.last_proof:effect", lambda: move.write_file(job, 9001))
            move.at("cutover.make_fallback:before", put_back)
            error = move.attempt(Intent.CUTOVER)
        move.demand_none_lost()
        assert error is not None and move.phase is Phase.MIGRATED and move.failed_step() == "last_proof"


def a_table_that_the_fence_of_sqlite_forgot(place: Place) -> None:
    """The other process says so at once, before anything is done in PostgreSQL."""
    proper = sqlite_fence._set_triggers

    def set_triggers(connection: apsw.Connection, table: str) -> None:
        if table != "person":
            proper(connection, table)

    with Move(place) as move:
        move.to_migrated()
        place.patch.setattr(sqlite_fence, "_set_triggers", set_triggers)
        error = move.attempt(Intent.CUTOVER)
        assert error is not None and move.phase is Phase.MIGRATED
        demand(move.failed_step() == "fence_sqlite", f"went on behind the fence, to {move.failed_step()}")


def a_fence_lifted_while_nobody_guarded(place: Place) -> None:
    """The guard dies behind the gate, somebody lifts the fence and writes, a new guard goes on."""
    with Move(place) as move:
        move.to_postgres()
        move.die_at("rollback.gate:record")
        move.setup.server.lift_fence(move.plan)
        move.write(place.database.connect(app=True), 9001)
        with suppress(TurnbackError):
            move.engine.resume()
        assert move.acknowledged == {9001}
        move.demand_none_lost()
        assert move.phase is Phase.ON_SQLITE


def _no_postgres_fence(place: Place) -> None:
    place.patch.setattr(PostgresFence, "raise_", nothing)


def _no_postgres_fence_and_nobody_looks(place: Place) -> None:
    _no_postgres_fence(place)
    place.patch.setattr(PostgresFence, "prove", nothing)
    place.patch.setattr(PostgresFence, "is_raised", always)


def _no_sqlite_fence(place: Place) -> None:
    place.patch.setattr(sqlite_fence, "_set_triggers", nothing)


def _no_sqlite_fence_and_nobody_looks(place: Place) -> None:
    place.patch.setattr(SqliteFence, "raise_", nothing)
    place.patch.setattr(SqliteFence, "prove", nothing)
    for module in (side, tombstone):
        place.patch.setattr(module, "is_fenced", always)


MUTANTS = {
    "the PostgreSQL fence": Mutant(
        "no trigger is set",
        _no_postgres_fence,
        a_late_write_to_postgres,
        "the rollback was refused: .*the fence does not hold",
    ),
    "the PostgreSQL fence and all that look at it": Mutant(
        "no trigger is set, and neither the proof nor the gate minds",
        _no_postgres_fence_and_nobody_looks,
        a_late_write_to_postgres,
        r"lost: \[9002\] are not in SQLite",
    ),
    "the proof of the PostgreSQL fence": Mutant(
        "no write is tried behind the fence",
        lambda place: place.patch.setattr(PostgresFence, "prove", nothing),
        a_fence_of_postgres_that_lets_writes_through,
        r"lost: \[9001\] are not in SQLite",
    ),
    "the PostgreSQL fence anew after a crash": Mutant(
        "a rollback that is taken up again relies on its earlier fence and gate",
        lambda place: place.patch.setattr(_Rollback, "is_stale", never),
        a_fence_lifted_while_nobody_guarded,
        r"lost: \[9001\] are not in SQLite",
    ),
    "the proof of the PostgreSQL fence, of a database that is read-only": caught_by(
        fence_of_postgres.test_a_database_that_is_read_only_by_default_is_fenced,
        "a server that somebody made read-only cannot be left",
        rewritten(fence_trial, "accepted", "BEGIN READ WRITE; ", "BEGIN; "),
        "ProofFailed: .*read-only transaction",
        fence=Made(_a_fence),
        of="DATABASE {0}",
    ),
    "the SQLite fence": Mutant(
        "no trigger is set",
        _no_sqlite_fence,
        a_late_write_to_sqlite,
        "the cutover was refused: .*the fence does not hold for a session opened before the fence",
    ),
    "the SQLite fence and all that look at it": Mutant(
        "no trigger is set, and neither the proofs nor the tombstone mind",
        _no_sqlite_fence_and_nobody_looks,
        a_late_write_to_sqlite,
        r"lost: \[9002\] are not in PostgreSQL",
    ),
    "the proof of the SQLite fence": Mutant(
        "the last proof does not try the fence",
        lambda place: place.patch.setattr(SqliteFence, "prove", nothing),
        a_fence_of_sqlite_taken_down_for_a_while,
        r"lost: \[9001\] are not in PostgreSQL",
    ),
    "the witness of the SQLite fence": Mutant(
        "the other process is not asked whether it was refused",
        lambda place: place.patch.setattr(Witness, "unfenced", no_findings),
        a_table_that_the_fence_of_sqlite_forgot,
        "went on behind the fence, to last_proof",
    ),
}
