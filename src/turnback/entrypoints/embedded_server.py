"""`turnback server`: the embedded PostgreSQL, by hand. Never taken away while it is the primary."""

from __future__ import annotations

from turnback.core.phases import Phase
from turnback.entrypoints.wiring import Setup
from turnback.errors import UsageError

NEEDED = (Phase.CUTTING_OVER, Phase.ON_POSTGRES, Phase.ROLLING_BACK)


def act(setup: Setup, action: str, *, yes: bool) -> bool:
    """Returns whether the server runs afterwards. Raises UsageError where it is not turnback's to act on."""
    embedded = setup.embedded
    if embedded is None:
        raise UsageError(
            "[postgres] url names a server that is not turnback's", hint="act on it by its own means"
        )
    phase = setup.state().phase
    if action in ("stop", "remove") and phase in NEEDED:
        raise UsageError(
            f"the application needs PostgreSQL in the phase {phase.value}",
            hint="`turnback rollback` comes first",
        )
    match action:
        case "start":
            embedded.ensure_running()
        case "stop":
            embedded.stop()
        case "remove":
            if not yes:
                raise UsageError("remove deletes the server with all of its data", hint="repeat with --yes")
            embedded.remove()
    return embedded.running()
