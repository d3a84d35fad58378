"""An application that is dead is not a database that is down, though it is what tells of its database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from turnback.core.watch.observation import Observation, Situation
from turnback.core.watch.rules import Rules
from turnback.core.watch.verdict import Action
from turnback.core.watch.watch import Watch

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
INTERVALS = {"application": 10.0, "database": 10.0, "server": 5.0}
STREAMING = {
    "state": "streaming", "lag_bytes": 0, "lag_seconds": 0.0, "contact_age_seconds": 0.5, "lost": False,
    "warning": None, "error": None,
}  # fmt: skip
OK = {"ok": True, "detail": "200", "seconds": 0.01}
DEAD = {"ok": False, "detail": "refused", "seconds": 0.01, "answered": False}
TELLS = {"ok": False, "detail": "503", "seconds": 0.01}
GONE = {"ok": False, "detail": "refused", "seconds": 0.01, "step": "connect"}
THERE = OK | {"step": "read"}


@pytest.mark.parametrize(
    ("application", "database", "server", "trigger", "seconds"),
    [
        (DEAD, DEAD, THERE, "application-health", 40),
        (DEAD, DEAD, GONE, "database-health", 10),  # it died of that
        (OK, TELLS, THERE, "database-health", 20),
        (TELLS, TELLS, THERE, "database-health", 20),  # one address for both
        (OK, DEAD, THERE, "database-health", 20),  # it hangs where it needs the database
    ],
)
@pytest.mark.parametrize("first", ["application", "database"])
def test_the_cause_is_the_right_one(
    application: Any, database: Any, server: Any, trigger: str, seconds: int, first: str
) -> None:
    watch = Watch(replace(Rules(mode="enforce"), intervals=INTERVALS))
    watch.take(_seen(0, "situation", Situation("on_postgres", None, -1000.0).to_json()))
    order = sorted(INTERVALS, key=lambda p: p != first)
    found = []
    for at in range(1, 300):
        bad = at >= 100
        values = {"application": application if bad else OK, "database": database if bad else OK}
        values["server"] = server if bad else THERE
        taken = [watch.take(_seen(at, "capture", STREAMING))]
        taken += [watch.take(_seen(at, p, values[p])) for p in order if at % INTERVALS[p] == 0]
        found += [(at - 100, d.action, d.trigger) for d in taken if d is not None]
    assert found[0][1:] == (Action.ROLLBACK, trigger)
    assert found[0][0] == seconds


@pytest.mark.parametrize(("contact_after", "action"), [(None, Action.HOLD), (1.5, Action.ROLLBACK)])
def test_a_contact_from_before_the_failure_does_not_prove_that_the_server_answers(
    contact_after: float | None, action: Action
) -> None:
    """Three checks a second apart: the last contact is only two seconds old when they have failed."""
    watch = Watch(replace(Rules(mode="enforce"), intervals={"server": 1.0, "application": 10.0}))
    watch.take(_seen(0, "situation", Situation("on_postgres", None, -1000.0).to_json()))
    found = []
    for at in range(1, 14):
        last = 10 + contact_after if contact_after is not None and at > 10 + contact_after else 9.9
        contact = at - last if at >= 10 else 0.1
        taken = [watch.take(_seen(at, "capture", STREAMING | {"contact_age_seconds": contact}))]
        taken.append(watch.take(_seen(at, "server", GONE if at >= 10 else THERE)))
        found += [d.action for d in taken if d is not None]
    assert found == [action]


def _seen(at: float, probe: str, value: Any) -> Observation:
    return Observation(float(at), BEGUN + timedelta(seconds=at), probe, value)
