"""The end of a rollback: the full checks while the application serves, and the certificate of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from turnback.app.certify import FILE_CHECKS, Sides, certificate, compare_with_original
from turnback.app.sides import World
from turnback.app.validate import validate_whole
from turnback.app.verify import Comparison, compare
from turnback.core import lsn
from turnback.core.certificate import Censuses
from turnback.core.state import Run
from turnback.core.validation import judge_problems
from turnback.errors import ProofFailed
from turnback.ports import SqliteReader

NOT_HELD = (
    "not made: the state of the switch was not held (a large file without WAL, a restart, or no PostgreSQL)"
)
NOTE = "watched"

Json = dict[str, Any]


def watch(world: World, run: Run, held: SqliteReader | None, *, lossy: bool) -> Mapping[str, Any]:
    """What they find is reported, loudly: there is only forward now. `held` reads the state of the switch,
    and is closed; None: it could not be held. `lossy`: the rollback went on without the server.
    """
    if NOTE in run.notes:  # that was proven; a check failed behind it, and is made again
        proven: Json = run.notes[NOTE]
        return proven | validate_whole(world, run, (), _rows(proven))
    begun = world.clock.now()
    censuses = Censuses()
    try:
        checked = world.clock.monotonic()
        problems = world.sqlite.integrity("file", world.plan)
        sound = judge_problems(FILE_CHECKS, problems, world.clock.monotonic() - checked)
        comparison = _compare_with_fenced_server(world, held, censuses)
        original = _compare_with_original(world, held)
    finally:
        if held is not None:
            held.close()
        world.sqlite.drop_held()
    document = _certificate(world, run, begun, comparison, censuses, original, problems, lossy=lossy)
    path = world.keep_certificate(document)
    if comparison is not None and not comparison.equal:
        raise ProofFailed(
            comparison.headline(),
            hint=f"SQLite serves; PostgreSQL is fenced and whole: look at the named rows there; {path}",
        )
    if problems:
        raise ProofFailed(
            f"the SQLite file fails its own checks: {problems[0]}",
            hint=f"the fenced original is {world.sqlite.kept}, PostgreSQL is fenced and whole",
        )
    if document["verdict"] == "different":
        world.announce(f"the certificate does not say equal: {document['reason']}")
    if not lossy:
        world.postgres.drop_slot()
        world.postgres.drop_publication()
    result = {
        "integrity": "ok",
        "comparison": NOT_HELD if comparison is None else comparison.to_json(),
        "certificate": path,
        "certificate_says": document["verdict"],
    }
    world.note(run.id, NOTE, result)
    run.notes[NOTE] = result
    return result | validate_whole(world, run, (sound,), _rows(result))


def _rows(result: Json) -> Json | None:
    """The comparison, where one was made."""
    return result["comparison"] if isinstance(result["comparison"], dict) else None


def _compare_with_fenced_server(
    world: World, held: SqliteReader | None, censuses: Censuses
) -> Comparison | None:
    if held is None:
        return None
    postgres = world.postgres.reader()
    try:
        return compare(world.plan, held, postgres, world.progress, check_round_trip=False, censuses=censuses)
    finally:
        postgres.close()


def _compare_with_original(world: World, held: SqliteReader | None) -> Json:
    """What the stay on PostgreSQL changed: the file of the switch against the fenced original."""
    kept = world.sqlite.kept
    if held is None:
        return {"made": False, "path": str(kept), "why": NOT_HELD}
    if not kept.exists():
        return {"made": False, "path": str(kept), "why": "the original is no longer there"}
    original = world.sqlite.reader("kept")
    try:
        return compare_with_original(world.plan, str(kept), original, held, world.progress)
    finally:
        original.close()


def _certificate(
    world: World,
    run: Run,
    begun: datetime,
    comparison: Comparison | None,
    censuses: Censuses,
    original: Json,
    problems: list[str],
    *,
    lossy: bool,
) -> Json:
    position = run.notes.get("position") or {}
    fence_lsn = (run.notes.get("token") or {}).get("fence_lsn")
    handed_out = run.notes.get("sequences") or {}
    in_file = world.sqlite.sequences("file")
    return certificate(
        "rollback",
        world.plan,
        Sides(
            str(world.sqlite.path),
            "the promoted fallback, as it was before the application's first start on it",
            world.postgres_place,
            world.plan.schema,
            "unreachable" if lossy else "fenced",
            str(position.get("system_identifier", "")),
            lsn.text(lsn.Lsn(fence_lsn)) if fence_lsn is not None else "",
        ),
        by=str(run.options.get("by", "")),
        begun_at=begun,
        ended_at=world.clock.now(),
        comparison=comparison,
        censuses=censuses,
        why_not=NOT_HELD,
        checks={FILE_CHECKS: problems},
        sequences={n: {"postgres": v, "sqlite": in_file.get(n)} for n, v in handed_out.items()},
        original=original,
    )
