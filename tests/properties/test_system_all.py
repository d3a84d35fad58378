"""The system property over every codec, in both modes: whatever is committed, on whichever side, is in the
SQLite file at the end, value for value and storage class for storage class.

As test_system has it, with tables of every kind of column (tests/system_kinds.py) and, in mode existing, a schema
of the application's own: other names, another order, columns that one side alone has, generated columns,
identities. Each trip follows from its seed: TURNBACK_SEED replays the first.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
import psycopg
import pytest
from oracle import EXAMPLES
from test_system import (
    POINTS,
    Turnback,
    exact,
    fresh_database,
    quoted,
    refused_or,
    schema_of,
    write_postgres,
    write_sqlite,
)

from system_kinds import KINDS, meaning_of, spelled
from system_model import COLUMN_NAMES, FORMS, TABLE_NAMES, Column, Foreign, Model, Table, Writer
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.core.codecs import CODECS
from turnback.core.findings import blocking
from turnback.core.phases import Intent
from turnback.core.rows import SqliteRow, SqliteValue
from turnback.core.sqltext import identifier, identifiers
from turnback.entrypoints.assessing import assess
from turnback.entrypoints.sampling import sample
from two_sides import Silent

SHAPES = ("rowid", "autoincrement", "key", "without_rowid", "unique", "none")
KEYS = tuple(name for name, kind in KINDS.items() if kind.key)
NAMES = (*COLUMN_NAMES, *(f"col {n}" for n in range(60)))
TRIPS = 8  # of 200 examples; four of them have every kind between them
# In `make test` always the same trips, so that a change is what makes them fail; with TURNBACK_EXAMPLES other
# ones each time.
_FRESH = random.SystemRandom().randrange(10**9) // 8 * 8 if "TURNBACK_EXAMPLES" in os.environ else 4000
START = int(os.environ.get("TURNBACK_SEED") or _FRESH)
GENERATED = {"name": "length({})", "text": "length({})", "smallint": "{} * 2"}


@dataclass(frozen=True)
class Extra:
    """A column that SQLite alone has."""

    name: str
    declared: str
    by_default: SqliteValue
    made_there: SqliteValue  # in rows that PostgreSQL makes
    constant: bool


EXTRAS = (
    Extra("only here", "TEXT NOT NULL DEFAULT 'd'", "d", "made there", True),
    Extra("only here", "INTEGER", None, None, False),
    Extra("only here", "TEXT DEFAULT 'itself'", "itself", "itself", False),
    Extra("only here", "REAL NOT NULL DEFAULT 1", 1.0, 2.5, True),
)
# A column that PostgreSQL alone has, and what the load writes there.
ONLY_THERE = (
    ("timestamptz NOT NULL DEFAULT now()", None),
    ("text NOT NULL DEFAULT 'new'", "loaded"),
    ("jsonb", None),
    ("integer[] DEFAULT '{1,2}'", None),
)


@dataclass
class Case:
    seed: int
    mode: str
    crash: str | None
    journal_mode: str
    tables: tuple[Table, ...]
    there: tuple[Table, ...] = ()  # the same, by PostgreSQL's names
    extras: dict[int, tuple[Extra, ...]] = field(default_factory=dict)
    generated: dict[int, tuple[int, ...]] = field(
        default_factory=dict
    )  # positions of the columns they are of
    types: dict[tuple[str, str], str] = field(default_factory=dict)  # PostgreSQL's, by its table and column
    always: set[int] = field(default_factory=set)  # tables with an identity ALWAYS
    only_there: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    encoding: str = "UTF-8"
    create: str = ""
    postgres: str = ""
    config: str = ""

    def writer(self, *given: Any) -> KindWriter:
        return KindWriter(*given, case=self)

    def __str__(self) -> str:
        return (
            f"TURNBACK_SEED={self.seed} ({self.mode}, crash {self.crash}, {self.journal_mode}, {self.encoding})\n"
            f"{self.create}\n---- PostgreSQL\n{self.postgres}\n---- turnback.toml\n{self.config}"
        )


# ---- schemas ----


def made(seed: int, mode: str, kinds: Sequence[str]) -> Case:
    chance = random.Random(f"{seed} schema")
    shapes = [chance.choice(SHAPES[:-1]), *(chance.choice(SHAPES) for _ in range(chance.randint(1, 3)))]
    dealt: list[list[str]] = [[] for _ in shapes]
    for name in kinds:
        dealt[chance.choice([n for n, s in enumerate(shapes) if s != "none" or KINDS[name].keyless])].append(
            name
        )
    plain = [plain_table(chance, n, s, k) for n, (s, k) in enumerate(zip(shapes, dealt, strict=True))]
    tables = tuple(referring(chance, t, plain) for t in plain)
    crash = chance.choice(POINTS) if chance.random() < 0.7 else None
    case = Case(seed, mode, crash, chance.choice(("wal", "wal", "delete")), tables)
    # Texts as bytes are carried from UTF-8 alone, and so is length() in mode create.
    lengths = mode == "create" and {"name", "text"} & {c.kind for t in tables for c in t.columns}
    if "text as bytes" not in kinds and not lengths and chance.random() < 0.3:
        case.encoding = "UTF-16le"
    for table in tables:
        if table.shape == "none":  # which of equal rows PostgreSQL meant, nobody can say
            continue
        if mode == "existing" and chance.random() < 0.6:
            case.extras[table.number] = (chance.choice(EXTRAS),)
        of = [p for p, c in enumerate(table.columns) if c.kind in GENERATED and p not in table.key]
        case.generated[table.number] = tuple(of[:2])
    case.create = ";\n".join(created(case, t) for t in tables)
    case.there = tuple(renamed(chance, t) for t in tables) if mode == "existing" else tables
    if mode == "existing":
        case.only_there = {t.number: chance.choice(ONLY_THERE) for t in tables if chance.random() < 0.6}
        case.postgres = in_postgres(chance, case)
    case.config = configuration(case)
    return case


def column(table: list[Column], kind: str, *, required: bool, declared: str = "", short: bool = False) -> int:
    table.append(Column(NAMES[len(table)], kind, declared or KINDS[kind].declared, required, FORMS[0], short))  # type: ignore[arg-type]
    return len(table) - 1


def plain_table(chance: random.Random, number: int, shape: str, kinds: Sequence[str]) -> Table:
    columns: list[Column] = []
    key: tuple[int, ...] = ()
    uniques: list[tuple[int, ...]] = []
    if shape in ("rowid", "autoincrement"):
        key = (column(columns, "integer", required=True, declared="INTEGER"),)
    elif shape != "none":
        key = tuple(column(columns, chance.choice(KEYS), required=True) for _ in range(chance.randint(1, 2)))
        if shape == "unique":
            uniques.append(key)
    for kind in kinds:
        column(columns, kind, required=chance.random() < 0.3)
    if not kinds or chance.random() < 0.5:
        uniques.append((column(columns, "integer", required=False, declared="INTEGER"),))
    if chance.random() < 0.25:
        uniques.append(tuple(column(columns, chance.choice(KEYS), required=False) for _ in range(2)))
    return Table(number, TABLE_NAMES[number], shape, tuple(columns), key, tuple(uniques), ())  # type: ignore[arg-type]


def referring(chance: random.Random, table: Table, tables: Sequence[Table]) -> Table:
    columns, foreign = list(table.columns), []
    for _ in range(chance.randint(0, 2)):
        parent = chance.choice(tables)
        if not parent.key:
            continue
        keys = [parent.columns[p] for p in parent.key]
        own = tuple(column(columns, c.kind, required=False, declared=c.declared) for c in keys)
        on_delete, on_update = (
            chance.choice(("NO ACTION", "CASCADE", "SET NULL")),
            chance.choice(("NO ACTION", "CASCADE")),
        )
        foreign.append(Foreign(own, parent.number, on_delete, on_update, chance.random() < 0.5))
    return replace(table, columns=tuple(columns), foreign=tuple(foreign))


def created(case: Case, table: Table) -> str:
    text = table.create(case.tables)
    more = [f'"{e.name}" {e.declared}' for e in case.extras.get(table.number, ())]
    for p in case.generated.get(table.number, ()):
        c = table.columns[p]
        more.append(
            f"{identifier(f'of {c.name}')} INTEGER AS ({GENERATED[c.kind].format(identifier(c.name))})"
        )
    head, rest = text.split("\n  ", 1)
    return f"{head}\n  {', '.join([*more, ''])}{rest}"


def renamed(chance: random.Random, table: Table) -> Table:
    columns = tuple(
        replace(c, name=f"x{p}") if chance.random() < 0.25 else c for p, c in enumerate(table.columns)
    )
    name = f"app_{table.number}" if chance.random() < 0.25 else table.name
    return replace(table, name=name, columns=columns)


def in_postgres(chance: random.Random, case: Case) -> str:
    """The application's own schema."""
    kinds = sorted({c.kind for t in case.tables for c in t.columns})
    statements = [KINDS[k].made for k in kinds if KINDS[k].made]
    for table in case.there:
        lines = []
        for p, c in enumerate(table.columns):
            line = f"{identifier(c.name)} {KINDS[c.kind].existing}" + " NOT NULL" * (
                c.required or p in table.key
            )
            if table.shape in ("rowid", "autoincrement") and p in table.key:
                how = chance.choice(("ALWAYS", "BY DEFAULT"))
                if how == "ALWAYS":
                    case.always.add(table.number)
                line += f" GENERATED {how} AS IDENTITY"
            lines.append(line)
        for p in case.generated.get(table.number, ()):
            c = table.columns[p]
            expression = GENERATED[c.kind].format(identifier(c.name))
            name = identifier(f"of {case.tables[table.number].columns[p].name}")
            lines.append(f"{name} integer GENERATED ALWAYS AS ({expression}) STORED")
        if table.number in case.only_there:
            lines.append(f'"only there" {case.only_there[table.number][0]}')
        chance.shuffle(lines)
        if table.key and table.shape != "unique":
            lines.append(f"PRIMARY KEY ({table.names(table.key)})")
        lines += [f"UNIQUE ({table.names(u)})" for u in table.uniques]
        statements.append(f"CREATE TABLE {identifier(table.name)} (\n  {', '.join(lines)}\n)")
    for table in case.there:
        for f in table.foreign:
            parent = case.there[f.parent]
            statements.append(
                f"ALTER TABLE {identifier(table.name)} ADD FOREIGN KEY ({table.names(f.columns)}) "
                f"REFERENCES {identifier(parent.name)} ({parent.names(parent.key)}) "
                f"ON DELETE {f.on_delete} ON UPDATE {f.on_update}"
                + " DEFERRABLE INITIALLY DEFERRED"
                * f.deferred
            )
    return ";\n".join(statements)


