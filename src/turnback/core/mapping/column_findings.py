"""What is said about the values of one column: which do not fit, where they are, and what settles it."""

from __future__ import annotations

import math

from turnback.core.candidates.case import Note, listed, takes
from turnback.core.findings import Finding
from turnback.core.plan import ColumnPlan
from turnback.core.profile import ColumnProfile, Misfits, Trait, Trial
from turnback.core.schema import SqliteTable, affinity
from turnback.core.toml_lines import column_lines, leave_table_out

LARGEST_VALUE = 500_000_000  # bytes; PostgreSQL's protocol holds 1 GB, and text doubles a bytea (HAZARDS F45)

_CODES = {
    "boolean": "F1",
    "integer": "F13",
    "text": "F20",
    "char": "F20",
    "epoch": "F4",
    "epoch_real": "F4",
    "date_text": "F6",
    "time_text": "F7",
    "timestamp_text": "F7",
    "json_text": "F34",
    "uuid_text": "F35",
    "uuid_blob": "F35",
    "float4": "F14",
    "inet": "R5",
    "array": "R5",
    "interval": "R5",
    "decimal_text": "R3",
}


def settling(table: SqliteTable, column: str, lines: tuple[str, ...]) -> str:
    """Each way on its own, one below the other."""
    whole = (text if text.startswith("[") else column_lines(table.name, column, text) for text in lines)
    return "\nor:\n".join(whole)


def misfitting(
    table: SqliteTable, candidate: ColumnPlan, misfits: Misfits, facts: ColumnProfile, lines: tuple[str, ...]
) -> Finding:
    """No candidate carries every value; `lines` would."""
    if not lines and candidate.codec == "epoch":
        lines = ('unit = "ms"',)
        severity = "refused"
    else:
        severity = "choice" if lines else "refused"
    return Finding(
        code_of(candidate, facts),
        "choice" if severity == "choice" else "refused",
        f"{table.name}.{candidate.sqlite}: {_counted(misfits, facts)} do not fit {candidate.pg_type}: "
        f"{misfits.reason}",
        table.name,
        candidate.sqlite,
        misfits.count,
        misfits.keys,
        settling(table, candidate.sqlite, lines) or _otherwise(table),
    )


def becomes_another(
    table: SqliteTable,
    taken: ColumnPlan,
    tried: ColumnPlan,
    misfits: Misfits,
    facts: ColumnProfile,
    lines: tuple[str, ...],
) -> Finding:
    """It is carried, as another type than the declared one suggests (HAZARDS F6, F7)."""
    return Finding(
        code_of(tried, facts),
        "carries",
        f"{table.name}.{taken.sqlite} becomes {taken.pg_type}: {_counted(misfits, facts)} do not fit "
        f"{tried.pg_type}: {misfits.reason}",
        table.name,
        taken.sqlite,
        misfits.count,
        misfits.keys,
        settling(table, taken.sqlite, lines) or f"correct these values, and it becomes {tried.pg_type}",
    )


def noted(
    table: SqliteTable,
    column: str,
    note: Note,
    facts: ColumnProfile,
    trial: Trial,
    *,
    lines: tuple[str, ...] = (),
    asks: bool = False,
) -> Finding:
    """`asks`: the column is not carried without one of the lines."""
    if not note.code:
        return mixed(table, column, facts, trial)
    if not lines and note.lines:
        lines = (note.lines,)
    refused = asks and (note.refused or not lines)
    count = facts.count(note.trait) if note.trait else facts.values
    keys = trial.keys(table, column, note.trait) if note.trait else ()
    if note.witness is not None:
        misfits = trial.misfits(table, {column: (note.witness,)})[column][0]
        count, keys = misfits.count or count, misfits.keys
    return Finding(
        note.code,
        "carries" if not asks else "refused" if refused else "choice",
        f"{table.name}.{column}: {note.message}",
        table.name,
        column,
        count,
        keys,
        settling(table, column, lines) or (_otherwise(table) if asks else ""),
    )


