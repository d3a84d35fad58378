"""Whether the application serves, by its own health endpoint."""

from __future__ import annotations

from turnback.app.sides import World
from turnback.errors import PlatformError
from turnback.ports import Side

POLL_SECONDS = 0.05


def await_healthy(world: World, side: Side) -> dict[str, object]:
    """Waits until the application answers its health check. Raises PlatformError after the timeout.

    Without a health URL nothing is known, and the result says so.
    """
    if world.probe is None:
        return {"health": "not known: no [app] health is configured"}
    begun = world.clock.monotonic()
    probe = world.probe()
    while True:
        health = probe.check()
        waited = world.clock.monotonic() - begun
        if health.ok:
            return {
                "health": health.detail,
                "healthy_at": world.clock.now().isoformat(),
                "seconds": round(waited, 3),
            }
        if waited > world.health_timeout_seconds:
            raise PlatformError(
                f"the application on {side} is not healthy after {waited:.0f} s: {health.detail}",
                hint="look at its log in the state folder; `turnback status` says what is next",
            )
        world.clock.sleep(POLL_SECONDS)
