"""Conditions of CHECK constraints and partial indexes, from SQLite to PostgreSQL: exact, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from turnback.core.expressions import ALWAYS as ALWAYS
from turnback.core.expressions import Translation, Unknown, of_table, parsed
from turnback.core.plan import ColumnPlan
from turnback.errors import CannotCarry


def translate_condition(
    sql: str,
    columns: Mapping[str, ColumnPlan],
    collations: Mapping[str, str] | None = None,
    *,
    of_check: bool = True,
    table: str = "",
) -> str | None:
    """The PostgreSQL condition, None where it is not translated.

    In a CHECK, where unknown passes as true does, `ALWAYS` says that the column's type implies the condition.
    `columns` has the table's carried columns by their SQLite name, `collations` those that are not BINARY.
    """
    translation = Translation(of_table(columns.values(), collations, table=table))
    try:
        node = parsed(sql)
        return translation.check(node) if of_check else translation.condition(node)
    except (Unknown, CannotCarry):
        return None
