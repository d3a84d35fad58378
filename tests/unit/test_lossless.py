"""The register of hazards is what the tests say, and none of its rows is empty."""

from __future__ import annotations

from pathlib import Path

import lossless

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lossless.md"


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text() == lossless.lossless(), "run `make lossless`"


def test_every_hazard_has_a_test() -> None:
    assert lossless.missing(lossless.shown()) == []


def test_every_marker_is_of_a_hazard_and_says_why_it_refuses() -> None:
    for one in lossless.shown():
        assert one.hazard in lossless.HAZARDS, one
        assert one.outcome in lossless.OUTCOMES and one.mode in ("", "create", "existing"), one
        assert one.why or one.outcome != "refused", one
