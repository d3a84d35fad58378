"""Virtual tables made current: within a promote, and before any of it on a copy of the file (HAZARDS R17)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import apsw

from turnback.adapters.sqlite.database import atomic, open_database, quoted, run_script, translated
from turnback.adapters.sqlite.snapshot import backup
from turnback.core.mapping.virtual import FULL_TEXT, RebuildTrial, is_external
from turnback.core.plan import VirtualPlan
from turnback.core.sqltext import literal
from turnback.errors import ProofFailed
from turnback.ports import Progress


def rebuild_virtual(
    path: Path, plans: Sequence[VirtualPlan], *, busy_seconds: float, extensions: Sequence[str] = ()
) -> Mapping[str, float]:
    """Carries out every rebuild and its check, all in one transaction: seconds by table.

    Raises ProofFailed where a statement or a check fails; then the file is as it was.
    """
    taken: dict[str, float] = {}
    if not any(p.rebuild for p in plans):
        return taken
    connection = open_database(path, "write", busy_seconds=busy_seconds, extensions=extensions)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
        with translated(path), atomic(connection):
            for plan in plans:
                begun = time.monotonic()
                problem = _rebuild(connection, plan)
                if problem:
                    raise ProofFailed(
                        f"the virtual table {plan.name} cannot be made current: {problem}",
                        hint="nothing was switched; its rebuild stands in the plan (`turnback plan`)",
                    )
                taken[plan.name] = round(time.monotonic() - begun, 3)
    finally:
        connection.close()
    return taken


def try_rebuilds(
    path: Path,
    plans: Sequence[VirtualPlan],
    scratch: Path,
    progress: Progress,
    *,
    extensions: Sequence[str] = (),
) -> dict[str, RebuildTrial]:
    """Each rebuild on a copy of the file at `scratch`, undone again; the copy is removed at the end.

    Raises SourceError, DiskFull where there is no room for the copy.
    """
    backup(path, scratch, progress)
    try:
        connection = open_database(scratch, "write", extensions=extensions)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
            return {plan.name: _try(connection, plan) for plan in plans}
        finally:
            connection.close()
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            scratch.with_name(scratch.name + suffix).unlink(missing_ok=True)


def _try(connection: apsw.Connection, plan: VirtualPlan) -> RebuildTrial:
    connection.execute("BEGIN IMMEDIATE")
    try:
        try:
            stale = _failed_check(connection, plan) != ""
            before = _keep(connection, plan)
            begun = time.monotonic()
            problem = _rebuild(connection, plan)
            seconds = time.monotonic() - begun
            if problem:
                return RebuildTrial(problem, seconds, stale=stale)
            missing, extra = _differences(connection, before)
        except apsw.Error as e:
            return RebuildTrial(str(e))
        return RebuildTrial("", seconds, missing, extra, stale)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")  # the temporary tables too


def _rebuild(connection: apsw.Connection, plan: VirtualPlan) -> str:
    """ "" or what went wrong."""
    for statement in plan.rebuild:
        try:
            run_script(connection, statement)
        except apsw.Error as e:
            return f"{statement[:200]}: {e}"
    return _failed_check(connection, plan)


def _failed_check(connection: apsw.Connection, plan: VirtualPlan) -> str:
    if plan.check is None:
        return ""
    try:
        answers = connection.execute(plan.check).fetchall()
    except apsw.Error as e:
        return f"its own check fails: {e}"
    wrong = [str(row[0]) for row in answers if row and row[0] != "ok"]
    return f"its own check says: {wrong[0][:200]}" if wrong else ""


# ---- what it holds -------------------------------------------------------------------------------


def _keep(connection: apsw.Connection, plan: VirtualPlan) -> list[tuple[str, str]]:
    """Its content as temporary tables: (the query, where its former result is)."""
    queries = []
    if plan.module == "fts5":
        # Every place of every word: also an index without content of its own can be compared.
        run_script(
            connection,
            "CREATE VIRTUAL TABLE temp._turnback_words "
            f"USING fts5vocab(main, {literal(plan.name)}, instance)",
        )
        queries.append("SELECT * FROM temp._turnback_words")
    elif plan.module in FULL_TEXT:
        run_script(
            connection, f"CREATE VIRTUAL TABLE temp._turnback_words USING fts4aux(main, {literal(plan.name)})"
        )
        queries.append("SELECT * FROM temp._turnback_words")
    if not _reads_other_tables(connection, plan):
        queries.append(f"SELECT {_row_id(connection, plan)}* FROM main.{quoted(plan.name)}")
    kept = []
    for number, query in enumerate(queries):
        name = f"temp._turnback_before_{number}"
        run_script(connection, f"CREATE TABLE {name} AS {query}")
        kept.append((query, name))
    return kept


def _row_id(connection: apsw.Connection, plan: VirtualPlan) -> str:
    try:
        connection.execute(f"SELECT rowid FROM main.{quoted(plan.name)} LIMIT 0").fetchall()
    except apsw.SQLError:
        return ""  # a virtual table WITHOUT ROWID
    return "rowid, "


def _reads_other_tables(connection: apsw.Connection, plan: VirtualPlan) -> bool:
    """External content: reading the rows reads the content table, whatever the index holds."""
    row = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (plan.name,)
    ).fetchone()
    return row is not None and is_external(str(row[0]))


def _differences(connection: apsw.Connection, before: Sequence[tuple[str, str]]) -> tuple[int, int]:
    missing = extra = 0
    run_script(connection, "SAVEPOINT written; RELEASE written")  # FTS4 holds new words back until then
    for query, name in before:
        missing += _count(connection, f"SELECT * FROM {name} EXCEPT {query}")
        extra += _count(connection, f"{query} EXCEPT SELECT * FROM {name}")
    return missing, extra


def _count(connection: apsw.Connection, query: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM ({query})").fetchone()
    assert row is not None
    return int(row[0])
