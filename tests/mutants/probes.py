"""The probes: what is no reading, what ends in time, what must not be counted, and the threads that ask."""

from __future__ import annotations

import errno
import time

import test_metrics_reading as pages
import test_probe_configuration as configuration
import test_probe_http as http
import test_probe_machine as machine
import test_probe_postgres as postgres
import test_probe_prometheus as prometheus
import test_probes as health
import test_probing as probing
from test_metrics_reading import B, R

from mutants import Mutant, always, never
from mutants.rewritten import caught_by, rewritten
from mutants.told import fixture, swap
from turnback.adapters.postgres.own_probe import ServerProbe
from turnback.adapters.probes import fetch, http_check, metrics_text, reading
from turnback.adapters.probes.fetch import Fetcher
from turnback.adapters.probes.http_check import HttpProbe
from turnback.adapters.probes.log import LogErrors
from turnback.adapters.probes.machine import Processes
from turnback.adapters.probes.metrics_query import MetricsQuery
from turnback.adapters.probes.metrics_text import MetricsText
from turnback.adapters.probes.reading import Reader
from turnback.app.own_probes import CaptureProbe, IntegrityProbe, VerificationProbe
from turnback.app.probing import Prober
from turnback.entrypoints import certificates

SERVER = fixture(http.server)
ADDRESS = fixture(health.address)
JOURNAL = fixture(machine.journal)
LATER_SECONDS = 4.0  # over the bound of the test's own


def _each_read_for_itself(deadline: float, error: type[Exception]) -> float:
    """As an HTTP library's timeout; in the end it ends, so that the test does."""
    if time.monotonic() > deadline + LATER_SECONDS:
        raise error("the time is over")
    return 0.5


def _page(name: str, removed: str, old: str, path: str, said: str) -> dict[str, Mutant]:
    return {
        f"metrics: {name}": caught_by(
            http.test_what_is_no_page_of_metrics,
            removed,
            rewritten(MetricsText, "_read", old, "if False:"),
            server=SERVER,
            path=path,
            said=said,
        )
    }


