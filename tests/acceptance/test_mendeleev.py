"""A real SQLite file, there and back: the database of the package mendeleev (13 tables, 67,580 rows).

A model follows every committed change, first in SQLite and then by eight sessions at once in PostgreSQL.
Each session owns its rows, so that the order of changes to one row is its own order. At the end the file
equals the model, and what nobody touched has the original file's bytes and storage classes.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import shutil
import string
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest

from bench_app import Bench
from conftest import FORGETFUL, SMALL
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.core.rows import storage_class
from turnback.core.sqltext import identifier, identifiers

SESSIONS = 8
SQLITE_TRANSACTIONS = 60
TRANSACTIONS = 60  # of each session
OWN_KEYS = 1_000_000  # new keys of a session: behind all that the file or a sequence gives
KEYLESS = "alembic_version"

CONFIG = """\
[sqlite]
path = "elements.db"

[state]
allow_any_filesystem = true

[postgres]
url = "env:APP_URL"
admin_url = "env:ADMIN_URL"
slot = "{slot}"

[tables.alembic_version]
replica_identity = "full"
"""

Value = None | int | float | str
Row = tuple[Value, ...]


# ---- which PostgreSQL ----


def other_servers() -> list[Path]:
    """The bin folders of every PostgreSQL on this machine, 14 or newer."""
    folders = set(Path("/usr/lib/postgresql").glob("*/bin")) | set(Path("/usr").glob("pgsql-*/bin"))
    with suppress(FileNotFoundError, subprocess.CalledProcessError):
        said = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout
        folders.add(Path(said.strip()))
    return sorted(f for f in {f.resolve() for f in folders} if (version(f) or 0) >= 14)


def version(folder: Path) -> int | None:
    """The major version of the server in that folder; None: there is none."""
    if not ((folder / "initdb").exists() and (folder / "postgres").exists()):
        return None
    said = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\b(\d+)", said)
    return int(found[1]) if found else None


OTHERS = other_servers()
NONE_FOUND = "NO OTHER PostgreSQL (14 or newer) WAS FOUND on this machine: only the embedded one was tested"


@pytest.fixture(
    params=[
        pytest.param((None, "delete"), id="embedded"),
        *(pytest.param((f, "wal"), id=f"postgresql-{version(f)}") for f in OTHERS),
        *([] if OTHERS else [pytest.param(None, id="other", marks=pytest.mark.skip(reason=NONE_FOUND))]),
    ]
)
def elements(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Elements]:
    binaries, journal_mode = request.param
    server = None
    if binaries is None:
        database = request.getfixturevalue("database")
        app, admin, slot = database.app_dsn, database.admin_dsn, f"turnback_{database.name}"
    else:
        server = EmbeddedPostgres(tmp_path / "server", binaries=binaries, settings=SMALL | FORGETFUL)
        server.ensure_running()
        app, admin, slot = server.app_dsn(), server.admin_dsn(), "turnback"
    made = Elements(tmp_path / "elements", app, admin, slot, journal_mode)
    try:
        yield made
    finally:
        made.stop_guard()
        if server is not None:
            server.remove()


class Elements(Bench):
    """A copy of mendeleev's file, with settings of its own that must come back."""

    def __init__(self, folder: Path, app_dsn: str, admin_dsn: str, slot: str, journal_mode: str) -> None:
        spec = importlib.util.find_spec("mendeleev")
        assert spec is not None and spec.submodule_search_locations, "install requirements-data.txt"
        self.folder = folder
        self.path = folder / "elements.db"
        self.state = folder / "elements.db.turnback"
        self.environment = os.environ | {"APP_URL": app_dsn, "ADMIN_URL": admin_dsn}
        self.app_dsn = app_dsn
        folder.mkdir()
        shutil.copy(Path(spec.submodule_search_locations[0]) / "elements.db", self.path)
        with closing(apsw.Connection(str(self.path))) as file:
            assert file.execute(f"PRAGMA journal_mode={journal_mode}").fetchall() == [(journal_mode,)]
            for statement in ("PRAGMA user_version = 1869", "PRAGMA application_id = 118"):
                file.execute(statement)
        self.path.chmod(0o640)
        if os.getuid() == 0:
            os.chown(self.path, 12345, 12346)
        (folder / "turnback.toml").write_text(CONFIG.format(slot=slot))

    def settings(self) -> dict[str, object]:
        """All that the file carries beside its rows."""
        with closing(apsw.Connection(str(self.path))) as file:
            names = ("user_version", "application_id", "page_size", "encoding", "auto_vacuum", "journal_mode")
            found: dict[str, object] = {n: file.execute(f"PRAGMA {n}").fetchall() for n in names}
            found["schema"] = file.execute(
                "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
            ).fetchall()
        at = self.path.stat()
        return found | {"mode": at.st_mode, "owner": (at.st_uid, at.st_gid)}


