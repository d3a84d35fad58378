"""What becomes of a decision: the journal first, then the rollback or a notice.

The guard may die at any moment in between: a decision that stands in the journal without a run that names it
is carried out once by the next guard, where it is fresh, and voided where it is not.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from turnback.core.phases import Phase
from turnback.core.state import State
from turnback.core.watch.verdict import Action, Decision
from turnback.errors import TurnbackError
from turnback.ports import Clock, Journal, Notice, NoticeEvent

WITHOUT_OBJECTIVE_SECONDS = 300.0  # how old a decision without a time objective may be and still be done
IN_VAIN_SECONDS = 60.0  # between two attempts of a rollback that could not even begin

Body = Mapping[str, Any]

_TITLE: Mapping[Action, str] = {
    Action.RECOMMEND: "roll back is recommended",
    Action.HOLD: "a rollback is needed and held back",
    Action.PAGE: "look at it",
    Action.ROLLBACK: "rolling back to SQLite",
    Action.RESOLVED: "is over",
}
_NEXT: Mapping[Action, str] = {
    Action.RECOMMEND: "Next: look at it, then `turnback rollback` if you agree",
    Action.HOLD: "Next: mend what is named, or roll back by hand: `turnback rollback`",
    Action.PAGE: "Next: `turnback status`",
    Action.ROLLBACK: "Next: nothing, another notice says how it went",
    Action.RESOLVED: "",
}


@dataclass(slots=True)
class Deciding:
    """`tell` never blocks and never raises. `roll_back` carries a rollback out with the options given, and
    raises TurnbackError. `failpoint` is for crash tests.
    """

    journal: Journal
    clock: Clock
    tell: Callable[[Notice], None]
    say: Callable[[str], None]
    failpoint: Callable[[str], None]
    boot: str
    host: str
    application: str
    roll_back: Callable[[Body], None] = field(default=lambda _: None)
    last: Body | None = None
    _told: dict[str, str] = field(default_factory=dict)  # what goes on: key -> severity
    _unwritten: Body | None = None  # or written in vain, and tried again after a pause
    _again_at: float = 0.0
    _in_vain: str = ""  # why the last attempt could not begin, until one does

    def take(self, decision: Decision) -> None:
        """A decision of this moment."""
        body = decision.to_json() | {"id": f"decision-{uuid.uuid4().hex[:8]}", "boot": self.boot}
        self.last = body
        if decision.action is Action.ROLLBACK:
            self._decide(body)
            return
        self.say(f"{decision.action.value}: {decision.trigger}: {decision.reason}")
        try:
            self.journal.append("decision", body)
        except TurnbackError as e:  # a page is worth more than its record
            self.say(f"not recorded: {e}")
        if decision.action is not Action.OBSERVE:
            self._tell_decision(body)

    def told_before(self) -> tuple[float, dict[str, tuple[str, str]]]:
        """Of the guard's decisions of this boot in the journal: `at` of the newest (0: none), and
        (action, severity) of the newest of each trigger.
        """
        bodies = [r.body for r in self.journal.records(kind="decision") if r.run is None]
        bodies = [b for b in bodies if b.get("boot") == self.boot]
        newest = max((float(b["at"]) for b in bodies), default=0.0)
        return newest, {str(b["trigger"]): (str(b["action"]), str(b["severity"])) for b in bodies}

    # ---- a rollback ----

    def _decide(self, body: Body) -> None:
        if self.clock.monotonic() < self._again_at:
            self._unwritten = body
            return
        self.failpoint("guard.decided:before")
        try:
            self.journal.append("decision", body)
        except TurnbackError as e:
            if self._unwritten is None:
                self._tell_decision({**body, "action": "hold", "held_back": f"it cannot be recorded: {e}"})
                self.say(f"hold: {body['trigger']}: {body['reason']}: {e}")
            self._unwritten = body
            return
        self._unwritten = None
        self.failpoint("guard.decided:record")
        self._carry_out(body)

    @property
    def waiting(self) -> str | None:
        """The trigger of a decision to roll back that could not be recorded, or begun, yet."""
        return str(self._unwritten["trigger"]) if self._unwritten is not None else None

    def try_again(self) -> None:
        """Records what waits, and carries it out."""
        if self._unwritten is not None:
            self._decide(self._unwritten)

    def drop(self) -> None:
        """What waits is no longer due."""
        self._unwritten, self._again_at, self._in_vain = None, 0.0, ""

    def take_up(self, state: State) -> None:
        """A decision to roll back that the guard before took and did not live to carry out."""
        body = state.waiting_decision
        if body is None:
            return
        age = self.clock.monotonic() - body["at"] if body.get("boot") == self.boot else None
        limit = body["objective_seconds"] or WITHOUT_OBJECTIVE_SECONDS
        if state.phase is not Phase.ON_POSTGRES:
            self._void(body, f"the phase is {state.phase.value}")
        elif age is None:
            self._void(body, "it was decided before the machine restarted")
        elif not 0 <= age <= limit:
            self._void(body, f"it was decided {age:.0f} s ago, and is good for {limit:.0f} s")
        else:
            self.say(f"carrying out what was decided {age:.1f} s ago: {body['reason']}")
            self._carry_out(body)

    def _carry_out(self, body: Body) -> None:
        if not self._in_vain:
            self._tell_decision(body)
        self._told.pop(str(body["trigger"]), None)  # the end of the rollback says what becomes of it
        options = {
            "decision": body["id"],
            "automatic": True,
            "trigger": body["trigger"],
            "reason": body["reason"],
            "severity": body["severity"],
            "emergency": body["emergency"],
            "by": f"guard@{self.host}",
        }
        try:
            self.roll_back(options)
        except TurnbackError as e:
            self.say(f"{e}" + (f" ({e.hint})" if e.hint else ""))
            waiting = self.journal.state().waiting_decision
            if waiting is not None and waiting["id"] == body["id"]:
                # It did not even begin, and is tried again; nobody is woken twice for one reason.
                self._void(body, str(e), tell=str(e) != self._in_vain)
                self._again_at, self._in_vain = self.clock.monotonic() + IN_VAIN_SECONDS, str(e)
                return
            self._in_vain = ""
            text = f"{body['reason']}. The rollback failed: {e}. Next: {e.hint or '`turnback status`'}"
            self.notice(body, "failed", "the rollback failed", text)
            return
        self._in_vain = ""
        text = f"{body['reason']}. SQLite serves. Next: `turnback report`"
        self.notice(body, "rolled_back", "rolled back to SQLite", text, resolved=True)

    def _void(self, body: Body, why: str, *, tell: bool = True) -> None:
        self.journal.append("decision_void", {"id": body["id"], "why": why})
        if not tell:
            self._told[str(body["trigger"])] = str(body["severity"])  # it still goes on
            return
        text = f"{body['reason']}. It was not rolled back: {why}. Next: `turnback status`"
        self.notice(body, "page", "a decision to roll back was not carried out", text)

    # ---- notices ----

    def _tell_decision(self, body: Body) -> None:
        action = Action(body["action"])
        held = f" Held back: {body['held_back']}." if body["held_back"] else ""
        text = f"{body['reason']}.{held} {_NEXT[action]}".strip()
        title = f"{body['trigger']}: {_TITLE[action]}"
        # Every action but `observe`, which nobody is told, is an event of the same name.
        event: NoticeEvent = action.value  # type: ignore[assignment]
        self.notice(body, event, title, text, resolved=action is Action.RESOLVED)

    def notice(
        self, body: Body, event: NoticeEvent, title: str, text: str, *, resolved: bool = False
    ) -> None:
        """Of a decision; `body` gives key (its trigger), severity and id."""
        key, severity = str(body["trigger"]), str(body["severity"])
        if resolved:
            self._told.pop(key, None)
        else:
            self._told[key] = severity
        fields = {"application": self.application, "host": self.host}
        if body.get("id"):
            fields["decision"] = str(body["id"])
        self.tell(Notice(key, event, severity, title, text, self.clock.now(), resolved, fields))

    def resolve_all(self, why: str) -> None:
        """A run has ended: what was told before it is no longer what goes on."""
        for key, severity in list(self._told.items()):
            self.notice(
                {"trigger": key, "severity": severity}, "resolved", f"{key}: is over", why, resolved=True
            )
