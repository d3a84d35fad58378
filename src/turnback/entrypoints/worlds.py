"""All that a run acts on, put together from one setup."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from turnback.adapters.journal import SqliteJournal
from turnback.adapters.postgres.connect import place
from turnback.adapters.postgres.slot import identify_system
from turnback.adapters.postgres.stream import SlotStream
from turnback.adapters.probes import HttpProbe
from turnback.app.capture import Capture
from turnback.app.engine import Engine
from turnback.app.sides import World
from turnback.core.plan import Plan
from turnback.entrypoints import baselines, certificates, validating
from turnback.entrypoints.wiring import Setup, schema_digest
from turnback.ports import Announce, Progress

FAILPOINT_VARIABLE = "TURNBACK_FAILPOINT"


def capture(setup: Setup, plan: Plan, fingerprint: Any) -> Capture:
    server = setup.server
    return Capture(
        open_fallback=lambda: setup.sqlite.open_fallback(plan),
        open_stream=lambda start: SlotStream(server.admin_dsn, server.slot, server.publication, start),
        identify=lambda: identify_system(server.admin_dsn),
        confirmed_flush=server.confirmed_flush,
        check_drift=lambda: server.drift(fingerprint) + server.publication_difference(plan),
        clock=setup.clock,
        read_sequences=lambda: server.sequences(plan),
        retention_warning=server.retention_warning,
        check_file=setup.sqlite.quick_check,
    )


def world(setup: Setup, plan: Plan, *, progress: Progress, announce: Announce) -> World:
    config = setup.config
    health = config.app.health
    return World(
        plan=plan,
        schema_digest=setup.state().schema_digest,
        digest_of=schema_digest,
        sqlite=setup.sqlite,
        postgres=setup.server,
        platform=setup.platform,
        journal=setup.journal,
        clock=setup.clock,
        progress=progress,
        announce=announce,
        failpoint=Failpoints(setup.journal, os.environ.get(FAILPOINT_VARIABLE)),
        probe=(lambda: HttpProbe(health)) if health is not None else None,
        last_contact=setup.last_contact,
        new_capture=lambda fingerprint: capture(setup, plan, fingerprint),
        schema_command=config.app.postgres.schema_command,
        health_timeout_seconds=config.app.health_timeout_seconds,
        stop_seconds=config.app.stop_seconds,
        drain_timeout_seconds=config.rollback.drain_timeout_seconds,
        rpo_objective_seconds=config.rollback.rpo_objective_seconds,
        postgres_place=place(setup.urls.admin_dsn),
        keep_certificate=lambda document: certificates.keep(setup.certificates_folder, document),
        checks=validating.checks(setup),
        start_server=setup.start_server,
        server_wait_seconds=config.rollback.server_wait_seconds,
        contact_age=setup.contact_age,
        rules=setup.rules,
        baseline=lambda: baselines.baseline_now(setup),
        host=socket.gethostname(),
    )


def engine(setup: Setup, plan: Plan, *, progress: Progress, announce: Announce) -> Engine:
    return Engine(world(setup, plan, progress=progress, announce=announce))


class Failpoints:
    """For crash tests: at a named point (several, by commas) the process says so in the journal, then waits
    for its SIGKILL. A point holds once: a process that comes by after the record is there goes on.
    """

    def __init__(self, journal: SqliteJournal, names: str | None) -> None:
        self._journal = journal
        self._names = frozenset((names or "").split(","))

    def __call__(self, name: str) -> None:
        if name not in self._names:
            return
        if any(r.body["name"] == name for r in self._journal.records(kind="failpoint")):
            return
        self._journal.append("failpoint", {"name": name, "pid": os.getpid()})
        while True:
            time.sleep(60)
