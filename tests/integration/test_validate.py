"""What validation looks at, with real files, processes, servers and logs.

The runbook's scripts take a running process for a ready one, only warn where the database is missing, turn a
failed query into a count of 0, hide failed health checks, look whether a count is negative, and warn of errors
in the log. Each has a test here that the opposite happens.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patience
import stubs
from turnback.adapters.clock import SystemClock
from turnback.adapters.log_tail import LogFile
from turnback.adapters.postgres.checks import ServerChecks
from turnback.adapters.probes.endpoints import MAX_BODY_BYTES, Asker
from turnback.adapters.sqlite import checks as file_checks
from turnback.adapters.sqlite.checks import FileChecks
from turnback.adapters.usage import usage
from turnback.app.checks import Checks, Known
from turnback.app.normal import await_normal
from turnback.core.validation import (
    Check,
    Endpoint,
    Expectations,
    Reference,
    Report,
    StateRow,
    reference,
    shown_line,
)
from turnback.core.watch.normal import BackToNormal
from turnback.core.watch.observation import Observation
from turnback.core.watch.rules import Rules
from turnback.entrypoints import validating
from turnback.entrypoints.config_reading import load
from turnback.errors import CheckFailed, ConfigError, ServerError, SourceError

SCHEMA = """
CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT);
CREATE TABLE jobs (id INTEGER PRIMARY KEY, user_id TEXT REFERENCES users (id), type TEXT);
CREATE INDEX jobs_user ON jobs (user_id);
CREATE TABLE job_history (job_id INTEGER, message TEXT);
CREATE TABLE app_state (key TEXT PRIMARY KEY, value);
"""
TABLES = ("app_state", "job_history", "jobs", "users")


@dataclass
class App:
    """As much of a platform as validation asks."""

    name: str = "process"
    pids: frozenset[int] = frozenset({os.getpid()})

    def owned_pids(self) -> frozenset[int]:
        return self.pids


@dataclass
class Place:
    folder: Path
    app: App = field(default_factory=App)
    log: LogFile | None = None

    @property
    def file(self) -> Path:
        return self.folder / "app.db"

    def sql(self, *statements: str) -> None:
        with closing(apsw.Connection(str(self.file))) as connection:
            for statement in statements:
                for _ in connection.execute(statement):
                    pass

    def checks(self, **expected: Any) -> Checks:
        return Checks(
            expectations=Expectations(**expected),
            ask=Asker(timeout_seconds=0.5),
            file=FileChecks(self.file, 1.0),
            server=lambda: pytest.fail("PostgreSQL is not asked"),
            usage=lambda pids, seconds: usage(pids, 0.1),
            kept_tables=lambda: (),
            log=self.log,
            platform=self.app,  # type: ignore[arg-type]
            clock=SystemClock(),
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    rows = "".join(f"({n}, 'u{n % 3}', 'mail to somebody, with a text that fills pages')," for n in range(1, 500))
    made.sql(
        SCHEMA,
        "INSERT INTO users VALUES ('u0', 'A'), ('u1', 'B'), ('u2', 'C')",
        f"INSERT INTO jobs VALUES {rows.rstrip(',')}",
        "INSERT INTO job_history VALUES (1, 'begun'), (2, 'done')",
        "INSERT INTO app_state VALUES ('version', '0.0.9'), ('runs', 7), ('nothing', NULL)",
    )
    return made


def named(checks: Sequence[Check], name: str) -> Check:
    [found] = [c for c in checks if c.name == name]
    return found


# ---- the database ----


def test_a_sound_file_passes_and_every_table_is_counted(place: Place) -> None:
    checks = place.checks(orphans=(reference("jobs.user_id -> users.id"),))
    found = checks.thorough("sqlite", None, Known(TABLES, {"jobs": 499, "users": 3}))
    assert all(c.ok for c in found), found
    assert {c.name: c.seen for c in found if c.group == "rows"} == {
        "app_state": "3 rows",
        "job_history": "2 rows",
        "jobs": "499 rows",
        "users": "3 rows",
        "all tables": "507 rows in 4 tables",
    }


def test_a_missing_database_fails(place: Place) -> None:
    """The runbook: "SQLite database not found - may need manual restore", as a warning."""
    place.file.unlink()
    state = (StateRow("version", "SELECT value FROM app_state", None),)
    checks = place.checks(state=state, orphans=(reference("jobs.user_id -> users.id"),))
    found = [*checks.quick("sqlite", Known()), *checks.thorough("sqlite", None, Known(TABLES))]
    failed = {c.name for c in found if c.ok is False}
    assert failed == {
        "version", "integrity_check", "foreign_key_check", "tables", "jobs.user_id -> users.id"
    }  # fmt: skip
    assert all("no such file" in c.seen for c in found if c.ok is False)


@pytest.mark.parametrize("content", [b"", b"no database, whatever its name says" * 100])
def test_a_file_that_is_there_is_no_database_yet(place: Place, content: bytes) -> None:
    """The runbook's `test -f` is content with both."""
    place.file.write_bytes(content)
    found = place.checks().thorough("sqlite", None, Known(TABLES))
    assert [c.ok for c in found if c.name == "tables"] == [False]


