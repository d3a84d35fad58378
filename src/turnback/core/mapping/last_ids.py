"""Whether the sequences can go on behind the highest ids (HAZARDS F24)."""

from __future__ import annotations

from collections.abc import Iterator

from turnback.core.mapping.source import Source
from turnback.core.plan import SequencePlan, TablePlan
from turnback.core.schema import LAST_ID, PostgresSchema


def made_last_ids(source: Source, tables: tuple[TablePlan, ...]) -> None:
    """Create mode: every identity column has a bigint sequence of its own, in steps of one."""
    for table in tables:
        for column in table.columns:
            if column.identity:
                where = f"{table.sqlite}.{column.sqlite}"
                _say(source, table, column.postgres, f"the sequence of {where}", 1, LAST_ID, "")


def met_last_ids(
    source: Source,
    tables: tuple[TablePlan, ...],
    postgres: PostgresSchema,
    chosen: tuple[SequencePlan, ...],
) -> None:
    """Existing mode: each sequence with its own MAXVALUE, that of its type where none was given."""
    plans = {t.postgres: t for t in tables}
    for sequence in postgres.sequences:
        fed = [place for place in (sequence.owner, *sequence.drawn_by) if place is not None]
        fed += [(s.table, s.column) for s in chosen if s.name == sequence.name]
        settle = f"ALTER SEQUENCE {sequence.name} AS bigint NO MAXVALUE, and the column with it; or "
        for table, column in fed:
            if table in plans:
                what = f"PostgreSQL's sequence {sequence.name}"
                own = settle if sequence.last < LAST_ID else ""
                _say(source, plans[table], column, what, sequence.increment, sequence.last, own)


def _say(
    source: Source, plan: TablePlan, column: str, what: str, increment: int, last: int, settle: str
) -> None:
    table = source.schema.table(plan.sqlite)
    for name, highest, given in _highest(source, plan, column):
        if highest <= 0 or highest + increment <= last:
            continue
        key = f"{name}={highest}"
        source.say(
            "F24",
            "refused",
            f"{plan.sqlite}.{name}: {what} ends at {last}, and {highest} is given"
            + ("" if given else " already (sqlite_sequence has it; no such row is left)"),
            table,
            name,
            count=int(given),
            keys=(key,) if given else (),
            settle=settle
            + (
                "give that row a smaller id in SQLite"
                if given
                else f"lower it in SQLite: UPDATE sqlite_sequence SET seq = ... WHERE name = '{plan.sqlite}'"
            ),
        )


def _highest(source: Source, plan: TablePlan, column: str) -> Iterator[tuple[str, int, bool]]:
    """(SQLite column, the highest id, whether a row has it)."""
    profile = source.profiles[plan.sqlite]
    for own in plan.columns:
        if own.postgres == column:
            highest = profile.columns[own.sqlite].max_integer or 0
            counted = profile.last_id if own.identity or own.sqlite in plan.key else 0
            yield own.sqlite, max(highest, counted), highest >= counted
