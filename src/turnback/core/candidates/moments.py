"""Candidates for columns that hold moments, dates, times and intervals (HAZARDS F4 to F7)."""

from __future__ import annotations

from dataclasses import dataclass

from turnback.core.candidates.case import NUMERIC_AFFINITIES, Case, with_options
from turnback.core.codecs import codec_for
from turnback.core.forms import moment_forms
from turnback.core.plan import ColumnPlan
from turnback.core.profile import ColumnProfile, MomentForm
from turnback.core.type_names import TIMESTAMPTZ
from turnback.errors import ConfigError

_EPOCH_DIGITS = {"s": 0, "ms": 3, "us": 6}
# Julian days of the years 1 to 9999 (SQLite documentation: Date And Time Functions).
_FIRST_JULIAN_DAY, _LAST_JULIAN_DAY = 1_721_425.5, 5_373_484.5


# ---- texts -------------------------------------------------------------------------------------------


def stamps(case: Case, type_name: str, why: str, *, zoned: bool) -> list[ColumnPlan]:
    """One candidate for each form that the texts have, by their number of digits; one with few digits also
    writes six where it must (core.codecs.timestamps). With `respell` the most common form alone.
    """
    forms = _text_forms(case)
    zone = case.zone if zoned and case.zone not in (None, "UTC") else None
    if case.choice.respell:
        # A zone holds for texts without an offset, so that one of these is then the column's own spelling.
        own = [f for f in forms if not f.suffix] if zone else forms
        made = _stamp(case, type_name, why, (own or forms)[0], zoned, zone)
        return [with_options(made, respell=True)] if made else []
    keys = sorted({(f.digits, f.separator, f.suffix): f for f in forms}.items())
    candidates = (_stamp(case, type_name, why, f, zoned, zone) for _, f in keys)
    return [c for c in candidates if c is not None]


def has_local_texts(case: Case) -> bool:
    """Texts of moments without an offset: into timestamptz they need a zone (HAZARDS F7)."""
    return any(f.sound and f.separator and not f.suffix for f in case.facts.moments)


def has_offsets(case: Case) -> bool:
    forms = case.facts.moments or _text_forms(case)
    return any(f.sound and f.suffix for f in forms)


def _text_forms(case: Case) -> list[MomentForm]:
    """Of moments; one form at least."""
    forms = case.facts.moments
    if not case.facts.values and case.sample:
        forms = moment_forms([case.sample])
    found = [f for f in forms if f.sound and f.separator and f.digits <= 6]
    return found or [MomentForm(" ", 0, 0, 0, "", True, 0, "")]


def _stamp(
    case: Case, type_name: str, why: str, form: MomentForm, zoned: bool, zone: str | None
) -> ColumnPlan | None:
    made = case.plan(
        type_name,
        "timestamp_text",
        why,
        separator=form.separator,
        fraction=form.digits,
        suffix=form.suffix,
        zoned=zoned,
    )
    if zone and not form.suffix:
        made = with_options(made, zone=zone)
    if case.choice.infinity:
        made = with_options(made, infinity=True)
    try:
        codec_for(made)
    except ConfigError:
        if case.choice.zone or not form.suffix:
            raise  # a zone that there is not
        return None  # an offset that no clock has
    return made


def dates(case: Case, type_name: str, why: str) -> ColumnPlan:
    made = case.plan(type_name, "date_text", why)
    return with_options(made, infinity=True) if case.choice.infinity else made


def times(case: Case, type_name: str, why: str) -> list[ColumnPlan]:
    """HH:MM:SS with the digits that the texts show."""
    found = {len(s.partition(".")[2]) for s in (case.facts.min_text, case.facts.longest_text) if s}
    return [case.plan(type_name, "time_text", why, fraction=n) for n in sorted(found or {0}) if n <= 6]


# ---- numbers -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Units:
    """What the first and the last number count, if they are moments: both the same, or which ones."""

    common: str | None
    seen: frozenset[str]


def units(facts: ColumnProfile) -> Units:
    """0 fits every unit, and so does NULL."""
    ends = (facts.min_integer, facts.max_integer, facts.min_real, facts.max_real)
    seen = {_unit(v) for v in ends if v is not None and v != 0}
    return Units(seen.pop() if len(seen) == 1 else None, frozenset(u for u in seen if u))


def detect_unit(facts: ColumnProfile) -> str | None:
    """The unit of epoch integers, when first and last agree on one (HAZARDS F4)."""
    return units(facts).common


def look_like_julian_days(facts: ColumnProfile) -> bool:
    if facts.min_real is None or facts.max_real is None:
        return False
    return facts.min_real >= _FIRST_JULIAN_DAY and facts.max_real <= _LAST_JULIAN_DAY


def made_epochs(case: Case) -> list[ColumnPlan]:
    """For a type that turnback chooses: its precision is the unit's, so that PostgreSQL never holds a moment
    that the SQLite column cannot.
    """
    unit = case.choice.unit or units(case.facts).common
    if unit is None:
        return []
    why = f"declared a moment, counted in {unit}"
    if case.facts.reals:
        if unit == "us":
            return []
        return [case.plan(TIMESTAMPTZ, "epoch_real", f"{why}, as reals", unit=unit, zoned=True)]
    own = _EPOCH_DIGITS[unit]
    type_name = TIMESTAMPTZ if own == 6 else f"timestamp({own}) with time zone"
    return [case.plan(type_name, "epoch", why, unit=unit, zoned=True)]


def met_epochs(case: Case, type_name: str, *, zoned: bool, digits: int) -> list[ColumnPlan]:
    """For a type that is there. Where it is finer than the unit, `truncate` counts a moment as the unit that
    it lies in, and the plan shows it.
    """
    unit = case.choice.unit or units(case.facts).common or (None if case.facts.values else case.unit)
    if unit is None:
        return []
    if case.facts.reals:
        if unit == "us":
            return []
        why = f"the PostgreSQL column's type; reals counted in {unit}"
        return [case.plan(type_name, "epoch_real", why, unit=unit, zoned=zoned)]
    why = f"the PostgreSQL column's type; integers counted in {unit}"
    found = case.plan(type_name, "epoch", why, unit=unit, zoned=zoned)
    return [with_options(found, truncate=True) if digits > _EPOCH_DIGITS[unit] else found]


def in_smallest_unit(case: Case, type_name: str) -> ColumnPlan | None:
    """Of mixed units: what it does not carry counts another one."""
    unit = next((u for u in _EPOCH_DIGITS if u in units(case.facts).seen), None)
    if unit is None or case.facts.reals:
        return None
    zoned = type_name.endswith("with time zone")
    return case.plan(type_name, "epoch", "", unit=unit, zoned=zoned, truncate=True)


def intervals(case: Case, type_name: str, why: str) -> list[ColumnPlan]:
    """Integers of a known unit, or text that counts from 1970-01-01 as SQLAlchemy writes it."""
    classes = case.facts.classes
    if classes == {"text"} or (not classes and case.affinity not in NUMERIC_AFFINITIES):
        return [case.plan(type_name, "interval", f"{why}; texts from 1970-01-01 on", form="epoch_text")]
    unit = case.choice.unit or case.interval_unit
    if classes <= {"integer"} and unit:
        return [case.plan(type_name, "interval", f"{why}; integers counted in {unit}", form=unit)]
    return []


def _unit(value: float) -> str | None:
    """Seconds cover 1973 to 2286, and the finer units the same years times 1000."""
    for unit, factor in (("s", 1), ("ms", 1_000), ("us", 1_000_000)):
        if 100_000_000 * factor <= abs(value) < 10_000_000_000 * factor:
            return unit
    return None
