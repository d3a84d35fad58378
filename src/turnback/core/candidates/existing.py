"""The codec of a column whose PostgreSQL type is given (existing mode, or chosen): the type and the storage
classes that are there choose it.
"""

from __future__ import annotations

from turnback.core.candidates.case import (
    Alternative,
    Case,
    Note,
    Offer,
    boolean_words,
    fewest,
    listed,
    with_options,
)
from turnback.core.candidates.moments import (
    dates,
    has_local_texts,
    in_smallest_unit,
    intervals,
    look_like_julian_days,
    met_epochs,
    stamps,
    times,
    units,
)
from turnback.core.candidates.uuids import uuids
from turnback.core.plan import ColumnPlan
from turnback.core.type_names import element_type, parse_type

WHY = "the PostgreSQL column's type"

_BITS = {"smallint": 16, "integer": 32, "bigint": 64}
_ADDRESSES = ("inet", "cidr", "macaddr")
_ELEMENTS = ("text", "character varying", "smallint", "integer", "bigint")


def for_type(case: Case, type_name: str, *, is_enum: bool = False) -> Offer:
    """Candidates for that type; none, with the reason: nothing carries these values into it by itself."""
    if case.choice.codec:
        return Offer(tuple(by_codec(case, case.choice.codec, type_name)))
    if is_enum:  # its labels are text on both sides; that every value is one of them is checked elsewhere
        return Offer((case.plan(type_name, "text", WHY),))
    base, numbers, zoned = parse_type(type_name)
    match base:
        case "boolean":
            return _boolean(case, type_name)
        case "text" | "character varying" | "citext":
            return _text(case, type_name, base)
        case "bytea":
            return _bytes(case, type_name)
        case "timestamp":
            return _timestamp(case, type_name, numbers[0] if numbers else 6, zoned)
        case "interval" if not numbers or type_name.startswith("interval("):
            return _interval(case, type_name)
        case "time" if zoned:
            return _verbatim(case, type_name)
        case "numeric":
            decimal = case.facts.classes == {"text"} or (
                not case.facts.classes and case.affinity in ("TEXT", "BLOB")
            )
            return Offer(tuple(by_codec(case, "decimal_text" if decimal else "number", type_name)))
        case "uuid":
            blob = case.facts.classes == {"blob"} or (not case.facts.classes and case.affinity == "BLOB")
            return Offer(tuple(by_codec(case, "uuid_blob" if blob else "uuid_text", type_name)))
    codec = _CODECS.get(base)
    if codec is not None:
        return Offer(tuple(by_codec(case, codec, type_name)))
    if element := element_type(type_name):
        return _array(case, type_name, element)
    return _verbatim(case, type_name)


_CODECS = {
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "double precision": "real",
    "real": "float4",
    "character": "char",
    "date": "date_text",
    "time": "time_text",
    "json": "json_text",
    "jsonb": "json_text",
    "inet": "inet",
    "cidr": "inet",
    "macaddr": "inet",
}


def by_codec(case: Case, codec: str, type_name: str, why: str = WHY) -> list[ColumnPlan]:
    """The ways in which that codec may carry the column into that type; none: it is not for that type."""
    base, numbers, zoned = parse_type(type_name)
    choice = case.choice
    respell = {"respell": True} if choice.respell else {}
    match codec:
        case "integer" if base in _BITS:
            return [case.plan(type_name, codec, why, bits=_BITS[base])]
        case "real" if base == "double precision":
            return [case.plan(type_name, codec, why, **({"nan": True} if choice.nan else {}))]
        case "float4" if base == "real":
            return [case.plan(type_name, codec, why, **({"nan": True} if choice.nan else {}))]
        case "number" | "decimal_text" if base == "numeric":
            return [case.plan(type_name, codec, why)]
        case "boolean" if base == "boolean":
            return [case.plan(type_name, codec, why, **_words(case), **respell)]
        case "text" if base in ("text", "citext"):
            return [case.plan(type_name, codec, why)]
        case "affine" if base == "text":
            return [case.plan(type_name, codec, why)]
        case "text" | "affine" if base == "character varying":
            return [case.plan(type_name, codec, why, length=numbers[0] if numbers else 0)]
        case "char" if base == "character":
            return [case.plan(type_name, codec, why, length=numbers[0] if numbers else 1)]
        case "blob" | "text_bytes" if base == "bytea":
            return [case.plan(type_name, codec, why)]
        case "date_text" if base == "date":
            return [dates(case, type_name, why)]
        case "time_text" if base == "time" and not zoned:
            return times(case, type_name, why)
        case "timestamp_text" if base == "timestamp":
            return stamps(case, type_name, why, zoned=zoned)
        case "epoch" | "epoch_real" if base == "timestamp":
            return met_epochs(case, type_name, zoned=zoned, digits=numbers[0] if numbers else 6)
        case "interval" if base.startswith("interval"):
            return intervals(case, type_name, why)
        case "json_text" if base == "json":
            return [case.plan(type_name, codec, why, binary=False)]
        case "json_text" if base == "jsonb":
            # Once chosen it holds, also where today's values would not need it: later ones may.
            return [case.plan(type_name, codec, why, binary=True, **respell)]
        case "uuid_text" if base == "uuid":
            return uuids(case, type_name, why)
        case "uuid_blob" if base == "uuid":
            return [case.plan(type_name, codec, why)]
        case "inet" if base in _ADDRESSES:
            return [case.plan(type_name, codec, why, **respell)]
        case "array" if choice.separator and element_type(type_name):
            return _arrays(case, type_name, choice.separator, why)
        case "verbatim":
            return [case.plan(type_name, codec, why)]
        case _:
            return []


# ---- types that take several classes -------------------------------------------------------------------


