"""--dry-run shows each step with its commands and SQL, and does nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_app import Bench


@pytest.fixture
def bench(tmp_path: Path, database) -> Iterator[Bench]:
    made = Bench(tmp_path / "b", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}")
    try:
        yield made
    finally:
        made.stop_guard()


def shown(bench: Bench, *words: str) -> dict[str, str]:
    steps = json.loads(bench.turnback(*words, "--dry-run", "--json").stdout)["steps"]
    return {s["step"]: "\n".join(s["runs"]) for s in steps}


def test_each_command_shows_what_it_would_run_and_runs_nothing(bench: Bench, database) -> None:
    admin = database.connect()
    bench.ok("assess")
    migrate = shown(bench, "migrate")
    assert 'CREATE TABLE "public"."person"' in migrate["prepare_schema"]
    assert "PRIMARY KEY" in migrate["build_constraints"]
    assert admin.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    assert bench.ok("status")["phase"] == "planned"
    bench.ok("migrate")
    cutover = shown(bench, "cutover")
    assert "RAISE(ABORT" in cutover["fence_sqlite"]
    assert "CREATE PUBLICATION" in cutover["create_publication"]
    assert "CREATE_REPLICATION_SLOT" in cutover["create_slot"]
    assert admin.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)
    bench.ok("cutover", "--yes")
    rollback = shown(bench, "rollback")
    assert "LOCK TABLE" in rollback["fence_postgres"] and "ENABLE ALWAYS TRIGGER" in rollback["fence_postgres"]
    assert bench.ok("status")["phase"] == "on_postgres"
    database.connect(app=True).execute("INSERT INTO public.team (id, name) VALUES (77, 'still open')")
    bench.ok("rollback", "--yes")


def test_a_dry_run_in_the_wrong_phase_is_refused_as_the_command_would_be(bench: Bench) -> None:
    assert "turnback assess" in bench.refused("rollback", "--dry-run", status=2)
