"""The benchmarks run, with tiny sizes, and give their report's shape. Nothing here is a time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import __main__ as command
from benchmarks import capture, comparison, load, rollback
from benchmarks.rollback import Rollback

AGAINST = {"rows", "rows_per_second", "floor_rows_per_second", "ratio"}


@pytest.mark.parametrize("benchmark", [load, comparison])
def test_copy_and_comparison(benchmark):
    found = benchmark.run(narrow=200, wide=50, times=1)
    assert {name: part["rows"] for name, part in found.items()} == {"narrow": 200, "wide": 50}
    assert all(part.keys() == AGAINST and min(part.values()) > 0 for part in found.values())


def test_capture():
    found = capture.run(per_second=100, run_seconds=0.5, backlog=500, times=1)
    assert found["catching_up"].keys() == AGAINST
    assert 0 < found["steady"]["p50_ms"] <= found["steady"]["p99_ms"]
    assert 0 < found["steady"]["transactions_per_second"] < 200


@pytest.mark.long
def test_rollback_of_two_sizes():
    found = rollback.run(small=100, large=300, times=1, large_times=1, per_second=40, seconds=1.0)
    for size, rows in (("small", 100), ("large", 300)):
        (there_and_back,) = found["runs"][size]
        assert there_and_back["rows"] == rows
        assert there_and_back["verified"] is True
        assert there_and_back["acknowledged"] > 0
        assert there_and_back["silence"] > 0
        assert sum(there_and_back["steps"][s] for s in rollback.WINDOW) <= there_and_back["rto"] + 0.5
    assert found["steps"].keys() == set(rollback.WINDOW)


@pytest.mark.parametrize(("large_rto", "met"), [(2.9, True), (3.1, False), (20.0, False)])
def test_the_goal_is_a_ratio(large_rto, met):
    def one(rows, rto):
        return Rollback(rows, 1.0, 10, rto, rto, rto, True, dict.fromkeys(rollback.WINDOW, 0.1), {})

    found = rollback.report({"small": [one(10, 2.0)], "large": [one(20, large_rto)]}, 10, 20)
    assert (found["met"], found["rto_ratio"]) == (met, large_rto / 2)


def test_both_slow_is_not_met():
    slow = Rollback(10, 1.0, 10, 11.0, 11.0, 11.0, True, dict.fromkeys(rollback.WINDOW, 0.1), {})
    assert not rollback.report({"small": [slow], "large": [slow]}, 10, 20)["met"]


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["everything"])
    assert stopped.value.code == 2
    assert "everything" in capsys.readouterr().err
