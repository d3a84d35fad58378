"""What a person sees: progress and announcements on stderr, results on stdout, errors in two lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from turnback.core.findings import HEADINGS, Finding, alike, grouped, leave_behind
from turnback.core.toml_lines import toml_string
from turnback.errors import TurnbackError

if TYPE_CHECKING:
    from turnback.app.assess import Assessment
    from turnback.app.sample import Sampled

_SIGN = {"carries": "[green]carries[/]", "choice": "[yellow]choice[/]", "refused": "[red]refused[/]"}


class TerminalProgress:
    """A bar on a terminal; a line at the end elsewhere, and where there are to be no `bars`."""

    def __init__(self, *, bars: bool = True) -> None:
        self._console = Console(stderr=True)
        self._drawn = bars and self._console.is_terminal
        self._bars: RichProgress | None = None
        self._task: Any = None
        self._what = ""
        self._since = 0.0
        self._count = 0

    def begin(self, what: str, total: int | None = None) -> None:
        self.end()
        self._what, self._since, self._count = what, time.monotonic(), 0
        if self._drawn:
            self._bars = RichProgress(
                TextColumn("  {task.description:<28}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._bars.start()
            self._task = self._bars.add_task(what, total=total)

    def advance(self, amount: int = 1) -> None:
        self._count += amount
        if self._bars is not None:
            self._bars.advance(self._task, amount)

    def end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        elif self._what and self._count:
            print(f"  {self._what}: {self._count} in {time.monotonic() - self._since:.1f} s", file=sys.stderr)
        self._what = ""


class ReportedProgress:
    """A guard's progress: written for whoever follows (`what`, `done`, `total`), and said in its log."""

    EVERY_SECONDS = 0.2

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = TerminalProgress(bars=False)
        self._state: dict[str, Any] = {}
        self._due = 0.0

    def begin(self, what: str, total: int | None = None) -> None:
        self._log.begin(what, total)
        self._state = {"what": what, "done": 0, "total": total}
        self._write()

    def advance(self, amount: int = 1) -> None:
        self._log.advance(amount)
        if self._state:
            self._state["done"] += amount
            if time.monotonic() >= self._due:
                self._write()

    def end(self) -> None:
        self._log.end()
        self._state = {}
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            pass  # see _write

    def _write(self) -> None:
        self._due = time.monotonic() + self.EVERY_SECONDS
        part = self._path.with_suffix(".part")
        try:
            part.touch(mode=0o600)
            part.write_text(json.dumps(self._state))
            part.replace(self._path)
        except OSError:
            pass  # a full disk: whoever follows sees no bar, and the run must not end for that


class FollowedProgress:
    """Shows on this terminal what a guard reports in the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._terminal = TerminalProgress()
        self._shown: tuple[str, int] | None = None

    def look(self) -> None:
        try:
            state = json.loads(self._path.read_text())
        except FileNotFoundError:
            self.end()
            return
        what, done = str(state["what"]), int(state["done"])
        if self._shown is None or self._shown[0] != what or done < self._shown[1]:
            self._terminal.begin(what, state["total"])
            self._shown = (what, 0)
        self._terminal.advance(done - self._shown[1])
        self._shown = (what, done)

    def end(self) -> None:
        if self._shown is not None:
            self._terminal.end()
            self._shown = None


def say(text: str) -> None:
    """One line for a person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_error(error: TurnbackError, exit_status: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"error": str(error), "hint": error.hint, "exit_status": exit_status})
    say(f"error: {error}")
    if error.hint:
        say(f"hint:  {error.hint}")


def print_assessment(assessment: Assessment) -> None:
    console = Console()
    if assessment.plan is not None:
        table = Table(title="What becomes of it", title_justify="left")
        for heading in ("table", "rows", "column", "becomes", "why"):
            table.add_column(heading, overflow="fold")
        for t in assessment.plan.tables:
            profile = assessment.profiles.get(t.sqlite)
            for i, c in enumerate(t.columns):
                rows = str(profile.rows) if profile is not None and i == 0 else ""
                name = escape(t.sqlite) if i == 0 else ""
                table.add_row(name, rows, escape(c.sqlite), escape(c.pg_type), escape(c.why))
        console.print(table)
    for severity, group in grouped(assessment.findings):
        console.print(f"[bold]{HEADINGS[severity]}[/] ({len(group)})\n")
        for wheres, finding in alike(group):
            _print_finding(console, wheres, finding)
    if len(names := leave_behind(assessment.findings)) > 1:
        console.print("[bold]Left behind together[/], as the one list that [sqlite] may have:\n")
        console.print(
            f"        leave_behind = [{escape(', '.join(map(toml_string, names)))}]\n", soft_wrap=True
        )
    blocking = sum(1 for f in assessment.findings if f.severity != "carries")
    if not assessment.findings:
        console.print("no findings")
        return
    told = "1 finding" if len(assessment.findings) == 1 else f"{len(assessment.findings)} findings"
    stops = (
        f"{blocking} to settle: write what settles it into turnback.toml (or do it), then assess again"
        if blocking
        else "none stops the move"
    )
    console.print(f"{told}, {stops}")


def _print_finding(console: Console, wheres: Sequence[str], finding: Finding) -> None:
    """In lines of its own, never wrapped: what settles it is there to be copied."""
    # escaped: "[tables.jobs]" is what the user has to write, not a style of rich's
    console.print(f"{_SIGN[finding.severity]}  {finding.code}  {escape(', '.join(wheres))}", soft_wrap=True)
    console.print(f"    {escape(finding.message)}", soft_wrap=True)
    if finding.keys:
        more = (finding.count or 0) - len(finding.keys)
        keys = escape(", ".join(finding.keys)) + (f" and {more} more" if more > 0 else "")
        console.print(f"    {keys}", soft_wrap=True)
    for line in finding.settle.splitlines():
        console.print(f"        {escape(line)}", soft_wrap=True)
    console.print()


def print_sample(sampled: Sampled) -> None:
    """What was compared, what differs, and what could not be judged: nothing is passed over in silence."""
    print(sampled.headline())
    for oddity in sampled.differences[1:10]:
        print(f"    {oddity.headline()}")
    for table, why in sampled.left_out.items():
        print(f"not looked at: {table}: {why}")
    for column, values in sampled.unjudged.items():
        print(f"not judged: {values} values of {column}: there is no independent rule for them")


def print_steps(steps: Sequence[tuple[str, list[str]]]) -> None:
    for name, lines in steps:
        print(name)
        for line in lines:
            print(f"    {line}")
