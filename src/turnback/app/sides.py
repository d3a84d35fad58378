"""The two sides and the application, as the steps of a run see them.

Implemented by turnback.adapters.sqlite.side and turnback.adapters.postgres.side; put together in
turnback.entrypoints.worlds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from turnback.app.capture import Capture
from turnback.app.checks import Checks
from turnback.app.copy import RowCorrector, RowLoader
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan, VirtualPlan
from turnback.core.rows import PostgresRow
from turnback.core.schema import SqliteSchema
from turnback.core.watch.rules import Rules
from turnback.core.watch.verdict import Readiness, Verdict
from turnback.ports import (
    Announce,
    ChangeSink,
    Clock,
    HealthProbe,
    Journal,
    Platform,
    Position,
    PostgresReader,
    Progress,
    SqliteReader,
)

Json = Any
WhichFile = Literal["file", "snapshot", "fallback", "kept", "rebuild", "held"]


class SqliteSide(Protocol):
    """The application's SQLite file and what turnback keeps beside it."""

    @property
    def path(self) -> Path: ...

    @property
    def kept(self) -> Path:
        """The fenced original's other name."""

    @property
    def fallback(self) -> Path: ...

    @property
    def snapshot(self) -> Path: ...

    def schema(self) -> SqliteSchema: ...

    def strangers(self, owned: frozenset[int]) -> Sequence[str]:
        """Processes other than turnback's and `owned` that have the file open, each as one phrase."""

    def take_snapshot(self, progress: Progress) -> None: ...

    def drop_snapshot(self) -> None: ...

    def reader(self, which: WhichFile) -> SqliteReader: ...

    def sequences(self, which: WhichFile) -> Mapping[str, int]:
        """sqlite_sequence: table -> highest id ever given."""

    def fence_state(self) -> Json: ...

    def fence(self) -> None:
        """Raises and proves the fence; may be repeated."""

    def prove_fence(self) -> None: ...

    def unfence(self, former: Json) -> None: ...

    def describe_fence(self) -> list[str]: ...

    def build_fallback(self, former: Json, plan: Plan, position: Position, progress: Progress) -> None: ...

    def drop_fallback(self) -> None: ...

    # ---- the fallback made anew, beside the old one ----

    def begin_rebuild(self, former: Json, progress: Progress) -> None:
        """A copy of the kept original, without its fence."""

    def rebuild_sink(self, plan: Plan, position: Position) -> ChangeSink:
        """The copy as a fallback that stands at `position`, to be corrected."""

    def finish_rebuild(self, plan: Plan, up_to: Lsn) -> None:
        """It was proven: nothing is missing up to there, and nothing before needs to be proven again."""

    def place_rebuild(self, former: Json) -> None:
        """It takes the old one's place, whose -wal goes first."""

    def is_rebuilt(self, plan: Plan, up_to: Lsn) -> bool: ...

    def drop_rebuild(self) -> None: ...

    def place_tombstone(self) -> None: ...

    def remove_tombstone(self) -> None: ...

    def touched(self, plan: Plan, limit: int) -> Mapping[str, Sequence[PostgresRow]] | None:
        """Keys changed through capture since the last proof, by SQLite table; None: more than `limit`."""

    def touched_whole(self, plan: Plan) -> Sequence[str]:
        """SQLite tables that changed in a way no list of keys tells: without a key, or truncated."""

    def clear_touched(self, plan: Plan, up_to: Lsn) -> None: ...

    def recorded_sequences(self, plan: Plan) -> Mapping[str, int]:
        """What capture last heard of PostgreSQL's sequences, by SQLite table."""

    def fallback_position(self, plan: Plan) -> Position: ...

    def large_unindexed_references(
        self, plan: Plan, touched: Mapping[str, Sequence[PostgresRow]], limit: int
    ) -> list[str]:
        """Foreign keys, as "table (columns)", whose children of touched parents cannot be found without
        reading a table of more than `limit` rows. PRAGMA foreign_key_check covers them after the switch.
        """

    def foreign_key_violations(
        self,
        plan: Plan,
        touched: Mapping[str, Sequence[PostgresRow]],
        own_rows_only: Collection[str] = (),
    ) -> list[str]:
        """Of the touched rows and of the children of touched parents, in the fallback.

        Of the foreign keys in `own_rows_only` (see large_unindexed_references) only the touched rows' own.
        """

    def promote(
        self,
        former: Json,
        schema: SqliteSchema,
        sequences: Mapping[str, int],
        virtual: Sequence[VirtualPlan] = (),
    ) -> Mapping[str, float]:
        """Seconds that each virtual table took to be made current. Raises before anything is switched."""

    def promoted(self) -> bool: ...

    def unpromote(self, plan: Plan, position: Position) -> None:
        """Before the first start on SQLite: the file is the fallback again, behind the tombstone."""

    def holds_snapshot_while_serving(self, former: Json) -> bool:
        """Whether a read transaction can be held while the application writes (WAL)."""

    def hold_copy(self, at_most: int) -> bool:
        """Copies the promoted file, which nobody has open yet, for reader("held"); False: it has more bytes.

        Raises SourceError, DiskFull.
        """

    def drop_held(self) -> None: ...

    def integrity(self, which: WhichFile, plan: Plan) -> list[str]:
        """integrity_check, and foreign_key_check of what PostgreSQL demands too; [] is sound."""


