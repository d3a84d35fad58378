"""A SQLite file that a test describes, moved to PostgreSQL and back, and what is in a file, told without turnback.

The moves run in this process: the functions behind the commands, platform manual. What is compared is read by
SQLite alone: typeof and the bytes of every value, the schema's text, the numbers in the header, owner and mode.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import struct
import time
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from conftest import Database
from starter import STARTER
from turnback.adapters.journal import Lease
from turnback.app.assess import Assessment
from turnback.core.findings import Finding
from turnback.core.phases import Intent, Phase
from turnback.entrypoints import verifying, worlds
from turnback.entrypoints.assessing import assess
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup
from two_sides import Silent

Make = Callable[[apsw.Connection], None] | str
Image = dict[str, Any]

CONFIG = """
[sqlite]
path = "app.db"
busy_seconds = 1
[state]
allow_any_filesystem = true
[postgres]
url = "env:APP_URL"
admin_url = "env:ADMIN_URL"
slot_timeout_seconds = 5
lock_timeout_seconds = 5
"""

PRAGMAS = ("page_size", "encoding", "user_version", "application_id", "auto_vacuum", "journal_mode")


class Trip:
    """One file, one database. Close it: capture ends."""

    def __init__(
        self, folder: Path, database: Database, make: Make, *, postgres: str = "", settle: str = "", look: bool = True
    ) -> None:
        """`postgres`: SQL that makes the schema, as the application's role would; mode existing where given.
        `look`: the file's image is taken, which needs every function and collation of its schema.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = database
        self.path = folder / "app.db"
        with closing(apsw.Connection(os.fspath(self.path))) as file:
            if isinstance(make, str):
                for _ in file.execute(make):
                    pass
            else:
                make(file)
            for _ in file.execute("PRAGMA journal_mode = wal"):
                pass
        settings = {"slot": f"turnback_{database.name}", "mode": "existing" if postgres else "create"}
        if postgres:
            with database.connect(app=True) as application:
                application.execute(postgres.encode())
        self._config = merge(tomllib.loads(CONFIG), {"postgres": settings})
        self._setup: Setup | None = None
        self._capturing: Any = None
        self.settle(settle)
        self.bytes = self.path.read_bytes()
        self.before = image(self.path) if look else {}

    def __enter__(self) -> Trip:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._capturing is not None:
            self._capturing.release()
            self._capturing = None
        if self._setup is not None:
            self._setup.close()
            self._setup = None

    # ---- what the commands do ----

    def settle(self, lines: str) -> None:
        """Adds these lines to turnback.toml."""
        self.close()
        self._config = merge(self._config, tomllib.loads(lines))
        (self.folder / "turnback.toml").write_text("".join(_toml(self._config)))

    @property
    def setup(self) -> Setup:
        if self._setup is None:
            self._setup = Setup(load(self.folder / "turnback.toml"))
        return self._setup

    @property
    def phase(self) -> Phase:
        return self.setup.state().phase

    def assess(self) -> Assessment:
        return assess(self.setup, Silent())

    def run(self, intent: Intent, **options: object) -> None:
        plan = self.setup.plan(intent)
        if self._capturing is None:
            self._capturing = worlds.engine(self.setup, plan, progress=Silent(), announce=lambda _: None)
        self._capturing.execute(intent, {"plan": self.setup.record_plan(plan), **options})

    def migrate(self) -> None:
        """Assess, and the schema, the rows and the proof. Findings that need a choice fail the test."""
        found = self.assess()
        asking = [f"{f.code} {f.table}.{f.column}: {f.message}\n{f.settle}" for f in found.findings if f.severity != "carries"]
        assert found.plan is not None, "\n".join(asking)
        self.run(Intent.MIGRATE)

    def there(self) -> None:
        self.migrate()
        self.run(Intent.CUTOVER)

    def back(self) -> None:
        self.run(Intent.ROLLBACK)

    def proven_equal(self) -> bool:
        return verifying.verify(self.setup, Silent(), by="test").equal

    def command(self, *words: str) -> dict[str, Any]:
        """The command as a process, as a user types it; what it says with --json. It has to succeed."""
        self.close()
        done = STARTER.run((*words, "--json"), self.folder, os.environ, 180)
        asked = json.loads(done.stdout).get("findings", ()) if done.stdout else ()
        said = [f"{f['code']} {f['message']}\n{f['settle']}" for f in asked if f["severity"] != "carries"]
        assert done.returncode == 0, "\n".join([f"{words}: {done.returncode}", *said, done.stderr])
        value = json.loads(done.stdout)
        assert isinstance(value, dict)
        return value

    def stop_guard(self) -> None:
        """SIGTERM to the lease's holder, waited for: a cutover by command has started a guard."""
        lease_file = self.folder / "app.db.turnback" / "lease"
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and lease_file.exists():
                with closing(Lease(lease_file)) as lease:
                    holder = lease.holder()
                if holder is None:
                    return
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(holder["pid"]), number)
                time.sleep(0.1)

    def capture(self) -> Any:
        """The capture of this process, while PostgreSQL serves."""
        return self._capturing.world.capture

    # ---- what is there ----

    def write(self, *statements: str) -> None:
        """The application on PostgreSQL: one transaction."""
        with self.database.connect(app=True, autocommit=False) as session:
            for statement in statements:
                session.execute(statement.encode())

    def in_postgres(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.connect() as session:
            return session.execute(sql.encode()).fetchall()

    def in_sqlite(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(apsw.Connection(os.fspath(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as file:
            return list(file.execute(sql))

    def touch_every_row(self) -> None:
        """Each row is written once more as it is: the stream carries every row, and nothing changes."""
        with self.database.connect() as session:
            for table, columns in self._tables():
                session.execute(f"UPDATE {table} SET {columns[0]} = {columns[0]}".encode())

    def write_every_row_anew(self) -> None:
        """All rows are deleted and inserted as they were: every value comes back from PostgreSQL."""
        with self.database.connect(autocommit=False) as session:
            session.execute("SET session_replication_role = replica")  # foreign keys meet again at the end
            for table, columns in self._tables():
                listed = ", ".join(columns)
                session.execute(f"CREATE TEMP TABLE held ON COMMIT DROP AS SELECT {listed} FROM {table}".encode())
                session.execute(f"DELETE FROM {table}".encode())
                session.execute(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM held".encode())
                session.execute("DROP TABLE held")

    def _tables(self) -> list[tuple[str, list[str]]]:
        """(quoted name, quoted names of the columns that can be written) of every table of the plan."""
        return [
            (name, columns)
            for name, columns in self.in_postgres(
                "SELECT format('%I.%I', n.nspname, c.relname), array_agg(quote_ident(attname) ORDER BY attnum)"
                " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_attribute ON attrelid = c.oid"
                " WHERE nspname = 'public' AND relkind = 'r' AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
                " GROUP BY 1 ORDER BY 1"
            )
        ]

    def image(self, *, rowids: bool = True) -> Image:
        return image(self.path, rowids=rowids)

    def demand_untouched(self) -> None:
        """Neither side has changed: not a byte of the file, nothing in PostgreSQL."""
        self.close()
        assert self.path.read_bytes() == self.bytes
        left = self.in_postgres(
            "SELECT relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
            " UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname = 'turnback'"
            " UNION ALL SELECT pubname::text FROM pg_publication"
            " UNION ALL SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()"
        )
        assert left == []


def image(path: Path, *, rowids: bool = True) -> Image:
    """Everything that an application could see of the file. Values are (class, bytes)."""
    with closing(apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)) as file:
        schema = sorted(file.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"), key=repr)
        tables = [
            (name, kind, bool(without_rowid))
            for _, name, kind, _, without_rowid, _ in file.execute("PRAGMA main.table_list")
            if kind == "table" and name not in ("sqlite_schema", "sqlite_temp_schema")
        ]
        seen: Image = {"schema": schema, "header": {p: file.pragma(p) for p in PRAGMAS}, "rows": {}}
        for name, _, without_rowid in tables:
            seen["rows"][name] = _rows(file, name, rowids and not without_rowid)
        assert file.pragma("integrity_check") == "ok"
    info = path.stat()
    seen["file"] = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
    return seen


def _rows(file: apsw.Connection, table: str, rowid: bool) -> list[Any]:
    q = '"' + table.replace('"', '""') + '"'
    names = [r[1] for r in file.execute(f"PRAGMA table_xinfo({q})") if r[6] in (0, 2, 3)]
    taken = {n.lower() for n in names}
    alias = next((a for a in ("rowid", "_rowid_", "oid") if a not in taken), None) if rowid else None
    parts = [f'typeof("{n}"), iif(typeof("{n}") IN (\'integer\', \'real\'), "{n}", CAST("{n}" AS BLOB))' for n in (x.replace('"', '""') for x in names)]
    found = []
    for row in file.execute(f"SELECT {', '.join(parts + ([alias] if alias else []))} FROM {q}"):
        values = [(row[i], _raw(row[i + 1])) for i in range(0, 2 * len(names), 2)]
        found.append((*values, *([row[-1]] if alias else [])))
    return sorted(found, key=repr)


def _raw(value: object) -> object:
    return struct.pack(">d", value) if isinstance(value, float) else value


def same(before: Image, after: Image) -> None:
    """Fails with the first differences in words."""
    for part in ("schema", "header", "file"):
        assert after[part] == before[part], part
    assert after["rows"].keys() == before["rows"].keys()
    for table, rows in before["rows"].items():
        now = after["rows"][table]
        if now != rows:
            gone = [r for r in rows if r not in now]
            come = [r for r in now if r not in rows]
            raise AssertionError(f"{table}: gone {str(gone[:3])[:600]}, come {str(come[:3])[:600]}")


def merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    both = dict(a)
    for key, value in b.items():
        mine = both.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            both[key] = merge(mine, value)
        elif isinstance(mine, list) and isinstance(value, list):
            both[key] = mine + value
        else:
            both[key] = value
    return both


def _toml(tables: dict[str, Any], path: tuple[str, ...] = ()) -> list[str]:
    plain = {k: v for k, v in tables.items() if not isinstance(v, dict)}
    lines = [f"\n[{'.'.join(map(_string, path))}]\n"] if path and plain else []
    lines += [f"{_string(k)} = {_value(v)}\n" for k, v in plain.items()]
    for key, value in tables.items():
        if isinstance(value, dict):
            lines += _toml(value, (*path, key))
    return lines


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _string(value)
        case list():
            return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def _string(text: str) -> str:
    """A basic string of TOML."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in text) + '"'


def offers(finding: Finding, lines: str) -> None:
    """The finding says what to write into turnback.toml, word for word."""
    offered = [line.split("  #")[0].strip() for line in finding.settle.splitlines()]
    for line in lines.splitlines():
        assert line.strip() in offered, f"{finding.message}\n{finding.settle}"


def findings(found: Assessment, code: str, table: str | None = None, column: str | None = None) -> list[Finding]:
    return [
        f for f in found.findings
        if f.code == code and table in (None, f.table) and column in (None, f.column)
    ]


@pytest.fixture
def trip(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch):
    """Makes trips in this test's folder and database."""
    monkeypatch.setenv("APP_URL", database.app_dsn)
    monkeypatch.setenv("ADMIN_URL", database.admin_dsn)
    made: list[Trip] = []

    def make(what: Make, **more: Any) -> Trip:
        made.append(Trip(tmp_path / f"trip{len(made)}", database, what, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.stop_guard()
