"""Which PostgreSQL types and codecs a column may get, most specific first.

Only a declared type suggests a special one (a VARCHAR that happens to look like a UUID stays text); the
values decide whether it survives. In existing mode the catalogue's type is given, and the storage classes
that are there choose the codec.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from turnback.core.choices import ColumnChoice
from turnback.core.codecs import carries, codec_for
from turnback.core.plan import ColumnPlan
from turnback.core.profile import ColumnProfile
from turnback.core.schema import SqliteColumn, affinity

CLASSES: dict[str, frozenset[str]] = {
    "integer": frozenset({"integer"}),
    "real": frozenset({"real"}),
    "number": frozenset({"integer", "real"}),
    "boolean": frozenset({"integer"}),
    "text": frozenset({"text"}),
    "blob": frozenset({"blob"}),
    "timestamp_text": frozenset({"text"}),
    "date_text": frozenset({"text"}),
    "epoch": frozenset({"integer"}),
    "json_text": frozenset({"text"}),
    "uuid_text": frozenset({"text"}),
    "uuid_blob": frozenset({"blob"}),
}

TIMESTAMP = "timestamp without time zone"
TIMESTAMPTZ = "timestamp with time zone"

_BITS = {"smallint": 16, "integer": 32, "bigint": 64}
_EPOCH_DIGITS = {"s": 0, "ms": 3, "us": 6}
_ALIASES = {
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "float8": "double precision",
    "bool": "boolean",
    "decimal": "numeric",
    "varchar": "character varying",
}
_DEFAULT_TYPE = {
    "integer": "bigint",
    "real": "double precision",
    "number": "numeric",
    "boolean": "boolean",
    "text": "text",
    "blob": "bytea",
    "timestamp_text": TIMESTAMP,
    "date_text": "date",
    "epoch": TIMESTAMPTZ,
    "json_text": "jsonb",
    "uuid_text": "uuid",
    "uuid_blob": "uuid",
}

_STAMP = re.compile(r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d(?:\.(\d{1,6}))?(Z|\+00:00)?", re.ASCII)
_TYPE = re.compile(r"([a-z ]+?) ?(?:\((\d+)(?:,(-?\d+))?\))?( with(?:out)? time zone)?", re.ASCII)


def for_create(
    column: SqliteColumn,
    profile: ColumnProfile,
    choice: ColumnChoice,
    *,
    comparable: bool,
    default_sample: str = "",
) -> tuple[ColumnPlan, ...]:
    """Candidates for a column whose PostgreSQL type turnback chooses; none: no type keeps its classes apart.

    `comparable`: the column is part of a key or index, which json (without operators) cannot be.
    `default_sample`: a text that the column's default would give, for columns without values.
    """
    if choice.codec or choice.pg_type:
        return _chosen(column, profile, choice, default_sample)
    name = column.declared_type.upper()
    classes = profile.classes or _classes_by_declaration(column)
    found: list[ColumnPlan] = []
    if classes == {"integer"}:
        if "BOOL" in name:
            found.append(
                _column(column, "boolean", "boolean", "declared a boolean, and every value is 0 or 1")
            )
        if _is_moment(name) and profile.values:
            found += _epochs(column, profile, choice, None, zoned=True)
        if _is_decimal(name):
            found.append(_column(column, "numeric", "number", "declared a decimal number"))
        found.append(_column(column, "bigint", "integer", "every value is an integer", bits=64))
    elif classes == {"real"}:
        if _is_decimal(name):
            found.append(_column(column, "numeric", "number", "declared a decimal number"))
        found.append(_column(column, "double precision", "real", "every value is a real"))
    elif classes == {"integer", "real"}:
        found.append(_column(column, "numeric", "number", "integers and reals in one column"))
    elif classes == {"blob"}:
        if _is_uuid(name):
            found.append(
                _column(column, "uuid", "uuid_blob", "declared a UUID, and every value has 16 bytes")
            )
        found.append(_column(column, "bytea", "blob", "every value is a blob"))
    elif classes == {"text"}:
        found += _texts_by_declaration(column, profile, choice, comparable, default_sample)
        found.append(_column(column, "text", "text", "every value is text"))
    return tuple(found)


def for_type(
    column: SqliteColumn,
    profile: ColumnProfile,
    choice: ColumnChoice,
    type_name: str,
    *,
    is_enum: bool = False,
    default_sample: str = "",
) -> tuple[ColumnPlan, ...]:
    """Candidates for a column whose PostgreSQL type is given; none: this version carries no such type,
    or not these storage classes into it.
    """
    base, numbers, zoned = parse_type(type_name)
    why = "the PostgreSQL column's type"
    if is_enum:  # its labels are text on both sides; that every value is one of them is checked elsewhere
        return (_column(column, type_name, "text", why),)
    classes = profile.classes
    match base:
        case "smallint" | "integer" | "bigint":
            return (_column(column, type_name, "integer", why, bits=_BITS[base]),)
        case "boolean":
            return (_column(column, type_name, "boolean", why),)
        case "double precision":
            return (_column(column, type_name, "real", why),)
        case "numeric":
            return (_column(column, type_name, "number", why),)
        case "text":
            return (_column(column, type_name, "text", why),)
        case "character varying":
            return (_column(column, type_name, "text", why, length=numbers[0] if numbers else 0),)
        case "bytea":
            return (_column(column, type_name, "blob", why),)
        case "date":
            return (_column(column, type_name, "date_text", why),)
        case "timestamp":
            digits = numbers[0] if numbers else 6
            if classes == {"integer"} or (not classes and _is_integer_column(column)):
                return tuple(_epochs(column, profile, choice, type_name, zoned=zoned, digits=digits))
            return tuple(_stamps(column, profile, type_name, why, default_sample, zoned=zoned))
        case "json":
            return (_column(column, type_name, "json_text", why, binary=False),)
        case "jsonb":
            exact = _column(column, type_name, "json_text", why, binary=True)
            spelled = _column(column, type_name, "json_text", why, binary=True, respell=True)
            # Once chosen it holds, also where today's values would not need it: later ones may.
            return (spelled,) if choice.respell else (exact,)
        case "uuid":
            if classes == {"blob"} or (not classes and affinity(column.declared_type) == "BLOB"):
                return (_column(column, type_name, "uuid_blob", why),)
            return tuple(_uuids(column, profile, choice, type_name, why))
        case _:
            return ()


def respelled(candidate: ColumnPlan) -> ColumnPlan | None:
    """The same candidate with `respell`, where its codec knows it."""
    if candidate.codec == "uuid_text" or (candidate.codec == "json_text" and candidate.options.get("binary")):
        return _with_options(candidate, respell=True)
    return None


def proven(candidate: ColumnPlan, profile: ColumnProfile) -> bool:
    """Does the profile alone prove that the candidate carries every value?"""
    if not profile.values:
        return True
    if not profile.classes <= CLASSES[candidate.codec] or profile.nul_texts or profile.invalid_texts:
        return False
    least, most = profile.min_integer or 0, profile.max_integer or 0
    match candidate.codec:
        case "integer":
            bits = candidate.options.get("bits", 64)
            assert isinstance(bits, int)
            return -(1 << bits - 1) <= least and most <= (1 << bits - 1) - 1
        case "boolean":
            return least >= 0 and most <= 1
        case "real" | "blob":
            return True
        case "text":
            length = candidate.options.get("length", 0)
            return not length or profile.max_characters <= int(length)
        case "uuid_blob":
            return profile.min_blob_bytes == profile.max_blob_bytes == 16
        case "epoch":
            # Moments are in order: where first and last are within the years 1 to 9999, all are.
            digits = (parse_type(candidate.pg_type)[1] or (6,))[0]
            codec = codec_for(candidate)
            ends = (profile.min_integer, profile.max_integer)
            return digits >= _EPOCH_DIGITS[str(candidate.options.get("unit"))] and not any(
                carries(codec, candidate, end) for end in ends
            )
        case _:
            return False


def detect_unit(profile: ColumnProfile) -> str | None:
    """The unit of epoch integers, when first and last agree on one (HAZARDS F4). 0 fits every unit."""
    if profile.min_integer is None or profile.max_integer is None:
        return None
    units = {_unit(v) for v in (profile.min_integer, profile.max_integer) if v != 0}
    return units.pop() if len(units) == 1 else None


def parse_type(type_name: str) -> tuple[str, tuple[int, ...], bool]:
    """Base name, numbers in brackets, and whether it has a time zone: as format_type() writes it, or a short
    name ("timestamptz", "varchar(20)").
    """
    name = " ".join(type_name.lower().split()).replace(", ", ",")
    if name.startswith("timestamptz"):
        name = name.replace("timestamptz", "timestamp") + " with time zone"
    match = _TYPE.fullmatch(name)
    if match is None:
        return name, (), False
    numbers = tuple(int(n) for n in match.groups()[1:3] if n is not None)
    return _ALIASES.get(match[1], match[1]), numbers, match[4] == " with time zone"


def canonical_type(type_name: str) -> str:
    """The type as format_type() writes it, where it is one that for_type knows."""
    base, numbers, zoned = parse_type(type_name)
    brackets = f"({','.join(str(n) for n in numbers)})" if numbers else ""
    zone = "" if base != "timestamp" else " with time zone" if zoned else " without time zone"
    return base + brackets + zone


def is_known_codec(name: str) -> bool:
    return name in CLASSES


def _chosen(
    column: SqliteColumn, profile: ColumnProfile, choice: ColumnChoice, default_sample: str
) -> tuple[ColumnPlan, ...]:
    type_name = (
        canonical_type(choice.pg_type) if choice.pg_type else _DEFAULT_TYPE.get(choice.codec or "", "")
    )
    found = for_type(column, profile, choice, type_name, default_sample=default_sample)
    if choice.codec:
        found = tuple(c for c in found if c.codec == choice.codec)
    return tuple(_because(c, "chosen in turnback.toml") for c in found)


def _texts_by_declaration(
    column: SqliteColumn, profile: ColumnProfile, choice: ColumnChoice, comparable: bool, default_sample: str
) -> list[ColumnPlan]:
    name = column.declared_type.upper()
    if _is_uuid(name):
        return _uuids(column, profile, choice, "uuid", "declared a UUID")
    if "JSON" in name:
        return _jsons(column, choice, comparable)
    found: list[ColumnPlan] = []
    if name == "DATE":
        found.append(_column(column, "date", "date_text", "declared a date"))
    if name == "DATE" or _is_moment(name):
        zoned = any(_suffix(s) for s in _samples(profile, default_sample))
        type_name = TIMESTAMPTZ if zoned else TIMESTAMP
        why = "declared a moment, with zone" if zoned else "declared a moment, without zone"
        found += _stamps(column, profile, type_name, why, default_sample, zoned=zoned)
    return found


def _jsons(column: SqliteColumn, choice: ColumnChoice, comparable: bool) -> list[ColumnPlan]:
    if choice.respell:
        why = "declared JSON; spelling may change by choice"
        found = [_column(column, "jsonb", "json_text", why, binary=True, respell=True)]
    else:
        why = "declared JSON, and jsonb keeps every value's spelling"
        found = [_column(column, "jsonb", "json_text", why, binary=True)]
    if not comparable:
        why = "declared JSON; jsonb would change the spelling of some values"
        found.append(_column(column, "json", "json_text", why, binary=False))
    return found


def _uuids(
    column: SqliteColumn, profile: ColumnProfile, choice: ColumnChoice, type_name: str, why: str
) -> list[ColumnPlan]:
    samples = [s for s in (profile.min_text, profile.max_text) if s] or [
        "00000000-0000-0000-0000-000000000000"
    ]
    spellings = dict.fromkeys((s != s.lower(), "-" in s) for s in samples)
    found = [
        _column(column, type_name, "uuid_text", why, upper=upper, hyphens=hyphens)
        for upper, hyphens in spellings
    ]
    return [_with_options(found[0], respell=True)] if choice.respell else found


def _stamps(
    column: SqliteColumn,
    profile: ColumnProfile,
    type_name: str,
    why: str,
    default_sample: str,
    *,
    zoned: bool,
) -> list[ColumnPlan]:
    """One candidate for each form that the samples show; the one with fewest digits first, which also
    writes six digits where it must (core.codecs.temporal).
    """
    forms = set()
    for sample in _samples(profile, default_sample):
        if match := _STAMP.fullmatch(sample):
            forms.add((len(match[2] or ""), match[1], match[3] or ""))
    if not profile.values and not forms:
        forms.add((0, " ", ""))
    return [
        _column(
            column,
            type_name,
            "timestamp_text",
            why,
            separator=separator,
            fraction=fraction,
            suffix=suffix,
            zoned=zoned,
        )
        for fraction, separator, suffix in sorted(forms)
    ]


def _epochs(
    column: SqliteColumn,
    profile: ColumnProfile,
    choice: ColumnChoice,
    type_name: str | None,
    *,
    zoned: bool,
    digits: int = 6,
) -> list[ColumnPlan]:
    """One candidate, where the unit is chosen or found. Without a given type the type's precision is the
    unit's, so that PostgreSQL never holds a moment that the SQLite column cannot. With a given one that is
    finer, `truncate` counts a moment as the unit that it lies in, and the plan shows it.
    """
    unit = choice.unit or detect_unit(profile)
    if unit is None:
        return []
    own = _EPOCH_DIGITS[unit]
    if type_name is None:
        type_name = TIMESTAMPTZ if own == 6 else f"timestamp({own}) with time zone"
        return [
            _column(
                column, type_name, "epoch", f"declared a moment, counted in {unit}", unit=unit, zoned=zoned
            )
        ]
    why = f"the PostgreSQL column's type; integers counted in {unit}"
    found = _column(column, type_name, "epoch", why, unit=unit, zoned=zoned)
    return [_with_options(found, truncate=True) if digits > own else found]


def _samples(profile: ColumnProfile, default_sample: str) -> Iterable[str]:
    own = [s for s in (profile.min_text, profile.max_text, profile.longest_text) if s]
    return own or ([default_sample] if default_sample else [])


def _suffix(sample: str) -> str:
    match = _STAMP.fullmatch(sample)
    return (match[3] or "") if match else ""


def _unit(value: int) -> str | None:
    """Seconds cover 1973 to 2286, and the finer units the same years times 1000."""
    for unit, factor in (("s", 1), ("ms", 1_000), ("us", 1_000_000)):
        if 100_000_000 * factor <= abs(value) < 10_000_000_000 * factor:
            return unit
    return None


def _classes_by_declaration(column: SqliteColumn) -> frozenset[str]:
    """What an application would write into a column that holds nothing yet."""
    name = column.declared_type.upper()
    if "BOOL" in name:
        return frozenset({"integer"})
    if _is_decimal(name):
        return frozenset({"integer", "real"})
    by_affinity = {"INTEGER": "integer", "REAL": "real", "TEXT": "text", "NUMERIC": "text", "BLOB": "text"}
    kind = affinity(name)
    if kind == "BLOB" and name.strip():
        return frozenset({"blob"})
    return frozenset({by_affinity[kind]})


def _is_moment(name: str) -> bool:
    return "DATETIME" in name or "TIMESTAMP" in name


def _is_uuid(name: str) -> bool:
    return name in ("UUID", "GUID", "UNIQUEIDENTIFIER")


def _is_decimal(name: str) -> bool:
    return name.startswith(("DECIMAL", "NUMERIC"))


def _is_integer_column(column: SqliteColumn) -> bool:
    return affinity(column.declared_type) == "INTEGER"


def _column(
    column: SqliteColumn, pg_type: str, codec: str, why: str, **options: str | int | bool
) -> ColumnPlan:
    return ColumnPlan(
        sqlite=column.name,
        postgres=column.name,
        pg_type=pg_type,
        codec=codec,
        options=options,
        affinity=affinity(column.declared_type),
        why=why,
    )


def _with_options(candidate: ColumnPlan, **options: str | int | bool) -> ColumnPlan:
    return replace(candidate, options=candidate.options | options)


def _because(candidate: ColumnPlan, why: str) -> ColumnPlan:
    return replace(candidate, why=why)