class Loader(RowLoader, RowCorrector, Protocol):
    def prepare(self, statements: Sequence[str]) -> None: ...

    def execute(self, statements: Sequence[str], *, once: str | None = None) -> None:
        """`once`: a name under which it is known to have been done, in the same transaction."""

    def clear_seed_rows(self) -> Mapping[str, int]:
        """Deletes the rows of the plan's tables with `clear_first`: how many, by PostgreSQL table. Raises
        NeedsChoice where one holds more than assess saw.
        """

    def discard(self, statements: Sequence[str]) -> None:
        """Undo of `prepare`: what this run loaded goes, and its checkpoints."""

    def analyze(self) -> None: ...

    def set_sequences(self, handed_out: Mapping[str, int]) -> Json: ...

    def check_sequences(self, handed_out: Mapping[str, int]) -> None: ...

    def close(self) -> None: ...


class Suspension(Protocol):
    def describe(self) -> Json: ...

    def suspend(self) -> None: ...

    def restore(self) -> None: ...

    def prove(self, plan: Plan) -> None: ...


class PostgresFence(Protocol):
    @property
    def untried(self) -> str | None:
        """What of the proof could not be tried, and why."""

    def open_canary(self) -> None: ...

    def raise_(self) -> None: ...

    def prove(self) -> None: ...

    def is_raised(self) -> bool: ...

    def lift(self) -> None: ...

    def close(self) -> None: ...


class ExportedSlot(Protocol):
    @property
    def consistent_point(self) -> Lsn: ...

    @property
    def snapshot_name(self) -> str: ...

    def close(self) -> None: ...


class PostgresSide(Protocol):
    """The server: schema, fence, slot, sequences. Every call opens and closes its own session."""

    @property
    def slot(self) -> str: ...

    @property
    def publication(self) -> str: ...

    def ensure_running(self) -> None:
        """Starts the embedded server; nothing for any other."""

    def run_schema_command(self, command: str) -> None: ...

    def occupied(self, plan: Plan) -> list[str]:
        """Tables in the target that already hold rows (but for seed rows that the plan clears) or, in
        create mode, that exist at all.
        """

    def schema_differences(self, plan: Plan) -> list[str]:
        """What of the catalogue is not as the plan says, as sentences."""

    def loader(self, plan: Plan, run_token: str) -> Loader: ...

    def suspension(self, plan: Plan, former: Json = None) -> Suspension: ...

    def hand_over(self, plan: Plan) -> None:
        """Create mode: the tables belong to the application's role."""

    def drop_tables(self, plan: Plan) -> None: ...

    def empty_tables(self, plan: Plan) -> None: ...

    def lift_fence(self, plan: Plan) -> None: ...

    def reader(self, snapshot: str | None = None) -> PostgresReader: ...

    def set_replica_identity(self, plan: Plan) -> Json: ...

    def replica_identity(self, plan: Plan) -> Json: ...

    def restore_replica_identity(self, former: Json) -> None: ...

    def create_publication(self, plan: Plan) -> None: ...

    def drop_publication(self) -> None: ...

    def publication_difference(self, plan: Plan) -> list[str]: ...

    def create_slot(self) -> ExportedSlot: ...

    def drop_slot(self) -> None: ...

    def retention_warnings(self) -> list[str]:
        """What would happen to the server's disk without a guard, and the statement that bounds it."""

    def system(self) -> tuple[str, int]:
        """(system_identifier, timeline)"""

    def fingerprint(self) -> Json: ...

    def drift(self, before: Json) -> list[str]: ...

    def fence(self, plan: Plan) -> PostgresFence: ...

    def insert_lsn(self) -> Lsn: ...

    def emit_token(self, token: str) -> Lsn:
        """A transactional logical message; returns the WAL insert position read before it."""

    def sequences(self, plan: Plan) -> Mapping[str, int]: ...

    def reachable(self) -> bool: ...

    def describe(self, what: str, plan: Plan) -> list[str]:
        """For --dry-run, the statements of: "schema", "constraints", "replica_identity", "publication",
        "slot", "fence", "token".
        """


@dataclass(frozen=True, slots=True)
class Watched:
    """What a guard sees at this moment, for the record of a decision."""

    verdicts: tuple[Verdict, ...]
    readiness: Readiness


@dataclass(slots=True)
class World:
    """All that a run acts on."""

    plan: Plan
    schema_digest: str | None  # of the SQLite schema that the plan was made from
    digest_of: Callable[[SqliteSchema], str]
    sqlite: SqliteSide
    postgres: PostgresSide
    platform: Platform
    journal: Journal
    clock: Clock
    progress: Progress
    announce: Announce
    failpoint: Callable[[str], None]
    probe: Callable[[], HealthProbe] | None
    last_contact: Callable[[], datetime | None]  # the last moment with lag 0 that a guard reported
    new_capture: Callable[[Json], Capture]  # with the fingerprint that the stream must keep to
    schema_command: str | None
    health_timeout_seconds: float
    stop_seconds: float
    drain_timeout_seconds: float
    rpo_objective_seconds: float
    postgres_place: str  # host, port and database, for a certificate
    keep_certificate: Callable[[Mapping[str, Json]], str]  # writes it beside the journal; its path
    start_server: Callable[[], None]  # [postgres] start, or the embedded server; raises TurnbackError
    server_wait_seconds: float
    # Seconds since the last contact with lag 0 that a guard reported, by the clock of the same boot.
    contact_age: Callable[[], float | None]
    rules: Rules  # of the configuration as it stands
    baseline: Callable[[], Mapping[str, Json] | None]  # to be frozen at cutover; None: there is none
    host: str
    checks: Checks | None = None  # what [validate] asks of the application
    capture: Capture | None = None
    watched: Callable[[], Watched | None] = lambda: None  # what the guard sees, where one runs

    def note(self, run: str, key: str, value: Json) -> None:
        """What a step must know again after a crash; durable when this returns."""
        self.journal.append("note", {"key": key, "value": value}, run=run)
