"""The command `turnback`: its commands, in the order of --help, and what an error of theirs becomes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from itertools import takewhile
from typing import Any, NoReturn

import typer

from turnback.entrypoints import output
from turnback.entrypoints.command_line import Interrupted, app
from turnback.errors import TurnbackError, UsageError

# Importing them registers what they hold: this is the order of --help.
for _module in ("moving", "guarding", "checking", "keeping", "alerting", "reporting"):
    import_module(f"turnback.entrypoints.commands.{_module}")


def main() -> NoReturn:
    """Entry point: exit 0 done, 1 refused or failed, 2 usage, 3 findings need a choice, 130 interrupted."""
    command: Callable[..., Any] = typer.main.get_command(app)
    # By the words themselves: they may be no command, and behind -- they are another's.
    as_json = "--json" in takewhile(lambda word: word != "--", sys.argv)
    try:
        status_code = command(standalone_mode=False)
    except TurnbackError as e:
        _end(e, e.exit_status, as_json)
    except Interrupted as e:
        _end(TurnbackError("interrupted", hint=str(e)), 130, as_json)
    except typer.Abort:
        _end(TurnbackError("nobody has answered", hint="nothing was begun; repeat it"), 130, as_json)
    except Exception as e:
        if not hasattr(e, "format_message"):  # click's own usage errors
            raise
        context = getattr(e, "ctx", None)
        hint = f"{context.command_path if context is not None else 'turnback'} --help"
        _end(UsageError(e.format_message(), hint=hint), UsageError.exit_status, as_json)
    sys.exit(status_code if isinstance(status_code, int) else 0)


def _end(error: TurnbackError, exit_status: int, as_json: bool) -> NoReturn:
    output.print_error(error, exit_status, as_json=as_json)
    sys.exit(exit_status)
