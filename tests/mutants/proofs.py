"""Migrate and cutover: their proofs, the strangers, the tombstone, and the point of no return."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from types import ModuleType
from typing import Any

import apsw

from mutants import Mutant, Place, demand, no_findings, nothing
from mutants.move import INSERT, TEAM, Move
from turnback.adapters.sqlite.side import SqliteFiles
from turnback.adapters.sqlite.tombstone import is_tombstone
from turnback.app import steps_cutover, steps_migrate
from turnback.core.phases import Intent, Phase
from turnback.core.state import Run
from turnback.ports import Health

NAMES = "SELECT id, name FROM person ORDER BY id"

# A process that holds the file and heeds no trigger. It writes when it is told to, and says how that went.
STRANGER = """
import sys, apsw
file = apsw.Connection(sys.argv[1])
file.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
file.execute("SELECT count(*) FROM person").fetchall()
print("open", flush=True)
for line in sys.stdin:
    try:
        file.execute(line)
    except apsw.Error as e:
        print(e, flush=True)
    else:
        print("written", flush=True)
"""


def a_job_that_writes_to_postgres_too_early(place: Place) -> None:
    """After the synchronisation, before the slot: neither the copy nor the stream has it."""
    with Move(place) as move:
        move.to_migrated()
        move.at("cutover.create_slot:before", lambda: change_a_row(move))
        error = move.attempt(Intent.CUTOVER)
        if move.phase is Phase.ON_POSTGRES:
            demand_equal(move)
        assert error is not None and move.phase is Phase.MIGRATED and move.failed_step() == "last_proof"


def a_job_that_writes_during_migrate(place: Place) -> None:
    with Move(place) as move:
        move.at("migrate.prove_copy:before", lambda: change_a_row(move))
        error = move.attempt(Intent.MIGRATE)
        if move.phase is Phase.MIGRATED:
            demand_equal(move)
        assert error is not None and move.phase is Phase.PLANNED and move.failed_step() == "prove_copy"


def change_a_row(move: Move) -> None:
    move.admin().execute("UPDATE person SET name = 'by a job' WHERE id = 1")


def demand_equal(move: Move) -> None:
    kept = move.world.sqlite.kept
    with closing(apsw.Connection(os.fspath(kept if kept.exists() else move.path))) as file:
        here = list(file.execute(NAMES))
    demand(here == move.in_postgres(NAMES), f"{move.phase}, and the sides differ")


def a_process_that_holds_the_file(place: Place) -> None:
    """It is named before anything is done; the fence would not stop this one."""
    with Move(place, journal_mode="delete") as move:
        move.to_migrated()
        words = [sys.executable, "-c", STRANGER, os.fspath(move.path)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
            assert stranger.stdin is not None and stranger.stdout is not None
            assert stranger.stdout.readline() == "open\n"

            def write() -> None:
                stranger.stdin.write(INSERT.format(9001, TEAM) + "\n")
                stranger.stdin.flush()
                if stranger.stdout.readline() == "written\n":
                    move.acknowledged.add(9001)

            move.at("cutover.last_proof:effect", write)
            error = move.attempt(Intent.CUTOVER)
            stranger.stdin.close()
        move.demand_none_lost()
        assert f"pid {stranger.pid} " in str(error) and move.failed_step() == "prepare_application"


def a_job_that_reads_the_old_path(place: Place) -> None:
    """While PostgreSQL is primary it gets an error, never old rows."""
    with Move(place) as move:
        move.to_postgres()
        try:
            rows = move.in_sqlite("SELECT count(*) FROM person")
        except apsw.NotADBError:
            rows = []
        demand(not rows, f"a job reads the old database: {rows}")


def never_healthy_on_postgres(place: Place) -> None:
    """It takes 20 writes before that is known: a rollback with drain, no undo."""
    with Move(place) as move:
        move.to_migrated()
        path = move.path

        class Probe:
            def check(self) -> Health:
                return Health(not is_tombstone(path), "asked by a test", 0.0)

        def write() -> None:
            session = place.database.connect(app=True)
            for number in range(9001, 9021):
                move.write(session, number)

        move.world.probe = Probe
        move.world.health_timeout_seconds = 0.1
        move.at("cutover.start_on_postgres:effect", write)
        error = move.attempt(Intent.CUTOVER)
        assert error is not None and len(move.acknowledged) == 20
        there = {row[0] for row in move.in_sqlite("SELECT id FROM person")}
        lost = move.acknowledged - there
        demand(not lost, f"lost: {len(lost)} of 20 are not in SQLite; the phase is {move.phase}")
        assert move.phase is Phase.ON_SQLITE


def _always_equal(module: ModuleType) -> Any:
    def remove(place: Place) -> None:
        proper = module.compare

        def compare(*arguments: Any, **more: Any) -> Any:
            return replace(proper(*arguments, **more), equal=True)

        place.patch.setattr(module, "compare", compare)

    return remove


MUTANTS = {
    "the last proof of cutover": Mutant(
        "whatever the comparison in the slot's snapshot finds, the sides count as equal",
        _always_equal(steps_cutover),
        a_job_that_writes_to_postgres_too_early,
        "on_postgres, and the sides differ",
    ),
    "the proof of migrate": Mutant(
        "whatever the comparison finds, the sides count as equal",
        _always_equal(steps_migrate),
        a_job_that_writes_during_migrate,
        "migrated, and the sides differ",
    ),
    "strangers at cutover": Mutant(
        "nobody looks who else has the file open",
        lambda place: place.patch.setattr(SqliteFiles, "strangers", no_findings),
        a_process_that_holds_the_file,
        r"lost: \[9001\] are not in PostgreSQL",
    ),
    "the tombstone": Mutant(
        "the fenced original stays at its path",
        lambda place: place.patch.setattr(SqliteFiles, "place_tombstone", nothing),
        a_job_that_reads_the_old_path,
        "a job reads the old database",
    ),
    "the journalled point of no return": Mutant(
        "a cutover that fails after the start is undone like any other",
        lambda place: place.patch.setattr(Run, "past_no_return", property(lambda _: False)),
        never_healthy_on_postgres,
        "lost: 20 of 20 are not in SQLite",
    ),
}
