"""Which plan a command acts by: the interrupted migrate's before an earlier one's, the file's before any migrate."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from bench_app import Bench
from turnback.core.phases import Intent
from turnback.core.plan import Plan
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup


def test_an_interrupted_second_migrate_goes_on_with_its_own_plan(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "b", "", "")
    first, second = Plan("create", "public", ()), Plan("create", "elsewhere", ())
    with closing(Setup(load(bench.folder / "turnback.toml"))) as setup:
        journal = setup.journal
        journal.append("assessed", {"plan": first.digest(), "schema": "s"})
        for intent in (Intent.MIGRATE, Intent.CUTOVER, Intent.ROLLBACK):
            options = {"plan": setup.record_plan(first)}
            journal.append("run_started", {"intent": intent.value, "options": options}, run=intent.value)
            journal.append("run_ended", {"outcome": "done"}, run=intent.value)
        assert setup.plan() == first
        journal.append("assessed", {"plan": second.digest(), "schema": "s"})
        setup.config.plan_path.write_text(second.to_json())
        assert setup.plan() == second, "assessed anew: the file is what migrate will use"
        options = {"plan": setup.record_plan(second), "again": True}
        journal.append("run_started", {"intent": "migrate", "options": options}, run="again")
        setup.config.plan_path.write_text(first.to_json())
        assert setup.plan() == second, "under way: not the earlier migrate's, nor a file edited since"
