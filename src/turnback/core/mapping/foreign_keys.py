"""Foreign keys: those that turnback makes from SQLite's (create mode), and those that it meets in PostgreSQL
(existing mode).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from turnback.core.mapping.columns import Columns, fits
from turnback.core.mapping.keys import is_key
from turnback.core.mapping.names import free_name
from turnback.core.mapping.source import Source
from turnback.core.plan import ColumnPlan, ForeignKeyPlan, TablePlan
from turnback.core.profile import Misfits
from turnback.core.schema import (
    PostgresConstraint,
    PostgresTable,
    SqliteForeignKey,
    SqliteTable,
)
from turnback.core.toml_lines import leave_behind_lines

AllColumns = Mapping[str, Columns]  # by SQLite table

# ---- both modes --------------------------------------------------------------------------------------


def align_references(
    source: Source, tables: Sequence[SqliteTable], columns: AllColumns, *, types: bool = True
) -> None:
    """A referring column is carried as what it refers to, where its values survive that: what PostgreSQL
    writes anew has to come back in the spelling that SQLite's foreign key compares. `types`: it gets the type
    too; otherwise only one that is the same already is aligned.
    """
    for _ in tables:  # what is referred to may refer to another itself
        changed = [_align(source, table, columns, types) for table in tables]
        if not any(changed):
            return


def _align(source: Source, table: SqliteTable, columns: AllColumns, types: bool) -> bool:
    """Whether a column has changed."""
    changed = False
    referring = columns.get(table.name, {})
    for key in table.foreign_keys:
        parent = columns.get(key.parent, {})
        for own, other in zip(key.columns, key.parent_columns, strict=False):
            child_plan, parent_plan = referring.get(own), parent.get(other)
            if child_plan is None or parent_plan is None or _alike(child_plan, parent_plan):
                continue
            if not types and child_plan.pg_type != parent_plan.pg_type:
                continue
            wanted = replace(
                child_plan,
                pg_type=parent_plan.pg_type,
                codec=parent_plan.codec,
                options=parent_plan.options,
                why=f"refers to {key.parent}.{other}",
            )
            if not fits(table, source.profiles[table.name], wanted, source.trial):
                continue
            if types:
                wanted = replace(wanted, identity=wanted.pg_type == "bigint" and own == table.rowid_alias)
            referring[own] = wanted
            changed = True
    return changed


# ---- create mode -----------------------------------------------------------------------------------


def made_foreign_keys(
    source: Source, table: SqliteTable, columns: AllColumns, plans: list[TablePlan]
) -> tuple[ForeignKeyPlan, ...]:
    """SQLite's own, under the names that PostgreSQL would give them; what is not carried is said."""
    made: list[ForeignKeyPlan] = []
    for key in table.foreign_keys:
        own = [columns[table.name][c].postgres for c in key.columns if c in columns[table.name]]
        wanted = f"{source.postgres_name(table)}_{'_'.join(own)}_fkey"
        name = free_name(wanted, {k.name for k in made}, separator="")
        if source.is_left_behind(name):
            source.say("F27", "carries", f"foreign key {name} is left behind by choice", table)
            continue
        parent = next((p for p in plans if p.sqlite == key.parent), None)
        problem, misfits = _problem(source, table, key, columns, parent)
        if problem or parent is None:
            source.say(
                "F28" if misfits.count else "F27",
                "choice",
                f"{table.name}: foreign key ({', '.join(key.columns)}) to {key.parent}: {problem}",
                table,
                count=misfits.count or None,
                keys=misfits.keys,
                settle=("repair the rows, or do without the constraint:\n" if misfits.count else "")
                + leave_behind_lines(name),
            )
            continue
        parent_columns = tuple(columns[key.parent][c].postgres for c in key.parent_columns)
        made.append(
            ForeignKeyPlan(
                name,
                tuple(own),
                parent.postgres,
                parent_columns,
                key.on_update,
                key.on_delete,
                key.deferred,
            )
        )
    return tuple(made)


