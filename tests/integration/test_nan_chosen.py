"""The choice `nan` in a column that holds the text NaN already (HAZARDS R4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from assessing import assess_file, column, make_file
from turnback.core.choices import Choices, ColumnChoice, TableChoice


@pytest.mark.parametrize(
    ("values", "expected"),
    [("(1.5), ('NaN')", ("double precision", "real")), ("(1.5), ('not a number')", ("text", "affine"))],
)
def test_r4_reals_and_nan_become_double_precision_by_choice(
    tmp_path: Path, values: str, expected: tuple[str, str]
) -> None:
    path = make_file(
        tmp_path / "app.db",
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, v DOUBLE); INSERT INTO t (v) VALUES {values};",
    )
    found = assess_file(path, Choices({"t": TableChoice(columns={"v": ColumnChoice(nan=True)})}))
    assert column(found, "t", "v") == expected