def unreadable(
    table: SqliteTable, name: str, facts: ColumnProfile, lines: str, trial: Trial
) -> list[Finding]:
    """What no PostgreSQL text can hold; `lines` carry it as bytes."""
    cases: tuple[tuple[str, int, Trait, str], ...] = (
        ("F8", facts.nul_texts, "nul", "text with a NUL character, which no PostgreSQL text can hold"),
        ("F9", facts.invalid_texts, "invalid", "text whose bytes are not valid in the file's encoding"),
    )
    return [
        Finding(
            code,
            "choice" if lines else "refused",
            f"{table.name}.{name}: {count} values are {what}",
            table.name,
            name,
            count,
            trial.keys(table, name, trait),
            "repair these values in the application, or "
            + (
                f"carry all of them as bytes:\n{column_lines(table.name, name, lines)}"
                if lines
                else f"leave the table out:\n{leave_table_out(table.name)}"
            ),
        )
        for code, count, trait, what in cases
        if count
    ]


def too_large(table: SqliteTable, name: str, facts: ColumnProfile, trial: Trial) -> Finding | None:
    if facts.max_bytes <= LARGEST_VALUE:
        return None
    misfits = trial.larger(table, (name,), LARGEST_VALUE)
    return Finding(
        "F45",
        "refused",
        f"{table.name}.{name}: {_counted(misfits, facts)} have more than {LARGEST_VALUE} bytes, the largest "
        f"{facts.max_bytes}",
        table.name,
        name,
        misfits.count,
        misfits.keys,
        settle=f"make it smaller, or leave the table out:\n{leave_table_out(table.name)}",
    )


def mixed(table: SqliteTable, name: str, facts: ColumnProfile, trial: Trial) -> Finding:
    """No candidate at all: the classes cannot be kept apart in one PostgreSQL type."""
    counts = {kind: facts.count(kind) for kind in sorted(facts.classes)}
    if len(counts) < 2:
        return Finding(
            "type",
            "refused",
            f"{table.name}.{name}: no codec carries {' and '.join(counts) or 'its'} values "
            "into the chosen type",
            table.name,
            name,
            settle=column_lines(table.name, name, 'pg_type = "text"'),
        )
    fewest = min(counts, key=lambda kind: counts[kind])
    declared = next(c.declared_type for c in table.columns if c.name == name)
    return Finding(
        "F11" if "blob" in counts else "F12",
        "refused",
        f"{table.name}.{name}: values of several storage classes in one column ({listed(facts)}), "
        f"which no PostgreSQL type keeps apart, nor does the affinity {affinity(declared)} of its declared "
        f"type {declared!r}",
        table.name,
        name,
        counts[fewest],
        trial.keys(table, name, _trait(fewest)),
        f"make them one class, or leave the table out:\n{leave_table_out(table.name)}",
    )


def wrong_class(table: SqliteTable, candidate: ColumnPlan, facts: ColumnProfile, trial: Trial) -> Finding:
    wrong = sorted(facts.classes - takes(candidate))
    count = sum(facts.count(kind) for kind in wrong)
    code = "F1" if candidate.codec == "boolean" else "F11" if "blob" in facts.classes else "F12"
    return Finding(
        code,
        "refused",
        f"{table.name}.{candidate.sqlite}: {count} values are {' or '.join(wrong)}, "
        f"and {candidate.pg_type} takes {' or '.join(sorted(takes(candidate)))}",
        table.name,
        candidate.sqlite,
        count,
        trial.keys(table, candidate.sqlite, _trait(wrong[0])),
        _otherwise(table),
    )


def code_of(candidate: ColumnPlan, facts: ColumnProfile) -> str:
    """The hazard that the candidate's misfits are."""
    if candidate.codec == "number":
        ends = (facts.min_real, facts.max_real)
        return "F16" if any(e is not None and math.isinf(e) for e in ends) else "F15"
    return _CODES.get(candidate.codec, "F12")


def _counted(misfits: Misfits, facts: ColumnProfile) -> str:
    return f"{misfits.count} of {facts.values} values"


def _trait(storage_class: str) -> Trait:
    traits: dict[str, Trait] = {"integer": "integer", "real": "real", "text": "text", "blob": "blob"}
    return traits[storage_class]


def _otherwise(table: SqliteTable) -> str:
    return f"change the values or the PostgreSQL type, or leave the table out:\n{leave_table_out(table.name)}"
