"""A whole move in this process, with something done at chosen points of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from types import TracebackType

import apsw
import psycopg

from bench_app import Bench
from mutants import Place, demand
from turnback.app.engine import primary_side
from turnback.core.phases import Intent, Phase
from turnback.core.state import Run
from turnback.entrypoints import worlds
from turnback.entrypoints.assessing import assess
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup
from turnback.errors import TurnbackError
from two_sides import Silent

TEAM = 1
ENGINE = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
INSERT = "INSERT INTO person (id, team_id, name) VALUES ({}, {}, 'written late')"


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the run's own handling happens."""


class Move:
    """The small file of bench_app and its PostgreSQL. `at(point, act)` acts when a run comes by the point."""

    def __init__(self, place: Place, *, journal_mode: str = "wal") -> None:
        self.database = place.database
        bench = Bench(
            place.folder / "move",
            place.database.app_dsn,
            place.database.admin_dsn,
            slot=f"turnback_{place.database.name}",
            rows=20,
        )
        for name in ("APP_URL", "ADMIN_URL"):
            place.patch.setenv(name, bench.environment[name])
        self.path = bench.path
        with closing(apsw.Connection(os.fspath(bench.path))) as file:
            file.pragma("journal_mode", journal_mode)
        self.setup = Setup(load(bench.folder / "turnback.toml"))
        assess(self.setup, Silent())
        self.plan = self.setup.plan(Intent.MIGRATE)
        self.engine = worlds.engine(self.setup, self.plan, progress=Silent(), announce=lambda _: None)
        self.world = self.engine.world
        self.world.failpoint = self._pass
        self._acts: dict[str, Callable[[], object]] = {}
        self.acknowledged: set[int] = set()

    def __enter__(self) -> Move:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.release()
        self.setup.close()

    # ---- the runs ----

    def at(self, point: str, act: Callable[[], object]) -> None:
        """`point` is intent.step:before, :effect or :record (turnback.app.runner)."""
        self._acts[point] = act

    def _pass(self, point: str) -> None:
        if act := self._acts.pop(point, None):
            act()

    def attempt(self, intent: Intent) -> TurnbackError | None:
        """The run to its end; what stopped it."""
        try:
            self.engine.execute(intent, {"plan": self.setup.record_plan(self.plan)})
        except TurnbackError as e:
            return e
        return None

    def die_at(self, point: str) -> None:
        """A rollback whose process dies there; `engine.resume` goes on with it."""

        def die() -> None:
            raise Killed

        self.at(point, die)
        try:
            self.attempt(Intent.ROLLBACK)
        except Killed:
            self.engine.release()
            return
        raise AssertionError(f"the rollback did not come by {point}")

    def to_migrated(self) -> None:
        assert self.attempt(Intent.MIGRATE) is None

    def to_postgres(self) -> None:
        self.to_migrated()
        assert self.attempt(Intent.CUTOVER) is None

    @property
    def phase(self) -> Phase:
        return self.engine.state().phase

    def last_run(self) -> Run:
        return self.engine.state().runs[-1]

    def failed_step(self) -> str:
        failure = self.last_run().failure
        return str(failure["step"]) if failure else "none"

    # ---- the data ----

    def admin(self) -> psycopg.Connection:
        return self.database.connect()

    def write(self, session: psycopg.Connection, number: int) -> None:
        """One write by the application; remembered when it was acknowledged."""
        try:
            session.execute(INSERT.format(number, TEAM).encode())
        except psycopg.Error:
            return
        self.acknowledged.add(number)

    def write_file(self, file: apsw.Connection, number: int) -> None:
        """The same by a session on the SQLite file."""
        try:
            file.execute(INSERT.format(number, TEAM))
        except apsw.Error:
            return
        self.acknowledged.add(number)

    def in_sqlite(self, sql: str) -> list[tuple[object, ...]]:
        with closing(apsw.Connection(os.fspath(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as file:
            return list(file.execute(sql))

    def in_postgres(self, sql: str) -> list[tuple[object, ...]]:
        return self.admin().execute(sql.encode()).fetchall()

    def in_fallback(self, sql: str) -> None:
        """Somebody else writes to the fallback."""
        with closing(apsw.Connection(os.fspath(self.world.sqlite.fallback))) as file:
            file.set_busy_timeout(5000)
            file.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
            file.execute(sql)

    # ---- the promises ----

    def demand_none_lost(self) -> None:
        """What was acknowledged is in the side that serves now."""
        run = self.last_run()
        side = primary_side(self.engine.state())
        if side is None:  # a run that is open, behind its point of no return
            side = "postgres" if run.intent is Intent.CUTOVER else "sqlite"
        ids = "SELECT id FROM person"
        there = {row[0] for row in (self.in_sqlite(ids) if side == "sqlite" else self.in_postgres(ids))}
        lost = sorted(self.acknowledged - there)
        demand(not lost, f"lost: {lost} are not in {ENGINE[side]}, which serves")

    def demand_stayed_on_postgres(self, error: TurnbackError | None) -> None:
        demand("start_on_sqlite" not in self.last_run().started, "switched to SQLite all the same")
        demand(error is not None and self.phase is Phase.ON_POSTGRES, f"the phase is {self.phase}")
