"""The steps of `turnback fallback rebuild`: a new fallback, when the old one or its slot is lost (R12, R13).

From the kept original, against PostgreSQL as it is in the new slot's snapshot: only what differs is written,
so that a row that nobody changed keeps its bytes (law 2). The stream goes on behind that snapshot. The old
fallback stands until the new slot is made; from then until the end there is no way back, and status says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from turnback.app.runner import Result, Step
from turnback.app.sides import ExportedSlot, World
from turnback.app.verify import compare, differing_groups
from turnback.core.changes import (
    Begin,
    CapturedTransaction,
    Commit,
    Delete,
    Insert,
    Relation,
    RowChange,
    Update,
)
from turnback.core.lsn import Lsn
from turnback.core.phases import Intent
from turnback.core.plan import Plan, TablePlan
from turnback.core.state import Run
from turnback.errors import NotReady, ProofFailed, SourceError
from turnback.ports import ChangeSink, Position, PostgresReader, Progress, SqliteReader

STREAMING_SECONDS = 30.0


def steps(world: World, run: Run) -> tuple[Step, ...]:
    """In the order of core.plan_steps.STEPS[REBUILD]."""
    r = _Rebuild(world, run)
    return (
        Step("stop_capture", r.stop_capture, resume=r.end_capture),
        Step("copy_original", r.copy_original, undo=world.sqlite.drop_rebuild),
        Step("renew_slot", r.renew_slot, undo=r.drop_slot),
        Step("correct_rows", r.correct_rows),
        Step("put_in_place", r.put_in_place, done=r.is_in_place),
        Step("start_capture", r.start_capture, resume=r.begin_capture),
    )


class _Rebuild:
    def __init__(self, world: World, run: Run) -> None:
        self.world = world
        self.run = run
        self.plan = world.plan
        cutover = world.journal.state().last(Intent.CUTOVER)
        assert cutover is not None, "a rebuild without a cutover"
        self.cutover = cutover
        self.exported: ExportedSlot | None = None

    # ---- before the old way back ends ----

    def stop_capture(self) -> Result:
        self.end_capture()
        return {}

    def end_capture(self) -> None:
        if self.world.capture is not None:
            self.world.capture.stop()
            self.world.capture = None

    def copy_original(self) -> Result:
        kept = self.world.sqlite.kept
        if not kept.exists():
            raise SourceError(
                f"{kept}: the fenced original is gone, and a fallback can only be made from it",
                hint="put it back from your backup of that file, under that name",
            )
        self.world.sqlite.begin_rebuild(self.cutover.notes["sqlite_former"], self.world.progress)
        return {}

    # ---- the new slot ----

    def renew_slot(self) -> Result:
        """The exported snapshot lives as long as this process; `correct_rows` makes a new slot without it."""
        self._close_exported()
        self._demand_catalogue()
        self._renewing()
        self.exported = self.world.postgres.create_slot()
        return {"consistent_point": int(self.exported.consistent_point)}

    def drop_slot(self) -> None:
        """The new one, which nobody would read. The old one stays where it was not touched."""
        self._close_exported()
        if self.run.notes.get("slot_renewed"):
            self.world.postgres.drop_slot()

    def _renewing(self) -> None:
        """From here on the old way back is gone."""
        if not self.run.notes.get("slot_renewed"):
            self.world.note(self.run.id, "slot_renewed", True)
            self.run.notes["slot_renewed"] = True
        self.world.postgres.drop_slot()

    def _close_exported(self) -> None:
        if self.exported is not None:
            self.exported.close()
            self.exported = None

    def _demand_catalogue(self) -> None:
        """As at cutover: a schema that the plan does not know has no fallback. The publication is made anew
        where it is not what the plan says.
        """
        postgres, before = self.world.postgres, self.cutover.notes["fingerprint"]
        if postgres.drift(before) and postgres.publication_difference(self.plan):
            self._renewing()  # older than the publication it would skip changes in silence
            postgres.drop_publication()
            postgres.create_publication(self.plan)
        drift = postgres.drift(before)
        if drift:
            raise NotReady(
                f"PostgreSQL's schema changed since cutover: {drift[0]}",
                hint="undo that change in PostgreSQL: the plan, and so the way back, does not know it",
            )

    # ---- the rows ----

    def correct_rows(self) -> Result:
        if self.exported is None:
            self.renew_slot()
        exported = self.exported
        assert exported is not None
        point = exported.consistent_point
        identifier, timeline = self.world.postgres.system()
        start = Lsn(point - len(self.plan.tables) - 1)
        before = Position(self.world.postgres.slot, identifier, timeline, start, 0)
        postgres = self.world.postgres.reader(exported.snapshot_name)
        try:
            changed = self._correct(before, point, postgres)
            reader = self.world.sqlite.reader("rebuild")
            try:
                proof = compare(self.plan, reader, postgres, self.world.progress, check_round_trip=False)
            finally:
                reader.close()
        finally:
            postgres.close()
        if not proof.equal:
            raise ProofFailed(proof.headline(), hint="nothing was put in place; run the same command again")
        problems = self.world.sqlite.integrity("rebuild", self.plan)
        if problems:
            raise ProofFailed(
                f"the new fallback fails its own checks: {problems[0]}",
                hint="nothing was put in place; correct the rows in PostgreSQL, then run it again",
            )
        self.world.sqlite.finish_rebuild(self.plan, point)
        self.world.note(self.run.id, "consistent_point", int(point))
        self.run.notes["consistent_point"] = int(point)
        self._close_exported()
        return {"rows": changed, "proof": proof.to_json()}

    def _correct(self, before: Position, point: Lsn, postgres: PostgresReader) -> dict[str, int]:
        sink = self.world.sqlite.rebuild_sink(self.plan, before)
        try:
            reader = self.world.sqlite.reader("rebuild")
            try:
                return correct(self.plan, reader, postgres, sink, point, self.world.progress)
            finally:
                reader.close()
        finally:
            sink.close()

    # ---- in its place ----

    def put_in_place(self) -> Result:
        self.world.sqlite.place_rebuild(self.cutover.notes["sqlite_former"])
        return {}

    def is_in_place(self) -> bool:
        return self.world.sqlite.is_rebuilt(self.plan, Lsn(self.run.notes["consistent_point"]))

    def start_capture(self) -> Result:
        """That it does not stream yet (the server is away, say) is no failure of this: status says it."""
        self.begin_capture()
        assert self.world.capture is not None
        try:
            self.world.capture.wait_streaming(STREAMING_SECONDS)
        except NotReady as e:
            return {"streaming": False, "why": str(e)}
        return {"streaming": True}

    def begin_capture(self) -> None:
        if self.world.capture is None:
            self.world.capture = self.world.new_capture(self.cutover.notes["fingerprint"])
            self.world.capture.start()


# ---- differences as changes ----------------------------------------------------------------------


def correct(
    plan: Plan,
    sqlite: SqliteReader,
    postgres: PostgresReader,
    sink: ChangeSink,
    point: Lsn,
    progress: Progress,
) -> dict[str, int]:
    """Writes what differs into the sink, one transaction for each table, as capture would have written it:
    rows per table. `sqlite` reads the sink's file as it was before.
    """
    changed = {}
    for number, table in enumerate(plan.tables, start=1):
        differences = _Differences(plan.schema, number, table, sqlite, postgres, progress)
        # Positions before the snapshot's: it is reached when all is proven.
        end = Lsn(point - len(plan.tables) - 1 + number)
        sink.apply([CapturedTransaction(Begin(end, 0, number), differences, Commit(end, end, 0))])
        if differences.count:
            changed[table.sqlite] = differences.count
    return changed


@dataclass(slots=True)
class _Differences:
    """The changes that make one table equal. May be gone through again: then both sides are read again."""

    schema: str
    number: int
    table: TablePlan
    sqlite: SqliteReader
    postgres: PostgresReader
    progress: Progress
    count: int = 0

    def __iter__(self) -> Iterator[RowChange]:
        self.count = 0
        relation = self._relation()
        for group in differing_groups(self.table, self.sqlite, self.postgres, self.progress):
            self.count += len(group)
            # What goes first makes room for what comes, under unique constraints.
            for here, there in group:
                if here is not None and there is None:
                    yield Delete(relation, here.text, whole=not self.table.key)
            for here, there in group:
                if there is not None:
                    changed = here is not None
                    yield (
                        Update(relation, there.text, None, None) if changed else Insert(relation, there.text)
                    )

    def _relation(self) -> Relation:
        """The table as the stream would describe it, in the plan's order of columns."""
        columns = tuple(c.postgres for c in self.table.columns)
        keys = tuple(columns[p] for p in self.table.key_positions())
        return Relation(
            oid=-self.number,
            schema=self.schema,
            name=self.table.postgres,
            replica_identity="d" if keys else "f",
            columns=columns,
            key_columns=keys,
            type_oids=(),  # the catalogue was compared
        )
