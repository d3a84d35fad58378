"""What `verify --sample` takes for the same, at the ends of what Python can hold."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from turnback.core.independent import same
from turnback.core.plan import ColumnPlan


@pytest.mark.parametrize(
    ("unit", "count", "micro"),
    [("s", 253402300799, 0), ("ms", 253402300799999, 999000), ("s", 253402300799, 7)],
)
def test_an_epoch_in_the_last_second_of_9999_is_judged(unit: str, count: int, micro: int) -> None:
    options = {"unit": unit, "zoned": True, "truncate": True}
    column = ColumnPlan("c", "c", "timestamp with time zone", "epoch", options, "INTEGER")
    found = datetime(9999, 12, 31, 23, 59, 59, micro, tzinfo=UTC)
    assert same(column, count, found) is True
    assert same(column, count - 1, found) is False
