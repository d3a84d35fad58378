"""A guard put together: watch, notices, listener, and the loop that they belong to."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from turnback import __version__
from turnback.adapters.trace import FileTrace
from turnback.app.deciding import Deciding
from turnback.app.guard import Guard
from turnback.app.notices import Notices
from turnback.app.probing import Prober
from turnback.app.recording import Recorder
from turnback.app.reporting import Reporting
from turnback.app.status import Status, assemble
from turnback.app.wal_fuse import WalFuse
from turnback.app.watching import Watching, trace_notice
from turnback.core.fuse import Followed
from turnback.entrypoints import output, picture, worlds
from turnback.entrypoints.notices import guard_token, notifiers
from turnback.entrypoints.probing import probes, targets
from turnback.entrypoints.web.listener import Listener
from turnback.entrypoints.wiring import Setup
from turnback.entrypoints.worlds import FAILPOINT_VARIABLE, Failpoints
from turnback.errors import ConfigError
from turnback.ports import Notice


class Guarding:
    """The lease is held. `run` ends what it has started, whatever happens. Raises ConfigError."""

    def __init__(self, setup: Setup, name: str = "guard") -> None:
        self._setup = setup
        self._holder = {"pid": os.getpid(), "command": name}
        _refuse_helpless(setup)
        config, clock = setup.config, setup.clock
        to = notifiers(setup)
        told = sorted(n.name for n in to)
        self._told = ", ".join(told) or "nobody ([guard.notify] names no address)"
        self._notices = Notices(to, clock, config.guard.notify.repeat_seconds, self._record_notice)
        failpoint = Failpoints(setup.journal, os.environ.get(FAILPOINT_VARIABLE))
        deciding = Deciding(
            journal=setup.journal,
            clock=clock,
            tell=self._notices.tell,
            say=self._say,
            failpoint=failpoint,
            boot=setup.boot,
            host=socket.gethostname(),
            application=config.alerts.name,
        )
        trace = FileTrace(setup.trace_file, config.guard.trace_bytes, boot=setup.boot)
        self._watching = Watching(
            journal=setup.journal,
            clock=clock,
            prober=Prober(probes(setup, lambda: self.guard.capture_status()), clock),
            recorder=Recorder(trace, clock, trace_notice(deciding)),
            deciding=deciding,
            current=setup.rules,
            say=self._say,
            version=__version__,
            profile=config.guard.profile,
            normal_seconds=config.validate_.watch_seconds,
            targets=targets(setup),
        )
        age = setup.contact_age()
        self._reporting = Reporting(
            setup.status_file,
            clock,
            setup.boot,
            __version__,
            lambda: {"to": told, **self._notices.state()},
            contact=setup.last_contact(),
            contact_monotonic=None if age is None else clock.monotonic() - age,
        )
        self.guard = Guard(
            journal=setup.journal,
            clock=clock,
            platform=setup.platform,
            make_engine=lambda intent: worlds.engine(
                setup,
                setup.plan(intent),
                progress=output.ReportedProgress(setup.progress_file),
                announce=lambda s: self._say(f"  {s}"),
            ),
            keep_server=setup.restart_server,
            reporting=self._reporting,
            watching=self._watching,
            say=self._say,
            fuse=_fuse(setup, deciding),
        )

    def run(self) -> None:
        """Until the guard's `stopping` is set. Raises ConfigError when [guard] listen cannot be had."""
        now = self._setup.clock.now
        with picture.beside(self._look, now, self._setup.progress_file, self._say), ExitStack() as at_the_end:
            at_the_end.callback(self._notices.stop)
            at_the_end.callback(self._listen())
            self._say(f"guards {self._setup.sqlite.path}: {self._begins()}")
            self.guard.run()
            outlives = self._holder["command"] == "guard" and self._setup.platform.name == "process"
            self._say("the guard has ended" + ("; the application runs on" if outlives else ""))

    def _begins(self) -> str:
        phase, mode = self._setup.state().phase.value, self._setup.rules.mode
        return f"phase {phase}, mode {mode}, tells {self._told}"

    def _look(self) -> Status:
        return assemble(
            self._setup.state(), self._holder, self._reporting.last or None, self._setup.clock.now()
        )

    def _say(self, text: str) -> None:
        """With its moment, unless systemd's journal gives it one."""
        at = "" if "JOURNAL_STREAM" in os.environ else f"{self._setup.clock.now():%Y-%m-%d %H:%M:%S} UTC  "
        output.say(f"{at}{text}")

    def _listen(self) -> Callable[[], None]:
        section = self._setup.config.guard
        if section.listen is None:
            return lambda: None
        listener = Listener(
            section.listen,
            guard_token(self._setup),
            lambda: self._reporting.last,
            self._watching.hearing.post,
            section.alerts,
        )
        port = listener.start()
        self._say(f"listening on port {port}: /metrics, /status, /alerts")
        return listener.stop

    def _record_notice(self, notice: Notice, sent: Mapping[str, str | None]) -> None:
        body = {"key": notice.key, "event": notice.event, "severity": notice.severity, "title": notice.title}
        self._setup.journal.append("notice", body | {"text": notice.text, "sent": dict(sent)})


def _fuse(setup: Setup, deciding: Deciding) -> WalFuse:
    section = setup.config.postgres  # the server itself may be away just now

    def followed() -> Followed:
        p = setup.sqlite.fallback_position(setup.plan())
        return Followed(p.slot, p.system_identifier, p.timeline, p.applied_lsn)

    return WalFuse(
        journal=setup.journal,
        clock=setup.clock,
        limit_bytes=section.max_retained_wal_bytes,
        drops=section.fuse == "drop",
        facts=lambda: setup.server.slot_facts(),
        system=lambda: setup.server.system(),
        drop_slot=lambda: setup.server.drop_slot(),
        followed=followed,
        tell=deciding.tell,
        say=deciding.say,
        failpoint=deciding.failpoint,
        about={"application": deciding.application, "host": deciding.host},
    )


def _refuse_helpless(setup: Setup) -> None:
    """A rollback that nobody ordered has nobody who stops the application for it."""
    modes = {setup.rules.mode, *(line.mode for line in setup.rules.severities.values())}
    if setup.platform.name == "manual" and "enforce" in modes:
        raise ConfigError(
            "[guard] mode: enforce needs an application that turnback can stop, and [app] platform is manual",
            hint="set [app] platform to process or command, start it with `turnback exec`, or use recommend",
        )
