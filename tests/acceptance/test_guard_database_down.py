"""PostgreSQL is gone, in three ways: the way to it is cut, it was killed and comes back, its data is destroyed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from guarded import Guarded, Migrated, alive
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.core.lsn import Lsn, parse
from turnback.entrypoints.demo_judge import judge
from turnback.entrypoints.demo_traffic import TABLES, Attempt

Make = Callable[..., Guarded]


@pytest.fixture
def durable(durable_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Make]:
    """Guarded applications on a PostgreSQL of the test's own."""
    migrated = Migrated(tmp_path / "migrated", durable_server, "app")
    with ExitStack() as ending:

        def make(name: str, over: Mapping[str, Any]) -> Guarded:
            made = Guarded(tmp_path / name, migrated, name, over)
            ending.callback(made.close)
            return made

        yield make


@pytest.mark.parametrize(
    ("how", "application_only"),
    [
        ("cut", True),
        pytest.param("hang", True, marks=pytest.mark.long),
        pytest.param("cut", False, marks=pytest.mark.long),
    ],
)
def test_the_path_is_cut(guarded: Make, how: str, application_only: bool) -> None:
    """The application (or everything that uses its address) reaches PostgreSQL no more; the administrator does."""
    slow = {"error_rate": {"for_seconds": 60}}  # not what is tested
    g = guarded({"guard": {"triggers": slow}}, application_only=application_only)
    g.to_postgres()
    getattr(g.cable, how)()
    g.assert_rolled_back("database-health")
    run = g.rollbacks()[0]
    assert run.done["fence_postgres"]["fenced"] is True and run.done["drain_to_fence"]["drained"] is True
    assert run.done["validate"]["rpo_measured_seconds"] == 0


@pytest.mark.parametrize("restarted_by", ["its supervisor", pytest.param("turnback", marks=pytest.mark.long)])
def test_a_restart_is_waited_out_and_a_server_that_was_killed_is_drained_after_its_restart(
    durable: Make, durable_server: EmbeddedPostgres, restarted_by: str
) -> None:
    slow = {"interval_seconds": 1.5}
    over: dict[str, Any] = {
        "guard": {"database": slow, "server": slow, "triggers": {"error_rate": {"for_seconds": 60}}},
        "rollback": {"rpo_objective_seconds": 60, "server_wait_seconds": 20},
    }
    if restarted_by == "turnback":
        over["postgres"] = {"start": "touch asked-to-start"}  # the test is the one that starts it
    g = durable("restarted", over)
    g.to_postgres()
    durable_server.stop()
    durable_server.ensure_running()
    g.load.wait(20)
    g.wait_until(lambda: g.status()["capture"]["state"] == "streaming", "capture streams again")
    assert g.decisions() == []
    os.kill(postmaster(durable_server), signal.SIGKILL)
    g.wait_decision("rollback", "database-health")
    if restarted_by == "turnback":
        g.wait_until((g.folder / "asked-to-start").exists, "[postgres] start was run")
    else:
        time.sleep(1.5)
    durable_server.ensure_running()
    g.assert_rolled_back("database-health")
    run = g.rollbacks()[0]
    assert run.done["fence_postgres"]["fenced"] is True and not run.notes.get("loss_manifest")
    assert run.done["validate"]["rpo_measured_seconds"] == 0


@pytest.mark.long
def test_without_any_rpo_it_holds_until_the_server_is_back(
    durable: Make, durable_server: EmbeddedPostgres
) -> None:
    """The default: nothing may be lost, so nothing is stopped while PostgreSQL cannot be drained."""
    g = durable("held", {"guard": {"triggers": {"error_rate": {"for_seconds": 60}}}})
    g.to_postgres()
    served_by = g.application_pid()
    os.kill(postmaster(durable_server), signal.SIGKILL)
    held = g.wait_decision("hold", "database-health")
    assert "RPO" in held["held_back"], held
    durable_server.ensure_running()
    g.wait_until(
        lambda: g.decisions("resolved") or g.decisions("rollback"), lambda: f"it goes on\n{g.told()}"
    )
    if g.decisions("rollback"):
        g.assert_rolled_back("database-health")
        return
    g.load.wait(20)
    assert g.application_pid() == served_by and g.rollbacks() == []
    g.wait_until(lambda: g.status()["capture"]["state"] == "streaming", "capture streams again")
    assert g.ok("verify")["equal"] is True
    g.ok("rollback", "--reason", "the test")
    g.load.wait(10)
    g.assert_nothing_lost()


