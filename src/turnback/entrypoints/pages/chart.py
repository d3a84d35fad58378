"""A chart of what a trigger looked at: values over time, the limit, the baseline, the breach. SVG, no script.

Made to be read on paper without colours: the value is a solid line with dots, the limit is dashed, the
baseline dotted, both labelled where they end, and the breach is a shaded band with its name in it. Readings
without data leave a gap.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

WIDTH, HEIGHT = 720.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 118.0, 18.0, 40.0  # room for the axes' words and the lines' labels
MOST_DOTS = 60  # more readings are a line alone
TIME_STEPS = (
    0.1,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    21600,
    43200,
    86400,
)
MOST_TICKS = 7
LABEL_APART = 13.0  # px between two labels at the right

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")  # XML has no way to write these


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line with its label at the right; `label_y` keeps labels apart."""

    y: float
    label_y: float
    text: str


@dataclass(frozen=True, slots=True)
class Tick:
    position: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Geometry in px of a WIDTH x HEIGHT drawing, and its texts."""

    title: str
    description: str
    unit: str
    lines: tuple[str, ...]  # "x,y x,y ...", one per stretch without a gap
    dots: tuple[tuple[float, float], ...]
    gaps: int
    limit: Rule | None
    baseline: Rule | None
    breach: tuple[float, float] | None  # x, width
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    day: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


def chart(samples: Mapping[str, Any]) -> Chart | None:
    """Of a decision's samples (Watch.samples gives their shape). None where they hold no value at all."""
    points = [
        (float(at), _finite(value)) for at, value in samples.get("points", ()) if _finite(at) is not None
    ]
    points.sort(key=lambda p: p[0])
    values = [v for _, v in points if v is not None]
    if not values:
        return None
    unit = str(samples.get("unit") or "")
    limit, baseline = _finite(samples.get("limit")), _finite(samples.get("baseline"))
    first, last = points[0][0], points[-1][0]
    shown = [*values, *(v for v in (limit, baseline) if v is not None)]
    low, high = min(0.0, *shown), max(0.0, *shown)
    y_ticks = _value_ticks(low, high, whole=_counts(unit))
    low, high = min(low, y_ticks[0]), max(high, y_ticks[-1])
    x = _Scale(first, last, LEFT + 6, WIDTH - RIGHT - 6)
    y = _Scale(low, high, HEIGHT - BOTTOM, TOP)
    clock = _Clock(samples, last)
    stretches = list(_stretches(points))
    drawn = [[(round(x(at), 2), round(y(v), 2)) for at, v in s] for s in stretches]
    alone = [p for s in drawn if len(s) == 1 for p in s]
    since = _finite(samples.get("since"))
    title = _clean(samples.get("title") or "What the trigger looked at")
    gaps = sum(1 for _, v in points if v is None)
    rules = _rules(y, unit, limit, baseline)
    return Chart(
        title=title,
        description=_description(title, unit, points, values, limit, baseline, clock),
        unit=_clean(_UNITS.get(unit, unit)),
        lines=tuple(" ".join(f"{px},{py}" for px, py in s) for s in drawn if len(s) > 1),
        dots=tuple(p for s in drawn for p in s)
        if len(values) <= MOST_DOTS or _counts(unit)
        else tuple(alone),
        gaps=gaps,
        limit=rules.get("limit"),
        baseline=rules.get("baseline"),
        breach=_breach(x, since, first, last),
        x_ticks=tuple(Tick(round(x(at), 2), text) for at, text in clock.ticks(first, last)),
        y_ticks=tuple(Tick(round(y(v), 2), _number(v, unit, y_ticks)) for v in y_ticks),
        day=clock.day(first),
    )


# ---- axes ----------------------------------------------------------------------------------------

_UNITS = {"share": "share of requests", "seconds": "seconds"}


def _counts(unit: str) -> bool:
    return unit not in ("share", "seconds")


class _Scale:
    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._span = low, high - low
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """Never outside start and end: what rounding does to extreme values must not leave the frame."""
        if not self._span or not math.isfinite(self._span):
            return (self._start + self._end) / 2
        share = min(1.0, max(0.0, (value - self._low) / self._span))
        return self._start + share * (self._end - self._start)


