"""Who is told and by which token others may ask, from turnback.toml; secrets stay where they are."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from turnback.entrypoints.config_reading import load
from turnback.entrypoints.notices import guard_token, notifiers
from turnback.entrypoints.wiring import Setup
from turnback.errors import ConfigError, SourceError
from turnback.ports import Notice

SECRET = "https://hooks.example.org/services/T0/B0/s3cret"


def setup(folder: Path, text: str = "") -> Setup:
    (folder / "turnback.toml").write_text(
        f'[sqlite]\npath = "app.db"\n[state]\nallow_any_filesystem = true\n{text}'
    )
    return Setup(load(folder / "turnback.toml"))


def test_a_token_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    made = setup(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: guard_token(made), range(16)))
    assert len(tokens) == 1 and len(tokens.pop()) >= 40
    file = made.state_folder / "guard.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [p.name for p in made.state_folder.iterdir() if "token" in p.name] == ["guard.token"]
    assert guard_token(setup(tmp_path)) == file.read_text().strip()


def test_the_token_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_TOKEN", " from-the.environment~1== \n")
    (tmp_path / "token").write_text("from-a-file\n")
    assert guard_token(setup(tmp_path, '[guard]\ntoken = "env:GUARD_TOKEN"\n')) == "from-the.environment~1=="
    made = setup(tmp_path, '[guard]\ntoken = "file:token"\n')
    assert guard_token(made) == "from-a-file"
    assert not (made.state_folder / "guard.token").exists()


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "ümlaut", "semi;colon", "=only"])
def test_what_is_no_token_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GUARD_TOKEN", value)
    with pytest.raises(ConfigError) as failed:
        guard_token(setup(tmp_path, '[guard]\ntoken = "env:GUARD_TOKEN"\n'))
    assert str(failed.value) == "[guard] token: what env:GUARD_TOKEN holds is no bearer token"


def test_a_token_file_that_was_emptied_or_cannot_be_read(tmp_path: Path) -> None:
    made = setup(tmp_path)
    file = made.state_folder / "guard.token"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"guard\.token holds is no bearer token"):
        guard_token(made)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match=r"guard\.token: not text"):
        guard_token(made)
    file.unlink()
    file.mkdir()
    with pytest.raises(SourceError, match="Is a directory"):
        guard_token(made)


def test_nobody_is_told_unless_asked_for(tmp_path: Path) -> None:
    assert notifiers(setup(tmp_path)) == []


def test_all_that_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK", SECRET)
    text = '[guard.notify]\nalertmanager = "http://127.0.0.1:9093"\nwebhook = "env:SLACK"\ncommand = "cat"\n'
    made = notifiers(setup(tmp_path, text))
    assert [n.name for n in made] == ["alertmanager", "webhook", "command"]
    assert "s3cret" not in repr(made)
    for notifier in made:
        notifier.close()


@pytest.mark.parametrize(
    ("webhook", "what"),
    [
        ("env:NOT_SET", "the environment variable NOT_SET is not set"),
        ("env:EMPTY", "the environment variable EMPTY is not set"),
        ("file:gone", "the file gone: No such file or directory"),
        ("file:empty", "the file empty is empty"),
        ("file:binary", "the file binary: not text"),
        ("env:NO_URL", "what env:NO_URL holds is no http address"),
        ("file:two", "what file:two holds is no http address"),
    ],
)
def test_a_secret_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, webhook: str, what: str
) -> None:
    monkeypatch.setenv("EMPTY", "  ")
    monkeypatch.setenv("NO_URL", "s3cret")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    (tmp_path / "two").write_text(f"{SECRET}\n{SECRET}\n")
    with pytest.raises(ConfigError) as failed:
        notifiers(setup(tmp_path, f'[guard.notify]\nwebhook = "{webhook}"\n'))
    assert str(failed.value) == f"turnback.toml: [guard.notify] webhook: {what}"
    assert "s3cret" not in failed.value.hint


def test_the_command_is_not_given_what_turnback_alone_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PG", "PG_ADMIN", "GUARD_TOKEN"):
        monkeypatch.setenv(name, "postgresql://u:s3cret@h/d")
    [command] = notifiers(
        setup(
            tmp_path,
            '[postgres]\nurl = "env:PG"\nadmin_url = "env:PG_ADMIN"\n[guard]\ntoken = "env:GUARD_TOKEN"\n'
            '[guard.notify]\ncommand = "env > seen"\n',
        )
    )
    command.send(Notice("pool", "page", "high", "T", "why", datetime.now(UTC)))
    names = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert "PATH" in names and not {"PG_ADMIN", "GUARD_TOKEN"} & names
