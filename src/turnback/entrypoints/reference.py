"""docs/reference.md, made from the code: commands, keys, exit statuses, journal, files, metrics, rights.

`make reference` writes it; a test makes it again and compares.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from pydantic.fields import FieldInfo

from turnback import errors
from turnback.adapters.telemetry import METRICS
from turnback.core.plan_steps import POINT_OF_NO_RETURN, STEPS
from turnback.entrypoints import cli as _registers_the_commands  # noqa: F401
from turnback.entrypoints import command_line
from turnback.entrypoints.config import Config
from turnback.entrypoints.config_section import Section
from turnback.errors import TurnbackError

HEAD = """\
# Reference

Made from the code by `make reference`; a test compares. Do not edit.

[Commands](#commands) · [turnback.toml](#turnbacktoml) · [Exit statuses](#exit-statuses) ·
[Steps](#steps) · [Journal](#journal) · [Files](#files) · [Metrics](#metrics) · [Rights](#rights)
"""

EXIT_STATUSES = {
    0: "done",
    1: "refused, declined or failed; `verify`: the sides differ; `demo`: lost, doubled or not verified",
    2: "usage: unknown command or option, the command does not fit the phase, turnback.toml cannot be used",
    3: "findings need a choice (`assess`), or the target is not empty (`migrate`)",
    130: "interrupted by Ctrl-C",
}

RECORDS = {
    "assessed": "assess made a plan: its sha256 and that of the SQLite schema",
    "findings": "what assess found: how many of each severity, and what stops the move",
    "plan": "the text of a plan, by its sha256",
    "intent": "a command asks the guard",
    "intent_done": "the guard has carried the intent out",
    "intent_failed": "the guard could not: error, hint, exit status",
    "notice": "whom the guard told what, and which notifier could not deliver it",
    "decision": "what the guard decided, with its numbers, before anything is done; with a run: a person's",
    "decision_void": "a decision to roll back that was not carried out, and why",
    "run_started": "a migrate, cutover, rollback or rebuild begins, with its options",
    "step_started": "a step begins; of `start_on_postgres` and `start_on_sqlite`: the point of no return",
    "step_done": "a step has ended, with its result",
    "step_failed": "a step has failed: error and hint",
    "note": "what a step must know again after a crash: former states, positions, fingerprints",
    "undoing": "the run is undone from here on, and why",
    "undo_done": "a step was undone",
    "undo_postponed": "a step could not be undone (the server is gone); the next run of its kind clears it",
    "run_ended": "the run has ended: done or undone",
    "validated": "the checks of `turnback validate`, and of a rollback's end: expected, seen, ok",
    "baseline": "how the application answered while it was on SQLite",
    "normal_again": "after a rollback (or `validate --watch`) everything was normal for"
    " `[validate] watch_seconds`",
    "way_back_lost": "why there is no way back until a rebuild or a cutover, and whether a slot is to be"
    " dropped for it",
    "slot_dropped": "what `way_back_lost` said, or an undo had to leave, is done, and bytes of WAL",
    "fenced_late": "PostgreSQL, unreachable at the rollback, answered again and was fenced",
    "guard_started": "a guard has the lease",
    "check_proven": "a check of the guard's was answered properly for the first time at this address",
    "guard_stopped": "a guard has ended in order",
    "process_started": "platform process: process group, pid and start time, before the application runs",
    "process_stopping": "platform process: the stop begins",
    "process_stopped": "platform process: nobody of the group is left",
    "process_exited": "platform process: the application ended by itself",
    "process_adopted": "platform process: a new guard found the application running",
    "application_started": "platforms command and manual: the application was started on that side",
    "application_stopped": "platforms command and manual: the application was stopped on that side",
    "failpoint": "crash tests only",
}

FILES = {
    "turnback.toml": "the configuration; holds no secret, belongs into version control",
    "turnback.plan.json": "what each table and column becomes; reviewed and committed; from migrate on the"
    " journal's copy counts",
    "APP.db": "the application's file; while PostgreSQL is primary a tombstone of 1,000 bytes",
    "APP.db.turnback-original": "the SQLite file as it was at cutover, fenced, mode 0444. An earlier one"
    " keeps a number: `-original.1` is the oldest. Never deleted by turnback",
    "APP.db.turnback-fallback": "the file that is kept current while PostgreSQL is primary",
    "APP.db.turnback-fallback.rebuild": "while `fallback rebuild` runs: the new one",
    "APP.db.turnback-held": "at the end of a rollback of a file without WAL: the state of the switch,"
    " until it is compared, mode 0600",
    "loss-manifest-RUN.json": "after a rollback without the server: what is known of what stayed behind",
    "APP.db.turnback/": "the state folder, mode 0700 (`[state] folder`)",
    "APP.db.turnback/journal.db": "everything that was decided and done; append-only",
    "APP.db.turnback/lease": "locked by whoever acts now",
    "APP.db.turnback/status.json": "what the guard saw last",
    "APP.db.turnback/trace.jsonl": "the guard's observations, for `turnback guard --replay`; the older half"
    " is `trace.1.jsonl`, both together at most `[guard] trace_bytes`, mode 0600",
    "APP.db.turnback/server.log": "the output of `[postgres] start`",
    "APP.db.turnback/certificates/": "what migrate, verify and rollback have proven: JSON and a page",
    "APP.db.turnback/snapshot.db": "what migrate copies from; removed at its end",
    "APP.db.turnback/guard.token": "the bearer token of /metrics, /status and /alerts, mode 0600;"
    " without it the guard makes a new one",
    "APP.db.turnback/guard.log": "the output of a guard that `cutover` has started",
    "APP.db.turnback/application.log": "the output of the application and of its commands",
    "APP.db.turnback/available.log": "the output of `[app.sqlite] available`, of the last time",
    "APP.db.turnback/schema.log": "the output of `[app.postgres] schema`",
    "APP.db.turnback/embedded.json": "address and passwords of the embedded PostgreSQL, mode 0600",
}

# finding of assess -> (what is tried, what gives it)
RIGHTS = {
    "rights.connect": ("`admin_url` answers", "host, port, password, pg_hba.conf"),
    "rights.pooler": ("`admin_url` is no pooler", "the server's direct address"),
    "rights.application": ("`url` answers and its role can use the schema", "GRANT USAGE ON SCHEMA S TO app"),
    "rights.schema": ("schema `turnback` for its own objects", "GRANT CREATE ON DATABASE d TO turnback"),
    "rights.target_schema": ("`[postgres] schema` exists", "CREATE SCHEMA S"),
    "rights.create": ("mode create: a table in the schema", "GRANT CREATE, USAGE ON SCHEMA S TO turnback"),
    "rights.hand_over": (
        "mode create: tables are given to the application's role",
        "GRANT app TO turnback; GRANT CREATE, USAGE ON SCHEMA S TO app",
    ),
    "rights.owner": ("mode existing: it owns the tables", "GRANT app TO turnback"),
    "rights.fence": ("a trigger that refuses writes", "GRANT USAGE ON LANGUAGE plpgsql TO turnback"),
    "rights.publication": ("CREATE PUBLICATION ... FOR TABLE", "GRANT CREATE ON DATABASE d TO turnback"),
    "rights.suspension": (
        "mode existing: session_replication_role; without it foreign keys are dropped and added again",
        "GRANT SET ON PARAMETER session_replication_role TO turnback (15 and newer)",
    ),
    "rights.wal_level": ("wal_level is logical", "ALTER SYSTEM SET wal_level = logical; restart"),
    "rights.replication": ("a replication connection", "ALTER ROLE turnback REPLICATION; pg_hba.conf"),
    "rights.slot": ("a logical slot, made and dropped", "a free slot (max_replication_slots); REPLICATION"),
    "rights.slot_waits": ("a slot within 10 s", "end the transactions that it names"),
    "rights.prepared": ("no prepared transaction is open", "COMMIT PREPARED or ROLLBACK PREPARED"),
    "rights.wal_retention": (
        "max_slot_wal_keep_size bounds the disk",
        "ALTER SYSTEM SET max_slot_wal_keep_size = '15GB'",
    ),
    "rights.wal_room": (
        "max_slot_wal_keep_size lasts for a day of WAL, as measured",
        "ALTER SYSTEM SET max_slot_wal_keep_size to what the disk can spare",
    ),
    "rights.idle_slot": ("idle slots are not given up", "ALTER SYSTEM SET idle_replication_slot_timeout = 0"),
    "rights.fsync": ("fsync is on", "ALTER SYSTEM SET fsync = on"),
    "rights.full_page_writes": ("full_page_writes is on", "ALTER SYSTEM SET full_page_writes = on"),
    "rights.synchronous_commit": (
        "synchronous_commit is on for the application",
        "ALTER ROLE app SET synchronous_commit = on",
    ),
    "rights.unlogged": ("no table is UNLOGGED", "ALTER TABLE t SET LOGGED"),
}


def reference() -> str:
    """The whole page, in Markdown."""
    parts = [HEAD, *_commands(), *_config(), *_exit_statuses(), *_steps()]
    parts += ["## Journal\n", _table(("record", "what it says"), [(f"`{k}`", v) for k, v in RECORDS.items()])]
    parts += ["## Files\n", "For an application's file `APP.db`.\n"]
    parts.append(_table(("file", "what it is"), [(f"`{k}`", v) for k, v in FILES.items()]))
    parts += [
        "## Metrics\n",
        "The guard's own, at `/metrics` of `[guard] listen`. What is not known is absent.",
    ]
    parts += ["A verdict is one of ok, breach, no_data, error.\n"]
    metrics = [(f"`{m.name}`", m.type, ", ".join(f"`{x}`" for x in m.labels), m.help) for m in METRICS]
    parts.append(_table(("metric", "type", "labels", "what it says"), metrics))
    parts += ["## Rights\n", "Assess tries each of them. `app` is the role of `url`, `turnback` that of"]
    parts += ["`admin_url`, `d` the database, `S` the schema. See also [rights](how-to/rights.md).\n"]
    rights = [(f"`{k}`", *v) for k, v in RIGHTS.items()]
    parts.append(_table(("finding", "what is tried", "what gives it"), rights))
    return "\n".join(parts)


# ---- commands ----


def commands() -> dict[str, Any]:
    """The commands as typer makes them, by name, in the order of --help."""
    group: Any = typer.main.get_command(command_line.app)
    return dict(group.commands)


def options_of(command: Any) -> list[Any]:
    """Its arguments and options, without --help."""
    return [p for p in command.params if p.name != "help"]


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    yield "Every command that takes `--json` prints one JSON document on stdout; progress goes to stderr.\n"
    for name, command in commands().items():
        yield f"### turnback {name}\n"
        yield f"{(command.help or '').strip()}\n"
        rows = [(f"`{_spelling(p)}`", p.help or "", _shown(p)) for p in options_of(command)]
        yield _table(("option", "what it does", "default"), rows)


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper() + "..."
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return "/".join(parameter.opts) + value


def _shown(parameter: Any) -> str:
    plain = parameter.param_type_name == "argument" or parameter.is_flag or parameter.default is None
    return "" if plain else f"`{parameter.default}`"


# ---- turnback.toml ----


def keys(section: type[Section] = Config, path: str = "") -> Iterator[tuple[str, str, FieldInfo]]:
    """(table, key, field) of every key that turnback.toml may have, tables in the file's order."""
    for name, field in section.model_fields.items():
        key = field.alias or name
        table, named = _inner(field)
        if table is None:
            yield path, key, field
        else:
            yield from keys(table, ".".join(p for p in (path, key, named) if p))


def _inner(field: FieldInfo) -> tuple[type[Section] | None, str]:
    """The section behind a field that is a table, and the word for its own name where there are many."""
    kind: Any = field.annotation
    if typing.get_origin(kind) is dict:
        kind = typing.get_args(kind)[1]
        named = {"TableSection": "TABLE", "ColumnSection": "COLUMN"}.get(
            getattr(kind, "__name__", ""), "NAME"
        )
    else:
        named = ""
    for choice in typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,):
        if isinstance(choice, type) and issubclass(choice, Section):
            return choice, named
    return None, ""


def _config() -> Iterator[str]:
    yield "## turnback.toml\n"
    yield "Unknown keys are refused, with line and key. Paths are relative to the file's folder. A secret"
    yield "never stands in it: `env:NAME` or `file:PATH`.\n"
    tables: dict[str, list[tuple[str, ...]]] = {}
    for table, key, field in keys():
        default = "needed" if field.is_required() else _toml(field.default)
        tables.setdefault(table, []).append((f"`{key}`", _values(field), default, field.description or ""))
    for table, rows in tables.items():
        yield f"### [{table}]\n"
        yield _table(("key", "values", "default", "what it means"), rows)


def _toml(default: object) -> str:
    match default:
        case None | {} | ():
            return ""
        case bool():
            return f"`{str(default).lower()}`"
        case str():
            return f'`"{default}"`'
    return f"`{default}`"


def _values(field: FieldInfo) -> str:
    """What may be written there, in the words of TOML."""
    return _kind(field.annotation)


def _kind(kind: Any) -> str:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _kind(typing.get_args(kind)[0])
    if origin is typing.Literal:
        return ", ".join(f'`"{v}"`' for v in typing.get_args(kind))
    if isinstance(kind, types.UnionType) or origin is typing.Union:
        return " or ".join(_kind(k) for k in typing.get_args(kind) if k is not type(None))
    if origin is tuple:
        return "list of strings"
    if origin is dict:
        return "table of strings"
    return {str: "string", bool: "true, false", int: "integer", float: "number"}[kind]


# ---- the rest ----


def error_tree(root: type[TurnbackError] = TurnbackError) -> Iterator[type[TurnbackError]]:
    """The errors that a user can meet, those of turnback.errors."""
    if root.__module__ == errors.__name__:
        yield root
    for child in root.__subclasses__():
        yield from error_tree(child)


def _exit_statuses() -> Iterator[str]:
    yield "## Exit statuses\n"
    yield _table(("status", "meaning"), [(str(k), v) for k, v in EXIT_STATUSES.items()])
    yield "An error is one line and a hint of what to do next. With `--json`: `{error, hint, exit_status}`.\n"
    rows = [
        (f"`{e.__name__}`", str(e.exit_status), (e.__doc__ or "").strip().splitlines()[0])
        for e in error_tree()
        if e is not TurnbackError
    ]
    yield _table(("error", "status", "what it means"), rows)


def _steps() -> Iterator[str]:
    yield "## Steps\n"
    yield "In order. Before the step in bold every failure is undone; after it there is only forward.\n"
    for intent, steps in STEPS.items():
        last = POINT_OF_NO_RETURN.get(intent)
        shown = ", ".join(f"**{s}**" if s == last else s for s in steps)
        yield f"- `{intent.value}`: {shown}"
    yield ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |" for row in lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
