"""Which PostgreSQL types and codecs a column may get: what both modes share.

`candidates_create` chooses the type, `candidates_existing` meets one that is there. Either way the values
decide: `proven` says where the census alone shows that a candidate carries every value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from turnback.core.choices import ColumnChoice
from turnback.core.codecs import carries, codec_for
from turnback.core.codecs.boolean import WORDS
from turnback.core.codecs.protocol import modifier
from turnback.core.plan import ColumnPlan
from turnback.core.profile import ColumnProfile, Trait
from turnback.core.schema import SqliteColumn, affinity
from turnback.core.type_names import TIMESTAMP, TIMESTAMPTZ

CLASSES: dict[str, frozenset[str]] = {
    "integer": frozenset({"integer"}),
    "real": frozenset({"real"}),
    "float4": frozenset({"real"}),
    "number": frozenset({"integer", "real"}),
    "decimal_text": frozenset({"text"}),
    "boolean": frozenset({"integer"}),
    "text": frozenset({"text"}),
    "char": frozenset({"text"}),
    "affine": frozenset({"integer", "real", "text"}),
    "text_bytes": frozenset({"text"}),
    "blob": frozenset({"blob"}),
    "timestamp_text": frozenset({"text"}),
    "date_text": frozenset({"text"}),
    "time_text": frozenset({"text"}),
    "epoch": frozenset({"integer"}),
    "epoch_real": frozenset({"real"}),
    "interval": frozenset({"integer"}),
    "inet": frozenset({"text"}),
    "array": frozenset({"text"}),
    "verbatim": frozenset({"text"}),
    "json_text": frozenset({"text"}),
    "uuid_text": frozenset({"text"}),
    "uuid_blob": frozenset({"blob"}),
}
DEFAULT_TYPE = {
    "integer": "bigint",
    "real": "double precision",
    "float4": "real",
    "number": "numeric",
    "decimal_text": "numeric",
    "boolean": "boolean",
    "text": "text",
    "affine": "text",
    "text_bytes": "bytea",
    "blob": "bytea",
    "timestamp_text": TIMESTAMP,
    "date_text": "date",
    "time_text": "time without time zone",
    "epoch": TIMESTAMPTZ,
    "epoch_real": TIMESTAMPTZ,
    "interval": "interval",
    "inet": "inet",
    "array": "text[]",
    "json_text": "jsonb",
    "uuid_text": "uuid",
    "uuid_blob": "uuid",
}
NUMERIC_AFFINITIES = ("INTEGER", "NUMERIC")  # where SQLite keeps 5.0 as the integer 5

_EPOCH_DIGITS = {"s": 0, "ms": 3, "us": 6}
_RESPELLED = ("uuid_text", "timestamp_text", "inet", "boolean")
_KNOWN_WORDS = {word.lower() for pair in WORDS.items() for word in pair}


@dataclass(frozen=True, slots=True)
class Case:
    """One column: what is declared, what is there, what is chosen, and what is known from elsewhere."""

    column: SqliteColumn
    facts: ColumnProfile
    choice: ColumnChoice
    sample: str = ""  # a text that the column's default would give
    zone: str | None = None  # that text without an offset is meant in
    zone_why: str = ""
    unit: str | None = None  # of integers that are moments, where no value shows it
    interval_unit: str | None = None  # of integers that are intervals
    handled_as_text: bool = False  # an expression of the schema, or its default, takes its values for text

    @property
    def affinity(self) -> str:
        return affinity(self.column.declared_type)

    @property
    def name(self) -> str:
        """The declared type in upper case."""
        return self.column.declared_type.strip().upper()

    def plan(self, pg_type: str, codec: str, why: str, **options: str | int | bool) -> ColumnPlan:
        return ColumnPlan(
            sqlite=self.column.name,
            postgres=self.column.name,
            pg_type=pg_type,
            codec=codec,
            options=options,
            affinity=self.affinity,
            why=why,
        )


@dataclass(frozen=True, slots=True)
class Alternative:
    """What the user may choose: the lines of the column's section (whole ones begin with a bracket)."""

    plan: ColumnPlan
    lines: str


@dataclass(frozen=True, slots=True)
class Note:
    """Said of a column; the message goes on behind its name. With a trait: of the values that have it."""

    code: str
    message: str
    trait: Trait | None = None
    lines: str = ""
    refused: bool = False  # where no alternative carries the values either
    witness: ColumnPlan | None = None  # what it does not carry are the values in question


