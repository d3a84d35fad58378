"""A rollback whose server is gone: waited for, and then what is known of what stays behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from turnback.app.sides import World
from turnback.core import lsn
from turnback.core.state import Run
from turnback.errors import NotReady, ServerGone, TurnbackError

SERVER_POLL_SECONDS = 0.25


def comes_back(world: World) -> bool:
    """PostgreSQL is gone: started once, and waited for. With it back nothing is lost."""
    announce, clock = world.announce, world.clock
    deadline = clock.monotonic() + world.server_wait_seconds
    announce("PostgreSQL is unreachable: it is started, and waited for")
    try:
        world.start_server()
    except TurnbackError as e:
        announce(f"PostgreSQL could not be started: {e}")
    while True:
        if world.postgres.reachable():
            return True
        if clock.monotonic() >= deadline:
            return False
        clock.sleep(SERVER_POLL_SECONDS)


def loss_manifest(world: World, run: Run, error: ServerGone) -> dict[str, object]:
    """What is known without the server (HAZARDS O8). Raises NotReady outside the RPO objective, where nobody
    has accepted a loss.
    """
    position = world.sqlite.fallback_position(world.plan)
    contact, age = last_contact(world)
    when = "never" if contact is None else contact.isoformat(timespec="seconds")
    ago = f" ({age:.1f} s ago)" if age is not None else " (how long ago is not known: the clock was set)"
    known = (
        f"the last applied position is {lsn.text(position.applied_lsn)}, "
        f"the last contact with lag 0 was {when}{ago if contact else ''}"
    )
    inside = age is not None and age <= world.rpo_objective_seconds
    if not inside and not run.options.get("accept_loss"):
        raise NotReady(
            f"PostgreSQL is unreachable, so nothing can be drained: {known}",
            hint="start PostgreSQL again and repeat, or go on with --accept-loss: "
            "what was committed after that contact stays behind",
        )
    return {
        "why": str(error),
        "last_applied_lsn": lsn.text(position.applied_lsn),
        "last_applied_commit_time_us": position.commit_time_us,
        "last_applied_commit_time": _utc(position.commit_time_us),
        "every_commit": f"up to {lsn.text(position.applied_lsn)} is here, and none after it",
        "last_contact_with_lag_0": contact.isoformat() if contact else None,
        "rpo_measured_seconds": age,
        "accepted_by": "--accept-loss" if run.options.get("accept_loss") else "rpo_objective_seconds",
        "cannot_be_known": "commits in PostgreSQL after the last applied position. When the server is "
        "back, dump it before `turnback migrate --again`, which clears its tables",
    }


def last_contact(world: World) -> tuple[datetime | None, float | None]:
    """The last moment with lag 0, and how many seconds ago that is, for certain; None: not known.

    The wall clock may have been set meanwhile. Of the same boot the age is known by a clock that cannot;
    the larger of the two counts, and a contact in the future says nothing.
    """
    status = world.capture.status() if world.capture else None
    contact = status.last_contact_at if status is not None else None
    if status is not None and contact is not None:
        monotonic = status.contact_monotonic
        steady = world.clock.monotonic() - monotonic if monotonic is not None else None
    else:
        contact, steady = world.last_contact(), world.contact_age()
    wall = (world.clock.now() - contact).total_seconds() if contact else None
    ages = [age for age in (wall, steady) if age is not None and age >= 0]
    return contact, max(ages) if ages else None


def _utc(commit_time_us: int) -> str | None:
    """A server's commit time (us since 2000-01-01) in ISO 8601; None: nothing was applied yet."""
    if not commit_time_us:
        return None
    return (datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=commit_time_us)).isoformat()