# ---- what is known of the tables ----


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...]  # "int", "real", "text", "bool"
    required: frozenset[str]
    key: int | None  # where the key stands in a row
    refers: dict[str, str]  # column -> table

    def select(self) -> str:
        return f"SELECT {identifiers(self.columns)} FROM {identifier(self.name)}"


def tables_of(file: apsw.Connection) -> dict[str, Table]:
    found = {}
    for (name,) in file.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid"
    ).fetchall():
        info = file.execute("SELECT name, type, [notnull], pk FROM pragma_table_info(?)", (name,)).fetchall()
        refers = file.execute("SELECT [from], [table] FROM pragma_foreign_key_list(?)", (name,)).fetchall()
        found[name] = Table(
            name,
            tuple(c for c, *_ in info),
            tuple(_kind(t) for _, t, *_ in info),
            frozenset(c for c, _, required, _ in info if required),
            next((i for i, (*_, pk) in enumerate(info) if pk), None),
            dict(refers),
        )
    return found


def _kind(declared: str) -> str:
    return {"INTEGER": "int", "FLOAT": "real", "BOOLEAN": "bool"}.get(declared, "text")


# ---- the model ----


@dataclass
class Share:
    """The rows that one session owns: by table and key, and those of the table without a key counted."""

    rows: dict[str, dict[int, Row]]
    keyless: Counter[str] = field(default_factory=Counter)

    def begin(self) -> Share:
        return Share({t: dict(r) for t, r in self.rows.items()}, Counter(self.keyless))


def read_share(file: apsw.Connection, tables: dict[str, Table], session: int, sessions: int) -> Share:
    """A session's residue class of the keys; a decay mode goes with its isotope, which it dies with."""
    rows: dict[str, dict[int, Row]] = {}
    for table in tables.values():
        if table.key is None:
            continue
        owner = table.columns.index("isotope_id") if table.name == "isotopedecaymodes" else table.key
        rows[table.name] = {
            r[table.key]: r for r in file.execute(table.select()) if r[owner] % sessions == session
        }
    return Share(rows)


