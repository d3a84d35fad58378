"""The system property: whatever is committed, on whichever side, is in the SQLite file at the end.

Random schemas and rows; random writes on SQLite; migrate and cutover; random transactions on PostgreSQL; a
crash at a random point of the journal and a resume; rollback. Then the file equals the model, value for
value and storage class for storage class. In one process: the platform is manual, the engine is called.
"""

from __future__ import annotations

import gc
import os
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from psycopg import sql

from conftest import TEMPLATE, drop_slots
from system_model import SPECIAL, Model, Table, Writer, random_value, schemas
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.app.engine import Engine
from turnback.core.findings import blocking
from turnback.core.phases import Intent
from turnback.core.plan_steps import STEPS
from turnback.core.rows import SqliteValue, storage_class
from turnback.core.sqltext import identifier, identifiers
from turnback.entrypoints import worlds
from turnback.entrypoints.assessing import assess
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup
from two_sides import Silent

POINTS = [
    f"{intent.value}.{step}:{point}"
    for intent in (Intent.MIGRATE, Intent.CUTOVER, Intent.ROLLBACK)
    for step in STEPS[intent]
    for point in ("before", "effect", "record")
]
SQLITE_TRANSACTIONS = 12
POSTGRES_TRANSACTIONS = 25

# What PostgreSQL refuses of a random transaction; ObjectInUse: TRUNCATE of a table with deferred checks to come.
REFUSED = (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.ObjectInUse)

Make = Callable[..., Writer]

_databases = iter(range(1, 1_000_000))


class Crash(BaseException):
    """The process ends here: nothing is undone, nothing is closed."""


@dataclass(frozen=True)
class Case:
    tables: tuple[Table, ...]
    seed: int
    crash: str | None
    journal_mode: str

    def __repr__(self) -> str:
        created = ";\n".join(t.create(self.tables) for t in self.tables)
        return f"seed {self.seed}, crash {self.crash}, {self.journal_mode}\n{created}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


cases = st.tuples(
    schemas(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, *POINTS]),
    st.sampled_from(["wal", "delete"]),
).map(lambda drawn: Case(*drawn))


# ---- turnback, in this process ----


@dataclass
class Turnback:
    """One application's move. A crash leaves everything as it is and goes on with a new process's objects."""

    config: Path
    crash: str | None
    crashed: bool = False
    setup: Setup = field(init=False)
    engine: Engine | None = None

    def __post_init__(self) -> None:
        self.setup = Setup(load(self.config))

    def carry_out(self, intent: Intent) -> None:
        plan = self.setup.plan(intent)
        options: dict[str, Any] = {"plan": self.setup.record_plan(plan), "by": "test"}
        self._begin(intent)
        assert self.engine is not None
        with warnings.catch_warnings():
            # What a killed process had open nobody closes; here it is the garbage collector that does.
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                self.engine.execute(intent, options)
                return
            except Crash:
                self.crashed = True
            self.close()
            gc.collect()
        self.setup = Setup(load(self.config))
        self._begin(None)
        self.engine.resume()

    def _begin(self, intent: Intent | None) -> None:
        """As the guard does: a new engine for what makes a new plan of things, else the one there is."""
        if self.engine is not None and intent in (Intent.MIGRATE, Intent.CUTOVER):
            self.engine.release()
            self.engine = None
        if self.engine is None:
            plan = self.setup.plan(intent)
            self.engine = worlds.engine(self.setup, plan, progress=Silent(), announce=lambda _: None)
        self.engine.world.failpoint = self._failpoint

    def _failpoint(self, name: str) -> None:
        if name == self.crash and not self.crashed:
            raise Crash(name)

    def restart(self) -> None:
        """The guard goes and another comes, while PostgreSQL is written to."""
        self.close()
        self.setup = Setup(load(self.config))
        self._begin(None)
        assert self.engine is not None
        self.engine.ensure_capture()

    def close(self) -> None:
        if self.engine is not None:
            self.engine.release()
            self.engine = None
        self.setup.close()


