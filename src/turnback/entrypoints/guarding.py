"""A guard put together: watch, notices, listener, and the loop that they belong to."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping

from turnback import __version__
from turnback.adapters.trace import FileTrace
from turnback.app.deciding import Deciding
from turnback.app.guard import Guard
from turnback.app.notices import Notices
from turnback.app.probing import Prober
from turnback.app.recording import Recorder
from turnback.app.reporting import Reporting
from turnback.app.watching import Watching, trace_notice
from turnback.entrypoints import output, worlds
from turnback.entrypoints.notices import guard_token, notifiers
from turnback.entrypoints.probing import probes, targets
from turnback.entrypoints.web.listener import Listener
from turnback.entrypoints.wiring import Setup
from turnback.entrypoints.worlds import FAILPOINT_VARIABLE, Failpoints
from turnback.errors import ConfigError
from turnback.ports import Notice


class Guarding:
    """The lease is held. `run` ends what it has started, whatever happens. Raises ConfigError."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        _refuse_helpless(setup)
        config, clock = setup.config, setup.clock
        self._notices = Notices(
            notifiers(setup), clock, config.guard.notify.repeat_seconds, self._record_notice
        )
        failpoint = Failpoints(setup.journal, os.environ.get(FAILPOINT_VARIABLE))
        deciding = Deciding(
            journal=setup.journal,
            clock=clock,
            tell=self._notices.tell,
            say=output.say,
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
            say=output.say,
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
            self._notices.state,
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
                announce=lambda s: output.say(f"  {s}"),
            ),
            keep_server=setup.keep_server,
            reporting=self._reporting,
            watching=self._watching,
            say=output.say,
        )

    def run(self) -> None:
        """Until the guard's `stopping` is set. Raises ConfigError when [guard] listen cannot be had."""
        stop_listening: Callable[[], None] = lambda: None  # noqa: E731
        try:
            stop_listening = self._listen()
            self.guard.run()
        finally:
            stop_listening()
            self._notices.stop()

    def _listen(self) -> Callable[[], None]:
        section = self._setup.config.guard
        if section.listen is None:
            return lambda: None
        listener = Listener(
            section.listen,
            guard_token(self._setup),
            lambda: self._reporting.last,
            self._watching.post_alerts,
            section.alerts,
        )
        port = listener.start()
        output.say(f"listening on port {port}: /metrics, /status, /alerts")
        return listener.stop

    def _record_notice(self, notice: Notice, sent: Mapping[str, str | None]) -> None:
        body = {"key": notice.key, "event": notice.event, "severity": notice.severity, "title": notice.title}
        self._setup.journal.append("notice", body | {"text": notice.text, "sent": dict(sent)})


def _refuse_helpless(setup: Setup) -> None:
    """A rollback that nobody ordered has nobody who stops the application for it."""
    modes = {setup.rules.mode, *(line.mode for line in setup.rules.severities.values())}
    if setup.platform.name == "manual" and "enforce" in modes:
        raise ConfigError(
            "[guard] mode: enforce needs an application that turnback can stop, and [app] platform is manual",
            hint="set [app] platform to process or command, start it with `turnback exec`, or use recommend",
        )
