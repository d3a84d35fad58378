"""What capture says of itself by the clock that never jumps: the last contact, the last check of the file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import patience
from capturing import Both, column, table
from turnback.app import capture as capturing
from turnback.core.plan import Plan

PLAN = Plan("create", "public", (table("t", ("id",), column("id", "integer", "INTEGER")),))


@pytest.fixture
def both(database: Any, tmp_path: Path) -> Iterator[Both]:
    made = Both(
        database,
        tmp_path,
        PLAN,
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
        "CREATE TABLE t (id bigint PRIMARY KEY)",
    )
    made.open_up()
    yield made


def until(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience.SECONDS
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_sound_check_and_the_last_contact_have_their_moment(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "CHECK_SECONDS", (0.05, 60.0))
    began = time.monotonic()
    with both.capturing(check_file=lambda stopping: []) as capture:
        until(
            lambda: capture.status().checked_at is not None and capture.status().contact_monotonic is not None
        )
        status = capture.status()
    assert status.checked_at is not None and status.contact_monotonic is not None
    assert (
        began < status.checked_at < time.monotonic() and began < status.contact_monotonic < time.monotonic()
    )


def test_a_check_that_was_cut_short_or_found_something_is_none(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "CHECK_SECONDS", (0.05, 60.0))
    begun: list[bool] = []

    def until_stopped(stopping: Callable[[], bool]) -> list[str]:
        begun.append(True)
        while not stopping():
            time.sleep(0.01)
        return []

    with both.capturing(check_file=until_stopped) as capture:
        until(lambda: bool(begun))
    assert capture.status().checked_at is None
    with both.capturing(check_file=lambda stopping: ["row 3 missing from index"]) as capture:
        until(lambda: capture.status().lost)
        assert capture.status().checked_at is None
