"""ports.Probe, over every probe: JSON with the keys that core.watch.observation names, or ProbeError, in time."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conftest import Database
from hostile_http import Hostile, hostile
from metrics_pages import NAMES
from turnback.adapters.clock import SystemClock
from turnback.adapters.journal import SqliteJournal
from turnback.adapters.postgres.own_probe import ServerProbe
from turnback.adapters.postgres.view import ActivityProbe, SlotProbe
from turnback.adapters.probes.http_check import HttpCheck, Synthetic
from turnback.adapters.probes.log import LogErrors
from turnback.adapters.probes.machine import Available, Disk, Processes
from turnback.adapters.probes.metrics_query import MetricsQuery
from turnback.adapters.probes.metrics_text import MetricsText
from turnback.app.capture import CaptureStatus
from turnback.app.own_probes import CaptureProbe, IntegrityProbe, Proof, VerificationProbe
from turnback.core.watch.observation import Observation
from turnback.errors import DiskFull, PlatformError, ProbeError, ProofFailed
from turnback.ports import Probe

SECRET = "s3cret-of-a-test"
SECONDS = 0.6
SLACK = 30.0

# What core.watch.observation says that each value holds.
CHECK = {"ok": bool, "detail": str, "seconds": float}
KEYS: dict[str, dict[str, object]] = {
    "application": CHECK,
    "synthetic": CHECK,
    "server": CHECK | {"step": str},
    "metrics": {"requests": list, "latencies": list, "pool": list, "causes": list},
    "postgres": {
        "connections": int,
        "max_connections": int,
        "role_connections": int,
        "role_limit": (int, type(None)),
        "waiting": int,
        "oldest_transaction_seconds": float,
        "deadlocks": int,
    },
    "slot": {"wal_status": (str, type(None)), "safe_wal_size": (int, type(None)), "retained_bytes": int},
    "capture": {
        "state": str,
        "lag_bytes": int,
        "lag_seconds": float,
        "contact_age_seconds": (float, type(None)),
        "lost": bool,
        "warning": (str, type(None)),
        "error": (str, type(None)),
    },
    "disk": {"free_bytes": int, "needed_bytes": int},
    "log": {"errors": int, "lines": list},
    "process": {"starts": int, "exits": int, "started": bool},
    "platform": {"ok": bool, "detail": str},
    "verification": {"equal": bool, "age_seconds": float, "what": str},
    "integrity": {"ok": bool, "detail": str, "age_seconds": float},
}

STREAMING = CaptureStatus(
    "streaming", 7, 7, 0, 0.0, datetime.now(UTC), None, "", 3, contact_monotonic=1.0, checked_at=1.0
)


@dataclass
class World:
    """What the probes of one test look at."""

    folder: Path
    http: Hostile
    journal: SqliteJournal
    clock: SystemClock


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    journal = SqliteJournal(tmp_path / "journal.db")
    try:
        with hostile() as server:
            yield World(tmp_path, server, journal, SystemClock())
    finally:
        journal.close()


def with_secret(address: str) -> str:
    return address.replace("//", f"//user:{SECRET}@") + f"?token={SECRET}"


def fails(error: Exception) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


def working(world: World, database: Database) -> dict[str, Probe]:
    """Every probe, looking at something that is well."""
    log = world.folder / "app.log"
    log.write_text("fine\n")
    app, admin = (lambda: database.app_dsn), (lambda: database.admin_dsn)
    now = Proof(world.clock.now(), "verify", True)
    return {
        "application": HttpCheck("application", world.http.address + "/ok", 1, 20),
        "synthetic": Synthetic(world.http.address + "/echo", "POST", '{"a": 1}', 200, 1, 20),
        "metrics": MetricsText(world.http.address + "/metrics", NAMES, 1 << 20, 1, 20),
        "server": ServerProbe(app, admin, "turnback", True, 1, 5),
        "postgres": ActivityProbe(admin, lambda: "app", 1),
        "slot": SlotProbe(admin, "turnback", 1),
        "capture": CaptureProbe(lambda: STREAMING, world.clock, lambda: None, 1),
        "integrity": IntegrityProbe(lambda: STREAMING, world.clock, 1),
        "verification": VerificationProbe(world.journal, world.clock, lambda: now, 1),
        "disk": Disk([world.folder], [world.folder / "app.db-wal"], 1),
        "log": LogErrors(log, re.compile("error"), 1),
        "process": Processes(world.journal, 1),
        "platform": Available(lambda: None, 1, 5),
    }


def broken(world: World, how: str) -> dict[str, Probe]:
    """Every probe of something outside, looking at what is broken in that way."""
    seconds = SECONDS if how in ("/silent", "/half", "/drip-headers", "/drip-body") else 20  # others answer
    port = world.http.address.rpartition(":")[2] if how != "/refused" else "1"
    address = with_secret(f"http://127.0.0.1:{port}{how}")

    def dsn() -> str:
        return f"postgresql://app:{SECRET}@127.0.0.1:{port}/app?sslmode=disable"

    return {
        "application": HttpCheck("application", address, 1, seconds),
        "synthetic": Synthetic(address, "POST", "x" * 100, 201, 1, seconds),
        "metrics": MetricsText(address, NAMES, 100_000, 1, seconds),
        "query": MetricsQuery(address.partition("?")[0], "", NAMES, 100_000, 1, seconds),
        "server": ServerProbe(dsn, dsn, "turnback", True, 1, SECONDS),
        "postgres": ActivityProbe(dsn, lambda: "app", 1, SECONDS),
        "slot": SlotProbe(dsn, "turnback", 1, SECONDS),
    }


def test_every_value_is_json_with_the_keys_of_its_probe(world: World, database: Database) -> None:
    probes = working(world, database)
    assert set(probes) == set(KEYS)
    for name, probe in probes.items():
        value = probe.observe()
        assert probe.name == name and set(value) == set(KEYS[name])
        for key, kind in KEYS[name].items():
            assert isinstance(value[key], kind), (key, value[key])  # type: ignore[arg-type]
        assert value.get("ok", True), value
        seen = Observation(1.0, world.clock.now(), name, value)
        assert Observation.from_json(json.loads(json.dumps(seen.to_json(), allow_nan=False))).value == value
        assert probe.interval_seconds == 1 and probe.timeout_seconds > 0
        probe.close()
        probe.close()


def looked_at(probe: Probe) -> tuple[float, bool | None, str]:
    """Seconds, `ok` (None: no data), what was said. Any other exception than a ProbeError is the test's failure."""
    began = time.monotonic()
    try:
        value = dict(probe.observe())
    except ProbeError as e:
        return time.monotonic() - began, None, f"{e} {e.hint}"
    return time.monotonic() - began, value["ok"], json.dumps(value)