def configuration(case: Case) -> str:
    left = [
        f"{case.tables[n].name}.{e.name}"
        for n, extras in case.extras.items()
        for e in extras
        if not e.constant
    ]
    lines = [
        f'[sqlite]\npath = "app.db"\nleave_behind = [{", ".join(map(quoted, left))}]',
        "[state]\nallow_any_filesystem = true",
        '[postgres]\nurl = "env:SYSTEM_APP_URL"\nadmin_url = "env:SYSTEM_ADMIN_URL"\nslot = "SLOT"'
        f'\nmode = "{case.mode}"',
    ]
    for table, there in zip(case.tables, case.there, strict=True):
        own = f"[tables.{quoted(table.name)}"
        settled = []
        if table.shape == "none":
            settled.append('replica_identity = "full"')
        if there.name != table.name:
            settled.append(f"postgres = {quoted(there.name)}")
        if settled:
            lines.append("\n".join([f"{own}]", *settled]))
        if constant := case.only_there.get(table.number, ("", None))[1]:
            lines.append(f'{own}.constants]\n"only there" = "{constant}"')
        for c, other in zip(table.columns, there.columns, strict=True):
            kind = KINDS[c.kind]
            chosen = [kind.lines, (kind.create or "") if case.mode == "create" else ""]
            if other.name != c.name:
                chosen.append(f"postgres = {quoted(other.name)}")
            if any(chosen):
                lines.append("\n".join([f"{own}.columns.{quoted(c.name)}]", *filter(None, chosen)]))
        for e in case.extras.get(table.number, ()):
            if e.constant:
                lines.append(f"{own}.columns.{quoted(e.name)}]\nconstant = {json.dumps(e.made_there)}")
    return "\n\n".join(lines) + "\n"