@dataclass
class Session:
    """Random transactions on one database; its share follows what was committed."""

    execute: Callable[[str, list[Any]], list[tuple[Any, ...]]]
    mark: str  # of a parameter
    tables: dict[str, Table]
    share: Share
    number: int
    chance: random.Random
    touched: set[tuple[str, int, str]] = field(default_factory=set)  # table, key, column
    committed: Counter[str] = field(default_factory=Counter)
    _next: int = 0

    def transaction(self, size: int) -> None:
        """Runs inside the caller's transaction; the caller commits, then calls `keep`."""
        self.draft, self.draft_touched, self.did = self.share.begin(), set(self.touched), Counter()
        for _ in range(size):
            kinds = (
                self.insert,
                self.update,
                self.update,
                self.rekey,
                self.delete,
                self.bulk,
                self.without_key,
            )
            self.chance.choice(kinds)()

    def keep(self) -> None:
        self.share, self.touched = self.draft, self.draft_touched
        self.committed += self.did

    def insert(self) -> None:
        table = self._table()
        row = [self._value(table, i) for i in range(len(table.columns))]
        assert table.key is not None
        row[table.key] = self._fresh()
        if table.name == "isotopedecaymodes":
            row[table.columns.index("isotope_id")] = self._some("isotopes")
        named = list(range(len(row)))
        if self.chance.random() < 0.5:
            named.remove(table.key)
        ((key,),) = self.execute(
            f"INSERT INTO {identifier(table.name)} ({identifiers(table.columns[i] for i in named)}) "
            f"VALUES ({', '.join([self.mark] * len(named))}) "
            f"RETURNING {identifier(table.columns[table.key])}",
            [self._given(table, i, row[i]) for i in named],
        )
        row[table.key] = key
        self.draft.rows[table.name][key] = tuple(row)
        self._touch(table, key, *table.columns)
        self.did["insert"] += 1

    def update(self) -> None:
        table = self._table()
        key = self._some(table.name)
        free = [i for i in range(len(table.columns)) if i != table.key and table.columns[i] != "isotope_id"]
        if key is None:
            return
        chosen = self.chance.sample(free, self.chance.randint(1, min(4, len(free))))
        self._set(table, key, {i: self._value(table, i) for i in chosen})
        self.did["update"] += 1

    def rekey(self) -> None:
        table = self._table()
        key = self._some(table.name)
        if key is None:
            return
        assert table.key is not None
        self._set(table, key, {table.key: self._fresh()})
        row = self.draft.rows[table.name].pop(key)
        new = row[table.key]
        assert isinstance(new, int)
        self.draft.rows[table.name][new] = row
        self._touch(table, key, *table.columns)
        self._touch(table, new, *table.columns)
        self.did["rekey"] += 1

    def delete(self) -> None:
        table = self._table()
        key = self._some(table.name)
        if key is None:
            return
        assert table.key is not None
        self.execute(
            f"DELETE FROM {identifier(table.name)} "
            f"WHERE {identifier(table.columns[table.key])} = {self.mark}",
            [key],
        )
        del self.draft.rows[table.name][key]
        self._touch(table, key, *table.columns)
        if table.name == "isotopes":  # ON DELETE CASCADE
            modes = self.tables["isotopedecaymodes"]
            rows, at = self.draft.rows[modes.name], modes.columns.index("isotope_id")
            for gone in [k for k, r in rows.items() if r[at] == key]:
                del rows[gone]
                self._touch(modes, gone, *modes.columns)
        self.did["delete"] += 1

    def bulk(self) -> None:
        """One statement over many rows, computed by the database."""
        table = self.tables["scattering_factors"]
        rows, at = self.draft.rows[table.name], table.columns.index("f1")
        keys = self.chance.sample(sorted(rows), min(50, len(rows)))
        self.execute(
            f"UPDATE scattering_factors SET f1 = f1 + 1 WHERE id IN ({', '.join([self.mark] * len(keys))})",
            [*keys],
        )
        for key in keys:
            row = list(rows[key])
            had = row[at]
            if had is not None:
                assert isinstance(had, float)
                row[at] = had + 1
                rows[key] = tuple(row)
                self._touch(table, key, "f1")
        self.did["bulk"] += 1

    def without_key(self) -> None:
        """The table without a key: rows of the session's own, equal ones among them."""
        name, owned = identifier(KEYLESS), sorted(self.draft.keyless.elements())
        value = f"s{self.number}-{self.chance.randrange(8)}"
        match self.chance.choice(("insert", "insert", "update", "delete") if owned else ("insert",)):
            case "insert":
                self.execute(f"INSERT INTO {name} VALUES ({self.mark})", [value])
                self.draft.keyless[value] += 1
            case "update":
                old = self.chance.choice(owned)
                self.execute(
                    f"UPDATE {name} SET version_num = {self.mark} WHERE version_num = {self.mark}",
                    [value, old],
                )
                count = self.draft.keyless.pop(old)
                self.draft.keyless[value] += count
            case "delete":
                old = self.chance.choice(owned)
                self.execute(f"DELETE FROM {name} WHERE version_num = {self.mark}", [old])
                del self.draft.keyless[old]
        self.did["without key"] += 1

    # ---- choosing ----

    def _table(self) -> Table:
        return self.chance.choice([t for t in self.tables.values() if t.key is not None])

    def _some(self, table: str) -> int | None:
        keys = self.draft.rows[table]
        return self.chance.choice(sorted(keys)) if keys else None

    def _fresh(self) -> int:
        self._next += 1
        return OWN_KEYS * (1 + self.number) + self._next

    def _value(self, table: Table, i: int) -> Value:
        name, chance = table.columns[i], self.chance
        if name not in table.required and chance.random() < 0.15:
            return None
        if name in table.refers:
            return {"elements": chance.randint(1, 118), "groups": chance.randint(1, 18)}.get(
                table.refers[name], chance.randint(1, 10)
            )
        match table.kinds[i]:
            case "int":
                return chance.choice((0, -1, chance.randint(-9999, 9999), 2**63 - 1, -(2**63)))
            case "bool":
                return chance.randint(0, 1)
            case "real":
                return chance.choice(
                    (
                        float(chance.randint(-50, 50)) or 1.0,
                        chance.uniform(-9, 9),
                        5e-324,
                        1.7976931348623157e308,
                    )
                )
        letters = string.ascii_letters + string.digits + " '\"\\%éß語🜨\n\t"
        length = 20_000 if chance.random() < 0.03 else chance.randint(0, 10)
        return chance.choice(("1", "1.10", "007", "1e5", "".join(chance.choices(letters, k=length))))

    def _given(self, table: Table, i: int, value: Value) -> object:
        """The value as this database takes it."""
        postgres = self.mark == "%s"
        return bool(value) if postgres and table.kinds[i] == "bool" and value is not None else value

    def _set(self, table: Table, key: int, new: dict[int, Value]) -> None:
        assert table.key is not None
        sets = ", ".join(f"{identifier(table.columns[i])} = {self.mark}" for i in new)
        self.execute(
            f"UPDATE {identifier(table.name)} SET {sets} "
            f"WHERE {identifier(table.columns[table.key])} = {self.mark}",
            [*(self._given(table, i, v) for i, v in new.items()), key],
        )
        row = self.draft.rows[table.name][key]
        self.draft.rows[table.name][key] = tuple(new.get(i, v) for i, v in enumerate(row))
        self._touch(table, key, *(table.columns[i] for i in new))

    def _touch(self, table: Table, key: int, *columns: str) -> None:
        self.draft_touched |= {(table.name, key, c) for c in columns}


