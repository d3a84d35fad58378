"""From candidates to one codec for each column: the profile decides what it can, the trial the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from turnback.core.candidates import CLASSES, proven, respelled
from turnback.core.choices import TableChoice
from turnback.core.findings import Finding
from turnback.core.plan import ColumnPlan
from turnback.core.profile import ColumnProfile, Misfits, TableProfile, Trait, Trial
from turnback.core.schema import SqliteTable

LARGEST_VALUE = 500_000_000  # bytes; PostgreSQL's protocol holds 1 GB, and text doubles a bytea (HAZARDS F45)

Candidates = Mapping[str, tuple[ColumnPlan, ...]]  # by SQLite column
Columns = dict[str, ColumnPlan]  # by SQLite column


@dataclass(frozen=True, slots=True)
class Settled:
    """The columns that found a codec, by SQLite name, and what is to be said about the others."""

    columns: Mapping[str, ColumnPlan]
    findings: tuple[Finding, ...]


def settle(
    table: SqliteTable, profile: TableProfile, candidates: Candidates, choice: TableChoice, trial: Trial
) -> Settled:
    """For each column the first candidate that carries every value. Without candidates it is refused."""
    columns: dict[str, ColumnPlan] = {}
    findings: list[Finding] = []
    asked: dict[str, tuple[ColumnPlan, ...]] = {}
    for name, offered in candidates.items():
        facts = profile.columns[name]
        if unreadable := _unreadable(table, name, facts, trial):
            findings += unreadable
        elif not offered:
            findings.append(_mixed(table, name, facts, trial))
        else:
            fitting = tuple(c for c in offered if facts.classes <= CLASSES[c.codec])
            if not fitting:
                findings.append(_wrong_class(table, offered[0], facts, trial))
            elif proven(fitting[0], facts):
                columns[name] = fitting[0]
            else:
                asked[name] = _until_proven(fitting, facts)
    answers = trial.misfits(table, asked) if asked else {}
    unsettled: dict[str, tuple[ColumnPlan, Misfits]] = {}
    for name, offered in asked.items():
        rejected: list[Misfits] = []
        for candidate, misfits in zip(offered, answers[name], strict=True):
            if not misfits.count:
                columns[name] = _explained(candidate, rejected, profile.columns[name].values)
                break
            rejected.append(misfits)
        else:
            # The nearest one: with several spellings, that of most values.
            unsettled[name] = min(zip(offered, rejected, strict=True), key=lambda tried: tried[1].count)
    findings += _by_choice(table, unsettled, choice, trial)
    ordered = {c.name: columns[c.name] for c in table.columns if c.name in columns}
    return Settled(ordered, tuple(findings))


def fits(table: SqliteTable, profile: TableProfile, candidate: ColumnPlan, trial: Trial) -> bool:
    """Does that one candidate carry every value of its column?"""
    facts = profile.columns[candidate.sqlite]
    if not facts.classes <= CLASSES[candidate.codec]:
        return False
    if proven(candidate, facts):
        return True
    (misfits,) = trial.misfits(table, {candidate.sqlite: (candidate,)})[candidate.sqlite]
    return misfits.count == 0


def is_complete(table: SqliteTable, columns: Columns) -> bool:
    """Has every stored column of the table found its codec?"""
    return len(columns) == sum(not c.generated for c in table.columns)


def leave_table_out(table: str) -> str:
    return f"[tables.{toml_key(table)}]\nexclude = true"


def column_lines(table: str, column: str, lines: str) -> str:
    """The lines of turnback.toml that choose something for a column."""
    return f"[tables.{toml_key(table)}.columns.{toml_key(column)}]\n{lines}"


def leave_behind_lines(name: str) -> str:
    return f"[sqlite]\nleave_behind = [{toml_string(name)}]"


def toml_key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else toml_string(name)


def toml_string(text: str) -> str:
    """A TOML basic string (toml.io, String): JSON's escapes are TOML's."""
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c
        for c in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'


def _until_proven(offered: tuple[ColumnPlan, ...], facts: ColumnProfile) -> tuple[ColumnPlan, ...]:
    for i, candidate in enumerate(offered):
        if proven(candidate, facts):
            return offered[: i + 1]
    return offered


def _explained(candidate: ColumnPlan, rejected: list[Misfits], values: int) -> ColumnPlan:
    if not rejected:
        return candidate
    first = rejected[0]
    return replace(candidate, why=f"{candidate.why}; {first.count} of {values} values: {first.reason}")


def _unreadable(table: SqliteTable, name: str, facts: ColumnProfile, trial: Trial) -> list[Finding]:
    """What no type and no codec can carry."""
    found = []
    cases: tuple[tuple[str, int, Trait, str], ...] = (
        ("F8", facts.nul_texts, "nul", "text with a NUL character, which no PostgreSQL text can hold"),
        ("F9", facts.invalid_texts, "invalid", "text whose bytes are not valid in the file's encoding"),
    )
    for code, count, trait, what in cases:
        if count:
            found.append(
                Finding(
                    code,
                    "refused",
                    f"{table.name}.{name}: {count} values are {what}",
                    table.name,
                    name,
                    count,
                    trial.keys(table, name, trait),
                    f"repair these values in the application, or leave the table out:\n"
                    f"{leave_table_out(table.name)}",
                )
            )
    if facts.max_bytes > LARGEST_VALUE:
        found.append(
            Finding(
                "F45",
                "refused",
                f"{table.name}.{name}: the largest value has {facts.max_bytes} bytes, "
                f"more than {LARGEST_VALUE}",
                table.name,
                name,
                settle=f"make it smaller, or leave the table out:\n{leave_table_out(table.name)}",
            )
        )
    return found


def _mixed(table: SqliteTable, name: str, facts: ColumnProfile, trial: Trial) -> Finding:
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
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return Finding(
        "F11" if "blob" in counts else "F12",
        "refused",
        f"{table.name}.{name}: values of several storage classes in one column ({listed}), "
        "which no PostgreSQL type keeps apart",
        table.name,
        name,
        counts[fewest],
        trial.keys(table, name, _trait(fewest)),
        f"make them one class, or leave the table out:\n{leave_table_out(table.name)}",
    )


def _wrong_class(table: SqliteTable, candidate: ColumnPlan, facts: ColumnProfile, trial: Trial) -> Finding:
    wrong = sorted(facts.classes - CLASSES[candidate.codec])
    count = sum(facts.count(kind) for kind in wrong)
    code = "F1" if candidate.codec == "boolean" else "F11" if "blob" in facts.classes else "F12"
    return Finding(
        code,
        "refused",
        f"{table.name}.{candidate.sqlite}: {count} values are {' or '.join(wrong)}, "
        f"and {candidate.pg_type} takes {' or '.join(sorted(CLASSES[candidate.codec]))}",
        table.name,
        candidate.sqlite,
        count,
        trial.keys(table, candidate.sqlite, _trait(wrong[0])),
        f"change the values or the PostgreSQL type, or leave the table out:\n{leave_table_out(table.name)}",
    )


def _by_choice(
    table: SqliteTable,
    unsettled: Mapping[str, tuple[ColumnPlan, Misfits]],
    choice: TableChoice,
    trial: Trial,
) -> list[Finding]:
    """No candidate carries every value. Where another spelling would, the user may choose that."""
    would = {
        name: spelled
        for name, (candidate, _) in unsettled.items()
        if not choice.column(name).respell and (spelled := respelled(candidate)) is not None
    }
    answers = trial.misfits(table, {name: (c,) for name, c in would.items()}) if would else {}
    found = []
    for name, (candidate, misfits) in unsettled.items():
        by_spelling = name in would and answers[name][0].count == 0
        if by_spelling:
            settle_by = column_lines(table.name, name, "respell = true")
        elif candidate.codec == "epoch":
            settle_by = column_lines(table.name, name, 'unit = "ms"')
        else:
            settle_by = (
                "change the values or the PostgreSQL type, or leave the table out:\n"
                + leave_table_out(table.name)
            )
        found.append(
            Finding(
                _code(candidate),
                "choice" if by_spelling else "refused",
                f"{table.name}.{name}: {misfits.count} values do not fit {candidate.pg_type}: "
                f"{misfits.reason}",
                table.name,
                name,
                misfits.count,
                misfits.keys,
                settle_by,
            )
        )
    return found


def _code(candidate: ColumnPlan) -> str:
    match candidate.codec:
        case "boolean":
            return "F1"
        case "integer":
            return "F13"
        case "number":
            return "F15"
        case "text":
            return "F20"
        case "epoch":
            return "F4"
        case "date_text":
            return "F6"
        case "timestamp_text":
            return "F7"
        case "json_text":
            return "F34"
        case "uuid_text" | "uuid_blob":
            return "F35"
        case _:
            return "F12"


def _trait(storage_class: str) -> Trait:
    traits: dict[str, Trait] = {"integer": "integer", "real": "real", "text": "text", "blob": "blob"}
    return traits[storage_class]
