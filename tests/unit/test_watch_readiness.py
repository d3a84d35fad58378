"""Readiness, part by part; and without the server, as far as the RPO allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from observing import ENFORCE, GOOD, INTERVALS, Scene, check
from turnback.core.watch.verdict import Readiness, ReadinessPart

DAY = 86_400.0


def part(readiness: Readiness, name: str) -> ReadinessPart:
    return next(p for p in readiness.parts if p.name == name)


def after(**values: Any) -> Readiness:
    return Scene().run(60, **values).watch.readiness


def test_all_is_well() -> None:
    ready = after()
    assert ready.ready and not ready.lossy
    assert {p.name: p.ok for p in ready.parts} == {
        "server": True,
        "fallback": True,
        "verification": None,
        "integrity": None,
        "schema": True,
        "slot": True,
        "platform": None,
        "disk": True,
    }
    assert part(ready, "slot").age_seconds == 0.0
    assert "failed" not in part(ready, "server").detail


@pytest.mark.parametrize(
    ("values", "name", "says"),
    [
        ({"capture": {"state": "reconnecting"}}, "fallback", "capture is reconnecting"),
        ({"capture": {"state": "stopped", "error": "no room"}}, "fallback", "capture is stopped: no room"),
        ({"capture": {"lag_seconds": 60.1}}, "fallback", "60.1 s behind"),
        ({"capture": {"lost": True, "error": "the slot is gone"}}, "fallback", "lost: the slot is gone"),
        (
            {"capture": {"state": "stopped", "error": "schema drift: column a was dropped"}},
            "schema",
            "column a was dropped",
        ),
        ({"slot": {"wal_status": "unreserved"}}, "slot", "unreserved"),
        ({"slot": {"wal_status": "lost"}}, "slot", "lost"),
        ({"slot": {"wal_status": None}}, "slot", "no slot"),
        ({"slot": {"wal_status": "extended", "safe_wal_size": 0}}, "slot", "safe_wal_size is 0"),
        ({"disk": {"free_bytes": 99, "needed_bytes": 100}}, "disk", "99 bytes free, 100 needed"),
    ],
)
def test_each_part_blocks_and_says_why(values: dict[str, Any], name: str, says: str) -> None:
    ready = after(**values)
    assert not ready.ready
    assert part(ready, name).ok is False and says in part(ready, name).detail
    assert name in [p.name for p in ready.missing]


@pytest.mark.parametrize(
    "values",
    [
        {"capture": {"lag_seconds": 60.0}},
        {"slot": {"wal_status": "extended", "safe_wal_size": 1}},
        {"disk": {"free_bytes": 100, "needed_bytes": 100}},
    ],
)
def test_at_the_limit_it_is_ready(values: dict[str, Any]) -> None:
    assert after(**values).ready


@pytest.mark.parametrize(
    ("probe", "value", "ok"),
    [
        ("verification", {"equal": True, "age_seconds": 7 * DAY - 61, "what": "a full comparison"}, True),
        ("verification", {"equal": True, "age_seconds": 7 * DAY, "what": "a full comparison"}, False),
        ("verification", {"equal": False, "age_seconds": 5.0, "what": "a full comparison"}, False),
        ("integrity", {"ok": True, "detail": "quick_check: ok", "age_seconds": 5.0}, True),
        ("integrity", {"ok": False, "detail": "row 3 missing from index", "age_seconds": 5.0}, False),
        ("platform", {"ok": True, "detail": ""}, True),
        ("platform", {"ok": False, "detail": "no such unit"}, False),
    ],
)
def test_what_is_told_now_and_then(probe: str, value: dict[str, Any], ok: bool) -> None:
    scene = Scene()
    scene.give(probe, value)
    ready = scene.run(60).watch.readiness
    assert part(ready, probe).ok is ok and ready.ready is ok


def test_a_verification_grows_old_while_nobody_looks() -> None:
    scene = Scene()
    scene.give("verification", {"equal": True, "age_seconds": 7 * DAY - 100, "what": "a comparison"})
    assert scene.run(60).watch.readiness.ready
    assert not scene.run(60).watch.readiness.ready


@pytest.mark.parametrize("how", ["broken", "off"])
@pytest.mark.parametrize("probe", ["server", "capture", "slot", "disk"])
def test_a_probe_that_never_answered_blocks(probe: str, how: str) -> None:
    ready = Scene().run(60, **{how: [probe]}).watch.readiness
    name = "fallback" if probe == "capture" else probe
    says = "has given no answer yet" + (": made to fail" if how == "broken" else "")
    assert not ready.ready and part(ready, name).detail.endswith(says)


@pytest.mark.parametrize("probe", ["server", "capture", "slot", "disk"])
def test_what_was_known_long_ago_is_not_known(probe: str) -> None:
    scene = Scene().run(60).run(30, broken=[probe])
    assert scene.watch.readiness.ready
    scene.run(120, broken=[probe])
    name = "fallback" if probe == "capture" else probe
    assert not scene.watch.readiness.ready
    assert "not known for" in part(scene.watch.readiness, name).detail


def test_a_platform_that_was_asked_long_ago_is_not_known() -> None:
    scene = Scene(replace(ENFORCE, intervals=INTERVALS | {"platform": 10.0})).run(60)
    assert scene.watch.readiness.ready
    scene.run(150, broken=["platform"])
    assert part(scene.watch.readiness, "platform").ok is False and not scene.watch.readiness.ready


def test_what_nobody_looks_at_does_not_block() -> None:
    rules = replace(ENFORCE, intervals={"capture": 5.0, "application": 10.0})
    ready = Scene(rules).run(60).watch.readiness
    assert ready.ready and part(ready, "slot").ok is None and part(ready, "disk").ok is None


# ---- without the server --------------------------------------------------------------------------

AWAY: dict[str, Any] = {"server": check(False, "connection refused", step="connect")}


def gone(contact: float | None, rpo: float, **values: Any) -> Scene:
    """The server has been away for 20 s; the reading of capture is the newest, its contact `contact` ago."""
    scene = Scene(replace(ENFORCE, rpo_objective_seconds=rpo)).run(60)
    capture = {"state": "reconnecting", "contact_age_seconds": contact} | values.pop("capture", {})
    scene.run(20, **AWAY, capture=capture, broken=["slot", "postgres"], **values)
    return scene


@pytest.mark.parametrize(
    ("contact", "rpo", "ready"),
    [(12.0, 12.0, True), (12.1, 12.0, False), (0.4, 0.0, False), (0.0, 0.0, True)],
)
def test_the_last_contact_is_held_against_the_rpo(contact: float, rpo: float, ready: bool) -> None:
    scene = gone(contact, rpo)
    found = scene.watch.readiness
    assert found.ready is ready and found.lossy is ready
    assert part(found, "server").ok is False
    assert part(found, "slot").ok is True  # as last known
    assert [a for a, _ in scene.actions] == (["rollback"] if ready else ["hold"])


def test_the_page_says_how_long_ago_the_last_contact_was() -> None:
    scene = gone(12.0, 0.0)
    told = "PostgreSQL is unreachable; last contact with lag 0 was 12 s ago, RPO allows 0 s"
    assert part(scene.watch.readiness, "fallback").detail == told
    assert told in scene.decisions[0].reason


def test_the_contact_grows_older_though_nobody_reads_it() -> None:
    scene = gone(5.0, 30.0)
    assert scene.watch.readiness.ready
    scene.run(20, **AWAY, broken=["capture", "slot", "postgres"])
    assert scene.watch.readiness.ready
    scene.run(10, **AWAY, broken=["capture", "slot", "postgres"])
    assert not scene.watch.readiness.ready


def test_what_was_known_before_the_server_went_away_counts_as_long_as_the_rpo_allows() -> None:
    """Nothing can be newer: what is asked of the server cannot answer, capture only waits for it."""
    scene = gone(1.0, 3600.0).run(300, **AWAY, broken=["capture", "slot", "postgres"])
    ready = scene.watch.readiness
    assert ready.ready and ready.lossy and part(ready, "slot").ok is True and part(ready, "schema").ok is True


@pytest.mark.parametrize(
    "capture",
    [
        {"contact_age_seconds": None},
        {"lost": True},
        {"error": "schema drift: a table was dropped"},
    ],
)
def test_without_a_contact_or_with_a_lost_way_back_the_rpo_helps_nothing(capture: dict[str, Any]) -> None:
    scene = gone(1.0, 3600.0, capture=capture)
    assert not scene.watch.readiness.ready and [a for a, _ in scene.actions] == ["hold"]


def test_without_the_server_and_with_nothing_captured_there_is_no_way_back() -> None:
    scene = Scene(replace(ENFORCE, rpo_objective_seconds=3600.0)).run(60, broken=["capture"])
    scene.run(20, **AWAY, broken=["capture", "slot", "postgres"])
    assert not scene.watch.readiness.ready and scene.rollbacks == []
    assert "has given no answer yet" in part(scene.watch.readiness, "fallback").detail


def test_a_slot_that_was_lost_before_is_lost() -> None:
    scene = Scene(replace(ENFORCE, rpo_objective_seconds=3600)).run(60, slot={"wal_status": "lost"})
    scene.run(20, **AWAY, capture={"state": "reconnecting"}, broken=["slot"])
    assert not scene.watch.readiness.ready


def test_a_server_that_refuses_one_more_session_is_not_away_while_the_stream_goes_on() -> None:
    scene = Scene().run(60)
    scene.run(20, server=check(False, "too many connections", step="connect"))
    ready = scene.watch.readiness
    assert ready.ready and not ready.lossy
    assert "too many connections" in part(ready, "server").detail
    scene.run(5, off=["server"])  # a newer reading of the stream: it goes on, it did not begin anew
    assert scene.watch.readiness.ready and not scene.watch.readiness.lossy


def test_a_stream_that_says_nothing_proves_nothing() -> None:
    scene = Scene().run(60)
    scene.run(20, server=check(False, "timed out", step="read"), capture={"contact_age_seconds": 6.0})
    assert not scene.watch.readiness.ready


def test_a_server_that_cannot_write_can_be_drained() -> None:
    scene = Scene().run(60).run(20, server=check(False, "no room", step="write"))
    assert scene.actions == [("rollback", "database-health")]
    assert not scene.watch.readiness.lossy


def test_a_server_that_reads_and_cannot_write_is_not_away_however_old_the_contact_is() -> None:
    scene = Scene().run(60)
    scene.run(20, server=check(False, "no room", step="write"), capture={"contact_age_seconds": 600.0})
    assert scene.watch.readiness.ready and not scene.watch.readiness.lossy


@pytest.mark.parametrize("capture", ["never level", "not asked"])
def test_without_a_contact_nothing_proves_that_the_server_answers(capture: str) -> None:
    asked = {p: s for p, s in INTERVALS.items() if p != "capture" or capture != "not asked"}
    scene = Scene(replace(ENFORCE, intervals=asked, rpo_objective_seconds=3600.0)).run(60)
    scene.run(20, **AWAY, capture={"contact_age_seconds": None})
    assert not scene.watch.readiness.ready
    assert "PostgreSQL is unreachable" in part(scene.watch.readiness, "server").detail


def test_a_server_that_is_back_is_drained_where_the_application_s_database_check_still_fails() -> None:
    scene = gone(12.0, 0.0, database=False)
    assert [a for a, _ in scene.actions] == ["hold"]
    scene.run(10, database=False)
    assert [a for a, _ in scene.actions] == ["hold", "rollback"]
    assert not scene.decisions[1].readiness.lossy


def test_a_server_that_is_back_and_good_is_no_reason_any_more() -> None:
    scene = gone(12.0, 0.0)
    scene.run(60)
    assert [a for a, _ in scene.actions] == ["hold", "resolved"]


def test_nothing_captured_is_never_ready() -> None:
    rules = replace(ENFORCE, intervals={"application": 10.0})
    assert not Scene(rules).run(60).watch.readiness.ready
    assert set(GOOD) <= set(INTERVALS)


@pytest.mark.parametrize(
    "values",
    [
        {"capture": {"lag_seconds": float("nan")}},
        {"capture": {"lag_seconds": "0"}},
        {"capture": {"contact_age_seconds": float("nan")}},
        {"slot": {"wal_status": 7}},
        {"disk": {"free_bytes": None}},
    ],
)
def test_a_value_that_is_none_is_not_ready(values: dict[str, Any]) -> None:
    ready = after(**values)
    assert not ready.ready and any("gave no usable" in p.detail for p in ready.parts)
