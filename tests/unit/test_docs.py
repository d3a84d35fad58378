"""The documentation is tested: what it names exists, what exists it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnback.adapters.postgres import retention, rights
from turnback.entrypoints import reference
from turnback.entrypoints.config_reading import load

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "turnback"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What they say of commands that are not there yet, they say as that.
SPEAK_OF_THE_FUTURE = {"limits.md", "runbook.md"}
COMMANDS = reference.commands()


def test_the_reference_is_what_the_code_says() -> None:
    committed = (ROOT / "docs" / "reference.md").read_text()
    assert committed == reference.reference(), "run `make reference`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_a_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help and command.help.strip()
    text = reference.reference()
    for parameter in reference.options_of(command):
        assert parameter.help and parameter.help.strip(), parameter.name
        assert parameter.metavar is not None or parameter.param_type_name == "argument", parameter.name
        assert all(f"`{o}" in text for o in parameter.opts if o.startswith("--"))


def test_every_key_has_a_description() -> None:
    found = list(reference.keys())
    assert len(found) > 40
    missing = [
        f"[{table}] {key}" for table, key, field in found if not (field.description or "").endswith(".")
    ]
    assert missing == []
    assert ("tables.TABLE.columns.COLUMN", "respell") in {(t, k) for t, k, _ in found}


def test_every_journal_record_is_explained() -> None:
    """The first argument of each journal.append in the source, a literal or a constant of its module."""
    kinds = set(_record_kinds())
    assert {"run_started", "process_started", "application_stopped"} <= kinds
    assert kinds == set(reference.RECORDS)


def _record_kinds() -> Iterator[str]:
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        constants: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                for target, value in zip(targets, values, strict=False):
                    if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                        constants[target.id] = str(value.value)
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr == "append" and ast.unparse(node.func.value).endswith("journal"):
                kind = node.args[0]
                if isinstance(kind, ast.Constant):
                    yield str(kind.value)
                elif isinstance(kind, ast.Name):
                    yield constants[kind.id]


def test_every_right_that_assess_tries_is_explained() -> None:
    text = Path(rights.__file__).read_text() + Path(retention.__file__).read_text()
    tried = set(re.findall(r'"(rights\.[a-z_]+)"', text)) | {"rights.fsync", "rights.full_page_writes"}
    assert tried == set(reference.RIGHTS)


def test_no_hint_names_a_command_that_is_not_there() -> None:
    for path in SOURCE.rglob("*.py"):
        strings = [n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
        for text in (s for s in strings if isinstance(s, str)):
            _demand_real_commands(re.findall(r"`turnback ([a-z][^`]*)`", text), path)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_names_what_is_there(page: Path) -> None:
    text = page.read_text()
    if page.name not in SPEAK_OF_THE_FUTURE:
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        typed = [m[1] for line in lines if (m := re.match(r"(?:    )?(?:\$ )?turnback ([a-z].*)", line))]
        _demand_real_commands(typed + re.findall(r"`turnback ([a-z][^`]*)`", text), page)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def _demand_real_commands(typed: list[str], where: Path) -> None:
    for words in (t.split(" # ")[0].split() for t in typed):
        assert words[0] in COMMANDS, f"{where}: turnback {' '.join(words)}"
        options = {o for p in reference.options_of(COMMANDS[words[0]]) for o in p.opts} | {"--help", "--"}
        before = words[: words.index("--")] if "--" in words else words
        unknown = [w for w in before if w.startswith("--") and w.split("=")[0] not in options]
        assert not unknown, f"{where}: turnback {' '.join(words)}"


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set(), [ROOT / "README.md", ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                waiting.append((page.parent / target).resolve())
    assert set(PAGES) - reached == set()


def test_every_example_of_turnback_toml_can_be_read(tmp_path: Path) -> None:
    """Each block is taken as it stands; a part of a file, with the one key that every file needs."""
    examples = [
        block for page in PAGES for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)
    ]
    assert len(examples) >= 8
    for text in examples:
        path = tmp_path / "turnback.toml"
        path.write_text(text if "[sqlite]" in text else text + '\n[sqlite]\npath = "app.db"\n')
        load(path)
