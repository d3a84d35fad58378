"""What a guard has to live through: its own kill -9, a full disk, metrics that are no metrics."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guarded import METRICS, Guarded

SEED = 20261123


@pytest.mark.parametrize(
    "seed", [SEED, *(pytest.param(SEED + n, marks=pytest.mark.long) for n in range(1, 6))]
)
def test_killed_at_any_moment_of_a_trigger_it_rolls_back_once(guarded, seed: int) -> None:
    dice = random.Random(seed)
    g: Guarded = guarded()
    g.to_postgres()
    g.execute("REVOKE INSERT ON users, jobs, job_history FROM app")
    g.wait_verdict("error-rate", lambda v: v["outcome"] == "breach", "the breach is seen")
    killed = 0
    while killed < 4:
        time.sleep(dice.uniform(0.2, 2.0))
        killed += g.kill_guard()
    g.assert_rolled_back("error-rate", "medium")
    assert g.ended == killed


@pytest.mark.long  # in make test: test_probe_http.py and test_watch_*.py
def test_metrics_that_are_no_metrics_are_told_and_health_still_counts(guarded) -> None:
    g: Guarded = guarded({"guard": {"blind_after": 4, "metrics": {"max_bytes": 300_000}}})
    g.to_postgres()
    for number, how in enumerate(("garbage", "huge", "silent"), 1):
        g.gateway.break_(METRICS, how)
        g.wait_verdict("error-rate", lambda v: v["outcome"] == "error", f"{how}: the probe broke")
        if number == 1:
            g.wait_until(lambda: g.decisions("page"), lambda: f"a page\n{g.told()}")
            page = g.decisions("page")[0]
            assert "metrics" in page["reason"], page
            g.wait_until(lambda: "metrics" in g.hook.text(), g.hook.text)
        g.gateway.mend(METRICS)
        g.wait_verdict("error-rate", lambda v: v["outcome"] in ("ok", "no_data"), "it sees again")
    g.gateway.break_(METRICS, "garbage")
    g.wait_verdict("error-rate", lambda v: v["outcome"] == "error", "blind again")
    assert g.rollbacks() == [] and len(g.records("guard_started")) == 1
    (g.folder / "broken").touch()
    g.kill_application()
    g.assert_rolled_back("application-health")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system to fill")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "none", folder], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.long  # in make test: test_watching.py, with a journal that is full
def test_a_full_disk_holds_it_back_and_room_lets_it_act(small_disk: Path, guarded) -> None:
    """What cannot be journalled is not done; it is told, and done as soon as there is room."""
    g: Guarded = guarded(
        {
            "state": {"folder": str(small_disk / "state")},
            "guard": {"trace_bytes": 1_000_000, "notify": {"repeat_seconds": 5}},
        }
    )
    g.to_postgres()
    filler = small_disk / "filler"
    fill(filler)
    guard = g.guard_pid()
    (g.folder / "broken").touch()
    g.kill_application()
    g.wait_until(lambda: "disk" in g.hook.text(), lambda: f"told: {g.hook.text()}\n{g.told()}")
    assert g.guard_pid() == guard and g.rollbacks() == []
    filler.unlink()
    g.assert_rolled_back("application-health")


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
