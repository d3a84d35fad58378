"""The log around a decision: the right lines, and none of the passwords in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnback.core.log_excerpt import MOST_LINES, around, masked, moment, newest

AT = datetime(2026, 11, 23, 5, 41, 7, tzinfo=UTC)
CET = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-11-23T05:41:07Z ERROR x", AT),
        ("2026-11-23 05:41:07,250 ERROR x", AT + timedelta(milliseconds=250)),
        ("[2026-11-23 06:41:07 +0100] [7] [INFO] x", AT),
        ("2026-11-23T05:41:07.123456789Z x", AT + timedelta(microseconds=123456)),
        ("2026-11-23 05:41:07 UTC x", AT),
        ("2026-11-23T00:41:07-05:00 x", AT),
        ("2026-13-23T05:41:07Z", None),
        ("2026-11-23T05:41:07+99:99", None),
        ("ERROR at 2026-11-23T05:41:07Z", None),
        ("", None),
    ],
)
def test_times_at_the_begin_of_a_line(line: str, expected: datetime | None) -> None:
    assert moment(line, UTC) == expected


def test_a_time_without_a_zone_is_this_machines() -> None:
    assert moment("2026-11-23 06:41:07 x", CET) == AT


def test_lines_around_the_moment_with_their_tracebacks() -> None:
    lines = [
        "2026-11-23T05:00:00Z long before", "  of long before", "2026-11-23T05:40:00Z near", "Traceback:", "  in f",
        "2026-11-23T05:41:16Z just after", "2026-11-23T05:42:00Z too late", "of that",
    ]  # fmt: skip
    found = around(lines, AT, UTC)
    assert found is not None and found[0] == [
        "2026-11-23T05:40:00Z near",
        "Traceback:",
        "  in f",
        "2026-11-23T05:41:16Z just after",
    ]
    assert "05:40:00" in found[1] and "05:41:16" in found[1]
    nothing = around(lines[:2], AT, UTC)
    assert nothing is not None and nothing[0] == [] and "none is near" in nothing[1]
    assert around(["no time", "none here"], AT, UTC) is None and around([], AT, UTC) is None
    many = around([f"2026-11-23T05:41:00Z {i}" for i in range(500)], AT, UTC)
    assert many is not None and len(many[0]) == MOST_LINES and many[0][-1].endswith(" 499")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("postgresql://app:s3cret@db/x failed", "postgresql://app:***@db/x failed"),
        ("host=db password=s3cret dbname=x", "host=db password=*** dbname=x"),
        ("{'password': 's3cret', 'user': 'a'}", "{'password': '***', 'user': 'a'}"),
        ('{"api_key":"s3cret"}', '{"api_key":"***"}'),
        ("PGPASSWORD=s3cret", "PGPASSWORD=***"),
        ("Authorization: Bearer s3cret-token", "Authorization: Bearer ***"),
        ("GET /x?token=s3cret&y=1", "GET /x?token=***&y=1"),
        ("http://host:8080/path is fine", "http://host:8080/path is fine"),
        ("bell\x07 and \x1b[31mred", "bell\ufffd and \ufffd[31mred"),
    ],
)
def test_what_must_not_be_shown(line: str, shown: str) -> None:
    assert masked(line) == shown and newest([line]) == [shown]


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_line_can_be_shown(line: str) -> None:
    text = masked(line)
    text.encode()
    assert "\x1b" not in text and "\x00" not in text and masked(text) == text
