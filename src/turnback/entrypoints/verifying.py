"""`turnback verify`: which two sides are compared in which phase and how, and the certificate of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from turnback.adapters.postgres.connect import place
from turnback.app.certify import FILE_CHECKS, Sides, certificate, prove_generated
from turnback.app.recheck import verify_live
from turnback.app.sides import WhichFile
from turnback.app.verify import Comparison, compare, generated_plan
from turnback.core import lsn
from turnback.core.certificate import Censuses
from turnback.core.phases import Phase
from turnback.core.plan import Plan
from turnback.entrypoints import certificates
from turnback.entrypoints.wiring import Setup
from turnback.errors import UsageError
from turnback.ports import Progress

STATES = {
    Phase.ON_POSTGRES: "the fallback, kept current by capture",
    Phase.MIGRATED: "the application's file, as it is now (writes after migrate are only in it)",
    Phase.ON_SQLITE: "the application's file, as it is now (writes after the rollback are only in it)",
}


@dataclass(frozen=True, slots=True)
class Verified:
    """`comparison` is of the rows; the certificate also of the file's own checks and of generated columns."""

    comparison: Comparison
    certificate: dict[str, Any]
    path: str

    @property
    def equal(self) -> bool:
        return bool(self.certificate["equal"])

    def headline(self) -> str:
        if self.comparison.equal and not self.equal:
            return str(self.certificate["reason"])
        return self.comparison.headline()

    def to_json(self) -> dict[str, Any]:
        more = {"certificate": self.path, "verdict": self.certificate["verdict"], "equal": self.equal}
        return self.comparison.to_json() | more | {"reason": self.certificate["reason"]}


def comparable(setup: Setup) -> Phase:
    """The phase, where it has two sides. Raises UsageError."""
    phase = setup.state().phase
    if phase not in STATES:
        raise UsageError(
            f"there are no two sides to compare in the phase {phase.value}",
            hint="verify works after migrate, and all the time on PostgreSQL",
        )
    return phase


def verify(setup: Setup, progress: Progress, by: str) -> Verified:
    """On PostgreSQL: the fallback against the server, keys that changed meanwhile looked at again.
    After migrate: the SQLite file as it is now against the server.
    """
    phase = comparable(setup)
    plan = setup.plan()
    begun = setup.clock.now()
    censuses, again = Censuses(), dict[str, int]()
    if phase is Phase.ON_POSTGRES:
        which: WhichFile = "fallback"
        proven_to = setup.sqlite.fallback_position(plan).applied_lsn
        result = _live(setup, plan, progress, censuses, again)
        generated = [
            {
                "table": table.sqlite,
                "columns": [c.sqlite for c in table.columns if c.sqlite not in table.key],
                "rows": 0,
            }
            | _told(_live(setup, Plan(plan.mode, plan.schema, (table,)), progress))
            for table in generated_plan(plan).tables
        ]
        if result.equal:  # the gate need not look again at what was touched before
            setup.sqlite.clear_touched(plan, proven_to)
    else:
        which = "file"
        sqlite, postgres = setup.sqlite.reader("file"), setup.server.reader()
        try:
            result = compare(plan, sqlite, postgres, progress, check_round_trip=True, censuses=censuses)
            generated = prove_generated(plan, sqlite, postgres, progress)
        finally:
            postgres.close()
            sqlite.close()
    document = certificate(
        "verify",
        plan,
        _sides(setup, phase),
        by=by,
        begun_at=begun,
        ended_at=setup.clock.now(),
        comparison=result,
        censuses=censuses,
        looked_again=again,
        checks={FILE_CHECKS: setup.sqlite.integrity(which, plan)},
        sequences=_sequences(setup, plan, which),
        generated=generated,
    )
    return Verified(result, document, certificates.keep(setup.certificates_folder, document))


def _live(
    setup: Setup,
    plan: Plan,
    progress: Progress,
    censuses: Censuses | None = None,
    again: dict[str, int] | None = None,
) -> Comparison:
    whole = setup.plan()  # the fallback knows no part of a plan
    return verify_live(
        plan,
        lambda: setup.sqlite.reader("fallback"),
        setup.server.reader,
        lambda: setup.sqlite.fallback_position(whole).applied_lsn,
        setup.server.insert_lsn,
        setup.clock,
        progress,
        censuses=censuses,
        looked_again=again,
    )


def _told(result: Comparison) -> dict[str, Any]:
    rows = sum(t.rows_sqlite for t in result.tables)
    return {"rows": rows, "equal": result.equal, "headline": result.headline()}


def _sides(setup: Setup, phase: Phase) -> Sides:
    live = phase is Phase.ON_POSTGRES
    return Sides(
        str(setup.sqlite.fallback if live else setup.sqlite.path),
        STATES[phase],
        place(setup.urls.admin_dsn),
        setup.config.postgres.schema_name,
        "serves" if live else "does not serve",
        setup.server.system()[0],
        lsn.text(setup.server.insert_lsn()),
    )


def _sequences(setup: Setup, plan: Plan, which: WhichFile) -> dict[str, Any]:
    in_file = setup.sqlite.sequences(which)
    return {
        name: {"postgres": value, "sqlite": in_file.get(name)}
        for name, value in setup.server.sequences(plan).items()
    }