def test_a_missing_table_fails_and_one_that_came_since_is_named(place: Place) -> None:
    place.sql("DROP TABLE job_history", "CREATE TABLE newer (a)")
    found = named(place.checks().thorough("sqlite", None, Known(TABLES)), "tables")
    assert found.ok is False and "without job_history, also newer" in found.seen


def test_no_tables_at_all_fail_even_where_nothing_is_known(place: Place) -> None:
    place.file.unlink()
    place.sql("PRAGMA user_version = 1")
    assert named(place.checks().thorough("sqlite", None, Known()), "tables").ok is False


def test_a_failed_query_is_no_count_of_0(place: Place) -> None:
    """The runbook: `|| echo "0"`, and 0 is not less than 0."""
    with closing(apsw.Connection(str(place.file))) as connection:
        [(page, size)] = connection.execute(
            "SELECT (SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'), (SELECT page_size FROM pragma_page_size)"
        )
    with place.file.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(int(size)))
    found = place.checks().thorough("sqlite", None, Known(TABLES, {"jobs": 499}))
    rows = named(found, "jobs")
    assert rows.ok is False and "not known" in rows.seen and "corrupt" in rows.seen
    assert named(found, "integrity_check").ok is False
    assert named(found, "users").ok is True


def test_a_whole_index_does_not_stand_for_its_table(place: Place) -> None:
    """Counted by the smaller index the table would seem to be there."""
    with closing(apsw.Connection(str(place.file))) as connection:
        [(size,)] = connection.execute("PRAGMA page_size")
        [(leaf,)] = connection.execute("SELECT max(pageno) FROM dbstat WHERE name = 'jobs' AND pagetype = 'leaf'")
    with place.file.open("r+b") as file:
        file.seek((leaf - 1) * size)
        file.write(b"\xff" * 100)
    with closing(apsw.Connection(str(place.file))) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (499,), "SQLite takes the index"
    with pytest.raises(SourceError, match="corrupt"):
        FileChecks(place.file, 1.0).count("jobs")


def test_a_count_that_cannot_be_negative_is_no_check(place: Place) -> None:
    """The runbook: `if [ "$COUNT" -lt 0 ]`. A fresh, empty database has every table and no row."""
    place.sql("DELETE FROM jobs", "DELETE FROM users", "DELETE FROM job_history", "DELETE FROM app_state")
    found = place.checks().thorough("sqlite", None, Known(TABLES, {"jobs": 499, "users": 3}))
    assert named(found, "all tables").ok is False
    assert "502 rows at the switch" in named(found, "all tables").expected
    never = place.checks().thorough("sqlite", None, Known(TABLES, {"jobs": 0}))
    assert named(never, "all tables").ok is True


def test_a_row_without_its_parent_fails(place: Place) -> None:
    place.sql("PRAGMA foreign_keys = OFF", "DELETE FROM users WHERE id = 'u1'")
    found = named(place.checks().thorough("sqlite", None, Known(TABLES)), "foreign_key_check")
    assert found.ok is False and "of jobs refers to no row of users" in found.seen