# ---- writes ----


@dataclass
class KindWriter(Writer):
    case: Case | None = None
    filling: bool = False

    def insert_row(self, table: Table, row: list[SqliteValue], *, gives_key: bool) -> None:
        assert self.case is not None
        super().insert_row(table, row, gives_key=gives_key)
        extras = self.case.extras.get(table.number, ())
        there = self.dialect == "postgres"
        inserted = self.model.rows[table.number]
        inserted[-1] += tuple(e.made_there if there else e.by_default for e in extras)
        if extras and not there:
            self.mark(table, inserted)

    def mark(self, table: Table, rows: list[SqliteRow]) -> None:
        """The row's own value in what SQLite alone has."""
        assert self.case is not None
        ((extra,),) = [self.case.extras[table.number]]
        value = {str: "kept", float: 0.25}.get(type(extra.by_default), 7)
        where, values = self._where(table, rows[-1])
        self.execute(
            f'UPDATE {identifier(table.name)} SET "{extra.name}" = ? WHERE {where}', [value, *values]
        )
        rows[-1] = (*rows[-1][:-1], value)

    def update(self, table: Table) -> None:
        """Some columns; a third of them get the value that they have, in another spelling."""
        row = self._some(table)
        references = {p for f in table.foreign for p in f.columns}
        free = [p for p in range(len(table.columns)) if p not in table.key and p not in references]
        if row is None or not free:
            return
        chosen = self.chance.sample(free, self.chance.randint(1, min(4, len(free))))
        new = {p: self._random(table.columns[p]) for p in chosen}
        for p in chosen:
            if row[p] is not None and self.chance.random() < 0.3:
                new[p] = self._again(table.columns[p], row[p])
        self._set(table, row, new)

    def _again(self, column: Column, value: SqliteValue) -> SqliteValue:
        kind = KINDS[column.kind]
        if self.dialect == "postgres" or kind.other is None:
            return value  # on PostgreSQL the literal is another
        meaning = meaning_of(column.kind, value)
        return spelled(
            column.kind,
            kind,
            meaning,
            self.chance.choice((kind.own(meaning), kind.other(self.chance, meaning))),
        )

    def _value(self, column: Column) -> SqliteValue:
        kind = KINDS[column.kind]
        if column.declared == "INTEGER" and column.kind == "integer":
            number = self.chance.choice((*(self.chance.randint(1, 40) for _ in range(4)), 10**12))
            return spelled(column.kind, kind, number, number)
        meaning = kind.draw(self.chance)
        value = kind.own(meaning)
        spelled(column.kind, kind, meaning, value)
        if kind.other and self.dialect == "sqlite" and not self.filling and self.chance.random() < 0.4:
            value = spelled(column.kind, kind, meaning, kind.other(self.chance, meaning))
        return value

    def _given(self, column: Column, value: SqliteValue) -> object:
        if self.dialect == "sqlite" or value is None:
            return value
        return KINDS[column.kind].literal(self.chance, meaning_of(column.kind, value))

    @staticmethod
    def _landed(column: Column, value: SqliteValue, had: SqliteValue) -> SqliteValue:
        """Law 2: what has the meaning that it had keeps its bytes; else the column's own spelling."""
        if value is None:
            return None
        meaning = meaning_of(column.kind, value)
        if had is not None and meaning_of(column.kind, had) == meaning:
            return had
        kind = KINDS[column.kind]
        return spelled(column.kind, kind, meaning, kind.own(meaning))

    def _overriding(self, table: Table) -> str:
        assert self.case is not None
        always = self.dialect == "postgres" and table.number in self.case.always
        return "OVERRIDING SYSTEM VALUE " * always

    def rekey(self, table: Table) -> None:
        assert self.case is not None
        if self.dialect == "postgres" and table.number in self.case.always:
            self.refer(table)  # PostgreSQL never changes such a key
            return
        super().rekey(table)

    def rewrite(self, table: Table) -> None:
        """Every row is written again as it is; one column of the table's, or what PostgreSQL alone has."""
        assert self.case is not None
        if table.number in self.case.only_there and self.chance.random() < 0.3:
            self.execute(f'UPDATE {identifier(table.name)} SET "only there" = DEFAULT', [])
            return
        other = [
            c
            for p, c in enumerate(table.columns)
            if p not in table.key or table.number not in self.case.always
        ]
        name = identifier(self.chance.choice(other).name)
        self.execute(f"UPDATE {identifier(table.name)} SET {name} = {name}", [])

    def swap(self, table: Table) -> None:
        """Two rows exchange what is unique; on PostgreSQL also their keys, by way of a third one."""
        rows, alone = self.model.rows[table.number], len(table.key) == 1
        kind = table.columns[table.key[0]].kind if table.key else ""
        if self.dialect == "sqlite" or not alone or len(rows) < 2 or self.chance.random() < 0.5:
            super().swap(table)
            return
        assert self.case is not None
        if table.number in self.case.always:
            return
        p = table.key[0]
        a, b = (row[p] for row in self.chance.sample(rows, 2))
        free = KINDS[kind].own(meaning := KINDS[kind].draw(self.chance))
        spelled(kind, KINDS[kind], meaning, free)
        if any(r[p] == free for r in rows):
            return
        for old, new in ((a, free), (b, a), (free, b)):
            row = next(r for r in self.model.rows[table.number] if r[p] == old)
            self._set(table, row, {p: new})

    def _where(self, table: Table, row: SqliteRow) -> tuple[str, list[object]]:
        if table.key:
            return super()._where(table, row)
        assert self.case is not None
        tests, values = [], []
        for c, value in zip(table.columns, row, strict=False):
            name = identifier(c.name)
            if self.dialect == "sqlite":
                tests.append(f"{name} IS ? COLLATE BINARY")
            else:
                type_name = self.case.types[(table.name, c.name)]
                as_text = "::text" * (KINDS[c.kind].by == "text")
                tests.append(f"{name}{as_text} IS NOT DISTINCT FROM %s::{type_name}{as_text}")
            values.append(self._given(c, value))
        row_id = "ctid" if self.dialect == "postgres" else "rowid"
        first = f"SELECT {row_id} FROM {identifier(table.name)} WHERE {' AND '.join(tests)} LIMIT 1"
        return f"{row_id} = ({first})", values


