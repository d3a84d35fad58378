"""The gate: what must hold between drain and switch. Nothing here reads all rows (REPLICATION: The gate)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnback.app.sides import World
from turnback.app.verify import compare_keys, compare_table
from turnback.core import lsn
from turnback.errors import NotReady, ProofFailed

TOUCHED_LIMIT = 1_000_000
# A changed table of which no key can be told is compared as a whole up to this many rows: the gate must not
# grow with the database. A larger one waits for the full comparison after the switch.
WHOLE_LIMIT = 100_000


def check_gate(world: World, token: Mapping[str, Any], fingerprint: Any) -> dict[str, str]:
    """Each item with what was seen. Raises ProofFailed or NotReady at the first that does not hold."""
    plan = world.plan
    seen: dict[str, str] = {}

    position = world.sqlite.fallback_position(plan)
    if position.applied_lsn < token["fence_lsn"]:
        raise ProofFailed(
            f"the fallback stands at {lsn.text(position.applied_lsn)}, "
            f"before the fence {lsn.text(token['fence_lsn'])}",
            hint="run `turnback rollback` again",
        )
    seen["position"] = lsn.text(position.applied_lsn)

    fence = world.postgres.fence(plan)
    try:
        if not fence.is_raised():
            raise ProofFailed(
                "the fence on PostgreSQL is gone", hint="somebody lifted it; run `turnback rollback` again"
            )
    finally:
        fence.close()
    seen["fence"] = "raised on every table"

    drift = world.postgres.drift(fingerprint)
    if drift:
        raise NotReady(
            f"PostgreSQL's schema changed since cutover: {drift[0]}"
            + (f" (and {len(drift) - 1} more)" if len(drift) > 1 else ""),
            hint="undo that change in PostgreSQL: the plan, and so the way back, does not know it",
        )
    seen["catalogue"] = "as at cutover"

    publication = world.postgres.publication_difference(plan)
    if publication:
        raise NotReady(
            f"the publication changed since cutover: {publication[0]}", hint="changes may have been missed"
        )
    seen["publication"] = "as planned"

    touched = world.sqlite.touched(plan, TOUCHED_LIMIT)
    if touched is None:
        raise NotReady(
            f"more than {TOUCHED_LIMIT} rows changed since the last proof",
            hint="run `turnback verify --full` first: after it only newer changes are checked here",
        )
    fallback = world.sqlite.reader("fallback")
    postgres = world.postgres.reader()
    try:
        differences = list(compare_keys(plan, fallback, postgres, touched))
        passed_over = []
        for name in world.sqlite.touched_whole(plan):
            table = plan.table(name)
            if fallback.count(table, at_most=WHOLE_LIMIT + 1) > WHOLE_LIMIT:
                passed_over.append(name)
            else:
                differences += compare_table(table, fallback, postgres)
    finally:
        postgres.close()
        fallback.close()
    if differences:
        d = differences[0]
        raise ProofFailed(
            f"{len(differences)} of the rows changed since the last proof differ, the first: "
            f"table {d.table}, key {', '.join(d.key)}, {d.kind}, columns {', '.join(d.columns) or 'all'}",
            hint="the application stays on PostgreSQL; `turnback verify --full` shows all differences",
        )
    seen["touched rows"] = f"{sum(len(k) for k in touched.values())} equal"

    if passed_over:
        seen["compared after the switch"] = ", ".join(passed_over)

    unindexed = world.sqlite.large_unindexed_references(plan, touched, WHOLE_LIMIT)
    if unindexed:
        seen["children checked after the switch"] = ", ".join(unindexed)
    violations = world.sqlite.foreign_key_violations(plan, touched, unindexed)
    if violations:
        raise ProofFailed(
            f"the fallback breaks a foreign key: {violations[0]}", hint="`turnback verify --full`"
        )
    seen["foreign keys"] = "hold for the changed rows and their children"
    return seen