@dataclass(frozen=True, slots=True)
class Offer:
    """Candidates in order, the most specific first; what else there is by choice; `problem`: why no candidate
    is taken without a choice; `note`: what is said where one is.
    """

    candidates: tuple[ColumnPlan, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    problem: Note | None = None
    note: Note | None = None


def takes(candidate: ColumnPlan) -> frozenset[str]:
    """The storage classes that the candidate may carry."""
    classes = CLASSES[candidate.codec]
    options = candidate.options
    match candidate.codec:
        case "boolean" if options.get("respell"):
            return frozenset({"integer", "text"})
        case "boolean" if options.get("words"):
            return frozenset({"text"})
        case "interval" if options.get("form") == "epoch_text":
            return frozenset({"text"})
        case "real" | "float4" | "epoch_real":
            if candidate.affinity in NUMERIC_AFFINITIES:
                classes |= {"integer"}
            return classes | {"text"} if options.get("nan") else classes
    return classes


def respelled(candidate: ColumnPlan) -> ColumnPlan | None:
    """The same candidate with `respell`, where its codec knows it."""
    knows = candidate.codec in _RESPELLED or (
        candidate.codec == "json_text" and candidate.options.get("binary")
    )
    return with_options(candidate, respell=True) if knows else None


def is_known_codec(name: str) -> bool:
    return name in CLASSES


def with_options(candidate: ColumnPlan, **options: str | int | bool) -> ColumnPlan:
    return replace(candidate, options=candidate.options | options)


def because(candidate: ColumnPlan, why: str) -> ColumnPlan:
    return replace(candidate, why=why)


def boolean_words(facts: ColumnProfile) -> str:
    """The word for true, as the texts have it; "" where they are no known words."""
    for word, _ in facts.words:
        for true, false in WORDS.items():
            if word in (true, false):
                return true
    return ""


def knows_all_words(facts: ColumnProfile) -> bool:
    return bool(facts.words) and all(word.lower() in _KNOWN_WORDS for word, _ in facts.words)


# ---- what the census proves --------------------------------------------------------------------------


def proven(candidate: ColumnPlan, facts: ColumnProfile) -> bool:
    """Does the profile alone prove that the candidate carries every value?"""
    if not facts.values:
        return True
    if not facts.classes <= takes(candidate):
        return False
    if candidate.codec == "text_bytes":
        return not facts.invalid_texts  # of UTF-16, half a surrogate pair has no bytes
    if facts.nul_texts or facts.invalid_texts:
        return False
    least, most = facts.min_integer or 0, facts.max_integer or 0
    match candidate.codec:
        case "integer":
            bits = candidate.options.get("bits", 64)
            assert isinstance(bits, int)
            return -(1 << bits - 1) <= least and most <= (1 << bits - 1) - 1
        case "boolean":
            return least >= 0 and most <= 1 and _words_proven(candidate, facts)
        case "real":
            return facts.classes == {"real"} and candidate.affinity not in NUMERIC_AFFINITIES
        case "blob" | "verbatim":
            return True  # what comes back of a verbatim text only the server can say
        case "text":
            length = candidate.options.get("length", 0)
            return not length or facts.max_characters <= int(length)
        case "affine":
            fits = not candidate.options.get("length")
            return fits and facts.classes == {"integer"} and candidate.affinity in NUMERIC_AFFINITIES
        case "number":
            return _number_proven(candidate, facts)
        case "uuid_blob":
            return facts.min_blob_bytes == facts.max_blob_bytes == 16
        case "uuid_text":
            return _uuids_proven(candidate, facts)
        case "json_text":
            if not candidate.options.get("binary"):
                return bool(facts.json)
            return bool(candidate.options.get("respell")) and facts.json == "plain"
        case "timestamp_text" | "date_text":
            return _moments_proven(candidate, facts)
        case "epoch":
            # Moments are in order: where first and last are within the years 1 to 9999, all are.
            digits = (modifier(candidate.pg_type) or (6,))[0]
            codec = codec_for(candidate)
            ends = (facts.min_integer, facts.max_integer)
            return digits >= _EPOCH_DIGITS[str(candidate.options.get("unit"))] and not any(
                carries(codec, candidate, end) for end in ends
            )
        case _:
            return False


def _words_proven(candidate: ColumnPlan, facts: ColumnProfile) -> bool:
    if not facts.texts:
        return True
    if candidate.options.get("respell"):
        return knows_all_words(facts)
    true = str(candidate.options.get("words", ""))
    return bool(facts.words) and {word for word, _ in facts.words} <= {true, WORDS.get(true, "")}


def _number_proven(candidate: ColumnPlan, facts: ColumnProfile) -> bool:
    """In a column that keeps 5.0 as 5 the value alone tells the class."""
    if candidate.affinity not in NUMERIC_AFFINITIES or (facts.reals and facts.decimals is None):
        return False
    numbers = modifier(candidate.pg_type)
    if not numbers:
        return True
    precision, scale = numbers if len(numbers) == 2 else (numbers[0], 0)
    ends = (facts.min_integer, facts.max_integer, facts.min_real, facts.max_real)
    largest = max(abs(end) for end in ends if end is not None)
    return scale >= (facts.decimals or 0) and largest < 10 ** (precision - scale)


def _uuids_proven(candidate: ColumnPlan, facts: ColumnProfile) -> bool:
    if not facts.uuids:
        return False
    if candidate.options.get("respell"):
        return True
    upper, hyphens = candidate.options.get("upper", False), candidate.options.get("hyphens", True)
    return all(f.hyphens == hyphens and (f.upper if upper else f.lower) for f in facts.uuids)


def _moments_proven(candidate: ColumnPlan, facts: ColumnProfile) -> bool:
    options, forms = candidate.options, facts.moments
    if not forms or sum(f.count for f in forms) != facts.texts or not all(f.sound for f in forms):
        return False
    if candidate.codec == "date_text":
        return all(f.separator == "" for f in forms)
    suffix = options.get("suffix", "")
    if options.get("zone") or options.get("respell") or suffix not in ("", "Z", "+00:00"):
        return False
    fraction = options.get("fraction", 0)
    assert isinstance(fraction, int)
    precision = (modifier(candidate.pg_type) or (6,))[0]
    return all(
        f.separator == options.get("separator", " ")
        and f.suffix == suffix
        and (f.digits == fraction or (f.digits == 6 and f.least > fraction))
        and f.most <= precision
        for f in forms
    )


def fewest(facts: ColumnProfile) -> Trait:
    """The storage class that the fewest values have."""
    kinds: tuple[Trait, ...] = ("blob", "integer", "real", "text")
    return min((k for k in kinds if facts.count(k)), key=facts.count, default="text")


def listed(facts: ColumnProfile) -> str:
    """ "3 integer and 1 text", for a message."""
    return " and ".join(f"{facts.count(kind)} {kind}" for kind in sorted(facts.classes))