def _value_ticks(low: float, high: float, *, whole: bool) -> list[float]:
    """About four round numbers over what is shown, 0 among them."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low] if span <= 0 and low else ([0.0, 1.0] if span <= 0 else [low, high])
    raw = span / 4
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 1e-300 else 1e-300
    step = next((m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw), 10 * power)
    if whole:
        step = max(1.0, math.ceil(step))
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = [i * step for i in range(first, min(last, first + 12) + 1)]
    return [t for t in ticks if math.isfinite(t)] or [low, high]


class _Clock:
    """Turns the clock that never jumps into UTC, by the newest point's moment."""

    def __init__(self, samples: Mapping[str, Any], last: float) -> None:
        at = _finite(samples.get("at"))
        self._zero_at = last if at is None else at
        try:
            utc = datetime.fromisoformat(str(samples.get("utc")).replace("Z", "+00:00"))
        except ValueError:
            utc = None
        self._utc = utc.astimezone(UTC) if utc is not None and utc.tzinfo is not None else None

    def moment(self, at: float) -> datetime | None:
        try:
            return self._utc + timedelta(seconds=at - self._zero_at) if self._utc is not None else None
        except OverflowError:
            return None

    def text(self, at: float, *, seconds: bool, tenths: bool = False) -> str:
        moment = self.moment(at)
        if moment is None:
            return f"{at - self._zero_at:+.{int(tenths)}f} s"
        if tenths:
            return moment.strftime("%H:%M:%S.%f")[:-5]
        return moment.strftime("%H:%M:%S" if seconds else "%H:%M")

    def day(self, at: float) -> str:
        moment = self.moment(at)
        return "seconds before the decision" if moment is None else moment.strftime("%Y-%m-%d, UTC")

    def ticks(self, first: float, last: float) -> Iterator[tuple[float, str]]:
        """At round moments of the clock on the wall."""
        span = last - first
        begin = self.moment(first)
        step = next((s for s in TIME_STEPS if span / s <= MOST_TICKS), None)
        if not span or step is None or begin is None:
            for at in dict.fromkeys((first, last)):
                yield at, self.text(at, seconds=True)
            return
        midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
        into = (begin - midnight).total_seconds()
        number = math.ceil(into / step - 1e-9)
        while (at := first + number * step - into) <= last:
            yield max(first, at), self.text(at + 1e-6, seconds=step < 60, tenths=step < 1)
            number += 1


def _breach(x: _Scale, since: float | None, first: float, last: float) -> tuple[float, float] | None:
    if since is None or since > last:
        return None
    begin = x(max(since, first))
    end = x(last) if last > first else WIDTH - RIGHT - 6
    return round(begin, 2), round(max(2.0, end - begin), 2)


def _rules(y: _Scale, unit: str, limit: float | None, baseline: float | None) -> dict[str, Rule]:
    """The two labels at the right are moved apart where their lines lie close together."""
    rules: dict[str, Rule] = {}
    for name, value in (("limit", limit), ("baseline", baseline)):
        if value is not None:
            at = round(y(value), 2)
            rules[name] = Rule(at, at, f"{name} {_number(value, unit, ())}")
    if len(rules) == 2 and abs(rules["limit"].y - rules["baseline"].y) < LABEL_APART:
        upper, lower = sorted(rules, key=lambda n: (rules[n].y, n != "limit"))
        top, bottom = TOP + 4, HEIGHT - BOTTOM
        middle = (rules[upper].y + rules[lower].y) / 2
        middle = min(max(middle, top + LABEL_APART / 2), bottom - LABEL_APART / 2)
        for name, shift in ((upper, -LABEL_APART / 2), (lower, LABEL_APART / 2)):
            rules[name] = Rule(rules[name].y, middle + shift, rules[name].text)
    return rules


# ---- values and words ----------------------------------------------------------------------------


def _stretches(points: Sequence[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    """Readings one after the other that have a value."""
    stretch: list[tuple[float, float]] = []
    for at, value in points:
        if value is not None:
            stretch.append((at, value))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _finite(value: object) -> float | None:
    """A number that can be drawn, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e15 else None


def _number(value: float, unit: str, beside: Sequence[float]) -> str:
    """With its unit, and as many digits as the numbers beside it need."""
    if unit == "share":
        return f"{_short(value * 100, [b * 100 for b in beside])} %"
    if unit == "seconds":
        small = max((abs(b) for b in (*beside, value)), default=0.0) < 1
        scaled = [b * 1000 for b in beside] if small else list(beside)
        return f"{_short(value * (1000 if small else 1), scaled)} {'ms' if small else 's'}"
    return _short(value, beside)


def _short(value: float, beside: Sequence[float]) -> str:
    for digits in range(4):
        if all(math.isclose(b, round(b, digits), abs_tol=1e-9) for b in (*beside, value)):
            return f"{value + 0.0:.{digits}f}"
    return f"{value:.3g}"


def _description(
    title: str,
    unit: str,
    points: Sequence[tuple[float, float | None]],
    values: Sequence[float],
    limit: float | None,
    baseline: float | None,
    clock: _Clock,
) -> str:
    """For who cannot see the drawing."""
    begin, end = (clock.text(p[0], seconds=True) for p in (points[0], points[-1]))
    said = [
        f"{title}: {len(points)} readings from {begin} to {end}",
        f"lowest {_number(min(values), unit, ())}, highest {_number(max(values), unit, ())}, "
        f"last {_number(values[-1], unit, ())}",
    ]
    if limit is not None:
        said.append(f"limit {_number(limit, unit, ())}")
    if baseline is not None:
        said.append(f"baseline {_number(baseline, unit, ())}")
    if missing := len(points) - len(values):
        said.append(f"{missing} readings without data")
    return "; ".join(said) + "."


def _clean(text: object) -> str:
    return _UNSEEN.sub("\ufffd", str(text))