def work_in_sqlite(path: Path, session: Session) -> None:
    with closing(apsw.Connection(str(path))) as file:
        file.execute("PRAGMA foreign_keys = ON")
        session.execute = lambda statement, values: file.execute(statement, values).fetchall()
        for _ in range(SQLITE_TRANSACTIONS):
            file.execute("BEGIN IMMEDIATE")
            try:
                session.transaction(session.chance.randint(1, 5))
            except apsw.ConstraintError:
                file.execute("ROLLBACK")
                continue
            if session.chance.random() < 0.15:
                file.execute("ROLLBACK")
            else:
                file.execute("COMMIT")
                session.keep()


def work_in_postgres(dsn: str, session: Session) -> None:
    with closing(psycopg.connect(dsn)) as connection:

        def execute(statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

        session.execute = execute
        for _ in range(TRANSACTIONS):
            try:
                session.transaction(session.chance.randint(1, 6))
                if session.chance.random() < 0.15:
                    connection.rollback()
                    continue
                connection.commit()
            except (psycopg.errors.IntegrityError, psycopg.errors.DeadlockDetected):
                connection.rollback()
                continue
            session.keep()


# ---- the comparison ----


def exact(value: Value) -> tuple[str, object]:
    """Storage class and bits."""
    return storage_class(value), value.hex() if isinstance(value, float) else value


def raw(file: apsw.Connection, table: Table) -> Iterator[tuple[tuple[str, object], ...]]:
    """Each row's columns as SQLite says it holds them: typeof(), and the bytes or bits."""
    asked = ", ".join(
        f"typeof({c}), CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB) ELSE {c} END"
        for c in map(identifier, table.columns)
    )
    for row in file.execute(f"SELECT {asked} FROM {identifier(table.name)}"):
        pairs = zip(row[::2], row[1::2], strict=True)
        yield tuple((kind, v.hex() if isinstance(v, float) else v) for kind, v in pairs)


def test_there_and_back(elements: Elements, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    original = tmp_path / "original.db"
    shutil.copy(elements.path, original)
    settings = elements.settings()
    with closing(apsw.Connection(str(original))) as file:
        tables = tables_of(file)
        whole = read_share(file, tables, 0, 1)
        whole.keyless.update(v for (v,) in file.execute(tables[KEYLESS].select()))
    assert (len(tables), sum(len(r) for r in whole.rows.values()) + whole.keyless.total()) == (13, 67_580)

    assert elements.ok("assess")["ready"]
    assert elements.ok("migrate")["rows"] == 67_580

    own = Session(lambda *_: [], "?", tables, whole, SESSIONS, random.Random(chance.random()))
    work_in_sqlite(elements.path, own)
    assert own.committed.keys() >= {"insert", "update", "delete", "rekey", "without key"}, own.committed

    assert elements.ok("cutover", "--yes")["phase"] == "on_postgres"
    with closing(apsw.Connection(str(elements.path.with_name("elements.db.turnback-original")))) as file:
        shares = [read_share(file, tables, n, SESSIONS) for n in range(SESSIONS)]
    sessions = [
        Session(lambda *_: [], "%s", tables, shares[n], n, random.Random(chance.random()))
        for n in range(SESSIONS)
    ]
    with ThreadPoolExecutor(SESSIONS) as pool:
        for done in [pool.submit(work_in_postgres, elements.app_dsn, s) for s in sessions]:
            done.result()
    committed = sum((s.committed for s in sessions), Counter())
    assert committed.keys() >= {"insert", "update", "delete", "rekey", "bulk", "without key"}, committed

    summary = elements.ok("rollback", "--yes", "--reason", "test")
    assert (summary["phase"], summary["fenced"], summary["rpo_measured_seconds"]) == ("on_sqlite", True, 0.0)
    assert elements.settings() == settings

    touched = own.touched.union(*(s.touched for s in sessions))
    untouched = 0
    with (
        closing(apsw.Connection(str(elements.path))) as file,
        closing(apsw.Connection(str(original))) as first,
    ):
        for table in tables.values():
            now = list(file.execute(table.select()))
            if table.key is None:
                wanted = sum((s.share.keyless for s in sessions), own.share.keyless)
                assert Counter(exact(v) for (v,) in now) == Counter({exact(v): n for v, n in wanted.items()})
                continue
            model = {k: r for s in sessions for k, r in s.share.rows[table.name].items()}
            there = {r[table.key]: r for r in now}
            assert there.keys() == model.keys(), table.name
            for key, row in model.items():
                assert tuple(map(exact, there[key])) == tuple(map(exact, row)), (table.name, key)
            before = {r[table.key][1]: r for r in raw(first, table)}
            for r in raw(file, table):
                key = r[table.key][1]
                for column, value, had in zip(table.columns, r, before.get(key, r), strict=True):
                    assert isinstance(key, int)
                    if (table.name, key, column) not in touched:
                        assert value == had, (table.name, key, column)
                        untouched += key in before
        assert list(file.execute("PRAGMA integrity_check")) == [("ok",)]
        assert list(file.execute("PRAGMA foreign_key_check")) == []
    assert untouched > 400_000
