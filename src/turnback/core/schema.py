"""The schema of either side as small frozen records, as introspection read them.

Nothing here decides anything: `mapping` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Affinity = Literal["INTEGER", "TEXT", "BLOB", "REAL", "NUMERIC"]


def affinity(declared_type: str) -> Affinity:
    """SQLite's own five rules, in their order (SQLite documentation: datatype3, section 3.1)."""
    name = declared_type.upper()
    if "INT" in name:
        return "INTEGER"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in name or not name.strip():
        return "BLOB"
    if any(part in name for part in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"


# ---- SQLite --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SqliteColumn:
    """One row of PRAGMA table_xinfo."""

    name: str
    declared_type: str
    not_null: bool
    default_sql: str | None
    primary_key_position: int  # 0: not part of the primary key; else 1..n
    generated: Literal["", "virtual", "stored"] = ""
    collation: str = "BINARY"


@dataclass(frozen=True, slots=True)
class SqliteIndexColumn:
    name: str | None  # None: an expression
    descending: bool
    collation: str


@dataclass(frozen=True, slots=True)
class SqliteIndex:
    """One row of PRAGMA index_list with its PRAGMA index_xinfo key columns."""

    name: str
    unique: bool
    partial: bool
    origin: Literal["create", "unique", "primary_key"]
    columns: tuple[SqliteIndexColumn, ...]
    sql: str | None  # None for the indexes that a UNIQUE or PRIMARY KEY made


@dataclass(frozen=True, slots=True)
class SqliteForeignKey:
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]  # resolved: never empty (HAZARDS F27)
    on_update: str
    on_delete: str
    deferred: bool  # DEFERRABLE INITIALLY DEFERRED in the table's SQL


@dataclass(frozen=True, slots=True)
class SqliteTable:
    name: str
    columns: tuple[SqliteColumn, ...]  # generated ones included
    primary_key: tuple[str, ...]  # in key order; empty: none declared
    rowid_alias: str | None  # the INTEGER PRIMARY KEY column, if there is one
    without_rowid: bool
    strict: bool
    autoincrement: bool
    indexes: tuple[SqliteIndex, ...]
    foreign_keys: tuple[SqliteForeignKey, ...]
    kind: Literal["table", "virtual", "shadow"]
    sql: str


@dataclass(frozen=True, slots=True)
class SqliteObject:
    """A view or a trigger."""

    kind: Literal["view", "trigger"]
    name: str
    table: str
    sql: str


@dataclass(frozen=True, slots=True)
class FileSettings:
    """What the file itself carries, to be equal after promote (HAZARDS F43)."""

    page_size: int
    encoding: str
    auto_vacuum: int
    journal_mode: str
    user_version: int
    application_id: int


@dataclass(frozen=True, slots=True)
class SqliteSchema:
    tables: tuple[SqliteTable, ...]  # in schema order; turnback's own and sqlite_* left out
    objects: tuple[SqliteObject, ...]
    settings: FileSettings

    def table(self, name: str) -> SqliteTable:
        """The table of that exact name. Raises KeyError."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)


# ---- PostgreSQL ----------------------------------------------------------------------------------

LAST_ID = 2**63 - 1  # of a bigint sequence, and of a rowid
MAX_COUNTED = 1000  # rows of a table that should be empty are counted no further


@dataclass(frozen=True, slots=True)
class PostgresColumn:
    name: str
    type_name: str  # format_type(): "bigint", "character varying(20)", "timestamp with time zone"
    type_kind: Literal["base", "enum", "domain", "array", "composite", "range", "other"]
    not_null: bool
    default_sql: str | None
    identity: Literal["", "always", "by_default"]
    generated: bool
    labels: tuple[str, ...] = ()  # of an enum (and of a domain over one), in its order
    base_type: str = ""  # of a domain: format_type() of what stands below all of its domains


@dataclass(frozen=True, slots=True)
class PostgresConstraint:
    name: str
    kind: Literal["primary_key", "unique", "foreign_key", "check", "exclusion"]
    columns: tuple[str, ...]
    definition: str  # pg_get_constraintdef()
    deferrable: bool
    deferred: bool
    validated: bool
    parent: str = ""  # of a foreign key, with what follows
    parent_columns: tuple[str, ...] = ()
    on_update: str = ""  # "NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"
    on_delete: str = ""


@dataclass(frozen=True, slots=True)
class PostgresIndex:
    name: str
    columns: tuple[str, ...]  # key columns; '' for an expression
    unique: bool
    partial: bool
    immediate: bool
    definition: str  # pg_get_indexdef()
    nulls_not_distinct: bool = False  # PostgreSQL 15 on


@dataclass(frozen=True, slots=True)
class PostgresTable:
    name: str
    columns: tuple[PostgresColumn, ...]
    constraints: tuple[PostgresConstraint, ...]
    indexes: tuple[PostgresIndex, ...]
    triggers: tuple[str, ...]  # names of the user's own, turnback's left out
    kind: Literal["table", "partitioned", "partition", "foreign"]
    persistence: Literal["permanent", "unlogged", "temporary"]
    has_rows: bool
    row_count: int = 0  # MAX_COUNTED stands for that many or more
    row_keys: tuple[str, ...] = ()  # of a table with rows and a primary key: up to findings.MAX_KEYS
    heads: tuple[tuple[str, ...], ...] | None = None  # of a migration ledger (core.mapping_ledgers), sorted


@dataclass(frozen=True, slots=True)
class PostgresSequence:
    name: str
    owner: tuple[str, str] | None  # (table, column) for serial and identity
    increment: int
    drawn_by: tuple[tuple[str, str], ...] = ()  # (table, column) whose default draws from it without owning
    last: int = LAST_ID  # its MAXVALUE


@dataclass(frozen=True, slots=True)
class PostgresSchema:
    name: str
    tables: tuple[PostgresTable, ...]
    sequences: tuple[PostgresSequence, ...]

    def table(self, name: str) -> PostgresTable:
        """The table of that exact name. Raises KeyError."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)
