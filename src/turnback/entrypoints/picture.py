"""Status as a person sees it: once, as a picture drawn anew each second, or as lines of what changed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from turnback.app.status import Status
from turnback.core.watch.trigger import TITLES
from turnback.errors import TurnbackError

EVERY_SECONDS = 1.0
QUIET_SECONDS = 60.0  # a value that goes up and down around its limit is one line in this time
HEAD = 12  # columns

_STYLE = {"breach": "yellow", "error": "yellow", "fires": "red", "ok": "green"}

Row = tuple[str, Text]


def print_status(status: Status) -> None:
    """On a terminal wrapped behind its heading; elsewhere a line is a line."""
    console = Console()
    if console.is_terminal:
        console.print(_grid(rows(status)))
        return
    for head, text in rows(status):
        console.print(Text(f"{head:<{HEAD}}").append_text(text), soft_wrap=True)


def rows(status: Status) -> list[Row]:
    """Heading and text of each line; only what a person has to know."""
    made: list[tuple[str, Text | str]] = []
    under_way = ""
    if status.open_run:
        how = "stopped" if status.failed else "interrupted" if status.guard is None else "under way"
        under_way = f" ({status.open_run} {how}" + (f": {status.step})" if status.step else ")")
    made.append(("phase", status.phase + under_way))
    guard = status.guard
    made.append(("guard", "none" if guard is None else f"pid {guard['pid']} ({guard['command']})"))
    if status.ready is not None:
        made.append(("way back", Text("open", "green") if status.ready else Text("not ready", "red")))
    made += [("", reason) for reason in status.reasons]
    made += [("warning", warning) for warning in status.warnings]
    if status.applied_lsn is not None:
        rpo = "not known" if status.rpo_seconds is None else f"{status.rpo_seconds:.1f} s"
        made.append(("fallback", f"at {status.applied_lsn}, {status.lag_bytes} bytes behind, RPO now {rpo}"))
    made += _watch(status)
    if status.phase == "on_sqlite" and status.last_rollback:
        made += _rolled_back(status.last_rollback)
    made.append(("next", status.next_command))
    return [(head, Text(text) if isinstance(text, str) else text) for head, text in made]


def _watch(status: Status) -> Iterator[tuple[str, Text | str]]:
    if status.mode is None:
        return
    quiet = "" if status.verdicts else "  nothing unusual"
    latched = " (latched: no second rollback by itself)" if status.latched else ""
    yield "watch", f"mode {status.mode}{latched}{quiet}"
    for v in status.verdicts:
        word = _word(v)
        text = Text(word, _STYLE.get(word, "")).append(f"  {v['trigger']}: {v['sentence']}")
        left = seconds_left(status, v["trigger"])
        yield "", text if left is None else text.append(f"; fires in {left:.0f} s if it lasts")
    for part in status.missing:
        yield "", Text("not ready", "yellow").append(f"  {part['name']}: {part['detail']}")
    if status.decision is not None:
        d = status.decision
        yield "decided", f"{d['action']} at {_utc(d['utc'])}: {d['reason']}"


def _rolled_back(last: Mapping[str, Any]) -> Iterator[tuple[str, Text | str]]:
    rto, rpo = (last.get(f"{o}_measured_seconds") for o in ("rto", "rpo"))
    trigger, reason = (str(last.get(k) or "") for k in ("trigger", "reason"))
    why = reason if reason.startswith(trigger) else f"{trigger}: {reason}".removesuffix(": ")
    by = f" by {last['by']}" if last.get("by") else ""
    yield "rollback", f"at {_utc(last['at'])}{by}" + (f": {why}" if why else "")
    yield "", f"RTO {rto} s, RPO {'not known' if rpo is None else f'{rpo} s'}; more: turnback report"


def seconds_left(status: Status, trigger: str) -> float | None:
    """Until a breach fires, should it last. None: it does, none is under way, or the rule counts checks."""
    lasting = status.lasting.get(trigger)
    return None if lasting is None else max(0.0, lasting["fires_after_seconds"] - lasting["seconds"])


def _utc(iso: str) -> str:
    return iso[:19].replace("T", " ") + " UTC"


def _grid(made: list[Row]) -> Table:
    grid = Table.grid(padding=0)
    grid.add_column(width=HEAD, no_wrap=True)
    grid.add_column(overflow="fold")
    for head, text in made:
        grid.add_row(Text(head, "yellow" if head == "warning" else "bold"), text)
    return grid


# ---- live ----------------------------------------------------------------------------------------


def drawn(status: Status, now: datetime, progress: Path, ends: str = "this view") -> Group:
    """The whole picture: the status, what a run is doing, and each trigger's value, limit and time left.

    `ends` is what Ctrl-C ends.
    """
    made = [_grid(rows(status))]
    working = _working(progress)
    if working:
        made.append(_grid([("working", Text(working))]))
    if status.triggers:
        made.append(_triggers(status))
    made.append(_grid([("", Text(f"{now:%Y-%m-%d %H:%M:%S} UTC; Ctrl-C ends {ends}", "dim"))]))
    return Group(*made)


def _triggers(status: Status) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("trigger", "now", "value", "limit", "fires"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "fires")
    for v in status.triggers:
        unit = TITLES.get(v["trigger"], ("", "checks"))[1]
        word = _word(v).replace("_", " ")
        left = seconds_left(status, v["trigger"])
        fires = "" if left is None else f"in {left:.0f} s if it lasts"
        if left is None and v["outcome"] == "breach" and not v["firing"] and v["value"] is not None:
            fires = f"at {_amount(v['limit'], unit)}"
        table.add_row(
            v["trigger"],
            Text(word, _STYLE.get(word, "dim")),
            _amount(v["value"], unit) if not v.get("off") else "",
            _amount(v["limit"], unit) if not v.get("off") else "",
            Text(v["off"], "dim") if v.get("off") else fires,
        )
    return table


def _word(verdict: Mapping[str, Any]) -> str:
    return "off" if verdict.get("off") else "fires" if verdict["firing"] else str(verdict["outcome"])


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    match unit:
        case "share":
            return f"{100 * value:.1f} %"
        case "seconds":
            return f"{1000 * value:.0f} ms" if 0 < value < 1 else f"{value:.0f} s"
    return f"{value:g}"


def _working(progress: Path) -> str:
    """What a run reports that the guard carries out."""
    try:
        body = json.loads(progress.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return ""
    return f"{body['what']}: {body['done']}" + (f" of {body['total']}" if body.get("total") else "")


@dataclass(slots=True)
class Changes:
    """What is new since the last look, in lines. `at` is monotonic."""

    before: Status | None = None
    _again_at: dict[str, float] = field(default_factory=dict)

    def all(self, status: Status, at: float) -> list[str]:
        before, said = self.before, []
        if before is None or (before.phase, before.step) != (status.phase, status.step):
            said.append(f"phase {rows(status)[0][1].plain}")
        if status.ready is not None and (before is None or before.ready != status.ready):
            said.append("the way back is " + ("open" if status.ready else "not ready"))
        said += [r for r in status.reasons if before is None or r not in before.reasons]
        said += [f"warning: {w}" for w in status.warnings if before is None or w not in before.warnings]
        said += self.verdicts(status, at)
        if status.decision is not None and (before is None or before.decision != status.decision):
            said.append(f"decided: {status.decision['action']}: {status.decision['reason']}")
        return said

    def verdicts(self, status: Status, at: float) -> list[str]:
        """Of a breach that it began, fires, or is over; not each of its values."""
        known = {v["trigger"]: _word(v) for v in self.before.triggers} if self.before is not None else {}
        self.before = status
        said = []
        for v in status.triggers:
            word, was = _word(v), known.get(v["trigger"], "ok")
            if word in (was, "no_data", "off") or (word == "ok" and was in ("no_data", "off")):
                continue
            key = f"{v['trigger']} {word}"
            if "fires" in (word, was) or at >= self._again_at.get(key, at):
                self._again_at[key] = at + QUIET_SECONDS
                said.append(f"{v['trigger']}: {word}" + (f": {v['sentence']}" if word != "ok" else ""))
        return said


def follow(look: Callable[[], Status], now: Callable[[], datetime], progress: Path) -> None:
    """Until Ctrl-C: the picture on a terminal, else a line for each change."""
    console = Console()
    changes = Changes()
    try:
        with _live(console) as live:
            while True:
                status = look()
                if live is not None:
                    live.update(drawn(status, now(), progress), refresh=True)
                else:
                    for line in changes.all(status, time.monotonic()):
                        print(f"{now():%Y-%m-%d %H:%M:%S} UTC  {line}", flush=True)
                time.sleep(EVERY_SECONDS)
    except KeyboardInterrupt:
        return


@contextmanager
def beside(
    look: Callable[[], Status], now: Callable[[], datetime], progress: Path, say: Callable[[str], None]
) -> Iterator[None]:
    """For the guard: the picture under its lines on a terminal, else a line where a verdict changes."""
    over = Event()
    changes = Changes()
    with _live(Console(stderr=True)) as live:

        def work() -> None:
            while not over.wait(EVERY_SECONDS):
                try:
                    status = look()
                except TurnbackError:
                    continue  # a journal that cannot be read now: the guard's own work says so
                if live is not None:
                    live.update(drawn(status, now(), progress, "the guard"), refresh=True)
                    continue
                for line in changes.verdicts(status, time.monotonic()):
                    say(line)

        thread = Thread(target=work, name="picture", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def _live(console: Console) -> Iterator[Live | None]:
    """None where nothing can be drawn anew."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    with Live(console=console, auto_refresh=False) as live:
        yield live