_PAGES = {
    **_page(
        "a good status",
        "an error page is read as metrics",
        "if answer.status != 200:",
        "/sick",
        "answered 503 Service Unavailable",
    ),
    **_page(
        "a whole page",
        "the beginning of a page that is too large is a reading",
        "if not answer.whole:",
        "/endless",
        "more than 1048576 bytes",
    ),
    **_page(
        "nothing compressed",
        "what is compressed is taken apart",
        'if encoding not in ("", "identity"):',
        "/gzip",
        "answered compressed (gzip), which was not asked for",
    ),
    **_page(
        "the right kind",
        "a web page is read as metrics",
        'if kind not in ("", "text/plain", OPENMETRICS):',
        "/html",
        "answered text/html, that is no page of metrics",
    ),
    "metrics: the size": caught_by(
        http.test_what_is_no_page_of_metrics,
        "a page that is cut off at the limit is whole",
        rewritten(
            Fetcher,
            "_ask",
            "size, whole = 0, True",
            "size, whole = 0, True; cut = None",
            ("whole = False", "cut = 1"),
        ),
        server=SERVER,
        path="/endless",
        said="more than 1048576 bytes",
    ),
    "metrics: the time as a whole": caught_by(
        http.test_the_whole_reading_ends_in_time,
        "a byte now and then is waited for without end",
        swap(fetch, "_left", _each_read_for_itself),
        server=SERVER,
        path="/drip-body",
        said="no whole answer within 0.5 s",
    ),
    "metrics: no secret is shown": caught_by(
        http.test_an_address_is_shown_without_what_may_be_secret,
        "the password of an address is shown",
        rewritten(http, "shown", 'netloc=parts.netloc.rpartition("@")[2], ', ""),
    ),
    "metrics: cut off": caught_by(
        pages.test_what_is_refused,
        "a page whose end is missing is a reading",
        rewritten(pages, "parse", 'if not text.endswith("\\n"):', "if False:"),
        text=f"{R} 1",
        said="cut off",
    ),
    "metrics: nothing of it": caught_by(
        pages.test_what_is_refused,
        "a page without any of the metrics is an application without requests",
        rewritten(pages, "parse", "if reading == MetricsReading() and not page.known:", "if False:"),
        text="up 1\n",
        said="none of the configured metrics is there (http_requests_total, ",
    ),
    **{
        f"metrics: {name}": caught_by(
            pages.test_what_is_refused,
            removed,
            rewritten(owner, function, old, new),
            harm=r"^test_what_is_refused: ",
            text=text,
            said=said,
        )
        for name, removed, owner, function, old, new, text, said in (
            (
                "no series twice",
                "of a series that is there twice one counts",
                Reader,
                "add",
                "if key in self._seen:",
                "if False:",
                f"{R} 1\n{R} 2\n",
                "is there twice",
            ),
            (
                "finite",
                "NaN is a number of requests",
                reading,
                "_finite",
                "if not math.isfinite(series.value):",
                "if False:",
                f"{R} NaN\n",
                "is nan",
            ),
            (
                "never negative",
                "a counter may be negative",
                reading,
                "_count",
                "if _finite(series) < 0:",
                "if False:",
                f"{R} -1\n",
                "never negative",
            ),
            (
                "cumulative",
                "buckets may fall",
                Reader,
                "_histograms",
                "if any(later < earlier for earlier, later in pairwise(counts)):",
                "if False:",
                f'{B}{{le="0.1"}} 3\n{B}{{le="+Inf"}} 2\n',
                "is not cumulative",
            ),
            (
                "the last bucket",
                "a histogram without its last bucket is one",
                Reader,
                "_histograms",
                "if bounds[-1] != math.inf:",
                "if False:",
                f'{B}{{le="0.1"}} 1\n',
                "lacks its bucket +Inf",
            ),
            (
                "the same buckets",
                "histograms with different buckets are summed",
                Reader,
                "_histograms",
                "if len({parts[endpoint, instance, bound] for bound in bounds}) > 1:",
                "if False:",
                f'{B}{{m="a",le="1"}} 1\n{B}{{m="a",le="+Inf"}} 1\n{B}{{m="b",le="+Inf"}} 1\n',
                "different buckets",
            ),
            (
                "the length of a line",
                "a line has any length",
                metrics_text._Page,
                "_lines",
                "if len(line) > MAX_LINE:",
                "if False:",
                "up 1\n" + "x" * 70_000 + " 1\n",
                "line 2 has more than 65536 characters",
            ),
        )
    },
    "metrics: a status": caught_by(
        pages.test_a_counter_without_a_status_is_refused,
        "requests without a status are requests that went well",
        rewritten(
            Reader, "_requests", "if any(_label(s.labels, names.status_label) for s in found):", "if True:"
        ),
    ),
    "metrics: not too many series": caught_by(
        pages.test_a_label_with_a_value_per_request_is_refused,
        "a label with a value per request is an endpoint",
        rewritten(Reader, "_requests", "if len(totals) > MAX_SERIES:", "if False:"),
    ),
    "metrics: through Prometheus, fresh ones": caught_by(
        prometheus.test_a_series_whose_sample_is_older_than_two_scrapes_is_left_out,
        "what Prometheus saw long ago is of now",
        rewritten(
            MetricsQuery,
            "_reading",
            "if now - times[-1] <= STALE_INTERVALS * interval + CLOCK_SECONDS:",
            "if True:",
        ),
    ),
    "metrics: through Prometheus, a target that is gone": caught_by(
        prometheus.test_with_one_sample_each_the_probes_own_interval_counts,
        "a Prometheus that reaches nobody is a reading",
        rewritten(
            MetricsQuery,
            "_reading",
            "if now - newest > STALE_INTERVALS * interval + CLOCK_SECONDS:",
            "if False:",
        ),
    ),
}

_HTTP = {
    "health: 2xx": caught_by(
        health.test_what_counts_as_healthy,
        "an error is healthy",
        rewritten(HttpProbe, "_ask", "200 <= answer.status < 300", "True"),
        address=ADDRESS,
        path="/sick",
        ok=False,
        answer="503 Service Unavailable",
    ),
    "health: no redirect to elsewhere": caught_by(
        health.test_what_counts_as_healthy,
        "a login page somewhere else is the application",
        rewritten(HttpProbe, "_ask", "if _place(url) != _place(here):", "if False:"),
        address=ADDRESS,
        path="/login",
        ok=False,
        answer="302, a redirect to elsewhere",
    ),
    "health: no credentials are shown": caught_by(
        health.test_the_detail_shows_no_credentials,
        "the password of the health address is shown",
        swap(http_check, "shown", lambda url: url),
        address=ADDRESS,
    ),
}

