"""The command line as documented: each example is a command, and with --json an error is a document too."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from turnback.entrypoints import cli, follow, reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
COMMANDS = reference.commands()
GROUP: Any = typer.main.get_command(cli.app)


def examples() -> Iterator[tuple[str, str]]:
    for name, command in COMMANDS.items():
        for line in re.findall(r"Example: (turnback .*)", command.help or ""):
            yield f"{name} --help", line
    for page in PAGES:
        for block in re.findall(r"(?ms)^```\w*\n(.*?)^```", page.read_text()):
            yield from ((page.name, line) for line in re.findall(r"(?m)^(?:\$ )?(turnback .*)$", block))
        for line in re.findall(r"(?m)^ {4}(?:\$ )?(turnback .*)$", page.read_text()):
            yield page.name, line


@pytest.mark.parametrize(("where", "line"), sorted(set(examples())))
def test_an_example_is_a_command_with_its_options(where: str, line: str) -> None:
    words = shlex.split(line.partition("  #")[0].partition(" > ")[0])[1:]
    name, rest = words[0], words[1:]
    assert name in GROUP.commands, f"{where}: {line}"
    with GROUP.commands[name].make_context(name, rest):  # raises a usage error of click's
        pass


def test_there_are_examples_for_what_takes_more_than_itself() -> None:
    shown = {line.split()[1] for where, line in examples() if where.endswith("--help")}
    assert {"rollback", "report", "validate", "baseline", "alerts", "status", "verify", "guard"} <= shown


def ended(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["turnback", *shlex.split(words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out.out, out.err


@pytest.mark.parametrize(
    "words",
    [
        "rollback --severity bad --json",
        "rollback --emergency --planned --json",
        "status --json --nonsense",
        "status --watch --json",
        "status --json --config missing.toml",
        "verify --full --sample 3 --json",
        "verify --sample many --json",
        "report --list x --json",
        "brief --md --json",
        "guard --json",
        "nosuch --json",
        "alerts explode there --json",
    ],
)
def test_a_mistake_is_one_document_too_and_exits_with_2(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = ended(words, monkeypatch, capsys)
    told = json.loads(out)
    assert status == told["exit_status"] == 2
    assert told["error"] in err and told["hint"] in err and told["hint"]


def test_the_hint_of_a_wrong_option_is_the_help_of_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "turnback status --help" in ended("status --nonsense", monkeypatch, capsys)[2]


@pytest.mark.parametrize(("said", "hint"), [("", "turnback resume"), ("the guard goes on with it", "the guard goes on")])
def test_an_interruption_says_who_goes_on(
    said: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt(*([said] if said else []))

    monkeypatch.setattr("turnback.entrypoints.commands.moving.opened", interrupted)
    status, out, err = ended("status --json", monkeypatch, capsys)
    assert status == json.loads(out)["exit_status"] == 130
    assert hint in json.loads(out)["hint"] and "interrupted" in err


def test_who_follows_a_guard_and_leaves_is_told_that_it_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Setup:
        progress_file = tmp_path / "progress"

        class journal:
            @staticmethod
            def records(after: int) -> list[object]:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="the guard goes on with it: `turnback status --watch`"):
        follow._follow(Setup(), 0, lambda new: False)  # type: ignore[arg-type]
