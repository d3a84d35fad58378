"""The columns that an expression may name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from turnback.core.expressions.terms import Kind, Term, Unknown
from turnback.core.plan import ColumnPlan
from turnback.core.schema import Affinity
from turnback.core.sqltext import identifier

Names = Callable[[str, str], Term]  # (table or "", column) -> its term; raises Unknown

# Not a collation: text of such a file is ordered by its 16-bit units, and nothing is done with it.
UTF_16: Final = "UTF-16"


def of_table(
    columns: Iterable[ColumnPlan], collations: Mapping[str, str] | None = None, *, table: str = ""
) -> Names:
    """The names of one table, without regard to case; `table` is the only qualifier that they may have."""
    known = {c.sqlite.lower(): c for c in columns}
    collated = {name.lower(): collation for name, collation in (collations or {}).items()}

    def find(qualifier: str, name: str) -> Term:
        plan = known.get(name.lower())
        if plan is None or qualifier.lower() not in ("", table.lower()):
            raise Unknown(f"{name} is not carried")
        return of_column(plan, identifier(plan.postgres), collated.get(name.lower(), "BINARY"))

    return find


def of_column(plan: ColumnPlan, sql: str, collation: str = "BINARY") -> Term:
    kind: Kind = "column"
    if plan.codec == "integer":
        kind = "integer"
    elif plan.codec == "real" and plan.pg_type == "double precision" and not plan.options.get("nan"):
        kind = "real"
    elif plan.codec == "text" and plan.pg_type.startswith(("text", "character varying")):
        kind = "column" if collation == UTF_16 else "text"
    elif plan.codec == "boolean" and not plan.options.get("words") and not plan.options.get("respell"):
        kind = "boolean"
    affinity: Affinity = plan.affinity  # type: ignore[assignment]
    narrow = kind == "integer" and plan.pg_type != "bigint"
    loose = kind == "real" and plan.affinity not in ("REAL", "BLOB")  # 5.0 becomes the integer 5 there
    return Term(sql, kind, affinity, collation, column=plan, narrow=narrow, loose=loose)