_MACHINE = {
    "log: only since the first reading": caught_by(
        machine.test_lines_with_errors_are_counted_from_the_first_reading_on,
        "errors of years ago are of now",
        rewritten(
            LogErrors,
            "_follow",
            "self._file, self._offset = identity, now.st_size",
            "self._file = identity",
            ("self._before = _before(file, now.st_size)", "pass"),
        ),
    ),
    "log: whole lines": caught_by(
        machine.test_a_line_counts_when_its_end_is_there,
        "half a line is a line",
        rewritten(
            LogErrors, "_read", "self._partial = (self._partial + rest)[:MATCHED_BYTES]", "self._take(rest)"
        ),
    ),
    "log: rotated": caught_by(
        machine.test_through_rotation_by_rename_nothing_is_missed,
        "the end of a file that was moved away is missed",
        rewritten(LogErrors, "_follow", "self._finish_rotated(deadline)", "pass"),
    ),
    "log: cut off": caught_by(
        machine.test_through_truncation_the_file_is_read_from_its_start,
        "a file that begins anew is passed over",
        rewritten(LogErrors, "_follow", "elif _before(file, self._offset) != self._before:", "elif False:"),
    ),
    "log: bounded": caught_by(
        machine.test_one_reading_takes_a_bounded_part,
        "one reading takes gigabytes",
        rewritten(LogErrors, "_read", "self._offset < end and", ""),
    ),
    "log: no password": caught_by(
        machine.test_what_looks_like_a_password_is_blanked,
        "passwords of the log stand in the trace",
        rewritten(LogErrors, "observe", "masked(line)[:KEPT_CHARACTERS]", "line[:KEPT_CHARACTERS]"),
        line="ERROR password=s3cret host=db",
    ),
    "contact: of the clock that never jumps": caught_by(
        machine.test_the_age_of_the_last_contact_counts_by_the_clock_that_never_jumps,
        "a wall clock that was set makes the contact old",
        rewritten(
            CaptureProbe,
            "observe",
            "self.clock.monotonic() - contact)",
            "self.clock.now().timestamp() % 1000)",
        ),
    ),
    "contact: in the future": caught_by(
        machine.test_a_contact_of_the_guard_before_grows_old_by_the_same_clock,
        "a contact of tomorrow is one of now",
        rewritten(CaptureProbe, "__post_init__", "age is None or age < 0", "age is None"),
    ),
    "contact: of the guard before": caught_by(
        machine.test_a_contact_of_the_guard_before_grows_old_by_the_same_clock,
        "the contact of the guard before stays as young as it was",
        rewritten(
            CaptureProbe,
            "observe",
            "self._former if status.contact_monotonic is None",
            "self.clock.monotonic() if status.contact_monotonic is None",
        ),
    ),
    "integrity: lost": caught_by(
        machine.test_integrity_is_what_capture_has_checked,
        "a fallback that is damaged is whole",
        rewritten(IntegrityProbe, "observe", "if status is not None and status.lost:", "if False:"),
    ),
    "integrity: not checked yet": caught_by(
        machine.test_integrity_is_what_capture_has_checked,
        "a file that nobody has read is whole",
        rewritten(
            IntegrityProbe, "observe", "raise ProbeError(", "return dict(ok=True, age_seconds=0.0, detail="
        ),
    ),
    "verification: the newest": caught_by(
        machine.test_the_newest_comparison_counts,
        "the oldest comparison counts",
        rewritten(VerificationProbe, "observe", "newest = max(", "newest = min("),
        journal=JOURNAL,
    ),
    "verification: its seal": caught_by(
        configuration.test_the_newest_certificate_of_verify_counts_and_its_seal,
        "a certificate that somebody edited is believed",
        swap(certificates, "seal_holds", always),
    ),
    "processes: a stop is no exit": caught_by(
        machine.test_starts_and_exits_are_counted_over_the_whole_journal,
        "a stop that turnback made is an exit",
        rewritten(Processes, "observe", "record.kind == EXITED", "1"),
        journal=JOURNAL,
    ),
}

