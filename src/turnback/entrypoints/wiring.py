"""The pieces of one application: files, server, platform, journal. `worlds` puts them together for a run."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from turnback.adapters.clock import SystemClock
from turnback.adapters.journal import Lease, SqliteJournal, refuse_filesystem
from turnback.adapters.platforms.command import CommandPlatform, CommandSide, run_command
from turnback.adapters.platforms.environment import Surroundings
from turnback.adapters.platforms.maintenance import MaintenanceCommands, WithMaintenance
from turnback.adapters.platforms.manual import ManualPlatform
from turnback.adapters.platforms.process import ProcessPlatform, ProcessSide
from turnback.adapters.postgres.connect import refuse_pooler
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.adapters.postgres.side import PostgresServer
from turnback.adapters.sqlite.side import SqliteFiles
from turnback.adapters.trace import boot_id
from turnback.core.phases import Intent, Phase
from turnback.core.plan import Plan, from_json
from turnback.core.schema import SqliteSchema
from turnback.core.state import State
from turnback.core.watch.rules import Rules
from turnback.entrypoints.config import Config, PostgresUrls
from turnback.entrypoints.config_sections import SideSection
from turnback.entrypoints.output import say
from turnback.entrypoints.rules import rules
from turnback.errors import ConfigError, ServerError, SourceError, UsageError
from turnback.ports import Platform

SCHEMA_SECONDS = 600.0
START_SECONDS = 30.0  # for [postgres] start


def schema_digest(schema: SqliteSchema) -> str:
    """The content address of the SQLite schema: any DDL changes it, data does not."""
    text = "\0".join([*(t.sql for t in schema.tables), *(o.sql for o in schema.objects)])
    indexes = "\0".join(i.sql or i.name for t in schema.tables for i in t.indexes)
    return hashlib.sha256(f"{text}\0\0{indexes}".encode()).hexdigest()


class Setup:
    """One application, from its configuration: opened once per command."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = SystemClock()
        self._command: tuple[str, ...] | None = None
        path = config.sqlite_path
        if not path.parent.is_dir():
            raise SourceError(f"{path.parent}: no such folder", hint="check [sqlite] path in turnback.toml")
        self.state_folder = config.state_folder
        if not config.state.allow_any_filesystem:
            refuse_filesystem(path.parent)
        self.state_folder.mkdir(mode=0o700, exist_ok=True, parents=True)
        if not config.state.allow_any_filesystem:
            refuse_filesystem(self.state_folder)
        self.sqlite = SqliteFiles(
            path=path,
            kept=path.with_name(f"{path.name}.turnback-original"),
            fallback=path.with_name(f"{path.name}.turnback-fallback"),
            snapshot=self.state_folder / "snapshot.db",
            busy_seconds=config.sqlite.busy_seconds,
            extensions=config.sqlite_extensions,
        )

    @cached_property
    def journal(self) -> SqliteJournal:
        return SqliteJournal(self.state_folder / "journal.db")

    @cached_property
    def lease(self) -> Lease:
        return Lease(self.state_folder / "lease")

    @cached_property
    def boot(self) -> str:
        return boot_id()

    @cached_property
    def rules(self) -> Rules:
        """What turnback.toml says now."""
        return rules(self.config)

    @property
    def trace_file(self) -> Path:
        return self.state_folder / "trace.jsonl"

    @property
    def status_file(self) -> Path:
        return self.state_folder / "status.json"

    @property
    def progress_file(self) -> Path:
        return self.state_folder / "progress.json"

    @property
    def certificates_folder(self) -> Path:
        return self.state_folder / "certificates"

    def state(self) -> State:
        return self.journal.state()

    def close(self) -> None:
        for name in ("journal", "lease"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    # ---- plan ----

    def plan(self, intent: Intent | None = None) -> Plan:
        """Before a migrate, and for it, the plan file as it stands; from then on what the journal holds."""
        state = self.state()
        migrates = [r for r in state.runs if r.intent is Intent.MIGRATE and r.outcome != "undone"]
        ahead = state.phase is Phase.PLANNED and state.open_run is None
        if intent is not Intent.MIGRATE and not ahead and migrates:
            return self._journalled(migrates[-1].options["plan"])
        if not self.config.plan_path.exists():
            raise UsageError(
                f"{self.config.plan_path.name}: no such file", hint="run `turnback assess` first"
            )
        plan = from_json(self.config.plan_path.read_text())
        if intent is Intent.MIGRATE:
            self.record_plan(plan)
        return plan

    def record_plan(self, plan: Plan) -> str:
        digest = plan.digest()
        if not any(r.body["digest"] == digest for r in self.journal.records(kind="plan")):
            self.journal.append("plan", {"digest": digest, "text": plan.to_json()})
        return digest

    def _journalled(self, digest: str) -> Plan:
        for record in self.journal.records(kind="plan"):
            if record.body["digest"] == digest:
                return from_json(record.body["text"])
        raise ConfigError(f"the journal lacks the plan {digest[:12]}", hint="the state folder was damaged")

    # ---- sides ----

    @cached_property
    def embedded(self) -> EmbeddedPostgres | None:
        return EmbeddedPostgres(self.state_folder) if self.config.postgres.url is None else None

    @cached_property
    def urls(self) -> PostgresUrls:
        urls = self.config.resolve_urls(os.environ)
        if urls is None:
            assert self.embedded is not None
            self._start_embedded(self.embedded)
            return PostgresUrls(self.embedded.app_dsn(), self.embedded.admin_dsn())
        refuse_pooler(urls.admin_dsn)
        return urls

    @cached_property
    def server(self) -> PostgresServer:
        postgres = self.config.postgres
        embedded = self.embedded
        return PostgresServer(
            admin_dsn=self.urls.admin_dsn,
            app_dsn=self.urls.app_dsn,
            schema=postgres.schema_name,
            slot=postgres.slot,
            publication=postgres.publication,
            slot_timeout_seconds=postgres.slot_timeout_seconds,
            lock_timeout_seconds=postgres.lock_timeout_seconds,
            start=embedded.ensure_running if embedded is not None else lambda: None,
            run_command=lambda command: self.run_schema_command(command, self.urls.app_dsn),
            retained_limit_bytes=postgres.max_retained_wal_bytes,
        )

    def _start_embedded(self, embedded: EmbeddedPostgres) -> None:
        """While it holds the application's writes, one that cannot be started is what a rollback has to cope
        with, as with any other server that is gone.
        """
        if self.state().phase not in (Phase.ON_POSTGRES, Phase.ROLLING_BACK):
            embedded.ensure_running()
            return
        try:
            self.keep_server()
        except ServerError as e:
            say(str(e))

    def keep_server(self) -> None:
        """Starts the embedded server again should it have died; any other is its owner's.

        Raises ServerError where its data is gone: a new, empty one in its place would hide that.
        """
        if self.embedded is None:
            return
        if not self.embedded.data.exists():
            raise ServerError(
                f"the embedded PostgreSQL's data is gone: {self.embedded.data}",
                hint="put the folder back, or go back without it: `turnback rollback --accept-loss`",
            )
        self.embedded.ensure_running()

    def restart_server(self) -> None:
        """For the guard's own loop: only a server that has died. One that hangs would hold the guard up."""
        if self.embedded is None or not (self.embedded.data.exists() and self.embedded.running()):
            self.keep_server()

    def start_server(self) -> None:
        """[postgres] start, or the embedded server; nothing where neither is. Raises TurnbackError."""
        self.keep_server()
        command = self.config.postgres.start
        if command is None:
            return
        around = self.surroundings("server.log", "")
        own = {k: v for k, v in os.environ.items() if k not in around.withheld}
        seconds = max(START_SECONDS, self.config.rollback.server_wait_seconds)
        run_command(command, own, around.log, seconds, cwd=around.working_directory)

    def surroundings(self, log: str, dsn: str | None = None) -> Surroundings:
        admin = self.config.postgres.admin_url or ""
        return Surroundings(
            sqlite_path=self.sqlite.path.absolute(),
            postgres_url=(lambda: dsn) if dsn is not None else (lambda: self.urls.app_dsn),
            url_env=self.config.app.url_env,
            working_directory=self.config.working_directory,
            log=self.state_folder / log,
            withheld=frozenset({admin.removeprefix("env:")} if admin.startswith("env:") else ()),
        )

    def run_schema_command(self, command: str, dsn: str) -> None:
        """[app.postgres] schema, against the database behind `dsn`. Raises PlatformError."""
        around = self.surroundings("schema.log", dsn)
        run_command(
            around.command(command),
            around.environment("postgres", self.config.app.postgres.env),
            around.log,
            SCHEMA_SECONDS,
            cwd=around.working_directory,
            secrets=around.secrets("postgres"),
        )

    def use_command(self, command: tuple[str, ...]) -> None:
        """`turnback exec`: this command is the application on either side."""
        self._command = command

    @cached_property
    def platform(self) -> Platform:
        platform = self._platform()
        maintenance = self.config.app.maintenance
        if maintenance is None:
            return platform
        commands = MaintenanceCommands(maintenance.on, maintenance.off)
        return WithMaintenance(platform, commands, self.surroundings("application.log"))

    def _platform(self) -> Platform:
        app = self.config.app
        around = self.surroundings("application.log")
        kind = "process" if self._command is not None else app.platform
        match kind:
            case "process":
                return ProcessPlatform(
                    {
                        "sqlite": ProcessSide(
                            self._command or app.sqlite.command or (), app.sqlite.env, app.sqlite.prepare
                        ),
                        "postgres": ProcessSide(
                            self._command or app.postgres.command or (),
                            app.postgres.env,
                            app.postgres.prepare,
                        ),
                    },
                    around,
                    self.journal,
                )
            case "command":
                return CommandPlatform(
                    {"sqlite": self._command_side(app.sqlite), "postgres": self._command_side(app.postgres)},
                    around,
                    self.journal,
                )
            case _:
                # The command has asked the person before it began (cli.consent); here nobody can be asked.
                return ManualPlatform(say, None, self.journal, assume_yes=True)

    def _command_side(self, side: SideSection) -> CommandSide:
        assert side.stop is not None and side.start is not None, "checked when the configuration was read"
        env_file = self.config.folder / side.env_file if side.env_file is not None else None
        return CommandSide(
            stop=side.stop,
            start=side.start,
            prepare=side.prepare,
            available=side.available,
            env=side.env,
            env_file=env_file,
        )

    # ---- runs ----

    def reported(self) -> dict[str, Any] | None:
        """What the guard wrote last; None where none has."""
        try:
            body = json.loads(self.status_file.read_text())
        except FileNotFoundError:
            return None
        assert isinstance(body, dict)
        return body

    def last_contact(self) -> datetime | None:
        capture = (self.reported() or {}).get("capture") or {}
        at = capture.get("last_contact_at")
        return datetime.fromisoformat(at) if at else None

    def contact_age(self) -> float | None:
        """Seconds since the last contact with lag 0, by a clock that does not jump; None: of another boot."""
        reported = self.reported() or {}
        at = (reported.get("capture") or {}).get("last_contact_monotonic")
        if at is None or reported.get("boot") != self.boot:
            return None
        return float(self.clock.monotonic() - at)
