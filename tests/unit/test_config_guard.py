"""[guard], [validate] and [alerts]: what contradicts itself is named, with its key; what fits is let be."""

from __future__ import annotations

from pathlib import Path

import pytest

from turnback.entrypoints.config import Config
from turnback.entrypoints.config_reading import load
from turnback.errors import ConfigError

HEAD = '[sqlite]\npath = "app.db"\n'
METRICS = '[guard.metrics]\nurl = "http://127.0.0.1:1/metrics"\n'


def read(folder: Path, text: str) -> Config:
    path = folder / "turnback.toml"
    path.write_text(HEAD + text)
    return load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[guard.triggers.pool]\nbreaches = 6\nof = 5", "breaches: 6 of 5 readings never happens"),
        (
            "[guard.triggers.error_rate]\nmin_failures = 51",
            "min_failures: 51 is more than min_requests = 50",
        ),
        (
            METRICS + "[guard.triggers.error_rate]\nwindow_seconds = 19",
            "window_seconds: 19 is less than two of [guard.metrics] interval_seconds = 10",
        ),
        (
            METRICS + "[guard.triggers.latency]\nwindow_seconds = 19",
            "[guard.triggers.latency] window_seconds: 19 is less than two",
        ),
        (
            METRICS + "[guard.triggers.error_rate]\nfor_seconds = 9",
            "for_seconds: 9 is less than [guard.metrics] interval_seconds = 10: one reading would decide",
        ),
        (METRICS + "[guard.triggers.latency]\nfor_seconds = 9", "[guard.triggers.latency] for_seconds: 9"),
        (
            '[guard.synthetic]\nurl = "http://127.0.0.1:1/"\n[guard.triggers.error_rate]\nwindow_seconds = 9',
            "two of [guard.synthetic] interval_seconds = 5",
        ),
        (
            "[guard.triggers.log_errors]\nenabled = true\nfor_seconds = 1",
            "for_seconds: 1 is less than [guard.log] interval_seconds = 10",
        ),
        (
            "[guard.severities.high]\nabove_share = 0.95",
            "[guard.severities.high] above_share: critical begins at 0.95 and high at 0.95",
        ),
        ("[guard.severities.critical]\nabove_share = 0.4", "[guard.severities.critical] above_share"),
        ("[guard.severities.low]\nabove_share = 0.3", "medium begins at 0.2 and low at 0.3"),
        (METRICS + 'prometheus = "http://127.0.0.1:9090"', "prometheus: give url or prometheus, not both"),
        (METRICS + "selector = 'job=\"app\"'", "selector: is for prometheus"),
        (METRICS + 'causes = "failures_total"', "causes: needs other_causes"),
        (METRICS + 'other_causes = ["smtp"]', "other_causes: needs causes"),
        ('[guard]\nlisten = "0.0.0.0:9464"', "listen: 0.0.0.0 can be reached from other machines"),
        ('[guard]\nlisten = ":9464"', "listen: every address can be reached from other machines"),
        ('[guard]\nlisten = "example.org:9464"', "listen: example.org can be reached"),
        ('[guard]\nlisten = "127.0.0.1:65536"', "listen: there is no port 65536"),
        ('[guard.log]\npattern = "(error"', "pattern: is no regular expression: "),
        ('[validate]\norphans = ["notes.user_id"]', "orphans: `notes.user_id` is not of the form"),
        ('[validate]\nmarker = "Welcome"', "marker: needs page"),
        ('[alerts]\nalertmanager_image = "prom/alertmanager"', "alertmanager_image: needs a tag"),
        ('[alerts]\nalertmanager_image = "prom/alertmanager:latest"', "`latest` is another image tomorrow"),
        ('[alerts]\nalertmanager_image = "localhost:5000/alertmanager"', "needs a tag or a digest"),
        ('[guard.database]\nurl = "http://127.0.0.1:notaport/"', "[guard.database] url: is no address"),
        (
            '[guard]\nmode = "enforce"\n[guard.server]\nenabled = false\n[guard.triggers.pool]\nenabled = false',
            "mode: enforce, and no probe and trigger",
        ),
        (
            '[guard.severities.low]\nmode = "enforce"\n[guard.server]\nenabled = false\n'
            "[guard.triggers.pool]\nenabled = false",
            "mode: enforce, and no probe and trigger",
        ),
    ],
)
def test_a_contradiction_is_named_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text + "\n")
    assert said in str(caught.value) and "turnback.toml, line " in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '[app]\nhealth = "{}"',
        '[guard.application]\nurl = "{}"',
        '[guard.database]\nurl = "{}"',
        '[guard.synthetic]\nurl = "{}"',
        '[guard.metrics]\nurl = "{}"',
        '[guard.metrics]\nprometheus = "{}"',
        '[guard.notify]\nalertmanager = "{}"',
        '[guard.dependencies.mail]\nurl = "{}"',
        '[validate]\nbase = "{}"',
    ],
)
@pytest.mark.parametrize(
    "url", ["http://user:s3cret@127.0.0.1:1/", "https://s3cret@host/", "http://u:s3cret@h:x/"]
)
def test_an_address_with_a_password_is_refused_and_never_shown(tmp_path: Path, text: str, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text.format(url) + "\n")
    assert "holds a user or password" in str(caught.value) and "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[guard]\nmode = "enforce"',  # the guard's own session and the pool can set it off
        '[guard]\nlisten = "127.0.0.1:0"',
        '[guard]\nlisten = "localhost:9464"',
        '[guard]\nlisten = "0.0.0.0:9464"\nlisten_anywhere = true',
        "[guard.triggers.pool]\nbreaches = 5\nof = 5",
        METRICS + "[guard.triggers.error_rate]\nwindow_seconds = 20\nfor_seconds = 10",
        METRICS + "[guard.triggers.error_rate]\nenabled = false\nwindow_seconds = 1",
        "[guard.triggers.latency]\nwindow_seconds = 1",  # nothing measures it
        '[guard.database]\nurl = "http://127.0.0.1:1/?user=@home"\ninterval_seconds = 1\ntimeout_seconds = 5',
        "[guard.severities.critical]\nabove_share = 0.99\n[guard.severities.high]\nabove_share = 0.9",
        METRICS + 'causes = "failures_total"\nother_causes = ["smtp"]',
        '[validate]\nbase = "http://127.0.0.1:3000"\npage = "/"\nmarker = "Welcome"\norphans = ["notes.user_id -> users.id"]',
        '[alerts]\nalertmanager_image = "localhost:5000/alertmanager:v0.28.1"',
        f'[alerts]\nalertmanager_image = "prom/alertmanager@sha256:{"0" * 64}"',
    ],
)
def test_what_fits_is_let_be(tmp_path: Path, text: str) -> None:
    read(tmp_path, text + "\n")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[guard.application]\ninterval_seconds = inf", "[guard.application] interval_seconds: must be a finite number"),
        ("[guard.triggers.error_rate]\nfor_seconds = nan", "[guard.triggers.error_rate] for_seconds: must be"),
        ("[guard.notify]\nwebhook = 'https://hooks.example/T0/s3cret'", "webhook: must be env:NAME or file:PATH"),
        ("[guard.database]\nurl = 'localhost:3000'", "url: must be an address: http://"),
        ("[guard]\nlisten = '9464'", "[guard] listen: must be HOST:PORT"),
        ("[guard.severities.hihg]\nmode = 'observe'", "[guard.severities] hihg: must be 'critical'"),
        ("[validate.state.x]\nquery = 'select 1'\nexpect = [1]", "[validate.state.x] expect: must be a string or a number"),
    ],
)
def test_what_is_wrong_is_said_once_and_in_words(tmp_path: Path, toml: str, said: str) -> None:
    (tmp_path / "turnback.toml").write_text(f"[sqlite]\npath = 'a.db'\n{toml}\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "turnback.toml")
    assert said in str(caught.value) and str(caught.value).count("\n") == 0, caught.value
    assert "s3cret" not in str(caught.value) and "turnback.toml, line" in str(caught.value)