def test_orphans_that_no_foreign_key_declares_fail_with_their_values(place: Place) -> None:
    place.sql("INSERT INTO job_history VALUES (9001, 'x'), (9001, 'y'), (9002, 'z'), (NULL, 'free')")
    wanted = (reference("job_history.job_id -> jobs.id"),)
    found = named(place.checks(orphans=wanted).orphans(), "job_history.job_id -> jobs.id")
    assert found.ok is False and found.seen == "3 orphans: job_id 9001, 9002 ..."


@pytest.mark.parametrize("text", ["job_history.nothing -> jobs.id", "job_history.job_id -> jobs.nothing", "no.id -> jobs.id"])
def test_orphans_of_what_is_not_there_fail(place: Place, text: str) -> None:
    """SQLite takes a name in double quotes that it does not know for a string: nothing would be an orphan."""
    [found] = place.checks(orphans=(reference(text),)).orphans()
    assert found.ok is False and ("no column" in found.seen or "no table" in found.seen)


def test_virtual_tables_are_counted_too_and_their_parts_are_not_tables(place: Place) -> None:
    place.sql("CREATE VIRTUAL TABLE search USING fts5 (message)", "INSERT INTO search VALUES ('one')")
    found = place.checks().thorough("sqlite", None, Known((*TABLES, "search")))
    assert named(found, "search").seen == "1 rows" and all(c.ok is not False for c in found)
    assert not any(c.name.startswith("search_") for c in found)


@pytest.mark.parametrize(
    ("query", "expect", "ok", "seen"),
    [
        ("SELECT value FROM app_state WHERE key = 'version'", "0.0.9", True, "'0.0.9'"),
        ("SELECT value FROM app_state WHERE key = 'version'", None, True, "'0.0.9'"),
        ("SELECT value FROM app_state WHERE key = 'version'", "0.1.0", False, "'0.0.9'"),
        ("SELECT value FROM app_state WHERE key = 'runs'", 7, True, "7"),
        ("SELECT value FROM app_state WHERE key = 'runs'", "7", False, "7"),
        ("SELECT value FROM app_state WHERE key = 'nothing'", None, False, "None"),
        ("SELECT value FROM app_state WHERE key = 'never'", None, False, "no row"),
        ("SELECT value FROM app_state", None, False, "more than one value"),
        ("SELECT key, value FROM app_state LIMIT 1", None, False, "more than one value"),
        ("SELECT value FROM no_such_table", None, False, "no such table"),
        ("DELETE FROM app_state RETURNING value", None, False, "readonly"),
        ("SELECT CAST(x'ff' AS TEXT)", None, False, "not valid UTF-8"),
    ],
)  # fmt: skip
def test_the_state_of_the_application(place: Place, query: str, expect: Any, ok: bool, seen: str) -> None:
    [found] = place.checks(state=(StateRow("version", query, expect),)).state("sqlite")
    assert found.ok is ok and seen in found.seen
    assert named(place.checks().thorough("sqlite", None, Known(TABLES)), "app_state").seen == "3 rows"


def test_a_query_without_end_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_checks, "QUERY_SECONDS", 0.2)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    [found] = place.checks(state=(StateRow("version", endless, None),)).state("sqlite")
    assert found.ok is False and "not known" in found.seen and found.seconds < 60


# ---- over HTTP ----


@contextmanager
def served() -> Iterator[str]:
    def answer(handler: Any) -> None:
        path = handler.path
        if path == "/silent":
            handler.connection.recv(1)
            return
        status = {"/missing": 404, "/sick": 503, "/login": 302}.get(path, 200)
        body = b"<h1>Hyperpage</h1>" if path == "/" else b"x" * (MAX_BODY_BYTES * 2) if path == "/huge" else b"ok"
        handler.send_response(status)
        if status == 302:
            handler.send_header("Location", "/")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with stubs._served(answer) as base:
        yield base