def _boolean(case: Case, type_name: str) -> Offer:
    candidates = tuple(by_codec(case, "boolean", type_name))
    if case.facts.classes == {"integer", "text"} and not case.choice.respell:
        spelled = with_options(candidates[0], respell=True)
        note = Note("F1", f"{listed(case.facts)} values in one boolean column", fewest(case.facts))
        return Offer((), (Alternative(spelled, "respell = true"),), note)
    return Offer(candidates)


def _words(case: Case) -> dict[str, str]:
    facts = case.facts
    if facts.integers > facts.texts or not facts.texts:
        # 1 and 0 would be text in a column of that affinity
        return {"words": "true"} if not facts.values and case.affinity == "TEXT" else {}
    word = boolean_words(facts) or "true"
    return {} if word == "1" and case.affinity not in ("TEXT", "BLOB") else {"words": word}


def _text(case: Case, type_name: str, base: str) -> Offer:
    classes = case.facts.classes
    if classes <= {"text"} or "blob" in classes or base == "citext":
        return Offer(tuple(by_codec(case, "text", type_name)))
    if case.affinity not in ("INTEGER", "NUMERIC", "REAL"):
        return Offer(tuple(by_codec(case, "text", type_name)))
    note = Note("F12", f"{listed(case.facts)} values become {type_name}; SQLite's affinity tells them apart")
    return Offer(tuple(by_codec(case, "affine", type_name)), note=note)


def _bytes(case: Case, type_name: str) -> Offer:
    if case.facts.classes == {"text"}:
        plan = case.plan(type_name, "text_bytes", WHY)
        why = Note("F11", f"text values, and PostgreSQL's type is {type_name}", "text")
        return Offer((), (Alternative(plan, 'codec = "text_bytes"'),), why)
    return Offer((case.plan(type_name, "blob", WHY),))


def _timestamp(case: Case, type_name: str, digits: int, zoned: bool) -> Offer:
    facts = case.facts
    classes = facts.classes
    numeric = classes <= {"integer", "real"} if classes else case.affinity == "INTEGER"
    if numeric:
        found = met_epochs(case, type_name, zoned=zoned, digits=digits)
        if found:
            return Offer(tuple(found))
        if look_like_julian_days(facts):
            return Offer(
                (), (), Note("F4", f"Julian days are not carried into {type_name}", "real", "", True)
            )
        kind = "reals" if facts.reals else "integers"
        mixed = len(units(facts).seen) > 1
        shown = "the values do not agree on" if mixed else "the values do not show"
        message = f"{kind} that become {type_name}; {shown if facts.values else 'no value shows'} their unit"
        witness = in_smallest_unit(case, type_name) if mixed else None
        return Offer(problem=Note("F4", message, lines='unit = "ms"', witness=witness))
    if len(classes) > 1:
        return Offer(
            (),
            (),
            Note(
                "F5",
                f"{listed(case.facts)} values, which {type_name} does not keep apart",
                fewest(case.facts),
                "",
                True,
            ),
        )
    if zoned and has_local_texts(case) and case.zone is None:
        local = sum(f.count for f in facts.moments if f.sound and f.separator and not f.suffix)
        return Offer(
            (),
            (),
            Note(
                "F7",
                f"{local} texts without an offset become {type_name}: which zone are they meant in?",
                None,
                '[sqlite]\nzone = "UTC"',
            ),
        )
    why = f"{WHY}; {case.zone_why}" if zoned and case.zone and has_local_texts(case) else WHY
    return Offer(tuple(stamps(case, type_name, why, zoned=zoned)))


def _interval(case: Case, type_name: str) -> Offer:
    alternatives = (Alternative(case.plan(type_name, "verbatim", WHY), 'codec = "verbatim"'),)
    if found := intervals(case, type_name, WHY):
        return Offer(tuple(found), alternatives if found[0].options["form"] == "epoch_text" else ())
    if case.facts.classes <= {"integer"}:
        message = f"integers that become {type_name}; nothing says what they count"
        return Offer((), (), Note("R5", message, None, 'unit = "us"'))
    return Offer(
        (),
        (),
        Note(
            "R5",
            f"{listed(case.facts)} values, which {type_name} does not keep apart",
            fewest(case.facts),
            "",
            True,
        ),
    )


def _array(case: Case, type_name: str, element: str) -> Offer:
    if case.choice.separator:
        return Offer(tuple(_arrays(case, type_name, case.choice.separator, WHY)))
    found = []
    if parse_type(element)[0] in _ELEMENTS:
        for separator in ("json", ","):
            found += [
                Alternative(plan, f'separator = "{separator}"')
                for plan in _arrays(case, type_name, separator, WHY)
            ]
    verbatim = case.plan(type_name, "verbatim", WHY)
    alternatives = (*found, Alternative(verbatim, 'codec = "verbatim"'))
    return Offer((), alternatives, Note("R5", f"text that becomes {type_name}: how is an array written?"))


def _arrays(case: Case, type_name: str, separator: str, why: str) -> list[ColumnPlan]:
    element = element_type(type_name)
    if parse_type(element)[0] not in _ELEMENTS:
        return []
    plan = case.plan(type_name, "array", why, separator=separator, element=element)
    if separator != "json":
        return [plan]
    if case.choice.respell:
        return [with_options(plan, respell=True)]
    forms = [plan, with_options(plan, spaced=True)]
    if parse_type(element)[0] in ("text", "character varying"):
        forms += [with_options(form, ascii=True) for form in forms]
    return forms


def _verbatim(case: Case, type_name: str) -> Offer:
    alternative = Alternative(case.plan(type_name, "verbatim", WHY), 'codec = "verbatim"')
    message = f"no codec knows {type_name}; text that is exactly what PostgreSQL prints can be carried"
    return Offer((), (alternative,), Note("R5", message))
