"""The steps of migrate: a consistent snapshot, the schema, the rows, the constraints, the proof."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from turnback.app.certify import Sides, certificate, prove_generated
from turnback.app.copy import copy_tables
from turnback.app.runner import Result, Step
from turnback.app.sides import World
from turnback.app.verify import Comparison, compare
from turnback.core import ddl, lsn
from turnback.core.certificate import Censuses
from turnback.core.state import Run
from turnback.errors import NeedsChoice, NotReady, ProofFailed


def steps(world: World, run: Run) -> tuple[Step, ...]:
    """In the order of core.plan_steps.STEPS[MIGRATE]."""
    m = _Migrate(world, run)

    def shown(what: str) -> Callable[[], list[str]]:
        return lambda: world.postgres.describe(what, world.plan)

    return (
        Step("snapshot_sqlite", m.snapshot_sqlite, undo=world.sqlite.drop_snapshot),
        Step("prepare_schema", m.prepare_schema, undo=m.clear_target, describe=m.describe_schema),
        Step("suspend_constraints", m.suspend_constraints, undo=m.restore_constraints),
        Step("copy_rows", m.copy_rows),
        Step("build_constraints", m.build_constraints, describe=shown("constraints")),
        Step("set_sequences", m.set_sequences),
        Step("prove_copy", m.prove_copy),
    )


class _Migrate:
    def __init__(self, world: World, run: Run) -> None:
        self.world = world
        self.run = run
        self.plan = world.plan
        self.creates = world.plan.mode == "create"

    def snapshot_sqlite(self) -> Result:
        refuse_changed_schema(self.world)
        self.world.sqlite.take_snapshot(self.world.progress)
        return {"bytes": self.world.sqlite.snapshot.stat().st_size}

    def prepare_schema(self) -> Result:
        postgres = self.world.postgres
        again = self.run.options.get("again") and "cleared" not in self.run.notes
        if again:
            postgres.lift_fence(self.plan)
        if not self.creates and self.world.schema_command and "schema_made" not in self.run.notes:
            postgres.run_schema_command(self.world.schema_command)
            self.world.note(self.run.id, "schema_made", True)
            self.run.notes["schema_made"] = True
        if again:  # behind the schema command, which may seed its rows anew where they are missing
            self.clear_target()
            self.world.note(self.run.id, "cleared", True)
            self.run.notes["cleared"] = True
        occupied = [] if "prepared" in self.run.notes else postgres.occupied(self.plan)
        if occupied:
            # Nothing here was made by this run: an undo must not touch it.
            self.world.note(self.run.id, "foreign_target", True)
            self.run.notes["foreign_target"] = True
            raise NeedsChoice(
                f"the target schema {self.plan.schema} is not empty: {', '.join(occupied[:5])}"
                + (f" and {len(occupied) - 5} more" if len(occupied) > 5 else ""),
                hint="name an empty schema, or `turnback migrate --again` clears the plan's tables first",
            )
        loader = postgres.loader(self.plan, self.run.id)
        try:
            if "prepared" not in self.run.notes:  # behind that note, the rows there are this run's
                loader.clear_seed_rows()
            self.world.note(self.run.id, "prepared", True)
            self.run.notes["prepared"] = True
            loader.prepare(ddl.create_schema(self.plan) if self.creates else [])
        finally:
            loader.close()
        if self.creates:
            postgres.hand_over(self.plan)
        differences = postgres.schema_differences(self.plan)
        if differences:
            raise NotReady(
                f"the PostgreSQL schema is not what the plan says: {differences[0]}"
                + (f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""),
                hint="run `turnback assess` again, then migrate",
            )
        return {"tables": len(self.plan.tables)}

    def describe_schema(self) -> list[str]:
        command = [] if self.creates or self.world.schema_command is None else [self.world.schema_command]
        return command + self.world.postgres.describe("schema", self.plan)

    def clear_target(self) -> None:
        if self.run.notes.get("foreign_target"):
            return
        if self.creates:
            self.world.postgres.drop_tables(self.plan)
        else:
            self.world.postgres.empty_tables(self.plan)

    def suspend_constraints(self) -> Result:
        if self.creates:
            return {}
        suspension = self.world.postgres.suspension(self.plan, self.run.notes.get("suspended"))
        if "suspended" not in self.run.notes:
            former = suspension.describe()
            self.world.note(self.run.id, "suspended", former)
            self.run.notes["suspended"] = former
        suspension.suspend()
        return {}

    def restore_constraints(self) -> None:
        if not self.creates and "suspended" in self.run.notes:
            self.clear_target()  # before the constraints: rows that break them must not keep them away
            self.world.postgres.suspension(self.plan, self.run.notes["suspended"]).restore()

    def copy_rows(self) -> Result:
        reader = self.world.sqlite.reader("snapshot")
        loader = self.world.postgres.loader(self.plan, self.run.id)
        try:
            rows = copy_tables(
                self.plan,
                reader,
                loader,
                self.world.progress,
                lambda name: self.world.failpoint(f"migrate.{name}"),
            )
        finally:
            loader.close()
            reader.close()
        return {"rows": sum(rows.values()), "tables": dict(rows)}

    def build_constraints(self) -> Result:
        loader = self.world.postgres.loader(self.plan, self.run.id)
        try:
            if self.creates:
                loader.execute(ddl.build_constraints(self.plan), once="constraints")
                if self.plan.views:
                    self.world.postgres.hand_over(self.plan)
            else:
                suspension = self.world.postgres.suspension(self.plan, self.run.notes["suspended"])
                suspension.restore()
                suspension.prove(self.plan)
            loader.analyze()
        finally:
            loader.close()
        return {}

    def set_sequences(self) -> Result:
        loader = self.world.postgres.loader(self.plan, self.run.id)
        try:
            values = self.world.sqlite.sequences("snapshot")
            loader.set_sequences(values)
            loader.check_sequences(values)
        finally:
            loader.close()
        return {}

    def prove_copy(self) -> Result:
        if "proof" not in self.run.notes:  # else proven, and the snapshot perhaps gone, before a crash
            proof = self._compared()
            self.world.note(self.run.id, "proof", proof)
            self.run.notes["proof"] = proof
        self.world.sqlite.drop_snapshot()
        return {"proof": self.run.notes["proof"]}

    def _compared(self) -> object:
        begun = self.world.clock.now()
        censuses = Censuses()
        reader = self.world.sqlite.reader("snapshot")
        postgres = self.world.postgres.reader()
        try:
            proof = compare(
                self.plan, reader, postgres, self.world.progress, check_round_trip=True, censuses=censuses
            )
            generated = prove_generated(self.plan, reader, postgres, self.world.progress)
        finally:
            postgres.close()
            reader.close()
        document = self._certificate(begun, proof, censuses, generated)
        path = self.world.keep_certificate(document)
        if not proof.equal:
            raise ProofFailed(proof.headline(), hint=f"{path} lists the differences")
        for entry in generated:
            if not entry["equal"]:
                raise ProofFailed(
                    f"what both sides compute of {entry['table']} differs: {entry['headline']}",
                    hint="name the column, index or view in [sqlite] leave_behind, assess and migrate again",
                )
        return proof.to_json() | {"certificate": path}

    def _certificate(
        self, begun: datetime, proof: Comparison, censuses: Censuses, generated: list[dict[str, object]]
    ) -> dict[str, object]:
        in_file = self.world.sqlite.sequences("snapshot")
        handed_out = self.world.postgres.sequences(self.plan)
        return certificate(
            "migrate",
            self.plan,
            Sides(
                str(self.world.sqlite.path),
                "a snapshot taken by this migrate",
                self.world.postgres_place,
                self.plan.schema,
                "as loaded",
                self.world.postgres.system()[0],
                lsn.text(self.world.postgres.insert_lsn()),
            ),
            by=str(self.run.options.get("by", "")),
            begun_at=begun,
            ended_at=self.world.clock.now(),
            comparison=proof,
            censuses=censuses,
            sequences={n: {"postgres": v, "sqlite": in_file.get(n)} for n, v in handed_out.items()},
            generated=generated,
            not_compared=[
                {
                    "what": "integrity_check and foreign_key_check of the SQLite file",
                    "why": "not part of migrate; `turnback verify --full` runs them",
                }
            ],
        )


def refuse_changed_schema(world: World) -> None:
    """The plan was made from a SQLite schema; any DDL since then makes it another plan."""
    if world.schema_digest is not None and world.digest_of(world.sqlite.schema()) != world.schema_digest:
        raise NotReady(
            f"the schema of {world.sqlite.path} changed since the plan was made",
            hint="run `turnback assess` again, look at the plan, then `turnback migrate`",
        )
