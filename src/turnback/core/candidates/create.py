"""The type of a column that turnback makes (create mode): what a PostgreSQL user would choose, from the
declared type, as far as the values bear it.

SQLite has no types for moments and UUIDs, so text that is nothing else in every value becomes one too;
numbers need the declaration (0 and 1 may be counts). SQLite's own affinity rules stand behind every odd
declaration (HAZARDS F21).
"""

from __future__ import annotations

import re

from turnback.core.candidates.case import (
    DEFAULT_TYPE,
    NUMERIC_AFFINITIES,
    Alternative,
    Case,
    Note,
    Offer,
    because,
    boolean_words,
    fewest,
    knows_all_words,
    listed,
    with_options,
)
from turnback.core.candidates.existing import by_codec, for_type
from turnback.core.candidates.moments import (
    dates,
    has_offsets,
    in_smallest_unit,
    look_like_julian_days,
    made_epochs,
    stamps,
    times,
    units,
)
from turnback.core.candidates.uuids import uuids
from turnback.core.plan import ColumnPlan
from turnback.core.type_names import TIMESTAMP, TIMESTAMPTZ, canonical_type

_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", re.ASCII)
_MOST_DIGITS = 1000  # of numeric(p,s); PostgreSQL documentation: Numeric Types
_ADDRESSES = {"INET": "inet", "CIDR": "cidr", "MACADDR": "macaddr"}


def for_create(case: Case, *, comparable: bool) -> Offer:
    """What the column may become. `comparable`: it is part of a key or index, which json (without operators)
    cannot be.
    """
    choice, facts = case.choice, case.facts
    if choice.codec or choice.pg_type:
        return _chosen(case)
    classes = facts.classes or _classes_by_declaration(case)
    as_bytes = by_bytes(case)
    if len(classes - {"integer", "real"}) and len(classes) > 1:
        return _mixed(case, classes)
    if "BOOL" in case.name:
        return _boolean(case, classes, as_bytes)
    found: list[ColumnPlan] = []
    note: Note | None = None
    if classes <= {"integer", "real"}:
        if is_moment(case.name) and facts.values:
            if len(units(facts).seen) > 1:
                return _mixed_units(case, classes)
            found += made_epochs(case)
            note = _without_unit(case) if not found else None
        return Offer((*found, *_numbers(case, classes)), note=note)
    if classes == {"blob"}:
        if is_uuid(case.name):
            found.append(case.plan("uuid", "uuid_blob", "declared a UUID, and every value has 16 bytes"))
        return Offer((*found, case.plan("bytea", "blob", "every value is a blob")))
    alternatives = list(as_bytes)
    if is_uuid(case.name):
        found = uuids(case, "uuid", "declared a UUID")
    elif "JSON" in case.name:
        found = _jsons(case, comparable)
    elif case.name in _ADDRESSES:
        type_name = _ADDRESSES[case.name]
        found = [case.plan(type_name, "inet", f"declared {type_name}", **_respell(case))]
    elif case.name == "TIME":
        found = times(case, "time without time zone", "declared a time of day")
    elif case.name == "DATE" or is_moment(case.name):
        found = _moments(case)
    elif case.affinity == "TEXT" and not case.handled_as_text:
        found = _by_values(case)
    return Offer((*found, case.plan("text", "text", "every value is text")), tuple(alternatives))


def by_bytes(case: Case) -> tuple[Alternative, ...]:
    """Text that PostgreSQL's text cannot hold (HAZARDS F8, F9)."""
    if not (case.facts.nul_texts or case.facts.invalid_texts):
        return ()
    plan = case.plan("bytea", "text_bytes", "chosen in turnback.toml")
    return (Alternative(plan, 'codec = "text_bytes"'),)


def _chosen(case: Case) -> Offer:
    choice, why = case.choice, "chosen in turnback.toml"
    if choice.pg_type and choice.pg_type.strip().lower() == "citext":
        return Offer((case.plan("citext", "text", why),))
    if choice.pg_type:
        type_name = canonical_type(choice.pg_type)
    elif choice.codec in ("timestamp_text", "epoch", "epoch_real"):
        zoned = choice.codec != "timestamp_text" or bool(choice.zone) or has_offsets(case)
        type_name = TIMESTAMPTZ if zoned else TIMESTAMP
    else:
        type_name = DEFAULT_TYPE.get(choice.codec or "", "text")
    if choice.codec:
        found = Offer(tuple(by_codec(case, choice.codec, type_name)), by_bytes(case))
    else:
        found = for_type(case, type_name)
    return Offer(
        tuple(because(c, why) for c in found.candidates), found.alternatives, found.problem, found.note
    )


