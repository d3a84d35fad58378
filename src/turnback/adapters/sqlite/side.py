"""The application's SQLite file and what turnback keeps beside it: the steps' view of this package."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import apsw

from turnback.adapters.sqlite import promote as switching
from turnback.adapters.sqlite.database import Access, open_database, translate, translated
from turnback.adapters.sqlite.fallback import Fallback
from turnback.adapters.sqlite.fence import FenceState, SqliteFence, is_fenced
from turnback.adapters.sqlite.files import copy_private, file_errors
from turnback.adapters.sqlite.holders import holders
from turnback.adapters.sqlite.introspect import read_schema
from turnback.adapters.sqlite.reader import FileReader
from turnback.adapters.sqlite.rebuilds import rebuild_virtual
from turnback.adapters.sqlite.snapshot import backup
from turnback.adapters.sqlite.touched_keys import binds, foreign_key_violations, large_unindexed_references
from turnback.adapters.sqlite.witness import fence_triggers
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan, VirtualPlan
from turnback.core.rows import PostgresRow
from turnback.core.schema import SqliteSchema
from turnback.errors import SourceError
from turnback.ports import Position, Progress

SIDECARS = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class SqliteFiles:
    """All files of one application. `kept`, `fallback` and `snapshot` lie in the file's own folder or the
    state folder beside it, so that a rename is one rename.
    """

    path: Path
    kept: Path
    fallback: Path
    snapshot: Path
    busy_seconds: float
    extensions: tuple[str, ...] = ()  # loaded wherever rows are read or written (HAZARDS F44)

    def _open(self, path: Path, access: Access) -> apsw.Connection:
        return open_database(path, access, busy_seconds=self.busy_seconds, extensions=self.extensions)

    def _file(self, which: str) -> Path:
        match which:
            case "file":
                return self.path
            case "snapshot":
                return self.snapshot
            case "fallback":
                return self.fallback
            case "kept":
                return self.kept
            case "rebuild":
                return self.rebuild
            case "held":
                return self._held
        raise KeyError(which)

    def original(self) -> Path:
        """Where the application's own data stands: at its path, or at the kept name behind a tombstone."""
        return self.kept if switching.is_tombstone(self.path) else self.path

    def schema(self) -> SqliteSchema:
        path = self.original()
        connection = self._open(path, "read")
        try:
            with translated(path):
                return read_schema(connection, path)
        finally:
            connection.close()

    def strangers(self, owned: frozenset[int]) -> Sequence[str]:
        return [f"pid {h.pid} ({h.command}, user {h.user})" for h in holders(self.path) if h.pid not in owned]

    def take_snapshot(self, progress: Progress) -> None:
        backup(self.path, self.snapshot, progress)

    def drop_snapshot(self) -> None:
        self._drop(self.snapshot)

    @staticmethod
    def _drop(path: Path) -> None:
        for name in (path, *(path.with_name(path.name + s) for s in SIDECARS)):
            name.unlink(missing_ok=True)

    def reader(self, which: str) -> FileReader:
        return FileReader(self._file(which), extensions=self.extensions)

    def sequences(self, which: str) -> Mapping[str, int]:
        path = self._file(which)
        connection = self._open(path, "read")
        try:
            with translated(path):
                there = connection.execute(
                    "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"
                ).fetchone()
                if there is None:
                    return {}
                # Anyone may write into that table; SQLite reads what stands there as an integer.
                rows = connection.execute(
                    "SELECT name, max(CAST(seq AS INTEGER)) FROM sqlite_sequence GROUP BY name"
                ).fetchall()
                return {str(name): int(seq) for name, seq in rows if seq is not None}
        finally:
            connection.close()

    # ---- fence ----

    def _fence(self) -> SqliteFence:
        return SqliteFence(self.path, busy_seconds=self.busy_seconds, extensions=self.extensions)

    def fence_state(self) -> dict[str, Any]:
        return self._fence().former_state().to_json()

    def fence(self) -> None:
        self._fence().raise_()

    def prove_fence(self) -> None:
        self._fence().prove()

    def unfence(self, former: Mapping[str, Any]) -> None:
        self._fence().lift(FenceState.from_json(former))

    def describe_fence(self) -> list[str]:
        """For --dry-run: what raises the fence."""
        tables = [t.name for t in self.schema().tables if t.kind == "table"]
        triggers = [sql for name in tables for sql in fence_triggers(name).values()]
        after = ["PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode=DELETE", f"chmod 0444 {self.path}"]
        return [*triggers, *after]

    # ---- fallback ----

    def build_fallback(
        self, former: Mapping[str, Any], plan: Plan, position: Position, progress: Progress
    ) -> None:
        switching.build_fallback(self.path, self.fallback, FenceState.from_json(former), progress)
        Fallback.initialise(self.fallback, plan, position)

    def drop_fallback(self) -> None:
        self._drop(self.fallback)

    # ---- the fallback made anew ----

    @property
    def rebuild(self) -> Path:
        return self.fallback.with_name(self.fallback.name + ".rebuild")

    def begin_rebuild(self, former: Mapping[str, Any], progress: Progress) -> None:
        self.drop_rebuild()
        switching.build_fallback(self.kept, self.rebuild, FenceState.from_json(former), progress)

    def drop_rebuild(self) -> None:
        self._drop(self.rebuild)

    def rebuild_sink(self, plan: Plan, position: Position) -> Fallback:
        Fallback.initialise(self.rebuild, plan, position)
        return self._fallback(self.rebuild, plan)

    def finish_rebuild(self, plan: Plan, up_to: Lsn) -> None:
        made = self._fallback(self.rebuild, plan)
        try:
            made.store_position(up_to)
            made.clear_touched(up_to)
        finally:
            made.close()

    def place_rebuild(self, former: Mapping[str, Any]) -> None:
        switching.replace_fallback(self.rebuild, self.fallback, FenceState.from_json(former))

    def is_rebuilt(self, plan: Plan, up_to: Lsn) -> bool:
        return not self.rebuild.exists() and self.fallback_position(plan).applied_lsn >= up_to

    def place_tombstone(self) -> None:
        if not switching.is_tombstone(self.path) and not is_fenced(self.path):
            raise SourceError(f"{self.path} is not fenced; no tombstone is placed over a live database")
        if not switching.is_tombstone(self.path) and self.kept.exists() and not self.kept.samefile(self.path):
            # The original of an earlier cutover is kept too, under a number.
            numbers = (self.kept.with_name(f"{self.kept.name}.{n}") for n in count(1))
            self.kept.rename(next(p for p in numbers if not p.exists()))
        switching.place_tombstone(self.path, self.kept)

    def remove_tombstone(self) -> None:
        switching.remove_tombstone(self.path, self.kept)

    def open_fallback(self, plan: Plan) -> Fallback:
        return self._fallback(self.fallback, plan)

    def _fallback(self, path: Path, plan: Plan) -> Fallback:
        return Fallback(path, plan, busy_seconds=self.busy_seconds, extensions=self.extensions)

    def recorded_sequences(self, plan: Plan) -> Mapping[str, int]:
        fallback = self.open_fallback(plan)
        try:
            return fallback.sequences()
        finally:
            fallback.close()

    def fallback_position(self, plan: Plan) -> Position:
        fallback = self.open_fallback(plan)
        try:
            return fallback.position()
        finally:
            fallback.close()

    def touched(self, plan: Plan, limit: int) -> Mapping[str, Sequence[PostgresRow]] | None:
        fallback = self.open_fallback(plan)
        try:
            return fallback.touched(limit)
        finally:
            fallback.close()

    def touched_whole(self, plan: Plan) -> Sequence[str]:
        fallback = self.open_fallback(plan)
        try:
            return fallback.touched_whole()
        finally:
            fallback.close()

    def clear_touched(self, plan: Plan, up_to: Lsn) -> None:
        fallback = self.open_fallback(plan)
        try:
            fallback.clear_touched(up_to)
        finally:
            fallback.close()

    def large_unindexed_references(
        self, plan: Plan, touched: Mapping[str, Sequence[PostgresRow]], limit: int
    ) -> list[str]:
        connection = self._open(self.fallback, "read")
        try:
            with translated(self.fallback):
                schema = read_schema(connection, self.fallback)
                return large_unindexed_references(connection, schema, plan, touched, limit)
        finally:
            connection.close()

    def foreign_key_violations(
        self,
        plan: Plan,
        touched: Mapping[str, Sequence[PostgresRow]],
        own_rows_only: Collection[str] = (),
    ) -> list[str]:
        connection = self._open(self.fallback, "read")
        try:
            with translated(self.fallback):
                schema = read_schema(connection, self.fallback)
                return foreign_key_violations(connection, schema, plan, touched, own_rows_only)
        finally:
            connection.close()

    # ---- switch ----

    def promote(
        self,
        former: Mapping[str, Any],
        schema: SqliteSchema,
        sequences: Mapping[str, int],
        virtual: Sequence[VirtualPlan] = (),
    ) -> Mapping[str, float]:
        rebuilt: Mapping[str, float] = {}
        if not self.promoted():
            rebuilt = rebuild_virtual(
                self.fallback, virtual, busy_seconds=self.busy_seconds, extensions=self.extensions
            )
            connection = self._open(self.fallback, "write")
            try:
                with translated(self.fallback):
                    switching.set_sqlite_sequence(connection, dict(sequences))
            finally:
                connection.close()
        switching.promote(self.fallback, self.path, FenceState.from_json(former), schema.settings)
        return rebuilt

    def promoted(self) -> bool:
        return not self.fallback.exists() and not switching.is_tombstone(self.path)

    def unpromote(self, plan: Plan, position: Position) -> None:
        if self.promoted():
            switching.demote(self.path, self.fallback, self.kept)
        elif Fallback.has_position(self.fallback):
            return  # promote had not come to it
        Fallback.initialise(self.fallback, plan, position)

    def holds_snapshot_while_serving(self, former: Mapping[str, Any]) -> bool:
        return FenceState.from_json(former).journal_mode.lower() == "wal"

    @property
    def _held(self) -> Path:
        return self.path.with_name(f"{self.path.name}.turnback-held")

    def hold_copy(self, at_most: int) -> bool:
        with file_errors(self.path):
            if self.path.stat().st_size > at_most:
                return False
        self.drop_held()
        copy_private(self.path, self._held)
        return True

    def drop_held(self) -> None:
        self._drop(self._held)

    def integrity(self, which: str, plan: Plan) -> list[str]:
        path = self._file(which)
        connection = self._open(path, "read")
        problems: list[str] = []
        try:
            with translated(path):
                for (line,) in connection.execute("PRAGMA integrity_check(20)"):
                    if line != "ok":
                        problems.append(str(line))
                schema = read_schema(connection, path)
                for table, rowid, parent, number in connection.execute("PRAGMA foreign_key_check"):
                    key = schema.table(str(table)).foreign_keys[-1 - int(str(number))]  # counted backwards
                    if not binds(plan, str(table), key):
                        continue
                    problems.append(f"row {rowid} of {table} refers to no row of {parent}")
                    if len(problems) >= 20:
                        break
        finally:
            connection.close()
        return problems

    def quick_check(self, stopping: Callable[[], bool]) -> list[str]:
        """What is malformed in the fallback; [] also where `stopping` cut it short (HAZARDS R13)."""
        connection = self._open(self.fallback, "read")
        try:
            connection.set_progress_handler(stopping, 50_000)
            lines = [str(line) for (line,) in connection.execute("PRAGMA quick_check(5)")]
            return [line for line in lines if line != "ok"]
        except apsw.InterruptError:
            return []
        except apsw.CorruptError as e:
            return [str(e)]
        except apsw.Error as e:
            raise translate(e, self.fallback) from e
        finally:
            connection.close()
