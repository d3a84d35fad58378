"""What both modes check of a column's candidates, and say of the one that was taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from turnback.core.candidates.case import Case, Offer, is_known_codec
from turnback.core.codecs import codec_for
from turnback.core.landing import trap
from turnback.core.mapping.source import Source
from turnback.core.plan import ColumnPlan
from turnback.core.schema import SqliteTable
from turnback.core.toml_lines import column_lines, leave_table_out
from turnback.errors import ConfigError


def checked(source: Source, table: SqliteTable, case: Case, make: Callable[[], Offer]) -> Offer | None:
    """The offer, where its codecs take what turnback.toml chooses; None: the reason has been said."""
    name = f"{table.name}.{case.column.name}"
    choice = case.choice
    if choice.codec and not is_known_codec(choice.codec):
        source.say(
            "choice",
            "choice",
            f"{name}: there is no codec {choice.codec}",
            table,
            case.column.name,
            settle="`codec` takes a name of the reference's list of codecs",
        )
        return None
    try:
        offer = make()
        for candidate in offer.candidates:
            codec_for(candidate)
    except ConfigError as e:
        reason = str(e).removeprefix(f'the plan: column "{case.column.name}": ')
        source.say(
            "choice",
            "choice",
            f"{name}: {reason}",
            table,
            case.column.name,
            settle=column_lines(table.name, case.column.name, f"# {e.hint}"),
        )
        return None
    offer = replace(offer, alternatives=tuple(a for a in offer.alternatives if _is_valid(a.plan)))
    if source.schema.settings.encoding == "UTF-8":
        return offer
    if any(c.codec == "text_bytes" for c in offer.candidates):
        source.say(
            "F8",
            "refused",
            f"{name}: text as its bytes is carried from files in UTF-8, and this one is in "
            f"{source.schema.settings.encoding}",
            table,
            case.column.name,
            settle=f"repair these values, or leave the table out:\n{leave_table_out(table.name)}",
        )
        return None
    return replace(offer, alternatives=tuple(a for a in offer.alternatives if a.plan.codec != "text_bytes"))


def say_trap(source: Source, table: SqliteTable, plan: ColumnPlan, labels: tuple[str, ...] = ()) -> None:
    """HAZARDS R2: what PostgreSQL could hold and SQLite would change, before the cutover."""
    values = trap(plan, labels)
    if not values:
        return
    declared = next(c.declared_type for c in table.columns if c.name == plan.sqlite)
    source.say(
        "R2",
        "carries",
        f"{table.name}.{plan.sqlite}: {values}, written in PostgreSQL after the cutover, would be another "
        f"value in SQLite, by the affinity {plan.affinity} of {declared or 'no type'}: capture then stops "
        "before that transaction, whole, and nothing of it is written",
        table,
        plan.sqlite,
    )


def _is_valid(candidate: ColumnPlan) -> bool:
    try:
        codec_for(candidate)
    except ConfigError:
        return False
    return True
