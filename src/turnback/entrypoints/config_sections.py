"""The tables and keys of turnback.toml, each with what it means: docs/reference.md is made from them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, Strict

from turnback.core.fuse import DEFAULT_LIMIT_BYTES
from turnback.entrypoints.config_section import Section, Strings

Codec = Literal[
    "integer",
    "real",
    "number",
    "boolean",
    "text",
    "blob",
    "timestamp_text",
    "date_text",
    "epoch",
    "json_text",
    "uuid_text",
    "uuid_blob",
    "affine",
    "text_bytes",
    "char",
    "inet",
    "array",
    "verbatim",
    "float4",
    "decimal_text",
    "interval",
    "time_text",
    "epoch_real",
]
DURATION = re.compile(r"(\d+)\s*(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class SqliteSection(Section):
    path: str = Field(description="The application's database file.")
    busy_seconds: PositiveFloat = Field(
        default=10, description="How long turnback waits for a lock on the file, in seconds."
    )
    leave_behind: Strings = Field(
        default=(),
        description="What stays in the SQLite file only: a view, trigger or index by its name, `TABLE.check`,"
        " `TABLE.COLUMN` (a generated column), `TABLE.COLUMN.default`.",
    )
    zone: str | None = Field(
        default=None,
        description="The zone that dates and times without an offset are meant in, where they become"
        ' timestamptz: `"UTC"`, `"Europe/Berlin"`. A column\'s own `zone` goes before it.',
    )
    extensions: Strings = Field(
        default=(),
        description="SQLite extensions (paths of shared libraries) to load whenever turnback opens the file:"
        " for collations, functions and virtual tables that its schema uses.",
    )


class PostgresSection(Section):
    url: str | None = Field(
        default=None,
        description="The application's own address: `env:NAME`, `file:PATH`, or a connection string without a"
        " password. Without it turnback runs an embedded server.",
    )
    admin_url: str | None = Field(
        default=None,
        description="A direct address (no pooler) for schema, load, fence and capture; without it `url`.",
    )
    schema_name: str = Field(
        default="public",
        alias="schema",
        min_length=1,
        description="The PostgreSQL schema of the application's tables.",
    )
    mode: Literal["create", "existing"] = Field(
        default="create",
        description="Who makes the tables in PostgreSQL: turnback, or the application's own migrations.",
    )
    slot: str = Field(
        default="turnback", pattern=r"^[a-z0-9_]{1,63}$", description="Name of the replication slot."
    )
    publication: str = Field(
        default="turnback", min_length=1, max_length=63, description="Name of the publication."
    )
    lock_timeout_seconds: PositiveFloat = Field(
        default=10, description="How long the fence waits for writers in flight, per attempt (three of them)."
    )
    slot_timeout_seconds: PositiveFloat = Field(
        default=30,
        description="How long cutover waits for the cluster's open transactions before it is undone.",
    )
    start: str | None = Field(
        default=None,
        description="Shell command that starts the server where it is down; a rollback runs it once.",
    )
    max_retained_wal_bytes: PositiveInt = Field(
        default=DEFAULT_LIMIT_BYTES,
        description="How much WAL the replication slot may hold back on the server's disk before the guard"
        " gives the way back up for it ([the WAL fuse](how-to/guard.md#the-wal-fuse)). It warns at half.",
    )
    fuse: Literal["drop", "page"] = Field(
        default="drop",
        description="What the guard does at `max_retained_wal_bytes`: drop the slot, or tell people only.",
    )
    clear_seed_rows: bool = Field(
        default=False,
        description="Mode existing: rows that the target's tables hold already (an ORM's seed rows) are"
        " deleted by migrate, in the tables that assess listed.",
    )
    sequences: dict[str, str] = Field(
        default={},
        description="Mode existing: sequences that no column owns, by name, each with the `TABLE.COLUMN`"
        " whose greatest value it goes on from.",
    )


class StateSection(Section):
    folder: str | None = Field(
        default=None, description="The state folder; without it `PATH.turnback` beside the database file."
    )
    allow_any_filesystem: bool = Field(
        default=False,
        description="Take overlayfs, tmpfs and network file systems too. For tests: state is lost there.",
    )


class SideSection(Section):
    command: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)] | None = Field(
        default=None,
        description="Platform process: the application's program and arguments, as a list. Not a shell.",
    )
    start: str | None = Field(default=None, description="Platform command: the shell command that starts it.")
    stop: str | None = Field(
        default=None,
        description="Platform command: the shell command that stops it, and returns when it is stopped.",
    )
    available: str | None = Field(
        default=None,
        description="Platform command: status 0 where this side could be started (image there, unit loaded).",
    )
    prepare: str | None = Field(
        default=None, description="Shell command with the slow work (build, pull), run before the stop."
    )
    env: dict[str, str] = Field(
        default={},
        description="Variables for this side. Filled in: `{sqlite_path}`, on PostgreSQL `{postgres_url}`.",
    )
    env_file: str | None = Field(
        default=None, description="Platform command: an environment file to write this side's variables into."
    )


class PostgresSideSection(SideSection):
    schema_command: str | None = Field(
        default=None,
        alias="schema",
        description="Mode existing: the shell command that makes the tables (the application's migrations).",
    )


class MaintenanceSection(Section):
    on: str = Field(description="Shell command before the stop.")
    off: str = Field(description="Shell command after the start.")


class AppSection(Section):
    platform: Literal["process", "command", "manual"] = Field(
        default="manual",
        description="Who starts and stops the application: turnback itself, commands of yours, or a person.",
    )
    health: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s]+$",
        description="An address that answers 200 when the application serves.",
    )
    health_timeout_seconds: PositiveFloat = Field(
        default=60, description="How long a started application may take until it is healthy."
    )
    stop_seconds: NonNegativeFloat = Field(
        default=10, description="How long a graceful stop may take before SIGKILL (platform process)."
    )
    working_directory: str = Field(default=".", description="Where its commands run.")
    url_env: str = Field(
        default="DATABASE_URL",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The variable that the application finds PostgreSQL's address in.",
    )
    sqlite: SideSection = Field(default=SideSection(), description="The application on SQLite.")
    postgres: PostgresSideSection = Field(
        default=PostgresSideSection(),
        description="The application on PostgreSQL.",
    )
    maintenance: MaintenanceSection | None = Field(
        default=None, description="A maintenance page around each switch."
    )


class RollbackSection(Section):
    rpo_objective_seconds: NonNegativeFloat = Field(
        default=0,
        description="With PostgreSQL gone: go on without --accept-loss where the last contact with lag 0"
        " is not older than this.",
    )
    rto_objective_seconds: PositiveFloat = Field(
        default=300, description="The time that a rollback started by hand may take; its report compares."
    )
    server_wait_seconds: NonNegativeFloat = Field(
        default=20,
        description="With PostgreSQL gone: how long to wait for it to come back before anything is counted"
        " as lost. The application is stopped meanwhile.",
    )
    drain_timeout_seconds: PositiveFloat = Field(
        default=60,
        description="How long a rollback waits until the fallback has reached the fence's position.",
    )


class FallbackSection(Section):
    keep: str = Field(
        default="14d",
        description="Read and checked, not acted on yet: the way back stays open until you end it.",
    )

    @property
    def keep_seconds(self) -> int:
        match = DURATION.fullmatch(self.keep)
        assert match, "checked when the file was read"
        return int(match[1]) * _SECONDS[match[2]]


class ColumnSection(Section):
    codec: Codec | None = Field(default=None, description="How its values cross between the engines.")
    pg_type: str | None = Field(default=None, description="Mode create: its PostgreSQL type.")
    respell: bool = Field(
        default=False,
        description="Accept that a value changed in PostgreSQL comes back in another spelling than it had:"
        " PostgreSQL's own (jsonb, inet, cidr, macaddr), or the column's most common one (uuid, boolean,"
        " moments)."
        " A value that nobody changes keeps its bytes.",
    )
    postgres: str | None = Field(default=None, description="Its name in PostgreSQL.")
    unit: Literal["s", "ms", "us"] | None = Field(
        default=None, description="Codecs epoch, epoch_real and interval: what the number counts."
    )
    zone: str | None = Field(
        default=None,
        description="Text without an offset that becomes timestamptz: the zone that it is meant in.",
    )
    separator: str | None = Field(
        default=None,
        min_length=1,
        description="Text that becomes an array: what stands between the elements; `json` for a JSON array.",
    )
    nan: bool = Field(
        default=False,
        description="A NaN that PostgreSQL writes becomes the text `NaN`; without this it stops capture.",
    )
    infinity: bool = Field(
        default=False,
        description="`infinity` and `-infinity` that PostgreSQL writes become these texts; without this they"
        " stop capture.",
    )
    constant: str | int | float | bool | None = Field(
        default=None,
        description="A column that PostgreSQL lacks: what rows made there get in SQLite.",
    )


class TableSection(Section):
    exclude: bool = Field(default=False, description="Leave the whole table in the SQLite file.")
    postgres: str | None = Field(default=None, description="Its name in PostgreSQL.")
    replica_identity: Literal["full"] | None = Field(
        default=None, description="A table without a usable key: whole rows identify rows."
    )
    columns: dict[str, ColumnSection] = Field(default={}, description="Choices for its columns, by name.")
    constants: dict[str, str | int | float | bool] = Field(
        default={},
        description="Columns that PostgreSQL has and SQLite lacks: what the load writes there, by name.",
    )
    rebuild: Strings = Field(
        default=(),
        description="A virtual table: the SQLite statements that make it current again on the way back.",
    )