def test_its_data_is_destroyed_inside_and_outside_the_rpo(
    durable: Make, durable_server: EmbeddedPostgres
) -> None:
    """Inside: rolled back, and the manifest's position splits exactly what is there from what is missing. Outside
    (none is allowed): nothing is touched, and somebody is told.
    """
    quick = {"triggers": {"error_rate": {"for_seconds": 60}}, "notify": {"repeat_seconds": 60}}
    inside = durable(
        "inside", {"guard": quick, "rollback": {"rpo_objective_seconds": 60, "server_wait_seconds": 1}}
    )
    outside = durable("outside", {"guard": quick, "rollback": {"rpo_objective_seconds": 0}})
    outside.to_postgres(clients=1)
    inside.to_postgres()
    untouched = outside.application_pid()
    inside.execute("SELECT pg_create_logical_replication_slot('witness', 'test_decoding')")
    inside.load.wait(30)
    stop_walsender(inside)
    inside.load.wait(30)  # PostgreSQL has these, and nobody else
    inside.load.stop()
    commits = witnessed(inside)
    destroy(durable_server)

    run = inside.wait_rolled_back()
    decision = inside.wait_decision("rollback", "database-health")
    assert decision["readiness"]["lossy"] is True
    manifest = run.notes["loss_manifest"]
    position = parse(manifest["last_applied_lsn"])
    assert inside.phase() == "on_sqlite" and run.done["fence_postgres"]["fenced"] is False
    assert len(inside.rollbacks()) == 1
    inside.wait_until(inside.serving, "SQLite serves")
    inside.quiet()
    assert_split(inside, commits, position)

    held = outside.wait_decision("hold", "database-health")
    assert "RPO" in held["held_back"], held
    outside.wait_until(lambda: "RPO" in outside.hook.text(), lambda: f"told: {outside.hook.text()}")
    assert outside.rollbacks() == [] and outside.phase() == "on_postgres"
    assert outside.application_pid() == untouched and alive(untouched)
    assert outside.decisions("rollback") == []


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().splitlines()[0])


def destroy(server: EmbeddedPostgres) -> None:
    """Every process of the server, and its files."""
    main = psutil.Process(postmaster(server))
    processes = [main, *main.children(recursive=True)]
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass  # a session that has just ended
    psutil.wait_procs(processes, 10)
    shutil.rmtree(server.data)


def stop_walsender(g: Guarded) -> None:
    with closing(psycopg.connect(g.admin_dsn, autocommit=True)) as admin:
        row = admin.execute(
            "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [f"turnback_{g.name}"]
        ).fetchone()
    assert row is not None and row[0] is not None, "nobody streams"
    os.kill(row[0], signal.SIGSTOP)


def witnessed(g: Guarded) -> dict[str, Lsn]:
    """Where each write was committed, as PostgreSQL's own test_decoding tells: by token, or by `DELETE TABLE KEY`."""
    found: dict[str, Lsn] = {}
    pending: list[str] = []
    with closing(psycopg.connect(g.admin_dsn, autocommit=True)) as admin:
        rows = admin.execute(
            "SELECT lsn::text, data FROM pg_logical_slot_peek_changes('witness', NULL, NULL)"
        ).fetchall()
    for at, data in rows:
        if data.startswith("COMMIT"):
            found.update(dict.fromkeys(pending, parse(at)))
            pending.clear()
        elif deleted := re.match(r"table public\.(\w+): DELETE: (?:id|key)\[\w+\]:'?([^']*)'?$", data):
            pending.append(f"DELETE {deleted[1]} {deleted[2]}")
        elif token := re.search(r" token\[text\]:'([^']*)'", data):
            pending.append(token[1])
    return found


def assert_split(g: Guarded, commits: dict[str, Lsn], position: Lsn) -> None:
    """SQLite holds what was committed up to the position, and nothing that came after it."""

    def where(attempt: Attempt) -> Lsn | None:
        deleted = attempt.operation == "delete"
        return commits.get(f"DELETE {attempt.table} {attempt.key}" if deleted else attempt.token)

    told = [a for a in g.attempts() if a.outcome == "acknowledged"]
    beyond = [a for a in told if (where(a) or 0) > position]
    first = min(a.at for a in beyond)
    unseen = [a for a in told if where(a) is None and a.at > first]
    assert unseen == [], f"the witness has not seen {unseen}"
    assert len(beyond) >= 30, f"{len(beyond)} of {len(commits)} behind {position}"
    assert any(lsn <= position for lsn in commits.values()), "some came before"
    # The judge is told that what lies behind the position was refused: then none of it may be there.
    made = {(a.table, a.key) for a in beyond if a.operation == "create"}
    for path in g.traffic.glob("*.jsonl"):
        lines = [Attempt(**json.loads(line)) for line in path.read_text().splitlines()]
        for number, a in enumerate(lines):
            if a in beyond:
                key = None if (a.table, a.key) in made else a.key  # a row that was never made has no key
                lines[number] = dataclasses.replace(a, outcome="refused", key=key)
        path.write_text("".join(json.dumps(dataclasses.asdict(a)) + "\n" for a in lines))
    verdict = judge(g.database, g.traffic)
    assert (verdict.lost, verdict.duplicated, verdict.refused_present) == (0, 0, 0), verdict
    assert {a.table for a in beyond} <= {*TABLES, "job_history"}
