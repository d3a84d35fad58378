"""What the target holds already (existing mode): rows, sequences, tables of a kind that is not carried."""

from __future__ import annotations

from collections.abc import Iterator

from turnback.core.choices import Choices
from turnback.core.findings import Finding, Severity
from turnback.core.mapping.source import Source
from turnback.core.plan import ColumnPlan, SequencePlan, TablePlan
from turnback.core.schema import MAX_COUNTED, PostgresSchema, PostgresSequence, PostgresTable, SqliteTable
from turnback.core.toml_lines import leave_table_out, toml_key

_INTEGERS = frozenset({"smallint", "integer", "bigint"})


def is_usable(source: Source, table: SqliteTable, target: PostgresTable) -> bool:
    """Can rows be loaded into it and changes be read from it? Rows that it has already are said."""
    problem = ""
    if target.kind != "table":
        problem = f"is a {target.kind} table"
    elif target.persistence != "permanent":
        problem = f"is {target.persistence}: its changes are not in the WAL"
    if problem:
        source.say(
            "target",
            "refused",
            f"PostgreSQL's table {target.name} {problem}, which is not carried",
            table,
            settle=f"make it an ordinary table, or leave it out:\n{leave_table_out(table.name)}",
        )
        return False
    if target.has_rows:
        _say_rows(source, table, target)
    return True


def _say_rows(source: Source, table: SqliteTable, target: PostgresTable) -> None:
    """Seed rows may be cleared: SQLite's replace them. What is not even counted to its end is no seed."""
    uncounted = target.row_count >= MAX_COUNTED
    rows = f"{MAX_COUNTED} rows or more" if uncounted else f"{target.row_count} rows"
    message = f"PostgreSQL's table {target.name} has {rows} already"
    severity: Severity = "choice"
    settle = f"leave the table out:\n{leave_table_out(table.name)}"
    if uncounted:
        settle = f"empty it (TRUNCATE), or {settle}"
    elif source.choices.clear_seed_rows:
        severity, settle = "carries", ""
        message += ": migrate deletes them"
    else:
        settle = (
            "let migrate delete the rows of each table that is listed so:\n"
            f"[postgres]\nclear_seed_rows = true\nor {settle}"
        )
    source.say("F36", severity, message, table, count=target.row_count, keys=target.row_keys, settle=settle)


def refers_to_seed_rows(
    findings: list[Finding], tables: tuple[TablePlan, ...], postgres: PostgresSchema
) -> None:
    """Rows of a table that is not carried would lose their parents among rows that are cleared."""
    cleared = {t.postgres for t in tables if t.clear_first}
    carried = {t.postgres for t in tables}
    for table in postgres.tables:
        parents = {c.parent for c in table.constraints if c.kind == "foreign_key"} & cleared
        if table.has_rows and table.name not in carried and parents:
            findings.append(
                Finding(
                    "F36",
                    "choice",
                    f"PostgreSQL's table {table.name} is not carried, and its rows refer to rows of "
                    f"{', '.join(sorted(parents))}, which are to be cleared",
                    table.name,
                    count=table.row_count,
                    keys=table.row_keys,
                    settle=f"empty {table.name} in PostgreSQL first",
                )
            )


# ---- sequences -------------------------------------------------------------------------------------


def met_sequences(
    findings: list[Finding], choices: Choices, tables: tuple[TablePlan, ...], postgres: PostgresSchema
) -> tuple[SequencePlan, ...]:
    """Those that no column owns or draws its default from, with the columns that their values go to."""
    plans: list[SequencePlan] = []
    carried = {t.postgres for t in tables}
    known = {s.name for s in postgres.sequences}
    for name in choices.sequences:
        if name not in known:
            findings.append(
                Finding(
                    "F24",
                    "choice",
                    f"turnback.toml names the sequence {name}, which the schema {postgres.name} lacks",
                    settle=f"take {name} out of [postgres.sequences], or correct its name",
                )
            )
    for sequence in postgres.sequences:
        fed = {table for table, _ in _fed(sequence)}
        chosen = choices.sequences.get(sequence.name)
        if chosen is not None:
            plans += _chosen(findings, sequence.name, chosen, tables)
        elif not fed:
            findings.append(
                Finding(
                    "F24",
                    "choice",
                    f"PostgreSQL's sequence {sequence.name} belongs to no column: where it has to go on from "
                    "is not known",
                    settle='say which column gets its values (several: with commas; none: ""):\n'
                    f'[postgres.sequences]\n{toml_key(sequence.name)} = "TABLE.COLUMN"',
                )
            )
        if sequence.increment < 0 and (fed & carried or chosen):
            findings.append(
                Finding(
                    "F24",
                    "refused",
                    f"PostgreSQL's sequence {sequence.name} counts down: only ascending ones are set",
                    settle=f"ALTER SEQUENCE {sequence.name} INCREMENT BY 1",
                )
            )
    return tuple(plans)


def _fed(sequence: PostgresSequence) -> list[tuple[str, str]]:
    return [place for place in (sequence.owner, *sequence.drawn_by) if place is not None]


def _chosen(
    findings: list[Finding], name: str, chosen: str, tables: tuple[TablePlan, ...]
) -> Iterator[SequencePlan]:
    if not chosen.strip():
        findings.append(
            Finding("F24", "carries", f"PostgreSQL's sequence {name} is left as it is, by choice")
        )
        return
    for place in (p.strip() for p in chosen.split(",")):
        column = next(
            ((t, c) for t in tables for c in t.columns if f"{t.postgres}.{c.postgres}" == place),
            None,
        )
        problem = "no such column is carried" if column is None else _no_integer(column[1])
        if column is None or problem:
            findings.append(
                Finding(
                    "F24",
                    "choice",
                    f"turnback.toml: the sequence {name} goes on from {place}: {problem}",
                    settle=f'[postgres.sequences]\n{toml_key(name)} = "TABLE.COLUMN", PostgreSQL\'s names',
                )
            )
            continue
        yield SequencePlan(name, column[0].postgres, column[1].postgres)


def _no_integer(column: ColumnPlan) -> str:
    return "" if column.pg_type in _INTEGERS else f"it is {column.pg_type}, and a sequence gives integers"
