"""Which probes a configuration makes; that they read nothing before they are asked; certificates; `available`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from turnback.adapters.probes.metrics_query import MetricsQuery
from turnback.core.certificate import FORMAT, seal
from turnback.entrypoints import rules
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.probing import log_path, metrics_probe, probes
from turnback.entrypoints.wiring import Setup
from turnback.errors import ProbeError
from turnback.ports import Probe

UNREACHABLE = 'url = "env:TURNBACK_TEST_NO_SUCH_VARIABLE"\n'  # whoever asks for the address fails
EVERYTHING = """
[app]
platform = "command"
health = "http://127.0.0.1:1/health"
[app.sqlite]
start = "true"
stop = "true"
available = "test -f {folder}/image"
[app.postgres]
start = "true"
stop = "true"
[guard.application]
interval_seconds = 3
[guard.database]
url = "http://127.0.0.1:1/db"
[guard.synthetic]
url = "http://127.0.0.1:1/synthetic"
[guard.metrics]
url = "http://127.0.0.1:1/metrics"
[guard.log]
path = "app.log"
[guard.dependencies.mail]
url = "http://127.0.0.1:1/mail"
"""


@contextmanager
def setup(folder: Path, text: str) -> Iterator[Setup]:
    with closing(apsw.Connection(str(folder / "app.db"))) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY)")
    path = folder / "turnback.toml"
    state = "[state]\nallow_any_filesystem = true\n"
    path.write_text(f'[sqlite]\npath = "app.db"\n[postgres]\n{UNREACHABLE}{state}' + text)
    with closing(Setup(load(path))) as made:
        yield made


def named(found: list[Probe]) -> dict[str, Probe]:
    assert len({p.name for p in found}) == len(found)
    return {p.name: p for p in found}


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("", {"server"}),
        ("[guard.server]\nenabled = false", set()),
        (
            EVERYTHING,
            {
                "server",
                "application",
                "database",
                "synthetic",
                "metrics",
                "log",
                "platform",
                "dependency:mail",
            },
        ),
        (
            '[app]\nplatform = "process"\n[app.sqlite]\ncommand = ["a"]\n[app.postgres]\ncommand = ["a"]',
            {"server", "process", "log"},
        ),
    ],
)
def test_a_probe_for_what_is_configured_at_the_interval_that_the_rules_know(
    tmp_path: Path, text: str, more: set[str]
) -> None:
    with setup(tmp_path, text.replace("{folder}", str(tmp_path))) as made:
        found = named(probes(made, lambda: None))
        own = {"verification", "integrity"}  # known without asking anybody: the rules do not wait for them
        assert set(found) == {"postgres", "slot", "capture", "disk"} | own | more
        told = dict(rules.intervals(made.config))
        assert {n: p.interval_seconds for n, p in found.items() if n not in own} == told
        for probe in found.values():
            assert probe.timeout_seconds > 0
            probe.close()


def test_an_address_of_postgres_that_is_not_known_is_no_data(tmp_path: Path) -> None:
    with setup(tmp_path, "") as made:
        found = named(probes(made, lambda: None))
        for name in ("server", "postgres", "slot"):
            with pytest.raises(ProbeError, match="TURNBACK_TEST_NO_SUCH_VARIABLE is not set"):
                found[name].observe()
        assert found["disk"].observe()["free_bytes"] > 0


def test_available_is_run_and_leaves_one_short_log(tmp_path: Path) -> None:
    with setup(tmp_path, EVERYTHING.replace("{folder}", str(tmp_path))) as made:
        probe = named(probes(made, lambda: None))["platform"]
        value = probe.observe()
        assert value["ok"] is False and "ended with status 1" in value["detail"]
        (tmp_path / "image").touch()
        for _ in range(3):
            assert probe.observe()["ok"] is True
        kept = (made.state_folder / "available.log").read_text()
        assert kept.count("$ test -f") == 1 and not (made.state_folder / "application.log").exists()
        assert (made.state_folder / "available.log").stat().st_mode & 0o777 == 0o600
        assert log_path(made) == tmp_path / "app.log"


def test_metrics_through_prometheus(tmp_path: Path) -> None:
    text = '[guard.metrics]\nprometheus = "http://127.0.0.1:1/"\nselector = "job=\\"app\\""'
    with setup(tmp_path, text) as made:
        probe = metrics_probe(made.config)
        assert isinstance(probe, MetricsQuery) and probe.query.endswith(',job="app"}[180s]')
    with setup(tmp_path, "") as made:
        assert metrics_probe(made.config) is None


def certificate(folder: Path, name: str, at: datetime, *, equal: bool) -> None:
    folder.mkdir(exist_ok=True)
    body = {"format": FORMAT, "what": "verify", "ended_at": at.isoformat(), "equal": equal}
    (folder / name).write_text(json.dumps(seal(body)))


def test_the_newest_certificate_of_verify_counts_and_its_seal(tmp_path: Path) -> None:
    with setup(tmp_path, "") as made:
        probe = named(probes(made, lambda: None))["verification"]
        with pytest.raises(ProbeError, match="nothing was compared yet"):
            probe.observe()
        folder, now = made.certificates_folder, datetime.now(UTC)
        certificate(folder, "20261101T000000Z-verify.json", now - timedelta(days=9), equal=True)
        certificate(folder, "20261102T000000Z-migrate.json", now, equal=False)
        value = probe.observe()
        assert (
            value["equal"] is True and value["what"] == "verify" and 8.9 < value["age_seconds"] / 86400 < 9.1
        )
        certificate(folder, "20261103T000000Z-verify.json", now - timedelta(days=1), equal=True)
        certificate(folder, "20261103T000000Z-verify-2.json", now - timedelta(hours=1), equal=False)
        assert probe.observe()["equal"] is False
        newest = folder / "20261104T000000Z-verify.json"
        certificate(folder, newest.name, now, equal=False)
        newest.write_text(newest.read_text().replace('"equal": false', '"equal": true'))
        with pytest.raises(ProbeError, match="the seal is broken"):
            probe.observe()
