"""`turnback verify`: which two sides are compared in which phase, and how under load."""

from __future__ import annotations

from turnback.app.recheck import verify_live
from turnback.app.verify import Comparison, compare
from turnback.core.phases import Phase
from turnback.entrypoints.wiring import Setup
from turnback.errors import UsageError
from turnback.ports import Progress


def verify(setup: Setup, progress: Progress) -> Comparison:
    """On PostgreSQL: the fallback against the server, keys that changed meanwhile looked at again.
    After migrate: the SQLite file as it is now against the server.
    """
    state = setup.state()
    if state.phase not in (Phase.ON_POSTGRES, Phase.MIGRATED, Phase.ON_SQLITE):
        raise UsageError(
            f"there are no two sides to compare in the phase {state.phase.value}",
            hint="verify works after migrate, and all the time on PostgreSQL",
        )
    plan = setup.plan()
    match state.phase:
        case Phase.ON_POSTGRES:
            proven_to = setup.sqlite.fallback_position(plan).applied_lsn
            result = verify_live(
                plan,
                lambda: setup.sqlite.reader("fallback"),
                setup.server.reader,
                lambda: setup.sqlite.fallback_position(plan).applied_lsn,
                setup.server.insert_lsn,
                setup.clock,
                progress,
            )
            if result.equal:  # the gate need not look again at what was touched before
                setup.sqlite.clear_touched(plan, proven_to)
            return result
        case _:
            sqlite, postgres = setup.sqlite.reader("file"), setup.server.reader()
            try:
                return compare(plan, sqlite, postgres, progress, check_round_trip=True)
            finally:
                postgres.close()
                sqlite.close()