# ---- one class ---------------------------------------------------------------------------------------


def _numbers(case: Case, classes: frozenset[str]) -> list[ColumnPlan]:
    found: list[ColumnPlan] = []
    if is_decimal(case.name):
        if match := _DECIMAL.fullmatch(case.name):
            precision, scale = int(match[1]), int(match[2] or 0)
            if scale <= precision and 0 < precision <= _MOST_DIGITS:
                type_name = f"numeric({precision},{scale})"
                found.append(case.plan(type_name, "number", f"declared {case.name}, and every value fits"))
        found.append(case.plan("numeric", "number", "declared a decimal number"))
    if classes == {"integer"}:
        found.append(case.plan("bigint", "integer", "every value is an integer", bits=64))
    elif classes == {"real"}:
        found.append(case.plan("double precision", "real", "every value is a real"))
    else:
        if not found:
            found.append(case.plan("numeric", "number", "integers and reals in one column"))
        if case.affinity in NUMERIC_AFFINITIES:
            found.append(case.plan("double precision", "real", "integers and reals in one column"))
    return [_with_nan(case, c) for c in found]


def _moments(case: Case) -> list[ColumnPlan]:
    found: list[ColumnPlan] = []
    forms = [f for f in case.facts.moments if f.sound]
    if case.name == "DATE":
        found.append(dates(case, "date", "declared a date"))
    if case.name != "DATE" or any(f.separator for f in forms):
        zoned = has_offsets(case) or bool(case.choice.zone)
        why = f"declared a moment, {'with' if zoned else 'without'} zone"
        if zoned and case.zone and not all(f.suffix for f in forms):
            why += f"; text without an offset means {case.zone}"
        found += stamps(case, TIMESTAMPTZ if zoned else TIMESTAMP, why, zoned=zoned)
    return found


def _by_values(case: Case) -> list[ColumnPlan]:
    """Declared as text, where every value is a moment, a date or a UUID in one spelling. One other value, an
    empty text too, and it stays text.
    """
    texts, ids, forms = case.facts.texts, case.facts.uuids, case.facts.moments
    if sum(f.count for f in ids) == texts > 0 and len({f.hyphens for f in ids}) == 1:
        if all(f.lower for f in ids) or all(f.upper for f in ids):
            return uuids(case, "uuid", "every value is a UUID in one spelling")
        return []
    if sum(f.count for f in forms) != texts or not forms or not all(f.sound for f in forms):
        return []
    if len({(f.separator, f.suffix) for f in forms}) != 1:
        return []
    if not forms[0].separator:
        return [dates(case, "date", "every value is a date")]
    zoned = bool(forms[0].suffix)
    why = f"every value is a moment in one spelling, {'with' if zoned else 'without'} an offset"
    return stamps(case, TIMESTAMPTZ if zoned else TIMESTAMP, why, zoned=zoned)


def _jsons(case: Case, comparable: bool) -> list[ColumnPlan]:
    if case.choice.respell:
        why = "declared JSON; spelling may change by choice"
        return [case.plan("jsonb", "json_text", why, binary=True, respell=True)]
    why = "declared JSON, and jsonb keeps every value's spelling"
    found = [case.plan("jsonb", "json_text", why, binary=True)]
    if not comparable:
        why = "declared JSON; jsonb would change the spelling of some values"
        found.append(case.plan("json", "json_text", why, binary=False))
    return found


def _boolean(case: Case, classes: frozenset[str], as_bytes: tuple[Alternative, ...]) -> Offer:
    """HAZARDS F1: what is no known spelling of true and false needs a choice."""
    if classes == {"text"}:
        words = boolean_words(case.facts)
        plain = case.plan("text", "text", "chosen in turnback.toml")
        alternatives = (*as_bytes, Alternative(plain, 'pg_type = "text"'))
        if not words:
            return Offer((), alternatives, Note("F1", "declared a boolean, and its texts are no known words"))
        why = f"declared a boolean, and every value is {words!r} or its opposite"
        return Offer((case.plan("boolean", "boolean", why, words=words, **_respell(case)),), alternatives)
    if classes == {"integer"}:
        why = "declared a boolean, and every value is 0 or 1"
        plain = case.plan("bigint", "integer", "chosen in turnback.toml", bits=64)
        return Offer(
            (case.plan("boolean", "boolean", why, **_respell(case)),),
            (Alternative(plain, 'pg_type = "bigint"'),),
        )
    if classes == {"blob"}:
        plain = case.plan("bytea", "blob", "chosen in turnback.toml")
        return Offer(
            (), (Alternative(plain, 'pg_type = "bytea"'),), Note("F1", "declared a boolean, and holds blobs")
        )
    plain = case.plan("double precision", "real", "chosen in turnback.toml")
    return Offer(
        (),
        (Alternative(plain, 'pg_type = "double precision"'),),
        Note("F1", "declared a boolean, and holds reals", "real"),
    )


