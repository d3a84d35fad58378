"""The steps of a cutover in the one order that loses nothing (REPLICATION: The order)."""

from __future__ import annotations

from collections.abc import Callable

from turnback.app.copy import synchronise
from turnback.app.runner import Result, Step
from turnback.app.serving import await_healthy
from turnback.app.sides import ExportedSlot, World
from turnback.app.steps_migrate import refuse_changed_schema
from turnback.app.validate import note_start
from turnback.app.verify import compare
from turnback.core.state import Run
from turnback.errors import NotReady, ProofFailed, SourceError
from turnback.ports import Position

STREAMING_SECONDS = 30.0


def steps(world: World, run: Run) -> tuple[Step, ...]:
    """In the order of core.plan_steps.STEPS[CUTOVER]."""
    c = _Cutover(world, run)

    def shown(what: str) -> Callable[[], list[str]]:
        return lambda: world.postgres.describe(what, world.plan)

    app = world.platform
    return (
        Step(
            "prepare_application", c.prepare_application, describe=lambda: app.describe("prepare", "postgres")
        ),
        Step(
            "stop_application",
            c.stop_application,
            undo=lambda: app.start("sqlite"),
            describe=lambda: app.describe("stop", "sqlite"),
        ),
        Step("fence_sqlite", c.fence_sqlite, undo=c.unfence_sqlite, describe=world.sqlite.describe_fence),
        Step("synchronise", c.synchronise),
        Step(
            "set_replica_identity",
            c.set_replica_identity,
            undo=c.restore_replica_identity,
            describe=shown("replica_identity"),
        ),
        Step(
            "create_publication",
            c.create_publication,
            undo=world.postgres.drop_publication,
            describe=shown("publication"),
        ),
        Step("create_slot", c.create_slot, undo=c.drop_slot, describe=shown("slot")),
        Step("last_proof", c.last_proof),
        Step("make_fallback", c.make_fallback, undo=world.sqlite.drop_fallback),
        Step("place_tombstone", c.place_tombstone, undo=world.sqlite.remove_tombstone),
        Step("start_capture", c.start_capture, undo=c.stop_capture, resume=c.resume_capture),
        Step("start_on_postgres", c.start_on_postgres, describe=lambda: app.describe("start", "postgres")),
        Step("await_healthy", c.await_healthy),
    )


