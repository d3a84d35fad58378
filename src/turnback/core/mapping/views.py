"""The views of the SQLite file that PostgreSQL gets, too (HAZARDS F41)."""

from __future__ import annotations

from dataclasses import replace

from turnback.core.expressions import Unknown
from turnback.core.expressions.views import Relation, translated_view
from turnback.core.findings import Finding
from turnback.core.mapping.expressions import collations
from turnback.core.mapping.names import Relations
from turnback.core.mapping.source import Source
from turnback.core.plan import TablePlan, ViewPlan
from turnback.core.schema import SqliteObject
from turnback.core.sqltext import identifiers, qualified
from turnback.core.toml_lines import leave_behind_lines
from turnback.errors import CannotCarry


def made_views(
    source: Source, tables: tuple[TablePlan, ...], names: Relations, schema: str
) -> tuple[ViewPlan, ...]:
    """Create mode: those that are translated, each behind those that it reads; the others are said."""
    relations = {t.sqlite.lower(): _relation(source, t, schema) for t in tables}
    views = [o for o in source.schema.objects if o.kind == "view" and not source.is_left_behind(o.name)]
    made: list[ViewPlan] = []
    reasons: dict[str, str] = {}
    waiting = views
    while waiting:
        left = []
        for view in waiting:
            try:
                plan = _view(view, relations, names, schema)
            except (Unknown, CannotCarry) as e:
                reasons[view.name] = str(e)
                left.append(view)
                continue
            made.append(plan)
            relations[view.name.lower()] = Relation(qualified(schema, plan.postgres), plan.columns, {})
        if len(left) == len(waiting):
            break
        waiting = left
    else:
        return tuple(made)
    for view in waiting:
        source.findings.append(
            Finding(
                "F41",
                "choice",
                f"view {view.name} is not translated ({reasons[view.name]}): "
                + " ".join(view.sql.split())[:200],
                settle=leave_behind_lines(view.name),
            )
        )
    return tuple(made)


def _relation(source: Source, plan: TablePlan, schema: str) -> Relation:
    table = source.schema.table(plan.sqlite)
    known = {c.sqlite: c for c in (*plan.columns, *(g.column for g in plan.generated))}
    return Relation(
        qualified(schema, plan.postgres),
        tuple(known[c.name] for c in table.columns if c.name in known),
        collations(source, table),
        tuple(c.name for c in table.columns if c.name not in known),
    )


def _view(view: SqliteObject, relations: dict[str, Relation], names: Relations, schema: str) -> ViewPlan:
    body, outputs = translated_view(view.sql, relations)
    columns = tuple(
        replace(o.plan, sqlite=o.name, postgres=o.name, not_null=False, identity=False, default_sql=None)
        for o in outputs
    )
    name = names.take(view.name)
    listed = identifiers(o.name for o in outputs)
    return ViewPlan(view.name, name, f"CREATE VIEW {qualified(schema, name)} ({listed}) AS {body}", columns)
