"""Which steps each intent is made of, in order, and where the point of no return lies.

The steps themselves live in turnback.app.steps_*; here are only names, so that the order can be read,
tested and shown by --dry-run without touching anything.
"""

from __future__ import annotations

from turnback.core.phases import Intent

STEPS: dict[Intent, tuple[str, ...]] = {
    Intent.MIGRATE: (
        "snapshot_sqlite",
        "prepare_schema",
        "suspend_constraints",
        "copy_rows",
        "build_constraints",
        "set_sequences",
        "prove_copy",
    ),
    Intent.CUTOVER: (
        "prepare_application",
        "stop_application",
        "fence_sqlite",
        "synchronise",
        "set_replica_identity",
        "create_publication",
        "create_slot",
        "last_proof",
        "make_fallback",
        "place_tombstone",
        "start_capture",
        "start_on_postgres",
        "await_healthy",
    ),
    Intent.ROLLBACK: (
        "record_decision",
        "save_deployment",
        "stop_application",
        "fence_postgres",
        "drain_to_fence",
        "gate",
        "promote_fallback",
        "start_on_sqlite",
        "validate",
        "watch_after",
    ),
    Intent.REBUILD: (
        "stop_capture",
        "copy_original",
        "renew_slot",
        "correct_rows",
        "put_in_place",
        "start_capture",
    ),
}

# Journalled as STARTED before it happens: until then a failure is undone, after it there is only forward.
POINT_OF_NO_RETURN: dict[Intent, str] = {
    Intent.CUTOVER: "start_on_postgres",
    Intent.ROLLBACK: "start_on_sqlite",
}
