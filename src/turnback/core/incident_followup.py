"""After an incident: what was checked, what is still open, and the runbook's next steps to fill in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from turnback.core.incident import Around, Episode, stamp

Json = dict[str, Any]

# The runbook's next steps after a rollback: title, what to answer.
NEXT_STEPS = (
    ("Root cause", "Why was it necessary? What was found, and by whom?"),
    ("Resolution", "What was changed so that it does not come back before the next cutover?"),
    ("Testing", "Which test shows the fault now, and passes with the change?"),
    ("Monitoring", "What would have shown it earlier? Which alert or threshold changes?"),
    ("Process", "What went slower or otherwise than agreed? What changes in the procedure?"),
)
_CAUSES = {
    "application-health": "Start with the application's log from before the first failed check.",
    "database-health": "Start with PostgreSQL's own log, and with what lies between the application and it.",
    "never-healthy": "Start with the application's log from its start on PostgreSQL.",
    "crash-loop": "Start with the last lines of the application's log before each exit.",
    "error-rate": "Start with the requests that failed and what they failed on.",
    "latency": "Start with the slowest routes and their statements (pg_stat_statements, auto_explain).",
    "pool": "Start with what held the connections: pg_stat_activity, long transactions, leaks.",
    "log-errors": "Start with the error lines below.",
    "integrity": "Start with the rows that were wrong, and the certificate.",
    "security": "Start with who had access, and rotate what may be known.",
}


def validation(episode: Episode) -> Json | None:
    """The last report of the run's own checks; of an older version the health check alone."""
    run = episode.run
    reports = [e for e in episode.entries if e.kind == "validated"]
    own = [e for e in reports if run is not None and e.run == run.id]
    if chosen := (own or reports):
        return dict(chosen[-1].body) | {"at": stamp(chosen[-1].at)}
    result = run.done.get("validate") if run is not None else None
    if not result or "health" not in result:
        return None
    known = "healthy_at" in result
    check = {
        "name": "health", "group": "endpoints", "ok": True if known else None,
        "expected": "the health endpoint answers" if known else "not configured",
        "seen": result["health"], "seconds": result.get("seconds"),
    }  # fmt: skip
    return {"ok": True if known else None, "checks": [check], "at": result.get("healthy_at")}


def next_steps(trigger: str | None) -> tuple[Json, ...]:
    hint = _CAUSES.get(trigger or "", "")
    return tuple(
        {"title": title, "question": question, "start": hint if title == "Root cause" else ""}
        for title, question in NEXT_STEPS
    )


def open_items(episode: Episode, around: Around) -> Iterator[str]:
    """What somebody still has to do or to wait for."""
    run = episode.run
    if run is None:
        if episode.ended_at is None:
            yield "The breach has not been resolved: `turnback status` says what is missing."
        return
    if run.outcome is None:
        yield "The rollback has not ended: run `turnback resume`."
    lossy = run.done.get("fence_postgres", {}).get("fenced") is False
    late = any(e.kind == "fenced_late" for e in episode.entries)
    if lossy and not late:
        yield "PostgreSQL is not fenced: let no client write there. A guard fences it when it answers again."
    if run.notes.get("loss_manifest"):
        yield (
            "PostgreSQL holds writes that SQLite has not: dump its tables (pg_dump) before "
            "`turnback migrate --again`, which clears them."
        )
        yield (
            f"The slot {around.slot} may hold back WAL on the server until it is dropped: "
            "`turnback migrate --again` and the next cutover make theirs anew."
        )
    postponed = [e.body["step"] for e in episode.entries if e.kind == "undo_postponed"]
    if postponed:
        yield f"Not undone, because the server was gone: {', '.join(postponed)}. The next run clears it."
    if run.outcome == "done":
        if around.certificate is None:
            yield "There is no certificate of this rollback."
        elif around.certificate["verdict"] != "equal":
            yield f"The certificate does not say equal: {around.certificate['says']}."
        elif not around.certificate["seal_holds"]:
            yield "The certificate was changed after it was written: trust nothing in it."
        checked = validation(episode)
        for check in (checked or {}).get("checks", ()):
            if check.get("ok") is False:
                yield f"The check {check['name']} failed: expected {check['expected']}, seen {check['seen']}."
        if not any(e.kind == "normal_again" for e in episode.entries):
            yield (
                "That all is back to normal is not recorded: a guard watches it, or "
                "`turnback validate --watch`."
            )
