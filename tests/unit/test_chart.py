"""The chart of a report: whatever was sampled, it is well-formed, and nothing leaves the frame."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from turnback.entrypoints.pages import render
from turnback.entrypoints.pages.chart import HEIGHT, WIDTH, Chart, chart

UTC = "2026-11-23T05:41:07+00:00"

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18)
samples = st.fixed_dictionaries(
    {
        "title": st.text(),
        "unit": st.sampled_from(["share", "seconds", "checks", "connections", "lines", ""]) | st.text(),
        "points": st.lists(
            st.tuples(st.floats(-1e9, 1e9, allow_nan=False), st.none() | numbers), max_size=60
        ),
        "limit": st.none() | numbers,
        "baseline": st.none() | numbers,
        "since": st.none() | st.floats(-1e9, 1e9, allow_nan=False),
        "at": st.none() | st.floats(-1e9, 1e9, allow_nan=False),
        "utc": st.sampled_from([UTC, "2026-11-23T05:41:07Z", "9999-12-31T23:59:59+00:00", "nonsense", ""]),
    }
)


@settings(max_examples=300, deadline=None)
@given(samples)
@example({"title": "\x00<script>\ud800", "unit": "share", "points": [(0.0, 5e-324), (1e-9, 0.0)], "limit": 5e-324, "baseline": None, "since": 0.0, "at": 0.0, "utc": UTC})  # fmt: skip
@example({"title": "", "unit": "checks", "points": [(1.0, 0)], "limit": 0, "baseline": 0, "since": None, "at": None, "utc": ""})  # fmt: skip
def test_any_samples_give_a_drawing_inside_its_frame(given_samples: dict[str, Any]) -> None:
    made = chart(given_samples)
    if made is None:
        assert not [v for _, v in given_samples["points"] if v is not None and abs(v) < 1e15]
        return
    root = ElementTree.fromstring(render("chart.html", chart=made))
    assert root.tag == "svg" and [child.tag for child in root][:2] == ["title", "desc"]
    left, right = made.left - 0.01, made.right + 0.01
    top, bottom = made.top - 0.01, made.bottom + 0.01
    drawn = [(float(c.get("cx", "nan")), float(c.get("cy", "nan"))) for c in root.iter("circle")]
    for line in root.iter("polyline"):
        drawn += [(float(x), float(y)) for x, y in (p.split(",") for p in line.get("points", "").split())]
    assert drawn, "values are there, so something is drawn"
    assert all(left <= x <= right and top <= y <= bottom for x, y in drawn)
    for tag, names in (("line", ("x1", "x2")), ("rect", ("x",)), ("text", ("x",))):
        for element in root.iter(tag):
            assert all(0 <= float(element.get(n, "nan")) <= WIDTH for n in names)
    for element in [*root.iter("text"), *root.iter("line")]:
        for name in ("y", "y1", "y2"):
            assert 0 <= float(element.get(name, "0")) <= HEIGHT + 0.01
    for band in root.iter("rect"):
        x, width = float(band.get("x", "nan")), float(band.get("width", "nan"))
        assert left <= x and width > 0 and x + width <= right + 2
    assert len(made.x_ticks) <= 9 and len(made.y_ticks) <= 14


def drawn(**more: object) -> Chart:
    plain: dict[str, Any] = {
        "title": "share of failed requests", "unit": "share", "limit": 0.05, "baseline": None, "since": None, "at": 390.0, "utc": UTC,
        "points": [[float(at), 0.01 if at < 60 else 0.08] for at in range(0, 400, 10)],
    }  # fmt: skip
    made = chart(plain | more)
    assert made is not None
    return made


def test_the_limit_the_baseline_and_the_breach_are_where_they_belong() -> None:
    made = drawn(since=60.0, baseline=0.01)
    assert made.limit is not None and made.limit.text == "limit 5 %"
    assert made.baseline is not None and made.baseline.text == "baseline 1 %"
    points = [tuple(map(float, p.split(","))) for p in made.lines[0].split()]
    low, high = points[0][1], points[-1][1]
    assert high < made.limit.y < low, "above the limit is higher up"
    assert abs(made.baseline.y - low) < 0.01
    assert made.breach is not None and abs(made.breach[0] - points[6][0]) < 0.01
    assert abs(made.breach[0] + made.breach[1] - points[-1][0]) < 0.01
    assert made.y_ticks[0].text == "0 %" and made.y_ticks[-1].text in ("8 %", "10 %")


def test_a_reading_without_data_leaves_a_gap_and_is_said() -> None:
    made = drawn(points=[[0, 0.1], [10, 0.1], [20, None], [30, None], [40, 0.1], [50, 0.1], [60, None], [70, 0.2]], at=70)  # fmt: skip
    assert len(made.lines) == 2 and made.gaps == 3
    assert len(made.dots) == 5, "the reading that stands alone has its dot"
    assert "3 readings without data" in made.description
    assert drawn(points=[[0, None], [1, 0.5]]).lines == ()


def test_times_are_round_moments_in_utc() -> None:
    made = drawn(at=390.0)  # 05:41:07 is the newest, the first is 6.5 minutes before
    assert made.day == "2026-11-23, UTC"
    assert [t.text for t in made.x_ticks] == ["05:35", "05:36", "05:37", "05:38", "05:39", "05:40", "05:41"]
    assert "40 readings from 05:34:37 to 05:41:07" in made.description
    night = drawn(points=[[0, 0.1], [4, 0.1]], at=4.0, utc="2026-11-23T00:00:02Z")
    assert [t.text for t in night.x_ticks] == [
        "23:59:58", "23:59:59", "00:00:00", "00:00:01", "00:00:02",
    ]  # fmt: skip
    assert drawn(utc="never").day == "seconds before the decision"


@pytest.mark.parametrize(
    ("unit", "values", "said"),
    [("seconds", [0.12, 0.48], "480 ms"), ("seconds", [1.5, 2.5], "2.500 s"), ("checks", [0, 5], "5"), ("connections", [3, 17], "17")],
)  # fmt: skip
def test_values_have_their_unit(unit: str, values: list[float], said: str) -> None:
    made = drawn(unit=unit, limit=None, points=[[i, v] for i, v in enumerate(values)])
    assert f"highest {said}" in made.description.replace("2.5 s", "2.500 s")


def test_labels_that_would_lie_on_each_other_are_moved_apart() -> None:
    made = drawn(limit=0.05, baseline=0.0499)
    assert made.limit is not None and made.baseline is not None
    assert abs(made.limit.label_y - made.baseline.label_y) >= 12.9


@pytest.mark.parametrize(
    "nothing", [{}, {"points": []}, {"points": [[1, None], [2, None]]}, {"points": [[1, True]]}]
)
def test_without_a_value_there_is_no_chart(nothing: dict[str, Any]) -> None:
    assert chart(nothing) is None
