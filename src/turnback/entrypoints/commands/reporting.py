"""For people: `turnback report` of an incident, `turnback brief` for a boss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from turnback.entrypoints import certificates, incidents, output
from turnback.entrypoints.command_line import MORE, ConfigOption, JsonOption, app, flag, opened
from turnback.entrypoints.config import FILE_NAME
from turnback.errors import UsageError


@app.command(rich_help_panel=MORE)
def report(
    ident: Annotated[
        str | None,
        typer.Argument(help="The run or the decision; the newest incident without.", metavar="ID"),
    ] = None,
    config: ConfigOption = Path(FILE_NAME),
    html: Annotated[
        Path | None, typer.Option(help="Write it as one page, to print and to fill in.", metavar="FILE")
    ] = None,
    every: Annotated[bool, flag("--list", "Name every incident.")] = False,
    as_json: JsonOption = False,
) -> None:
    """An incident: what happened, why, how long each step took, what is proven, what is still open.

    Example: turnback report --html incident.html
    """
    if every and (ident is not None or html is not None):
        raise UsageError("--list names every incident: it takes no ID and no --html", hint="give one of them")
    with opened(config) as setup:
        if every:
            lines = incidents.listed(setup)
            if as_json:
                output.print_json({"incidents": lines})
            else:
                incidents.show_list(lines)
            return
        found = incidents.find(setup, ident)
        if html is not None:
            from turnback.entrypoints.pages.incident import incident_page  # with jinja2: imported when needed

            page = incident_page(found, printed_at=f"{setup.clock.now():%Y-%m-%dT%H:%M:%SZ}")
            try:
                certificates.write_private(html, page)
            except OSError as e:
                raise UsageError(
                    f"{html}: {e.strerror}", hint="name a file in a folder that you may write to"
                ) from e
            output.say(f"wrote {html}")
        if as_json:
            output.print_json(found.to_json())
        elif html is None:
            incidents.show(found)


@app.command(rich_help_panel=MORE)
def brief(
    config: ConfigOption = Path(FILE_NAME),
    md: Annotated[bool, flag("--md", "As Markdown, for a mail or a ticket.")] = False,
    as_json: JsonOption = False,
) -> None:
    """One page for who decides: go or not and why, what it costs, how long the way back is open.

    Example: turnback brief --md
    """
    from turnback.core.brief import markdown
    from turnback.entrypoints import briefing

    if md and as_json:
        raise UsageError("--md and --json contradict each other", hint="give one of them")
    with opened(config) as setup:
        made = briefing.gather(setup)
        if as_json:
            output.print_json(made.to_json())
        elif md:
            print(markdown(made), end="")
        else:
            briefing.show(made)
