"""The command `turnback`: its commands, in the order of --help, and what an error of theirs becomes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

import typer

from turnback.entrypoints import output
from turnback.entrypoints.command_line import Asked, app
from turnback.errors import TurnbackError

# Importing them registers what they hold: this is the order of --help.
for _module in ("moving", "guarding", "checking", "keeping", "alerting", "reporting"):
    import_module(f"turnback.entrypoints.commands.{_module}")


def main() -> NoReturn:
    """Entry point: exit 0 done, 1 refused or failed, 2 usage, 3 findings need a choice, 130 interrupted."""
    command: Callable[..., Any] = typer.main.get_command(app)
    try:
        status_code = command(standalone_mode=False)
    except TurnbackError as e:
        output.print_error(e, as_json=Asked.as_json)
        sys.exit(e.exit_status)
    except typer.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        output.say("interrupted: `turnback status` says what is next, `turnback resume` goes on")
        sys.exit(130)
    except Exception as e:
        if not hasattr(e, "format_message"):  # click's own usage errors
            raise
        output.say(f"error: {e.format_message()}")
        output.say("hint:  turnback --help")
        sys.exit(2)
    sys.exit(status_code if isinstance(status_code, int) else 0)