def fill(file: apsw.Connection, case: Case, chance: random.Random) -> Model:
    """A few rows in each table, then references between them. The first row shows the form of every column;
    other spellings, where they are accepted, stay fewer than the column's own.
    """
    model = Model(case.tables, [[] for _ in case.tables])
    writer = case.writer(lambda s, v: file.execute(s, v).fetchall(), "sqlite", model, chance)
    writer.filling = True
    file.execute(case.create).fetchall()
    for table in case.tables:
        references = {p for f in table.foreign for p in f.columns}
        for n in range(chance.randint(1, 12)):
            row: list[SqliteValue] = []
            for p, c in enumerate(table.columns):
                kind = KINDS[c.kind]
                value: SqliteValue = writer._value(c)
                if p in references or (n and not c.required and p not in table.key and chance.random() < 0.2):
                    value = None
                elif not n and kind.first is not None:
                    value = spelled(c.kind, kind, kind.first, kind.own(kind.first))
                elif n > 2 and kind.other and n % 3 == 0:
                    meaning = meaning_of(c.kind, value)
                    value = spelled(c.kind, kind, meaning, kind.other(chance, meaning))
                row.append(value)
            refused_or(lambda: writer.insert_row(table, row, gives_key=False))  # noqa: B023
    for table in case.tables:
        for _ in model.rows[table.number]:
            refused_or(lambda: writer.refer(table))  # noqa: B023
    assert not file.execute("PRAGMA foreign_key_check").fetchall()
    model.committed()
    return model