@pytest.mark.parametrize(
    ("path", "status", "contains", "ok", "seen"),
    [
        ("/fine", 200, None, True, "200"),
        ("/fine", None, None, True, "200"),
        ("/login", None, None, True, "200"),
        ("/missing", 404, None, True, "404"),
        ("/missing", 200, None, False, "404"),
        ("/sick", 200, None, False, "503"),
        ("/sick", None, None, False, "503"),
        ("/login", 200, None, False, "302"),
        ("/login", 302, None, True, "302"),
        ("/", 200, "Hyperpage", True, "200"),
        ("/", 200, "hyperpage", False, "200 without 'hyperpage'"),
        ("/silent", 200, None, False, "no answer"),
        ("/huge", 200, "x", True, "200"),
    ],
)
def test_an_endpoint_answers_as_expected_or_fails(
    place: Place, path: str, status: int | None, contains: str | None, ok: bool, seen: str
) -> None:
    """The runbook: `test_endpoint ... || true`."""
    with served() as base:
        endpoint = Endpoint(path, base + path, status, contains)
        [found] = place.checks(endpoints=(endpoint,)).endpoints()
        assert found.ok is ok and seen in found.seen, found
        page = place.checks(page=endpoint).page()
        assert page.ok is ok and page.group == "page"
        report = Report((found, page), datetime.now(UTC), "sqlite")
        assert report.ok is ok


