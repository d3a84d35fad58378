"""A rollback whose PostgreSQL is gone: started and waited for, and what is counted as lost when it stays away. And
the decision of a person's rollback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import Database
from mutants import Place
from mutants.move import Move
from turnback import __version__
from turnback.app.sides import Watched
from turnback.app.steps_rollback import _Rollback
from turnback.core.phases import Intent, Phase
from turnback.core.watch.verdict import Outcome, Readiness, ReadinessPart, Verdict
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.wiring import Setup
from turnback.errors import NotReady, PlatformError, ServerError, TurnbackError, WayBackLost


@pytest.fixture
def move(tmp_path: Path, durable_server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Move]:
    """On PostgreSQL, which is a server of this test's own."""
    database = Database("app", durable_server.admin_dsn(), durable_server.app_dsn())
    with Move(Place(tmp_path, database, monkeypatch)) as made:
        made.to_postgres()
        session = database.connect(app=True)
        made.write(session, 9001)
        database.close()
        made.world.server_wait_seconds = 1.0
        yield made


def caught_up(move: Move) -> None:
    """Until everything has arrived, and a little longer: the last contact is of now."""
    capture = move.world.capture
    assert capture is not None
    token = "all-of-it"
    assert capture.wait_for(token, move.world.postgres.emit_token(token), 20)
    for _ in range(200):
        if capture.status().lag_bytes == 0:
            return
        move.world.clock.sleep(0.05)
    raise AssertionError(capture.status())


def roll_back(move: Move, **options: Any) -> TurnbackError | None:
    try:
        move.engine.execute(Intent.ROLLBACK, {"plan": move.setup.record_plan(move.plan), **options})
    except TurnbackError as e:
        return e
    return None


def manifest(move: Move) -> dict[str, Any]:
    (path,) = move.world.sqlite.fallback.parent.glob("loss-manifest-*.json")
    value = json.loads(path.read_text())
    assert isinstance(value, dict)
    return value


def test_a_server_that_is_started_again_is_drained(move: Move, durable_server) -> None:
    started: list[bool] = []

    def start() -> None:
        started.append(True)
        durable_server.ensure_running()

    move.world.start_server = start
    move.world.server_wait_seconds = 20.0
    move.at("rollback.stop_application:effect", durable_server.stop)
    assert roll_back(move) is None
    run = move.last_run()
    assert run.done["fence_postgres"]["fenced"] is True and run.done["drain_to_fence"]["drained"] is True
    assert started == [True] and "loss_manifest" not in run.notes
    move.demand_none_lost()


def test_one_that_stays_away_is_waited_for_and_then_undone(move: Move, durable_server) -> None:
    started: list[bool] = []

    def start() -> None:
        started.append(True)
        raise PlatformError("the start command failed")

    move.world.start_server = start
    caught_up(move)
    durable_server.stop()
    begun = move.world.clock.monotonic()
    error = roll_back(move)
    assert isinstance(error, NotReady) and "last contact with lag 0" in str(error) and "s ago" in str(error)
    assert move.world.clock.monotonic() - begun >= 1.0 and started == [True]
    assert move.phase is Phase.ON_POSTGRES