@pytest.mark.parametrize(
    "how",
    [
        *("/refused", "/silent", "/half", "/drip-headers", "/drip-body", "/reset", "/garbage", "/endless"),
        *("/sick", "/html", "/json", "/bomb", "/truncated", "/login", "/not-text"),
    ],
)
def test_what_is_broken_outside_is_told_in_time_and_without_a_secret(world: World, how: str) -> None:
    probes = broken(world, how)
    with ThreadPoolExecutor(len(probes)) as pool:  # as the prober does it: a thread for each
        answers = dict(zip(probes, pool.map(looked_at, probes.values()), strict=True))
    # Whatever answers a 2xx in time is healthy: what it says is not looked at.
    healthy = how in ("/endless", "/html", "/json", "/bomb", "/login", "/not-text")
    for name, (seconds, ok, said) in answers.items():
        assert seconds < SECONDS + SLACK, name
        assert SECRET not in said and "\n" not in said and len(said) < 600, said
        if name in ("application", "synthetic", "server"):  # a check that failed is a value
            assert ok is (healthy and name == "application"), (name, said)
        else:  # bad input must not become a reading
            assert ok is None, (name, said)


def test_what_is_not_there_is_no_data(world: World) -> None:
    probes: list[tuple[Probe, str]] = [
        (LogErrors(world.folder / "gone.log", re.compile("x"), 1), "gone.log: No such file"),
        (Disk([world.folder / "gone"], [], 1), "gone: No such file"),
        (CaptureProbe(lambda: None, world.clock, lambda: None, 1), "capture does not run"),
        (IntegrityProbe(lambda: None, world.clock, 1), "not been checked yet"),
        (VerificationProbe(world.journal, world.clock, lambda: None, 1), "nothing was compared yet"),
        (
            VerificationProbe(
                world.journal, world.clock, fails(ProofFailed("x.json: the seal is broken")), 1
            ),  # type: ignore[arg-type]
            "the seal is broken",
        ),
    ]
    for probe, said in probes:
        with pytest.raises(ProbeError, match=re.escape(said)):
            probe.observe()


def test_a_command_that_fails_is_a_value_and_an_unreadable_journal_is_none(world: World) -> None:
    said = Available(fails(PlatformError("`docker image inspect app` ended with status 1")), 1, 5).observe()
    assert said == {"ok": False, "detail": "`docker image inspect app` ended with status 1"}

    class Full:
        def records(self, **_: object) -> list[object]:
            raise DiskFull("no room for the journal")

    with pytest.raises(ProbeError, match="no room"):
        Processes(Full(), 1).observe()  # type: ignore[arg-type]


def test_a_probe_may_be_closed_while_it_looks(world: World) -> None:
    probes = broken(world, "/silent")
    with ThreadPoolExecutor(len(probes)) as pool:
        looks = [pool.submit(looked_at, probe) for probe in probes.values()]
        for probe in probes.values():
            probe.close()
        assert all(look.result()[0] < SECONDS + SLACK for look in looks)


def test_a_name_that_does_not_resolve_is_told() -> None:
    label = "x" * 70  # longer than a label may be
    probe = HttpCheck("application", f"http://{label}.invalid/", 1, SECONDS)
    value = probe.observe()
    assert not value["ok"] and "no answer" in value["detail"]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert not HttpCheck("application", f"http://127.0.0.1:{port}/", 1, SECONDS).observe()["ok"]