def test_a_process_that_runs_and_does_not_answer_is_not_ready(place: Place) -> None:
    """The runbook: a pod in the phase Running is a rollback that succeeded."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        place.app.pids = frozenset({sleeper.pid})
        nowhere = Endpoint("/api/health", "http://127.0.0.1:9/api/health", 200)
        found = place.checks(endpoints=(nowhere,)).quick("sqlite", Known())
        assert named(found, "processes").ok is True and named(found, "/api/health").ok is False
        assert Report(tuple(found), datetime.now(UTC), "sqlite").ok is False
    finally:
        sleeper.kill()
        sleeper.wait()
    assert named(place.checks().resources(), "processes").ok is False


# ---- resources ----


def test_more_memory_or_processor_than_allowed_fails(place: Place) -> None:
    busy = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'while True: pass'])"]
    )
    try:
        place.app.pids = frozenset({busy.pid})
        checks = place.checks(max_memory_bytes=1000, max_cpu_percent=1)
        until = time.monotonic() + patience.SECONDS
        found = checks.resources()
        # On a busy machine a reading may come in which the second one was not given the processor.
        while named(found, "processes").seen != "2" or named(found, "processor").ok is not False:
            assert time.monotonic() < until, found
            found = checks.resources()
        assert named(found, "memory").ok is False, found
        found = place.checks(max_memory_bytes=10**12, max_cpu_percent=10_000).resources()
        assert named(found, "memory").ok is True and named(found, "processor").ok is True
        found = place.checks().resources()
        assert named(found, "memory").ok is None and named(found, "memory").seen.endswith("MB")
    finally:
        for child in __import__("psutil").Process(busy.pid).children():
            child.kill()
        busy.kill()
        busy.wait()


def test_what_a_platform_cannot_see_is_not_known_and_did_not_pass(place: Place) -> None:
    place.app = App("command", frozenset())
    found = place.checks(max_memory_bytes=10**12).resources()
    assert [(c.name, c.ok) for c in found] == [("processes", None), ("memory", False), ("processor", None)]
    assert "not known" in named(found, "memory").seen


# ---- the log ----

START = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


def test_errors_from_before_the_start_do_not_count_and_those_since_do(place: Place) -> None:
    path = place.folder / "app.log"
    path.write_text("ERROR: of PostgreSQL's time\n" * 5)
    place.log = LogFile(path)
    mark = place.log.mark()
    with path.open("a") as file:
        file.write("started\n")
    assert place.checks().errors_in_log(Known(log=mark, started_at=START)).ok is True
    assert place.checks().errors_in_log(Known()).ok is False, "without a mark all of them count"
    with path.open("a") as file:
        file.write("ERROR: no such table: users\n")
    found = place.checks().errors_in_log(Known(log=mark, started_at=START))
    assert found.ok is False and "1 in the 2 last lines since the start: ERROR: no such table" in found.seen
    assert place.checks(max_log_errors=1).errors_in_log(Known(log=mark)).ok is True


@pytest.mark.parametrize("how", ["renamed", "truncated"])
def test_a_log_that_was_rotated_is_read_from_its_begin(place: Place, how: str) -> None:
    path = place.folder / "app.log"
    path.write_text("fine\n" * 100)
    place.log = LogFile(path)
    mark = place.log.mark()
    if how == "renamed":
        path.rename(path.with_suffix(".1"))
    path.write_text("Traceback (most recent call last):\n")
    assert place.checks(log_pattern="Traceback").errors_in_log(Known(log=mark)).ok is False


def test_a_moment_in_the_line_counts_only_with_its_offset(place: Place) -> None:
    path = place.folder / "app.log"
    path.write_text(
        "2026-11-23T05:59:59Z ERROR old\n  error: the traceback of the old one\n"
        "2026-11-23 07:59:58,123+02:00 ERROR old too\n"
    )
    place.log = LogFile(path)
    known = Known(started_at=START)
    assert place.checks().errors_in_log(known).ok is True
    with path.open("a") as file:
        file.write("2026-11-23 05:00:00 ERROR of no known zone\n")
    assert place.checks().errors_in_log(known).ok is True, "behind a line of the time before"
    path.write_text("2026-11-23 05:00:00 ERROR of no known zone\n")
    assert place.checks().errors_in_log(known).ok is False
    path.write_text("2026-11-23T06:00:01+00:00 ERROR new\n")
    assert place.checks().errors_in_log(known).ok is False


def test_a_log_that_cannot_be_read_did_not_pass(place: Place) -> None:
    place.log = LogFile(place.folder / "nothing.log")
    assert place.log.mark() == {"inode": None, "offset": 0}
    found = place.checks().errors_in_log(Known())
    assert found.ok is False and "not known" in found.seen
    assert place.checks(log_lines=0).errors_in_log(Known()).ok is None
    place.log = None
    assert place.checks().errors_in_log(Known()).ok is None


def test_only_the_last_lines_of_a_huge_log_are_read(place: Place) -> None:
    path = place.folder / "app.log"
    with path.open("wb") as file:
        file.write(b"ERROR\n" * 2_000_000 + b"fine\n" * 10)
    assert LogFile(path).tail(None, 3) == ["fine"] * 3
    assert len(LogFile(path).tail(None, 100)) == 100


def test_an_excerpt_shows_no_password() -> None:
    shown = shown_line("error: postgresql://app:s3cret@db/app password=hunter2 refused")
    assert "s3cret" not in shown and "hunter2" not in shown and "refused" in shown


# ---- PostgreSQL ----


def test_the_servers_tables_are_counted_by_the_applications_role_without_writing(place: Place, database: Any) -> None:
    app = database.connect(app=True)
    app.execute("CREATE TABLE users (id int)")
    app.execute("INSERT INTO users SELECT generate_series(1, 5)")
    database.connect().execute("CREATE TABLE public.hidden (a int)")
    server = ServerChecks(database.app_dsn, "public")
    assert server.tables() == ["users"]
    with pytest.raises(ServerError, match="read-only"), server._opened() as connection:
        connection.execute(b"DELETE FROM public.users")
    checks = replace(place.checks(), server=lambda: server)
    found = checks.thorough("postgres", None, Known(("users", "hidden"), {"users": 5}))
    assert named(found, "users").seen == "5 rows"
    assert named(found, "tables").ok is False and "without hidden" in named(found, "tables").seen
    gone = replace(place.checks(), server=lambda: ServerChecks("host=127.0.0.1 port=9 dbname=x", "public"))
    [found_gone] = gone.thorough("postgres", None, Known(("users",)))
    assert found_gone.ok is False and "not known" in found_gone.seen


# ---- reading and telling ----


def test_what_is_not_configured_is_neither_passed_nor_failed(place: Place) -> None:
    place.app = App("manual", frozenset())
    report = Report(tuple(place.checks().quick("sqlite", Known())), datetime.now(UTC), "sqlite")
    assert report.ok and not report.passed and not report.failed
    assert report.headline() == f"0 checks passed, 0 failed, {len(report.checks)} not configured"
    assert [Check.from_json(c) for c in report.to_json()["checks"]] == [
        replace(c, seconds=round(c.seconds, 3)) for c in report.checks
    ]


NAMES = st.text(st.characters(exclude_characters=".", exclude_categories=("Z", "C")), min_size=1)


@settings(max_examples=200, deadline=None)
@given(NAMES, NAMES, NAMES, NAMES)
def test_a_reference_is_read_as_it_is_written(a: str, b: str, c: str, d: str) -> None:
    made = Reference(a, b, c, d)
    assert reference(str(made)) == made


@pytest.mark.parametrize("text", ["", "jobs", "jobs.user_id", "jobs.user_id -> users", "a.b -> c.d -> e.f", "a.b.c -> d.e"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="TABLE"):
        reference(text)


# ---- back to normal ----


@dataclass
class Seen:
    """A Prober that has this to say, one turn after the other."""

    turns: list[list[tuple[str, dict[str, Any]]]]
    clock: Turned
    running: bool = False

    def select(self, names: Any) -> None: ...

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def drain(self) -> list[Observation]:
        assert self.running
        said = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        return [Observation(self.clock.at, START, probe, value) for probe, value in said]


@dataclass
class Turned:
    at: float = 100.0

    def now(self) -> datetime:
        return START

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += 1


FINE = ("application", {"ok": True, "detail": "200", "seconds": 0.01})
SICK = ("application", {"ok": False, "detail": "503", "seconds": 0.01})


def watched(turns: list[list[tuple[str, dict[str, Any]]]], patience: float) -> tuple[dict[str, Any], list[str]]:
    clock, said = Turned(), list[str]()
    prober = Seen(turns, clock)
    normal = BackToNormal(Rules(intervals={"application": 1.0}), None, 10)
    try:
        return await_normal(prober, normal, clock, patience, said.append), said
    finally:
        assert not prober.running


def test_it_is_normal_after_the_whole_time_without_a_break() -> None:
    found, said = watched([[SICK], [FINE], [FINE], [SICK], [FINE]], 60)
    assert found["since"] == 104 and found["seconds"] >= 10
    assert said[-1] == "normal from here on" and any(s.startswith("not normal: application-health") for s in said)


@pytest.mark.parametrize("turns", [[[SICK]], [[]], [[FINE], []]])
def test_what_does_not_become_normal_fails_in_the_end(turns: Any) -> None:
    with pytest.raises(CheckFailed, match="not back to normal after 30 s"):
        watched(turns, 30)


# ---- the configuration ----


def configured(folder: Path, text: str) -> Expectations:
    (folder / "turnback.toml").write_text('[sqlite]\npath = "app.db"\n' + text)
    return validating.expectations(load(folder / "turnback.toml"))


def test_paths_are_of_the_base_or_of_the_health_addresss_origin(tmp_path: Path) -> None:
    health = '[app]\nhealth = "http://127.0.0.1:3000/api/health?full=1"\n'
    assert configured(tmp_path, health).endpoints == (
        Endpoint("/api/health", "http://127.0.0.1:3000/api/health?full=1", None),
    )
    paths = '[validate.endpoints]\n"/api/x" = { status = 204 }\n'
    assert configured(tmp_path, health + paths).endpoints == (
        Endpoint("/api/x", "http://127.0.0.1:3000/api/x", 204),
    )
    based = configured(tmp_path, '[validate]\nbase = "http://other:8000"\npage = "/"\nmarker = "Shop"\n' + paths)
    assert based.endpoints[0].url == "http://other:8000/api/x"
    assert based.page == Endpoint("/", "http://other:8000/", 200, "Shop")
    assert configured(tmp_path, "").endpoints == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[validate]\npage = "/"\n', "base"),
        ('[validate.endpoints]\n"/x" = {}\n', "base"),
        ('[validate]\norphans = ["jobs to users"]\n', "orphans"),
        ('[guard.log]\npattern = "("\n', "pattern"),
    ],
)
def test_what_cannot_be_looked_at_is_said_when_the_file_is_read(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        configured(tmp_path, text)