def test_inside_the_rpo_it_goes_on_with_what_is_known(move: Move, durable_server) -> None:
    move.world.rpo_objective_seconds = 60.0
    caught_up(move)
    durable_server.stop()
    assert roll_back(move, automatic=True) is None
    told = manifest(move)
    assert 0 <= told["rpo_measured_seconds"] < 60 and told["accepted_by"] == "rpo_objective_seconds"
    assert told["last_applied_lsn"] in told["every_commit"]
    committed = datetime.fromisoformat(told["last_applied_commit_time"])
    assert abs((datetime.now(UTC) - committed).total_seconds()) < 120
    move.demand_none_lost()


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_was_set_makes_no_contact_younger(
    move: Move, durable_server, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Back: the steady clock says how long ago it was. Forward: the larger age counts, which is outside the RPO."""
    move.world.rpo_objective_seconds = 60.0
    caught_up(move)
    durable_server.stop()
    clock = type(move.world.clock)
    proper = clock.now
    monkeypatch.setattr(clock, "now", lambda self: proper(self) + timedelta(days=days))
    error = roll_back(move)
    if days > 0:
        assert isinstance(error, NotReady) and move.phase is Phase.ON_POSTGRES
    else:
        assert error is None and 0 <= manifest(move)["rpo_measured_seconds"] < 60


def test_a_clock_that_was_set_and_no_guard_of_this_boot_is_not_known(
    move: Move, durable_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contact in the future was taken for one of a moment ago."""
    move.world.rpo_objective_seconds = 60.0
    caught_up(move)
    assert move.world.capture is not None
    move.engine.release()
    monkeypatch.setattr(type(move.setup), "last_contact", lambda self: datetime.now(UTC) + timedelta(days=1))
    move.world.last_contact = move.setup.last_contact
    durable_server.stop()
    error = roll_back(move)
    assert isinstance(error, NotReady) and "not known: the clock was set" in str(error)


def test_another_server_at_the_same_address_has_none_of_the_writes(move: Move, database, durable_server) -> None:
    move.world.postgres = replace(
        move.world.postgres, admin_dsn=database.admin_dsn, app_dsn=database.app_dsn  # type: ignore[type-var]
    )
    error = roll_back(move)
    assert isinstance(error, NotReady) and move.phase is Phase.ON_POSTGRES
    assert roll_back(move, accept_loss=True) is None
    assert "another server answers" in manifest(move)["why"]
    assert move.engine.fence_late() is False, "the other server is not what has to be fenced"


def test_a_server_that_answers_again_is_fenced_and_keeps_no_wal(move: Move, durable_server) -> None:
    """Nobody would ever read that slot again, and it would fill the server's disk."""
    durable_server.stop()
    assert roll_back(move, accept_loss=True) is None and move.engine.state().not_fenced
    durable_server.ensure_running()
    assert move.setup.server.slot_facts() is not None
    assert move.engine.fence_late() is True
    assert move.setup.server.slot_facts() is None and not move.engine.state().not_fenced


def test_without_a_way_back_only_a_server_that_is_gone_is_left_behind(move: Move, durable_server) -> None:
    lost = {"why": "the slot is given up", "drop": False, "applied_lsn": "0/1000"}
    move.setup.journal.append("way_back_lost", lost)
    error = roll_back(move, accept_loss=True)
    assert isinstance(error, WayBackLost) and "PostgreSQL answers" in str(error)
    assert "stop_application" not in move.engine.state().runs[-1].started, "refused before anything was stopped"
    move.engine.release()
    durable_server.stop()
    error = roll_back(move)
    assert isinstance(error, WayBackLost) and "up to 0/1000" in error.hint and move.phase is Phase.ON_POSTGRES
    assert roll_back(move, accept_loss=True) is None
    assert move.phase is Phase.ON_SQLITE and manifest(move)["accepted_by"] == "--accept-loss"
    assert move.engine.state().way_back_lost is None


# ---- the decision of a person ----


def decisions(move: Move) -> list[Any]:
    return move.setup.journal.records(kind="decision")


def test_a_persons_rollback_is_a_decision_in_the_record(move: Move) -> None:
    seen = Watched(
        (Verdict("error-rate", Outcome.BREACH, 0.2, 0.05, False, 1.0, "20 % of 100 requests failed"),),
        Readiness(True, (ReadinessPart("slot", True, "reserved"),)),
    )
    move.world.watched = lambda: seen
    options = {"trigger": "integrity", "severity": "critical", "reason": "rows missing", "emergency": True}
    assert roll_back(move, **options, by="alice@host") is None
    (record,) = decisions(move)
    body, run = record.body, move.last_run()
    assert record.run == run.id and body["automatic"] is False and body["action"] == "rollback"
    assert (body["trigger"], body["severity"], body["reason"]) == ("integrity", "critical", "rows missing")
    assert body["emergency"] is True and body["objective_seconds"] == 300
    assert body["verdicts"] == [v.to_json() for v in seen.verdicts] and body["readiness"] == seen.readiness.to_json()
    done = run.done["record_decision"]
    assert done["decision"] == body["id"] and done["by"] == "alice@host" and done["version"] == __version__
    assert done["host"] and datetime.fromisoformat(done["utc"]).tzinfo is not None
    assert move.engine.state().latched is False, "a person may roll back as often as there is need"


def test_without_a_guard_readiness_is_not_known(move: Move) -> None:
    assert roll_back(move, by="alice@host") is None
    (record,) = decisions(move)
    assert (record.body["trigger"], record.body["severity"]) == ("by-hand", "medium")
    assert record.body["readiness"]["parts"][0]["detail"] == "not known: no guard runs"
    assert "alice@host gave no reason" in record.body["reason"]


def test_one_decision_when_the_step_is_interrupted_behind_its_record(move: Move) -> None:
    move.die_at("rollback.record_decision:before")
    open_run = move.engine.state().open_run
    assert open_run is not None
    _Rollback(move.world, open_run)._decide()
    run = move.engine.resume()
    assert run is not None and run.outcome == "done"
    assert len(decisions(move)) == 1 and run.done["record_decision"]["decision"] == decisions(move)[0].body["id"]


def test_the_rules_and_the_baseline_are_frozen_before_the_stop(move: Move) -> None:
    cutover = move.engine.state().last(Intent.CUTOVER)
    assert cutover is not None
    assert cutover.notes["rules"] == json.loads(json.dumps(move.world.rules.to_json()))
    assert "baseline" in cutover.notes
    records = move.setup.journal.records(run=cutover.id)
    frozen = next(r.sequence for r in records if r.kind == "note" and r.body["key"] == "rules")
    stopped = next(r.sequence for r in records if r.kind == "step_started" and r.body["step"] == "stop_application")
    assert frozen < stopped


# ---- the embedded server ----


def test_an_embedded_server_whose_data_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """An empty server in its place would take the application's writes as if nothing had happened."""
    (tmp_path / "turnback.toml").write_text('[sqlite]\npath = "app.db"\n[state]\nallow_any_filesystem = true\n')
    setup = Setup(load(tmp_path / "turnback.toml"))
    try:
        before = setup.urls
        setup.journal.append("assessed", {"plan": "p", "schema": "s"})
        for number, intent in enumerate(("migrate", "cutover")):
            setup.journal.append("run_started", {"intent": intent, "options": {}}, run=f"{intent}-{number}")
            setup.journal.append("run_ended", {"outcome": "done"}, run=f"{intent}-{number}")
        embedded = setup.embedded
        assert embedded is not None and setup.state().phase is Phase.ON_POSTGRES
        embedded.stop()
        setup.keep_server()
        assert embedded.running(), "one that died is started again"
        embedded.stop()
        gone = embedded.data.with_name("gone")
        embedded.data.rename(gone)
        for act in (setup.keep_server, setup.start_server):
            with pytest.raises(ServerError, match="data is gone"):
                act()
        del setup.__dict__["urls"]
        assert setup.urls == before and not embedded.data.exists(), "a rollback finds its way without it"
        gone.rename(embedded.data)
        setup.start_server()
        assert embedded.running()
        embedded.remove()
    finally:
        setup.close()


def test_postgres_start_is_run_with_what_it_says_in_a_log_of_its_own(move: Move) -> None:
    section = move.setup.config.postgres
    object.__setattr__(section, "start", 'echo started; [ -z "$ADMIN_URL" ]')
    move.setup.start_server()
    log = move.setup.state_folder / "server.log"
    assert "started" in log.read_text() and log.stat().st_mode & 0o777 == 0o600
    object.__setattr__(section, "start", "echo no such server >&2; exit 3")
    with pytest.raises(PlatformError, match="no such server"):
        move.setup.start_server()
