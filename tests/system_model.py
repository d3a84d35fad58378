"""Random schemas, random rows and random transactions, with a model that follows what was committed.

The same transactions run on SQLite and on PostgreSQL. The model knows values and foreign-key actions; whether
a change is allowed at all, the database says: what it refuses did not happen.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from hypothesis import strategies as st

from turnback.core.rows import SqliteRow, SqliteValue
from turnback.core.sqltext import identifier, identifiers

Kind = Literal[
    "integer", "text", "uuid", "uuid_blob", "blob", "real", "boolean", "stamp", "date", "epoch", "json"
]
Shape = Literal["rowid", "autoincrement", "key", "without_rowid", "unique", "none"]

DECLARED: dict[Kind, tuple[str, ...]] = {
    "integer": ("BIGINT", "INT", "INTEGER"),
    "text": ("TEXT", "VARCHAR(9)"),
    "uuid": ("UUID",),
    "uuid_blob": ("UUID",),
    "blob": ("BLOB",),
    "real": ("REAL", "DOUBLE"),
    "boolean": ("BOOLEAN",),
    "stamp": ("DATETIME", "TIMESTAMP"),
    "date": ("DATE",),
    "epoch": ("DATETIME", "TIMESTAMP"),  # milliseconds
    "json": ("JSON",),  # with `respell`: jsonb, which keeps no spelling
}
SPECIAL = frozenset({"stamp", "uuid_blob", "epoch"})  # what they become is seen from a value

# Spellings, and how jsonb writes each.
JSON = {
    '{"b":1,"a":[1.10,null]}': '{"a": [1.10, null], "b": 1}',
    '{"a": [1.10,  null], "b": 1}': '{"a": [1.10, null], "b": 1}',
    '{"a":1,"a":2}': '{"a": 2}',
    ' {"a": 2}': '{"a": 2}',
    "[]": "[]",
    '"é"': '"é"',
    '"\\u00e9"': '"é"',
    '{"long":"' + "0123456789" * 900 + '"}': '{"long": "' + "0123456789" * 900 + '"}',
}
JSON |= {written: written for written in JSON.values()}
KEY_KINDS: tuple[Kind, ...] = ("integer", "text", "uuid", "uuid_blob", "blob", "stamp")
TABLE_NAMES = ("order", "Größe", "two words", 'q"uote')
COLUMN_NAMES = ("a", "B", "select", "naïve col", 'say "x"', "f", "group", "h'", "i", "j", "k", "l")
FORMS = ((" ", 0, ""), ("T", 3, ""), (" ", 6, ""), ("T", 0, "Z"), (" ", 3, "Z"))


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind
    declared: str
    required: bool
    form: tuple[str, int, str]  # of a stamp: separator, digits of the fraction, suffix
    short: bool  # part of a key or a unique constraint: an index entry has a limit


@dataclass(frozen=True)
class Foreign:
    columns: tuple[int, ...]
    parent: int  # number of the table
    on_delete: str
    on_update: str
    deferred: bool


@dataclass(frozen=True)
class Table:
    number: int
    name: str
    shape: Shape
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    uniques: tuple[tuple[int, ...], ...]
    foreign: tuple[Foreign, ...]

    def names(self, positions: Sequence[int]) -> str:
        return identifiers(self.columns[p].name for p in positions)

    def create(self, tables: Sequence[Table]) -> str:
        alone = self.shape in ("rowid", "autoincrement")
        lines = []
        for p, c in enumerate(self.columns):
            words = [identifier(c.name), c.declared] + ["NOT NULL"] * (
                c.required and not (alone and p in self.key)
            )
            if alone and p in self.key:
                words.append("PRIMARY KEY" + " AUTOINCREMENT" * (self.shape == "autoincrement"))
            lines.append(" ".join(words))
        if self.shape in ("key", "without_rowid"):
            lines.append(f"PRIMARY KEY ({self.names(self.key)})")
        lines += [f"UNIQUE ({self.names(u)})" for u in self.uniques]
        for f in self.foreign:
            parent = tables[f.parent]
            lines.append(
                f"FOREIGN KEY ({self.names(f.columns)}) REFERENCES {identifier(parent.name)} "
                f"({parent.names(parent.key)}) ON DELETE {f.on_delete} ON UPDATE {f.on_update}"
                + " DEFERRABLE INITIALLY DEFERRED"
                * f.deferred
            )
        tail = " WITHOUT ROWID" * (self.shape == "without_rowid")
        return f"CREATE TABLE {identifier(self.name)} (\n  {', '.join(lines)}\n){tail}"


# ---- schemas ----


@st.composite
def schemas(draw: Callable[..., Any]) -> tuple[Table, ...]:
    """Two to four tables: every shape of key; references to itself, to others, and in a circle."""
    count = draw(st.integers(2, 4))
    plain = [draw(_plain_tables(number)) for number in range(count)]
    return tuple(_referring(draw, table, plain) for table in plain)


@st.composite
def _plain_tables(draw: Callable[..., Any], number: int) -> Table:
    shape: Shape = draw(st.sampled_from(("rowid", "autoincrement", "key", "without_rowid", "unique", "none")))
    columns: list[Column] = []

    def add(kinds: Sequence[Kind], *, required: bool, short: bool, declared: str | None = None) -> int:
        kind: Kind = draw(st.sampled_from(kinds))
        said = declared or draw(st.sampled_from(DECLARED[kind]))
        form = draw(st.sampled_from(FORMS)) if kind == "stamp" else FORMS[0]
        columns.append(Column(COLUMN_NAMES[len(columns)], kind, said, required, form, short))
        return len(columns) - 1

    key: tuple[int, ...] = ()
    uniques: list[tuple[int, ...]] = []
    match shape:
        case "rowid" | "autoincrement":
            key = (add(("integer",), required=True, short=True, declared="INTEGER"),)
        case "key" | "without_rowid":
            width = draw(st.integers(1, 2))
            key = tuple(add(KEY_KINDS, required=True, short=True) for _ in range(width))
            if shape == "key" and width == 1 and columns[0].kind == "integer":  # INTEGER would be the row id
                columns[0] = Column(columns[0].name, "integer", "BIGINT", True, FORMS[0], True)
        case "unique":
            key = tuple(add(KEY_KINDS, required=True, short=True) for _ in range(draw(st.integers(1, 2))))
            uniques.append(key)
    for _ in range(draw(st.integers(1, 4))):
        # Equal rows without a key may differ in spelling, and nobody can say which of them PostgreSQL meant.
        kinds = tuple(k for k in DECLARED if k != "json") + ("json",) * (3 if shape != "none" else 0)
        add(kinds, required=draw(st.booleans()), short=False)
    if draw(st.booleans()):
        uniques.append((add(("integer",), required=False, short=True, declared="INTEGER"),))
    if draw(st.integers(0, 3)) == 0:
        kinds = ("integer", "text", "uuid")
        uniques.append(tuple(add(kinds, required=False, short=True) for _ in range(2)))
    return Table(number, TABLE_NAMES[number], shape, tuple(columns), key, tuple(uniques), ())


def _referring(draw: Callable[..., Any], table: Table, tables: Sequence[Table]) -> Table:
    columns, foreign = list(table.columns), []
    for _ in range(draw(st.integers(0, 2))):
        parent = draw(st.sampled_from(tables))
        if not parent.key or len(columns) + len(parent.key) > len(COLUMN_NAMES):
            continue
        own = []
        for p in parent.key:
            c = parent.columns[p]
            columns.append(Column(COLUMN_NAMES[len(columns)], c.kind, c.declared, False, c.form, True))
            own.append(len(columns) - 1)
        foreign.append(
            Foreign(
                tuple(own),
                parent.number,
                draw(st.sampled_from(("NO ACTION", "CASCADE", "SET NULL"))),
                draw(st.sampled_from(("NO ACTION", "CASCADE"))),
                draw(st.booleans()),
            )
        )
    return Table(
        table.number, table.name, table.shape, tuple(columns), table.key, table.uniques, tuple(foreign)
    )


def random_value(chance: random.Random, column: Column) -> SqliteValue:
    """A value as SQLite holds it. A REAL column has no -0.0 in SQLite, so none is made."""
    match column.kind:
        case "integer":
            extreme = () if column.declared == "INTEGER" else (2**63 - 1, -(2**63), -1)
            return chance.choice((chance.randint(1, 40), chance.randint(1, 40), 10**12, *extreme))
        case "boolean":
            return chance.randint(0, 1)
        case "real":
            return chance.choice(
                (
                    float(chance.randint(1, 9)),
                    chance.uniform(-9, 9),
                    5e-324,
                    -1.7976931348623157e308,
                    float("inf"),
                    0.1,
                )
            )
        case "text":
            few = ("", "a", "A", "1", "007", "1e5", "1.10", "é🜨\n\\", "true", "NULL", "\x01'\"")
            long = "" if column.short else "".join(chance.choices("0123456789abcdefé", k=9000))
            return chance.choice((*few, *few, str(chance.randrange(10**6)), long))
        case "blob":
            long = b"" if column.short else chance.randbytes(6000)
            return chance.choice((b"", b"\x00\xff[", chance.randbytes(3), chance.randbytes(40), b"abc", long))
        case "uuid":
            return str(uuid.UUID(bytes=chance.randbytes(16)))
        case "uuid_blob":
            return chance.randbytes(16)
        case "json":
            return chance.choice(list(JSON))
        case "date":
            return f"{datetime(1900, 1, 1) + timedelta(days=chance.randrange(90_000)):%Y-%m-%d}"
        case "epoch":
            return chance.randrange(10**11, 10**13)
        case "stamp":
            separator, digits, suffix = column.form
            at = datetime(1900, 1, 1) + timedelta(seconds=chance.randrange(6 * 10**9))
            fraction = f".{chance.choice((0, 5, 500, 999)):03}".ljust(digits + 1, "7") if digits else ""
            return f"{at:%Y-%m-%d}{separator}{at:%H:%M:%S}{fraction}{suffix}"


# ---- the model ----

Rows = list[SqliteRow]


@dataclass
class Model:
    tables: tuple[Table, ...]
    rows: list[Rows] = field(default_factory=list)  # by the table's number
    highest: dict[int, int] = field(default_factory=dict)  # the largest id that was ever given, by table
    inserted: list[tuple[int, int]] = field(default_factory=list)  # table and id, of the open transaction

    def copy(self) -> Model:
        return Model(self.tables, [list(r) for r in self.rows], self.highest, list(self.inserted))

    def committed(self) -> None:
        """Of AUTOINCREMENT: SQLite remembers the largest id that an INSERT stored (not an UPDATE)."""
        for number, given in self.inserted:
            if any(r[self.tables[number].key[0]] == given for r in self.rows[number]):
                self.give(number, given)
        self.inserted.clear()

    def give(self, number: int, given: int) -> None:
        self.highest[number] = max(self.highest.get(number, 0), given)

    def set(self, table: Table, row: SqliteRow, new: dict[int, SqliteValue]) -> SqliteRow:
        changed = tuple(new.get(p, v) for p, v in enumerate(row))
        rows = self.rows[table.number]
        rows[rows.index(row)] = changed
        return changed

    def rekey(self, table: Table, row: SqliteRow, new: dict[int, SqliteValue]) -> None:
        """With ON UPDATE CASCADE. A row without a key is only changed."""
        changed = self.set(table, row, new)
        old, key = _part(row, table.key), _part(changed, table.key)
        if old == key:
            return
        for child, foreign in self._children(table):
            if foreign.on_update == "CASCADE":
                for r in [r for r in self.rows[child.number] if _part(r, foreign.columns) == old]:
                    self.set(child, r, dict(zip(foreign.columns, key, strict=True)))

    def delete(self, table: Table, row: SqliteRow) -> None:
        """With ON DELETE CASCADE and SET NULL."""
        self.rows[table.number].remove(row)
        if not table.key:
            return
        key = _part(row, table.key)
        for child, foreign in self._children(table):
            for r in [r for r in self.rows[child.number] if _part(r, foreign.columns) == key]:
                if foreign.on_delete == "SET NULL" and r in self.rows[child.number]:
                    self.set(child, r, dict.fromkeys(foreign.columns))
        for child, foreign in self._children(table):
            for r in [r for r in self.rows[child.number] if _part(r, foreign.columns) == key]:
                if foreign.on_delete == "CASCADE" and r in self.rows[child.number]:
                    self.delete(child, r)

    def truncate(self, table: Table) -> None:
        """TRUNCATE ... CASCADE empties whatever refers to the table, whatever its rows say."""
        gone = {table.number}
        while more := {c.number for n in gone for c, _ in self._children(self.tables[n])} - gone:
            gone |= more
        for number in gone:
            self.rows[number].clear()

    def _children(self, table: Table) -> list[tuple[Table, Foreign]]:
        return [(t, f) for t in self.tables for f in t.foreign if f.parent == table.number]


def _part(row: SqliteRow, positions: Sequence[int]) -> SqliteRow:
    return tuple(row[p] for p in positions)


# ---- transactions ----


@dataclass
class Writer:
    """Random changes through one connection. `execute` raises what the database refuses."""

    execute: Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
    dialect: Literal["sqlite", "postgres"]
    model: Model  # of the transaction that is open
    chance: random.Random
    log: list[str] = field(default_factory=list)

    def change(self) -> None:
        kinds = [
            self.insert,
            self.insert,
            self.insert,
            self.update,
            self.update,
            self.rekey,
            self.delete,
            self.swap,
        ]
        if self.dialect == "postgres":
            kinds += [self.shift, self.rewrite, self.replace]
            if self.chance.random() < 0.015:  # more would leave nothing that came from SQLite
                kinds = [self.truncate]
        chosen = self.chance.choice(kinds)
        table = self.chance.choice(self.model.tables)
        self.log.append(f"{chosen.__name__} {table.name}")
        chosen(table)

    def insert(self, table: Table) -> None:
        row = [self._random(c) for c in table.columns]
        for foreign in table.foreign:
            for p, v in zip(foreign.columns, self._reference(foreign), strict=True):
                row[p] = v
        self.insert_row(table, row, gives_key=self.chance.random() < 0.5)

    def insert_row(self, table: Table, row: list[SqliteValue], *, gives_key: bool) -> None:
        named = list(range(len(row)))
        returning = ""
        if gives_key and table.shape in ("rowid", "autoincrement"):
            named.remove(table.key[0])
            returning = f" RETURNING {table.names(table.key)}"
        found = self.execute(
            f"INSERT INTO {identifier(table.name)} ({table.names(named)}) "
            f"{self._overriding(table)}VALUES ({', '.join([self._mark] * len(named))}){returning}",
            [self._given(table.columns[p], row[p]) for p in named],
        )
        if self.dialect == "postgres":
            row = [self._landed(table.columns[p], v, None) for p, v in enumerate(row)]
        if returning:
            row[table.key[0]] = found[0][0]
            if self.dialect == "postgres":
                self.model.give(table.number, found[0][0])  # a sequence gives it once, also when undone
        self.model.rows[table.number].append(tuple(row))
        if table.shape == "autoincrement":
            given = row[table.key[0]]
            assert isinstance(given, int)
            self.model.inserted.append((table.number, given))

    def update(self, table: Table) -> None:
        row = self._some(table)
        references = {p for f in table.foreign for p in f.columns}
        free = [p for p in range(len(table.columns)) if p not in table.key and p not in references]
        if row is None or not free:
            return
        chosen = self.chance.sample(free, self.chance.randint(1, len(free)))
        self._set(table, row, {p: self._random(table.columns[p]) for p in chosen})

    def refer(self, table: Table) -> None:
        """Another reference, or none."""
        row = self._some(table)
        if row is not None and table.foreign:
            foreign = self.chance.choice(table.foreign)
            self._set(table, row, dict(zip(foreign.columns, self._reference(foreign), strict=True)))

    def rekey(self, table: Table) -> None:
        row = self._some(table)
        if row is None:
            return
        if not table.key or (table.foreign and self.chance.random() < 0.3):
            self.refer(table)
            return
        self._set(table, row, {p: self._value(table.columns[p]) for p in table.key})

    def delete(self, table: Table) -> None:
        row = self._some(table)
        if row is not None:
            where, values = self._where(table, row)
            self.execute(f"DELETE FROM {identifier(table.name)} WHERE {where}", values)
            self.model.delete(table, row)

    def replace(self, table: Table) -> None:
        """A row goes and another takes its key."""
        row = self._some(table)
        if row is None:
            return
        where, values = self._where(table, row)
        self.execute(f"DELETE FROM {identifier(table.name)} WHERE {where}", values)
        self.model.delete(table, row)
        changed = [self._random(c) if p not in table.key else row[p] for p, c in enumerate(table.columns)]
        for foreign in table.foreign:
            for p, v in zip(foreign.columns, self._reference(foreign), strict=True):
                changed[p] = v
        self.insert_row(table, changed, gives_key=False)

    def swap(self, table: Table) -> None:
        """Two rows exchange what is unique."""
        rows = self.model.rows[table.number]
        places = [u for u in table.uniques if u != table.key]
        if len(rows) < 2 or not places:
            return
        (unique,) = self.chance.sample(places, 1)
        a, b = self.chance.sample(rows, 2)
        if a == b:
            return
        mine, other = _part(a, unique), _part(b, unique)
        self._set(table, a, dict.fromkeys(unique))
        self._set(table, b, dict(zip(unique, mine, strict=True)))
        a = tuple(None if p in unique else v for p, v in enumerate(a))
        self._set(table, a, dict(zip(unique, other, strict=True)))

    def shift(self, table: Table) -> None:
        """`SET n = n + 1` over a unique column: PostgreSQL refuses it or not, by the order of its rows."""
        places = [u[0] for u in table.uniques if len(u) == 1 and table.columns[u[0]].kind == "integer"]
        if not places:
            return
        place = self.chance.choice(places)
        name = identifier(table.columns[place].name)
        step = self.chance.choice((1, -1, 1000))
        self.execute(f"UPDATE {identifier(table.name)} SET {name} = {name} + {self._mark}", [step])
        for number, before in enumerate(list(self.model.rows[table.number])):
            had = before[place]
            if isinstance(had, int):  # a row that refers to one of its own table may have followed it by now
                self.model.rekey(table, self.model.rows[table.number][number], {place: had + step})

    def rewrite(self, table: Table) -> None:
        """Every row is written again as it is: large values are not sent again."""
        if not self.model.rows[table.number]:
            return
        name = identifier(self.chance.choice(table.columns).name)
        self.execute(f"UPDATE {identifier(table.name)} SET {name} = {name}", [])

    def truncate(self, table: Table) -> None:
        self.execute(f"TRUNCATE {identifier(table.name)} CASCADE", [])
        self.model.truncate(table)

    # ---- choosing ----

    @property
    def _mark(self) -> str:
        return "?" if self.dialect == "sqlite" else "%s"

    def _random(self, column: Column) -> SqliteValue:
        if not column.required and self.chance.random() < 0.2:
            return None
        return self._value(column)

    def _value(self, column: Column) -> SqliteValue:
        return random_value(self.chance, column)

    def _overriding(self, table: Table) -> str:
        """What an INSERT that names every column says of an identity."""
        return ""

    def _some(self, table: Table) -> SqliteRow | None:
        rows = self.model.rows[table.number]
        return self.chance.choice(rows) if rows else None

    def _reference(self, foreign: Foreign) -> SqliteRow:
        parent = self.model.tables[foreign.parent]
        rows = self.model.rows[parent.number]
        if rows and self.chance.random() < 0.7:
            return _part(self.chance.choice(rows), parent.key)
        if self.chance.random() < 0.1:  # to nothing: refused, or repaired before the end by chance
            return tuple(self._value(parent.columns[p]) for p in parent.key)
        return (None,) * len(parent.key)

    def _given(self, column: Column, value: SqliteValue) -> object:
        """The value as this database takes it."""
        if self.dialect == "postgres" and value is not None:
            if column.kind == "boolean":
                return bool(value)
            if column.kind == "uuid_blob":
                assert isinstance(value, bytes)
                return str(uuid.UUID(bytes=value))
            if column.kind == "epoch":
                assert isinstance(value, int)
                return (datetime(1970, 1, 1) + timedelta(milliseconds=value)).isoformat() + "Z"
        return value

    def _where(self, table: Table, row: SqliteRow) -> tuple[str, list[object]]:
        """The row by its key; without one, the first of those that are equal."""
        if table.key:
            tests = [f"{identifier(table.columns[p].name)} = {self._mark}" for p in table.key]
            return " AND ".join(tests), [self._given(table.columns[p], row[p]) for p in table.key]
        row_id, same = ("ctid", "IS NOT DISTINCT FROM") if self.dialect == "postgres" else ("rowid", "IS")
        tests = [f"{identifier(c.name)} {same} {self._mark}" for c in table.columns]
        first = f"SELECT {row_id} FROM {identifier(table.name)} WHERE {' AND '.join(tests)} LIMIT 1"
        return f"{row_id} = ({first})", [self._given(c, v) for c, v in zip(table.columns, row, strict=True)]

    def _set(self, table: Table, row: SqliteRow, new: dict[int, SqliteValue]) -> None:
        sets = ", ".join(f"{identifier(table.columns[p].name)} = {self._mark}" for p in new)
        where, values = self._where(table, row)
        given = [self._given(table.columns[p], v) for p, v in new.items()]
        self.execute(f"UPDATE {identifier(table.name)} SET {sets} WHERE {where}", [*given, *values])
        if self.dialect == "postgres":
            new = {p: self._landed(table.columns[p], v, row[p]) for p, v in new.items()}
        self.model.rekey(table, row, new)

    @staticmethod
    def _landed(column: Column, value: SqliteValue, had: SqliteValue) -> SqliteValue:
        """What comes back to SQLite: jsonb's spelling, unless the value is the one that was there (law 2)."""
        if column.kind != "json" or not isinstance(value, str):
            return value
        return had if isinstance(had, str) and JSON[had] == JSON[value] else JSON[value]