@contextmanager
def fresh_database(server: EmbeddedPostgres) -> Iterator[tuple[str, str, str]]:
    """Name, the application's address, the administrator's; gone afterwards, with its slots."""
    name = f"system_{next(_databases)}"
    with closing(psycopg.connect(server.admin_dsn("postgres"), autocommit=True)) as admin:
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER app")
        admin.execute(made.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
        try:
            yield name, server.app_dsn(name), server.admin_dsn(name)
        finally:
            drop_slots(admin, name)
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


# ---- writes ----


def fill(file: apsw.Connection, case: Case, chance: random.Random) -> Model:
    """The tables with a few rows, then references between them. Every special column has a value to go by."""
    model = Model(case.tables, [[] for _ in case.tables])
    writer = Writer(lambda s, v: file.execute(s, v).fetchall(), "sqlite", model, chance)
    for table in case.tables:
        file.execute(table.create(case.tables))
    for table in case.tables:
        references = {p for f in table.foreign for p in f.columns}
        special = any(c.kind in SPECIAL for c in table.columns)
        for n in range(chance.randint(1 if special else 0, 12)):
            row: list[SqliteValue] = [
                None
                if p in references or (n and not c.required and chance.random() < 0.2)
                else random_value(chance, c)
                for p, c in enumerate(table.columns)
            ]
            refused_or(lambda: writer.insert_row(table, row, gives_key=False))  # noqa: B023
    for table in case.tables:
        for _ in model.rows[table.number]:
            refused_or(lambda: writer.refer(table))  # noqa: B023
    model.rows = [list(r) for r in model.rows]
    # What refers to nothing was only a try.
    for name, *_ in file.execute("PRAGMA foreign_key_check").fetchall():
        table = next(t for t in case.tables if t.name == name)
        for foreign in table.foreign:
            file.execute(
                f"UPDATE {identifier(name)} SET "
                + ", ".join(f"{identifier(table.columns[p].name)} = NULL" for p in foreign.columns)
            )
            at = set(foreign.columns)
            model.rows[table.number] = [
                tuple(None if p in at else v for p, v in enumerate(r)) for r in model.rows[table.number]
            ]
    model.committed()
    return model


def refused_or(change: Callable[[], None]) -> None:
    try:
        change()
    except apsw.ConstraintError:
        return


def write_sqlite(
    file: apsw.Connection, model: Model, chance: random.Random, log: list[str], make: Make = Writer
) -> Model:
    for _ in range(SQLITE_TRANSACTIONS):
        writer = make(lambda s, v: file.execute(s, v).fetchall(), "sqlite", model.copy(), chance)
        file.execute("BEGIN IMMEDIATE")
        try:
            for _ in range(chance.randint(1, 4)):
                writer.change()
            if chance.random() < 0.2:
                file.execute("ROLLBACK")
                continue
            file.execute("COMMIT")
        except apsw.ConstraintError:
            if file.in_transaction:
                file.execute("ROLLBACK")
            continue
        model = writer.model
        model.committed()
        log.append("; ".join(writer.log))
    return model


def write_postgres(
    connection: psycopg.Connection,
    model: Model,
    chance: random.Random,
    log: list[str],
    restart: Callable[[], None],
    make: Make = Writer,
) -> Model:
    def execute(statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    restarts_at = chance.choice((None, chance.randrange(POSTGRES_TRANSACTIONS)))
    for number in range(POSTGRES_TRANSACTIONS):
        if number == restarts_at:
            restart()
        writer = make(execute, "postgres", model.copy(), chance)
        try:
            for _ in range(chance.randint(1, 5)):
                change_in_savepoint(connection, writer)
            if chance.random() < 0.2:
                connection.rollback()
                continue
            connection.commit()
        except REFUSED:
            connection.rollback()
            continue
        model = writer.model
        model.committed()
        log.append("; ".join(writer.log))
    return model


def change_in_savepoint(connection: psycopg.Connection, writer: Writer) -> None:
    """One change; half of them in a subtransaction, which a refusal or chance undoes."""
    if writer.chance.random() < 0.5:
        writer.change()
        return
    before = writer.model.copy()
    connection.execute("SAVEPOINT s")
    try:
        writer.change()
        undo = writer.chance.random() < 0.2
    except REFUSED:
        undo = True
    if undo:
        connection.execute("ROLLBACK TO SAVEPOINT s")
        writer.model = before
        writer.log.append("undone")
    connection.execute("RELEASE SAVEPOINT s")


# ---- the property ----


def there_and_back(case: Case, server: EmbeddedPostgres, folder: Path, outcome: Counter[str]) -> None:
    chance = random.Random(case.seed)
    path, config = folder / "app.db", folder / "turnback.toml"
    log: list[str] = []
    with closing(apsw.Connection(str(path))) as file:
        file.execute(f"PRAGMA journal_mode={case.journal_mode}")
        model = fill(file, case, chance)
    before = schema_of(path)
    with fresh_database(server) as (name, app_dsn, admin_dsn):
        addresses = {"SYSTEM_APP_URL": app_dsn, "SYSTEM_ADMIN_URL": admin_dsn}
        config.write_text(configuration(case, f"turnback_{name}"))
        with patch.dict(os.environ, addresses):
            turnback = Turnback(config, case.crash)
            try:
                assessment = assess(turnback.setup, Silent())
                if assessment.plan is None:
                    outcome["refused"] += 1
                    note(f"refused: {[f.message for f in blocking(assessment.findings)]}")
                    outcome.update(f"  {f.code}: {f.message}" for f in blocking(assessment.findings))
                    return
                outcome["carried"] += 1
                turnback.carry_out(Intent.MIGRATE)
                with closing(apsw.Connection(str(path))) as file:
                    file.execute("PRAGMA foreign_keys = ON")
                    model = write_sqlite(file, model, chance, log)
                turnback.carry_out(Intent.CUTOVER)
                with closing(psycopg.connect(app_dsn)) as connection:
                    log.append("---- PostgreSQL")
                    model = write_postgres(connection, model, chance, log, turnback.restart)
                outcome["transactions"] += len(log) - 1
                note("\n".join(log))
                turnback.carry_out(Intent.ROLLBACK)
                assert turnback.crashed == (case.crash is not None)
                assert turnback.setup.state().phase.value == "on_sqlite"
            finally:
                turnback.close()
    assert schema_of(path) == before
    assert_equal(path, model)


def configuration(case: Case, slot: str) -> str:
    lines = [
        '[sqlite]\npath = "app.db"',
        "[state]\nallow_any_filesystem = true",
        f'[postgres]\nurl = "env:SYSTEM_APP_URL"\nadmin_url = "env:SYSTEM_ADMIN_URL"\nslot = "{slot}"',
    ]
    for table in case.tables:
        if table.shape == "none":
            lines.append(f'[tables.{quoted(table.name)}]\nreplica_identity = "full"')
        for column in table.columns:
            if column.kind == "json":
                lines.append(f"[tables.{quoted(table.name)}.columns.{quoted(column.name)}]\nrespell = true")
    return "\n\n".join(lines) + "\n"


def quoted(name: str) -> str:
    """A name as a key of TOML."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def schema_of(path: Path) -> list[object]:
    with closing(apsw.Connection(str(path))) as file:
        return [
            file.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall(),
            *(file.execute(f"PRAGMA {p}").fetchall() for p in ("journal_mode", "page_size", "encoding")),
        ]


def exact(row: Sequence[SqliteValue]) -> tuple[object, ...]:
    return tuple((storage_class(v), v.hex() if isinstance(v, float) else v) for v in row)


def assert_equal(path: Path, model: Model) -> None:
    with closing(apsw.Connection(str(path))) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in model.tables:
            names = identifiers(c.name for c in table.columns)
            there = Counter(exact(r) for r in file.execute(f"SELECT {names} FROM {identifier(table.name)}"))
            wanted = Counter(exact(r) for r in model.rows[table.number])
            assert there == wanted, f"{table.name}: too many {there - wanted}, missing {wanted - there}"
            if table.shape == "autoincrement" and model.highest.get(table.number):
                asked = "SELECT seq FROM sqlite_sequence WHERE name = ?"
                ((given_out,),) = file.execute(asked, (table.name,)).fetchall()
                assert given_out >= model.highest[table.number], f"{table.name} gives an id again"


def check_property(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, examples: int) -> None:
    outcome: Counter[str] = Counter()

    # Without shrinking: an example takes seconds, and what fails says its schema, seed and statements.
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def holds(case: Case) -> None:
        there_and_back(case, server, tmp_path_factory.mktemp("system"), outcome)

    holds()
    print(outcome)
    assert outcome["transactions"] > 5 * outcome["carried"] > 0
    assert outcome["carried"] >= outcome["refused"], f"assess refuses most of what is tried: {outcome}"


@pytest.mark.timeout(600)
def test_there_and_back(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_property(server, tmp_path_factory, 8)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_there_and_back_200_times(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_property(server, tmp_path_factory, 200)
