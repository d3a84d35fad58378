"""The other process: it has opened the database before the fence, and tries to write after it.

`unfenced` is the attempt itself; the same one is made from the fencing process. Run as a program
(`python -m turnback.adapters.sqlite.witness FILE`) it opens the file, answers "ready", and then answers each
line on its input with one JSON list: the tables that did not refuse, with what happened instead.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from turnback.adapters.sqlite.database import open_database, pragma, quoted
from turnback.errors import ProofFailed, TurnbackError

MESSAGE = "turnback: this database is fenced, writes are refused"
PREFIX = "_turnback_fence_"
EVENTS = ("insert", "update", "delete")
ANSWER_SECONDS = 60.0

_USING_FTS5 = re.compile(r"\bUSING\s+[\"'`\[]?fts5\b", re.IGNORECASE)


def fenceable_tables(connection: apsw.Connection) -> list[str]:
    """Every table that takes a trigger: ordinary ones and the shadow tables of virtual ones.

    FTS5's index (NAME_data, NAME_idx) is left out where its rows are fenced (NAME_content, NAME_docsize):
    with both, undoing a refused DELETE crashes the process inside SQLite (tried: 3.40 and 3.54). Without rows
    of its own, the index is all there is, and it is fenced.
    """
    names = [
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM pragma_table_list"
            " WHERE schema = 'main' AND type IN ('table', 'shadow') AND name NOT GLOB 'sqlite_*'"
            " ORDER BY name"
        )
    ]
    for table, sql in connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%'"
    ).fetchall():
        if _USING_FTS5.search(str(sql)) and (f"{table}_content" in names or f"{table}_docsize" in names):
            names = [n for n in names if n not in (f"{table}_data", f"{table}_idx")]
    return names


def fence_triggers(table: str) -> dict[str, str]:
    """The fence of one table: trigger name -> its SQL, as sqlite_schema keeps it."""
    return {
        name: f"CREATE TRIGGER {quoted(name)} BEFORE {event} ON {quoted(table)}"
        f" BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        for event in EVENTS
        for name in (f"{PREFIX}{event}_{table}",)
    }


def unfenced(connection: apsw.Connection) -> list[str]:
    """What is wrong with the fence, [] when every table refuses: by its triggers.

    Each table gets an INSERT of NULLs, undone at once: a BEFORE trigger fires before NOT NULL, CHECK
    and keys are looked at (SQLite documentation: CREATE TRIGGER). Where the file's mode refuses first, the
    refusal counts together with the triggers' text.
    """
    present = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
    wrong = []
    for table in fenceable_tables(connection):
        if any(present.get(name) != sql for name, sql in fence_triggers(table).items()):
            wrong.append(f"table {table} lacks a fence trigger")
        elif outcome := _attempt(connection, table):
            wrong.append(f"table {table}: {outcome}")
    return wrong


def _attempt(connection: apsw.Connection, table: str) -> str | None:
    """None when the write is refused by the fence, else what happened."""
    columns = [str(name) for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    names, nulls = ", ".join(map(quoted, columns)), ", ".join(["NULL"] * len(columns))
    connection.execute("BEGIN")
    try:
        connection.execute(f"INSERT INTO {quoted(table)} ({names}) VALUES ({nulls})").fetchall()
    except apsw.ReadOnlyError:
        return None
    except apsw.Error as e:
        return None if MESSAGE in str(e) else f"refused, but not by the fence: {e}"
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return "a write was accepted"


class Witness:
    """A child process with its own connection to the file, opened when this object is made."""

    def __init__(self, path: Path, *, busy_seconds: float, extensions: Sequence[str] = ()) -> None:
        self._path = path
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(path), str(busy_seconds), *extensions],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        answer = self._answer()
        if answer != "ready":
            self.close()
            raise ProofFailed(
                f"{path}: the witness process could not open the file: {answer}",
                hint="the fence is proven through a second process: look at owner and mode of the file",
            )

    def unfenced(self) -> list[str]:
        """What `unfenced` says in the other process."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write("try\n")
            stdin.flush()
        except BrokenPipeError:
            return ["the witness process died"]
        answer = self._answer()
        return answer if isinstance(answer, list) else [f"the witness process: {answer}"]

    def close(self) -> None:
        """Ends the process; its connection is closed when this returns."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        try:
            self._process.wait(timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else "it ended without an answer"


def main(path: str, busy_seconds: str, *extensions: str) -> None:
    try:
        connection = open_database(
            Path(path), "write", busy_seconds=float(busy_seconds), extensions=extensions
        )
    except TurnbackError as e:
        print(json.dumps(str(e)), flush=True)
        return
    try:
        pragma(
            connection, "journal_mode"
        )  # in WAL mode this attaches to the -shm file, as an application does
        print(json.dumps("ready"), flush=True)
        for _ in sys.stdin:
            try:
                answer: object = unfenced(connection)
            except apsw.Error as e:
                answer = str(e)
            print(json.dumps(answer), flush=True)
    finally:
        connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