class _Cutover:
    def __init__(self, world: World, run: Run) -> None:
        self.world = world
        self.run = run
        self.plan = world.plan
        self.exported: ExportedSlot | None = None

    def _note(self, key: str, value: object) -> None:
        self.world.note(self.run.id, key, value)
        self.run.notes[key] = value

    def prepare_application(self) -> Result:
        self.world.postgres.ensure_running()
        differences = self.world.postgres.schema_differences(self.plan)
        if differences:
            raise NotReady(
                f"the PostgreSQL schema changed since migrate: {differences[0]}",
                hint="run `turnback assess` and `turnback migrate --again`",
            )
        refuse_changed_schema(self.world)
        self._refuse_strangers()
        self._freeze()
        for warning in self.world.postgres.retention_warnings():
            self.world.announce(warning)
        self.world.platform.prepare("postgres")
        return {"baseline": self.run.notes["baseline"] is not None}

    def _freeze(self) -> None:
        """The thresholds, and how the application answered on SQLite: by these the guard decides on
        PostgreSQL. Before the stop: afterwards there is nothing to measure.
        """
        if "rules" not in self.run.notes:
            self._note("rules", self.world.rules.to_json())
        if "baseline" not in self.run.notes:
            self._note("baseline", self.world.baseline())

    def stop_application(self) -> Result:
        self.world.platform.stop("sqlite", graceful_seconds=self.world.stop_seconds)
        self._refuse_strangers()
        return {}

    def _refuse_strangers(self) -> None:
        strangers = self.world.sqlite.strangers(self.world.platform.owned_pids())
        if strangers:
            raise SourceError(
                f"{self.world.sqlite.path} is held open by {'; '.join(strangers)}",
                hint="stop these processes (a fence would make their writes fail), then cut over again",
            )

    def fence_sqlite(self) -> Result:
        if "sqlite_former" not in self.run.notes:
            self._note("sqlite_former", self.world.sqlite.fence_state())
        self.world.sqlite.fence()
        return {}

    def unfence_sqlite(self) -> None:
        former = self.run.notes.get("sqlite_former")
        if former is not None:
            self.world.sqlite.unfence(former)

    def synchronise(self) -> Result:
        loader = self.world.postgres.loader(self.plan, self.run.id)
        reader = self.world.sqlite.reader("file")
        postgres = self.world.postgres.reader()
        try:
            changed = synchronise(self.plan, reader, postgres, loader, self.world.progress)
            values = self.world.sqlite.sequences("file")
            loader.set_sequences(values)
            loader.check_sequences(values)
        finally:
            postgres.close()
            reader.close()
            loader.close()
        return {"rows": dict(changed)}

    def set_replica_identity(self) -> Result:
        if "replica_identity" not in self.run.notes:
            self._note("replica_identity", self.world.postgres.replica_identity(self.plan))
        self.world.postgres.set_replica_identity(self.plan)
        return {}

    def restore_replica_identity(self) -> None:
        former = self.run.notes.get("replica_identity")
        if former is not None:
            self.world.postgres.restore_replica_identity(former)

    def create_publication(self) -> Result:
        self.world.postgres.drop_slot()  # a slot older than the publication skips changes in silence on 18
        self.world.postgres.drop_publication()
        self.world.postgres.create_publication(self.plan)
        return {}

    def create_slot(self) -> Result:
        """The exported snapshot lives as long as this process; `last_proof` makes a new slot without it."""
        self._close_exported()
        self.world.postgres.drop_slot()
        self.exported = self.world.postgres.create_slot()
        return {"consistent_point": int(self.exported.consistent_point)}

    def drop_slot(self) -> None:
        self._close_exported()
        self.world.postgres.drop_slot()

    def _close_exported(self) -> None:
        if self.exported is not None:
            self.exported.close()
            self.exported = None

    def last_proof(self) -> Result:
        if self.exported is None:
            self.create_slot()
        exported = self.exported
        assert exported is not None
        difference = self.world.postgres.publication_difference(self.plan)
        if difference:
            raise ProofFailed(f"the publication is not what the plan says: {difference[0]}", hint="")
        fingerprint = self.world.postgres.fingerprint()
        self.world.sqlite.prove_fence()
        reader = self.world.sqlite.reader("file")
        postgres = self.world.postgres.reader(exported.snapshot_name)
        try:
            proof = compare(self.plan, reader, postgres, self.world.progress, check_round_trip=True)
        finally:
            postgres.close()
            reader.close()
        if not proof.equal:
            raise ProofFailed(proof.headline(), hint="run `turnback verify`, then `turnback migrate --again`")
        drift = self.world.postgres.drift(fingerprint)
        if drift:
            raise NotReady(
                f"PostgreSQL's schema changed while it was proven: {drift[0]}",
                hint="cut over again when it is at rest",
            )
        self._note("consistent_point", int(exported.consistent_point))
        self._note("fingerprint", fingerprint)
        self._close_exported()
        return {"proof": proof.to_json()}

    def make_fallback(self) -> Result:
        identifier, timeline = self.world.postgres.system()
        position = Position(
            slot=self.world.postgres.slot,
            system_identifier=identifier,
            timeline=timeline,
            applied_lsn=self.run.notes["consistent_point"],
            commit_time_us=0,
        )
        self.world.sqlite.drop_fallback()
        self.world.sqlite.build_fallback(
            self.run.notes["sqlite_former"], self.plan, position, self.world.progress
        )
        return {}

    def place_tombstone(self) -> Result:
        self.world.sqlite.place_tombstone()
        return {"kept": self.world.sqlite.kept.name}

    def start_capture(self) -> Result:
        self.resume_capture()
        return {}

    def resume_capture(self) -> None:
        if self.world.capture is None:
            self.world.capture = self.world.new_capture(self.run.notes["fingerprint"])
            self.world.capture.start()
        self.world.capture.wait_streaming(STREAMING_SECONDS)

    def stop_capture(self) -> None:
        if self.world.capture is not None:
            self.world.capture.stop()
            self.world.capture = None

    def start_on_postgres(self) -> Result:
        note_start(self.world, self.run)
        self.world.platform.start("postgres")
        return {}

    def await_healthy(self) -> Result:
        return await_healthy(self.world, "postgres")
