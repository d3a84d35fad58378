"""Monitoring from the same configuration: alerts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from turnback.entrypoints import output
from turnback.entrypoints.command_line import (
    MORE,
    ConfigOption,
    JsonOption,
    YesOption,
    app,
    flag,
)
from turnback.entrypoints.config import FILE_NAME
from turnback.entrypoints.config_reading import load
from turnback.errors import UsageError


class AlertsAction(StrEnum):
    """What `turnback alerts` does."""

    EXPORT = "export"
    TEST = "test"


@app.command(rich_help_panel=MORE)
def alerts(
    action: Annotated[
        AlertsAction, typer.Argument(help="export: write them; test: promtool and amtool judge them.")
    ],
    folder: Annotated[Path, typer.Argument(help="The folder of the files.", metavar="DIR")],
    config: ConfigOption = Path(FILE_NAME),
    allow_missing: Annotated[
        bool, flag("--allow-missing", "test: a tool that is not installed is no failure.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Prometheus, Alertmanager, Grafana and Kubernetes files with the guard's own thresholds.

    Example: turnback alerts export monitoring
    """
    from turnback.entrypoints.alerts import export, tools

    exported = export.made(load(config))
    if action is AlertsAction.EXPORT:
        written = [str(p) for p in export.write(folder, exported.files, yes=yes)]
        if as_json:
            output.print_json(
                {
                    "written": written,
                    "alerts": sorted({a.name for a in exported.alerts}),
                    "left_out": dict(exported.left_out),
                }
            )
            return
        for path in written:
            print(path)
        for name, why in exported.left_out.items():
            print(f"left out: {name}: {why}")
        print(f"next: {folder / 'README.md'} says what to do with each; `turnback alerts test {folder}`")
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint=f"turnback alerts export {folder}")
    outdated = export.outdated(folder, exported.files)
    judged = list(tools.judge(folder))
    if as_json:
        output.print_json({"outdated": outdated, "checks": [j.to_json() for j in judged]})
    else:
        for name, what in outdated.items():
            print(f"failed   {folder / name}: {what}: export again")
        for j in judged:
            quiet = j.result == "passed"
            print(
                f"{j.result:<8} {j.what}"
                + ("" if quiet else "".join(f"\n    {s}" for s in j.detail.split("\n")))
            )
    missing = any(j.result == "not run" for j in judged) and not allow_missing
    if outdated or missing or any(j.result == "failed" for j in judged):
        raise typer.Exit(1)
