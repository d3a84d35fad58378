"""A command follows what the guard does with its intent; a guard that dies and comes back must not leave it waiting."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from turnback.adapters.journal import SqliteJournal
from turnback.entrypoints import follow
from turnback.errors import PlatformError, TurnbackError

Plays = Callable[[SqliteJournal, str], None]


@contextmanager
def guarded(folder: Path, plays: Plays) -> Iterator[Any]:
    """A setup whose guard is this process: a thread that `plays(journal, intent's id)` when one was asked for."""
    asked = threading.Event()

    def guard() -> None:
        assert asked.wait(60)
        with SqliteJournal(folder / "journal.db") as own:
            intent = own.last("intent")
            assert intent is not None
            plays(own, intent.body["id"])

    class Asking(SqliteJournal):
        def append(self, kind: str, body: Any, *, run: str | None = None) -> Any:
            record = super().append(kind, body, run=run)
            if kind == "intent":
                asked.set()
            return record

    thread = threading.Thread(target=guard)
    with Asking(folder / "journal.db") as journal:
        journal.append("assessed", {"plan": "p", "schema": "s"})
        journal.append("guard_started", {"pid": os.getpid()})
        thread.start()
        try:
            yield SimpleNamespace(
                journal=journal,
                state=journal.state,
                lease=SimpleNamespace(holder=lambda: {"pid": os.getpid(), "command": "guard"}),
                progress_file=folder / "progress.json",
            )
        finally:
            asked.set()
            thread.join()


def begins(journal: SqliteJournal) -> None:
    journal.append("run_started", {"intent": "migrate", "options": {}}, run="r1")
    journal.append("step_started", {"step": "preflight"}, run="r1")


def starts_anew(journal: SqliteJournal) -> None:
    journal.append("guard_started", {"pid": os.getpid()})


def fails(journal: SqliteJournal) -> None:
    journal.append("step_failed", {"step": "preflight", "error": "no server", "hint": ""}, run="r1")


def undone(journal: SqliteJournal) -> None:
    fails(journal)
    journal.append("undoing", {"reason": "no server"}, run="r1")
    journal.append("run_ended", {"outcome": "undone"}, run="r1")


def test_the_answer_is_waited_for(tmp_path: Path) -> None:
    def plays(journal: SqliteJournal, ident: str) -> None:
        begins(journal)
        journal.append("run_ended", {"outcome": "done"}, run="r1")
        journal.append("intent_done", {"id": "of another"})
        journal.append("intent_failed", {"id": ident, "error": "no", "hint": "do", "exit_status": 3})

    with guarded(tmp_path, plays) as setup, pytest.raises(TurnbackError, match=r"^no$") as failed:
        follow.ask(setup, "migrate", {})
    assert (failed.value.hint, failed.value.exit_status) == ("do", 3)


def test_a_guard_that_was_killed_and_started_again_goes_on_and_the_command_with_it(tmp_path: Path) -> None:
    def plays(journal: SqliteJournal, ident: str) -> None:
        begins(journal)
        starts_anew(journal)
        journal.append("run_ended", {"outcome": "done"}, run="r1")

    with guarded(tmp_path, plays) as setup:
        follow.ask(setup, "migrate", {})
        assert setup.state().runs[-1].outcome == "done"


def test_killed_between_the_end_and_the_answer(tmp_path: Path) -> None:
    def plays(journal: SqliteJournal, ident: str) -> None:
        begins(journal)
        journal.append("run_ended", {"outcome": "done"}, run="r1")
        starts_anew(journal)

    with guarded(tmp_path, plays) as setup:
        follow.ask(setup, "migrate", {})


def test_what_it_was_asked_to_resume_is_followed_too(tmp_path: Path) -> None:
    def plays(journal: SqliteJournal, ident: str) -> None:
        starts_anew(journal)
        journal.append("run_ended", {"outcome": "done"}, run="r1")

    with guarded(tmp_path, plays) as setup:
        begins(setup.journal)
        follow.ask(setup, "resume", {})


@pytest.mark.parametrize(
    ("plays", "said"),
    [
        (lambda journal: None, "started anew before it began this"),
        (undone, "the migrate was undone: no server"),
        (fails, "preflight failed: no server"),
    ],
    ids=["never begun", "undone", "failed"],
)
def test_what_became_of_it_otherwise_is_said(
    tmp_path: Path, plays: Callable[[SqliteJournal], None], said: str
) -> None:
    def goes_on(journal: SqliteJournal, ident: str) -> None:
        if "before" not in said:
            begins(journal)
        starts_anew(journal)
        plays(journal)

    with guarded(tmp_path, goes_on) as setup, pytest.raises(TurnbackError, match=said) as failed:
        follow.ask(setup, "migrate", {})
    assert failed.value.hint or isinstance(failed.value, PlatformError)