def _problem(
    source: Source, table: SqliteTable, key: SqliteForeignKey, columns: AllColumns, parent: TablePlan | None
) -> tuple[str, Misfits]:
    """Why PostgreSQL cannot have that key, and the rows that are the reason; "" when it can."""
    if parent is None:
        return "that table is not carried", Misfits()
    if len(key.columns) != len(key.parent_columns):
        return "it does not name as many columns as it refers to", Misfits()
    own, other = columns[table.name], columns[key.parent]
    if any(c not in own for c in key.columns) or any(c not in other for c in key.parent_columns):
        return "one of its columns is not carried", Misfits()
    referred = source.schema.table(key.parent)
    unique = [set(parent.primary_key)]
    unique += [
        {other[k.name].postgres for k in i.columns if k.name in other}
        for i in referred.indexes
        if is_key(i) and not source.is_left_behind(i.name)
    ]
    if {other[c].postgres for c in key.parent_columns} not in unique:
        return "the columns that it refers to are not unique", Misfits()
    for a, b in zip(key.columns, key.parent_columns, strict=True):
        if not _alike(own[a], other[b]):
            return f"{a} becomes {own[a].pg_type}, and {b} becomes {other[b].pg_type}", Misfits()
    misfits = source.trial.orphans(table, key.columns, referred, key.parent_columns)
    return (f"{misfits.count} rows refer to no row" if misfits.count else ""), misfits


def _alike(a: ColumnPlan, b: ColumnPlan) -> bool:
    """Equal values on one engine are equal on the other: the same type, reached in the same way."""
    if a.codec == b.codec == "text":
        return True
    return (a.pg_type, a.codec, a.options) == (b.pg_type, b.codec, b.options)


# ---- existing mode ---------------------------------------------------------------------------------


def met_foreign_keys(
    source: Source, plan: TablePlan, target: PostgresTable, plans: list[TablePlan]
) -> tuple[ForeignKeyPlan, ...]:
    """PostgreSQL's own between tables that are carried; rows that they would refuse are said. One that is NOT
    VALID is none of them: a row that breaks it may stay, and be updated (HAZARDS F28).
    """
    table = source.schema.table(plan.sqlite)
    made = []
    for key in target.constraints:
        if key.kind != "foreign_key":
            continue
        parent = next((p for p in plans if p.postgres == key.parent), None)
        if parent is None:
            filled = any(
                source.facts(table, c.sqlite).values for c in plan.columns if c.postgres in key.columns
            )
            source.say(
                "F27",
                "choice" if filled else "carries",
                f"{table.name}: PostgreSQL's {key.name} refers to {key.parent}, which is not carried",
                table,
                settle="load that table by other means, or drop the constraint" if filled else "",
            )
            continue
        _check_orphans(source, table, plan, parent, key)
        if not key.validated:
            continue
        made.append(
            ForeignKeyPlan(
                key.name,
                key.columns,
                key.parent,
                key.parent_columns,
                key.on_update,
                key.on_delete,
                key.deferred,
            )
        )
    return tuple(made)


def _check_orphans(
    source: Source, table: SqliteTable, plan: TablePlan, parent: TablePlan, key: PostgresConstraint
) -> None:
    own = {c.postgres: c.sqlite for c in plan.columns}
    other = {c.postgres: c.sqlite for c in parent.columns}
    if not set(key.columns) <= set(own) or not set(key.parent_columns) <= set(other):
        return  # a column of it exists in PostgreSQL only: said already
    misfits = source.trial.orphans(
        table,
        [own[c] for c in key.columns],
        source.schema.table(parent.sqlite),
        [other[c] for c in key.parent_columns],
    )
    if misfits.count:
        rows = f"{table.name}: {misfits.count} rows refer to no row of {parent.sqlite}"
        refusal = f", which PostgreSQL's {key.name} refuses"
        lenient = f"; PostgreSQL's {key.name} is NOT VALID and says nothing of rows that are loaded"
        source.say(
            "F28",
            "refused" if key.validated else "carries",
            rows + (refusal if key.validated else lenient),
            table,
            count=misfits.count,
            keys=misfits.keys,
            settle="repair or delete these rows, or make the constraint in PostgreSQL anew with NOT VALID"
            if key.validated
            else "",
        )