# ---- the property ----


def there_and_back(case: Case, server: EmbeddedPostgres, folder: Path, outcome: Counter[str]) -> None:
    chance = random.Random(case.seed)
    path = folder / "app.db"
    log: list[str] = []
    with closing(apsw.Connection(str(path))) as file:
        file.execute(f"PRAGMA encoding='{case.encoding}'")
        file.execute(f"PRAGMA journal_mode={case.journal_mode}")
        file.execute("PRAGMA foreign_keys = ON")
        model = fill(file, case, chance)
    before = schema_of(path)
    with fresh_database(server) as (name, app_dsn, admin_dsn):
        (folder / "turnback.toml").write_text(case.config.replace("SLOT", f"turnback_{name}"))
        if case.postgres:
            with closing(psycopg.connect(app_dsn, autocommit=True)) as connection:
                connection.execute(case.postgres.encode())
        with patch.dict(os.environ, {"SYSTEM_APP_URL": app_dsn, "SYSTEM_ADMIN_URL": admin_dsn}):
            turnback = Turnback(folder / "turnback.toml", case.crash)
            try:
                assessment = assess(turnback.setup, Silent())
                if assessment.plan is None:
                    said = [f"{f.code} {f.message}\n{f.settle}" for f in blocking(assessment.findings)]
                    raise AssertionError("assess does not carry it:\n" + "\n".join(said))
                outcome.update((case.mode, c.codec) for t in assessment.plan.tables for c in t.columns)
                turnback.carry_out(Intent.MIGRATE)
                with closing(apsw.Connection(str(path))) as file:
                    file.execute("PRAGMA foreign_keys = ON")
                    model = write_sqlite(file, model, chance, log, case.writer)
                turnback.carry_out(Intent.CUTOVER)
                outcome["transactions"] += len(log)
                with closing(psycopg.connect(app_dsn)) as connection:
                    case.types = types_of(connection)
                    there = Model(case.there, model.rows, model.highest, model.inserted)
                    log.append("---- PostgreSQL")
                    there = write_postgres(connection, there, chance, log, turnback.restart, case.writer)
                outcome["transactions there"] += len(log) - log.index("---- PostgreSQL") - 1
                sampled = sample(turnback.setup, Silent(), 40, case.seed % 1000)
                assert sampled.equal, sampled.to_json()
                turnback.carry_out(Intent.ROLLBACK)
                assert turnback.crashed == (case.crash is not None)
                assert turnback.setup.state().phase.value == "on_sqlite"
            except BaseException:
                print("\n".join(log))
                raise
            finally:
                turnback.close()
    assert schema_of(path) == before
    assert_equal(path, case, there)