# ---- several classes -----------------------------------------------------------------------------------


def _mixed(case: Case, classes: frozenset[str]) -> Offer:
    """Numbers and text, or blobs and others. Only a numeric affinity tells which class a text had."""
    if "blob" in classes or case.affinity not in ("INTEGER", "NUMERIC", "REAL"):
        return Offer()
    affine = case.plan("text", "affine", "numbers and text in one column: SQLite's affinity tells them apart")
    by_choice = Alternative(because(affine, "chosen in turnback.toml"), 'codec = "affine"')
    several, kind = listed(case.facts), fewest(case.facts)
    if "BOOL" in case.name:
        spelled = case.plan("boolean", "boolean", "chosen in turnback.toml", words="")
        spelled = with_options(spelled, respell=True, words=_commonest_words(case))
        if case.choice.respell:
            return Offer((spelled,), (by_choice,))
        known = knows_all_words(case.facts) and classes == {"integer", "text"}
        alternatives = (Alternative(spelled, "respell = true"), by_choice) if known else (by_choice,)
        message = f"declared a boolean, and holds {several} values"
        return Offer((), alternatives, Note("F1", message, kind))
    if case.name == "DATE" or is_moment(case.name):
        message = f"dates as text and as numbers in one column ({several}), which no moment type keeps apart"
        return Offer((), (by_choice,), Note("F5", message, kind))
    if case.choice.nan and "text" in classes:  # the text NaN among reals, as chosen
        real = case.plan("double precision", "real", "reals, and NaN as text by choice", nan=True)
        return Offer((real, affine))
    message = f"{several} values in one column: it becomes text, and SQLite's affinity tells them apart"
    return Offer((affine,), (), note=Note("F12", message, kind))


def _mixed_units(case: Case, classes: frozenset[str]) -> Offer:
    seen = " and ".join(u for u in ("s", "ms", "us") if u in units(case.facts).seen)
    plain = because(_numbers(case, classes)[0], "chosen in turnback.toml")
    message = f"declared a moment, and its numbers count {seen} in one column"
    note = Note("F4", message, witness=in_smallest_unit(case, TIMESTAMPTZ))
    return Offer((), (Alternative(plain, f'pg_type = "{plain.pg_type}"'),), note)


def _without_unit(case: Case) -> Note:
    if look_like_julian_days(case.facts):
        return Note("F4", "its numbers look like Julian days; they stay double precision")
    return Note(
        "F4",
        "declared a moment, and its numbers do not show what they count; they stay numbers",
        lines='unit = "ms"',
    )


def _commonest_words(case: Case) -> str:
    if not case.facts.words or case.facts.integers >= case.facts.texts:
        return ""
    return boolean_words(case.facts)


def _respell(case: Case) -> dict[str, bool]:
    return {"respell": True} if case.choice.respell else {}


def _with_nan(case: Case, candidate: ColumnPlan) -> ColumnPlan:
    return with_options(candidate, nan=True) if case.choice.nan and candidate.codec == "real" else candidate


# ---- declared types ------------------------------------------------------------------------------------


def _classes_by_declaration(case: Case) -> frozenset[str]:
    """What an application would write into a column that holds nothing yet."""
    if "BOOL" in case.name:
        return frozenset({"integer"})
    if is_decimal(case.name):
        return frozenset({"integer", "real"})
    by_affinity = {"INTEGER": "integer", "REAL": "real", "TEXT": "text", "NUMERIC": "text", "BLOB": "text"}
    if case.affinity == "BLOB" and case.name:
        return frozenset({"blob"})
    return frozenset({by_affinity[case.affinity]})


def is_moment(name: str) -> bool:
    return "DATETIME" in name or "TIMESTAMP" in name


def is_uuid(name: str) -> bool:
    return name in ("UUID", "GUID", "UNIQUEIDENTIFIER")


def is_decimal(name: str) -> bool:
    return name.startswith(("DECIMAL", "NUMERIC"))
