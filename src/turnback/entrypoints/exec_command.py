"""`turnback exec -- CMD`: the guard in the foreground, with CMD as the application on either side.

The entry point of a container or unit: when the container is stopped (SIGTERM) the application is stopped
too, since both end with it. The next start adopts phase and side from the journal.
"""

from __future__ import annotations

from collections.abc import Callable

from turnback.app.engine import primary_side
from turnback.entrypoints.wiring import Setup


def run(setup: Setup, command: tuple[str, ...], serve: Callable[[Setup, str], None]) -> None:
    """Guards until SIGTERM, then stops the application."""
    setup.use_command(command)
    try:
        serve(setup, "exec")
    finally:
        side = primary_side(setup.state())
        if side is not None:
            setup.platform.stop(side, graceful_seconds=setup.config.app.stop_seconds)