def types_of(connection: psycopg.Connection) -> dict[tuple[str, str], str]:
    found = connection.execute(
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0"
    ).fetchall()
    connection.rollback()
    return {(table, column): type_name for table, column, type_name in found}


def assert_equal(path: Path, case: Case, model: Model) -> None:
    with closing(apsw.Connection(str(path))) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in case.tables:
            extras = [e.name for e in case.extras.get(table.number, ())]
            names = identifiers([*(c.name for c in table.columns), *extras])
            there = Counter(exact(r) for r in file.execute(f"SELECT {names} FROM {identifier(table.name)}"))
            wanted = Counter(exact(r) for r in model.rows[table.number])
            assert there == wanted, f"{table.name}: {differing(there - wanted, wanted - there)}"
            if table.shape == "autoincrement" and model.highest.get(table.number):
                asked = "SELECT seq FROM sqlite_sequence WHERE name = ?"
                ((given_out,),) = file.execute(asked, (table.name,)).fetchall()
                assert given_out >= model.highest[table.number], f"{table.name} gives an id again"


def differing(there: Counter[Any], wanted: Counter[Any]) -> str:
    """Where there is one row too many for each that is missing: the values; else the rows."""
    pairs = zip(sorted(there.elements(), key=repr), sorted(wanted.elements(), key=repr), strict=False)
    values = [
        (n, a, b) for one, other in pairs for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b
    ]
    return f"(position, there, wanted) {values[:20]}; {sum(there.values())} too many, {sum(wanted.values())} missing"


def dealt(seed: int) -> Case:
    """The modes in turn. Four trips of a mode have every kind among them."""
    mode = ("create", "existing")[seed % 2]
    possible = [k for k, kind in KINDS.items() if mode == "existing" or kind.create is not None]
    random.Random(seed // 8).shuffle(possible)
    return made(seed, mode, possible[seed % 8 // 2 :: 4])


def test_every_codec_is_among_the_kinds() -> None:
    for mode in ("create", "existing"):
        kinds = [k for k in KINDS.values() if mode == "existing" or k.create is not None]
        assert {k.codec for k in kinds} == set(CODECS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(max(1, TRIPS * EXAMPLES // 200)))
def test_everything_there_and_back(
    number: int, server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An idle capture stores its position every ten seconds, and a sample waits for that.
    monkeypatch.setattr("turnback.app.capture.STORE_SECONDS", 0.2)
    case = dealt(START + number)
    print(case)
    outcome: Counter[Any] = Counter()
    there_and_back(case, server, tmp_path, outcome)
    print(outcome)
    assert outcome["transactions"] > 0 and outcome["transactions there"] > 0