_THREADS = {
    "probing: what was under way is dropped": caught_by(
        probing.test_suspended_nothing_is_asked_and_what_was_under_way_is_dropped,
        "an answer from before a run is judged after it",
        rewritten(Prober, "_put", " or turn != self._turn", ""),
    ),
    "probing: held up": caught_by(
        probing.test_a_check_that_failed_while_we_were_stopped_is_no_failure_of_the_application,
        "a guard that was frozen counts its own absence against the application",
        rewritten(Prober, "_observe", "if held > HELD_SHARE * probe.timeout_seconds:", "if False:"),
        held=100.0, took=0.0, ok=False, known=False,
    ),
    "probing: suspended": caught_by(
        probing.test_suspended_nothing_is_asked_and_what_was_under_way_is_dropped,
        "probes go on while a run is under way",
        rewritten(Prober, "_await_turn", "and not self._suspended and", "and"),
    ),
    "probing: selected": caught_by(
        probing.test_only_the_selected_are_asked,
        "what is not there is asked",
        rewritten(Prober, "_await_turn", "and name in self._selected", ""),
    ),
    "probing: the first are spread": caught_by(
        probing.test_the_first_readings_are_spread,
        "all probes ask at the same moment",
        rewritten(Prober, "start", "* number / len(self._probes)", "* 0"),
        harm="^test_the_first_readings_are_spread: ",
    ),
}

_POSTGRES = {
    "server: it writes": caught_by(
        postgres.test_a_server_that_takes_no_writes_has_failed,
        "a server that takes no writes is well",
        rewritten(ServerProbe, "_try", "if self.write and", "if False and"),
    ),
    "server: logged": caught_by(
        postgres.test_connects_reads_and_writes_its_own_row,
        "a write that WAL knows nothing of proves that the server writes",
        rewritten(
            ServerProbe,
            "_prepare",
            "CREATE TABLE IF NOT EXISTS {TABLE}",
            "CREATE UNLOGGED TABLE IF NOT EXISTS {TABLE}",
        ),
    ),
    "server: a missing right is no failure": caught_by(
        postgres.test_without_the_right_to_write_it_reads_and_says_so,
        "a role that may not write is a server that is down",
        rewritten(ServerProbe, "_write", "if e.sqlstate not in (NO_RIGHT, NO_TABLE, NO_SCHEMA):", "if True:"),
    ),
    "server: it leaves no session": caught_by(
        postgres.test_a_write_that_hangs_ends_in_time_and_leaves_no_session,
        "each write that hangs leaves a session behind",
        rewritten(ServerProbe, "_write", "SET LOCAL statement_timeout = {limit}", "SET LOCAL statement_timeout = 0"),
    ),
    "server: a lock on its own table is no failure": caught_by(
        postgres.test_a_lock_on_its_own_table_says_nothing_of_the_server,
        "who locks the guard's table makes it roll back",
        rewritten(ServerProbe, "_write", "if e.sqlstate == LOCKED:", "if False:"),
    ),
}

_OURS = {
    "http: a certificate is our client's matter": caught_by(
        http.test_a_certificate_that_is_not_trusted_is_no_failure_of_the_application,
        "a certificate that our client does not trust is an application that is down",
        rewritten(
            fetch._BoundedStream,
            "start_tls",
            "isinstance(e.__cause__, ssl.SSLCertVerificationError)",
            "False",
        ),
        authority=fixture(http.authority),
        known=True,
        name="elsewhere",
        expired=False,
        said="certificate is not valid for 'localhost'",
    ),
    "http: no descriptor left": caught_by(
        http.test_what_fails_at_our_end_is_no_failure_of_the_application,
        "a guard without a free descriptor takes the application for dead",
        swap(fetch, "_is_ours", never),
        error=OSError(errno.EMFILE, "Too many open files"),
        ours=True,
    ),
}

MUTANTS: dict[str, Mutant] = _PAGES | _HTTP | _OURS | _MACHINE | _THREADS | _POSTGRES
WITH_POSTGRES = frozenset(_POSTGRES)
