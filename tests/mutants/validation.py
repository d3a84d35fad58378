"""Validation: each check, and that a failed one fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import test_baseline
import test_validate as validation

from mutants import Mutant, Place, demand, nothing
from mutants.rewritten import caught_by, rewritten
from mutants.told import fixture, swap
from turnback.adapters.log_tail import LogFile
from turnback.adapters.sqlite.checks import FileChecks
from turnback.app import checks as of_checks
from turnback.app import steps_rollback
from turnback.app import validate as of_validate
from turnback.app.checks import Checks
from turnback.app.steps_rollback import _Rollback
from turnback.core.phases import Intent
from turnback.core.state import Run, State
from turnback.core.validation import Check, Endpoint
from turnback.core.watch import recording
from turnback.errors import CheckFailed

PLACE = fixture(validation.place)


def _passed(name: str, group: Any, *_: object) -> Check:
    """In place of a check that failed, or was not made."""
    return Check(name, True, "", "", 0.0, group)


@contextmanager
def _failing(place: Place) -> Iterator[SimpleNamespace]:
    """A world whose application does not answer, and whose file lacks a table."""
    with PLACE.make(place) as made:
        made.sql("DROP TABLE job_history")
        place.patch.setattr(of_validate, "SETTLE_SECONDS", 0.0)
        place.patch.setattr(of_validate, "_tables", lambda *_: validation.TABLES)
        nowhere = Endpoint("/api/health", "http://127.0.0.1:9/api/health", 200)
        kept: list[tuple[str, dict[str, Any]]] = []
        yield SimpleNamespace(
            checks=made.checks(endpoints=(nowhere,)),
            journal=SimpleNamespace(
                records=lambda **_: [],
                state=State,
                append=lambda kind, body, run: kept.append((kind, body)),
            ),
            clock=made.checks().clock,
            plan=None,
            probe=None,
            kept=kept,
        )


def _rollback(world: SimpleNamespace) -> _Rollback:
    run = Run("rollback-1", Intent.ROLLBACK, {}, datetime.now(UTC))
    run.notes["served"] = {"rto_measured_seconds": 1.0}
    steps = object.__new__(_Rollback)
    steps.world, steps.run, steps.plan = world, run, None  # type: ignore[assignment]
    return steps


def a_check_that_fails_fails_the_step(place: Place) -> None:
    with _failing(place) as world:
        said = ""
        try:
            _rollback(world).validate()
        except CheckFailed as e:
            said = str(e)
        demand(
            "/api/health: expected 200" in said, "the rollback is done, and the application does not answer"
        )
        demand(
            [kind for kind, _ in world.kept] == ["validated"],
            "the report of a failed validation is kept nowhere",
        )


def a_check_of_whole_tables_that_fails_fails_the_step(place: Place) -> None:
    with _failing(place) as world:
        run = _rollback(world).run
        said = ""
        try:
            of_validate.validate_whole(world, run, (), None)  # type: ignore[arg-type]
        except CheckFailed as e:
            said = str(e)
        demand("without job_history" in said, "the rollback is done, and a table is missing")
        demand(
            [kind for kind, _ in world.kept] == ["validated"],
            "the report of a failed validation is kept nowhere",
        )


def what_the_application_wrote_before_its_start_counts_for_nothing(place: Place) -> None:
    """And what it wrote at its first start counts, though the start is repeated after a crash."""
    log = LogFile(place.folder / "app.log")
    log.path.write_text("ERROR of PostgreSQL's time\n")
    noted: dict[str, Any] = {}
    world = SimpleNamespace(
        checks=SimpleNamespace(log=log), note=lambda run, key, value: noted.update({key: value})
    )
    run = Run("rollback-1", Intent.ROLLBACK, {}, datetime.now(UTC))
    of_validate.note_start(world, run)  # type: ignore[arg-type]
    demand(of_validate.LOG_NOTE in noted, "where the log stood is known to nobody after a crash")
    with log.path.open("a") as file:
        file.write("ERROR at the first start\n")
    of_validate.note_start(world, run)  # type: ignore[arg-type]
    lines = log.tail(run.notes[of_validate.LOG_NOTE], 10)
    demand(lines == ["ERROR at the first start"], f"from the start on there are {lines}")


SCENARIOS = [
    a_check_that_fails_fails_the_step,
    a_check_of_whole_tables_that_fails_fails_the_step,
    what_the_application_wrote_before_its_start_counts_for_nothing,
]


def _endpoint(
    removed: str, old: str, new: str, path: str, status: int | None, contains: str | None, seen: str
) -> Mutant:
    return caught_by(
        validation.test_an_endpoint_answers_as_expected_or_fails,
        removed,
        rewritten(of_checks, "judge_endpoint", old, new),
        place=PLACE,
        path=path,
        status=status,
        contains=contains,
        ok=False,
        seen=seen,
    )


_CHECKS = {
    "endpoint: status": _endpoint(
        "every answer is the right one",
        "right = answer.status == endpoint.status",
        "right = True",
        "/missing",
        200,
        None,
        "404",
    ),
    "endpoint: an answer": _endpoint(
        "no answer is an answer",
        "endpoint.name, False, expected, answer.detail",
        "endpoint.name, True, expected, answer.detail",
        "/silent",
        200,
        None,
        "no answer",
    ),
    "endpoint: health": _endpoint(
        "a health address that says it is sick is well",
        "endpoint.name, answer.healthy,",
        "endpoint.name, True,",
        "/sick",
        None,
        None,
        "503",
    ),
    "page: marker": _endpoint(
        "the page may show anything",
        "endpoint.contains not in answer.text",
        "False",
        "/",
        200,
        "hyperpage",
        "200 without 'hyperpage'",
    ),
    "page": caught_by(
        validation.test_an_endpoint_answers_as_expected_or_fails,
        "the page is not looked at",
        swap(Checks, "page", lambda self: _passed("/", "page")),
        place=PLACE,
        path="/missing",
        status=200,
        contains=None,
        ok=False,
        seen="404",
    ),
    "processes": caught_by(
        validation.test_a_process_that_runs_and_does_not_answer_is_not_ready,
        "an application without a process runs",
        rewritten(of_checks, "judge_processes", "alive > 0", "True"),
        place=PLACE,
    ),
    "running is not ready": caught_by(
        validation.test_a_process_that_runs_and_does_not_answer_is_not_ready,
        "a process that runs is an application that serves",
        swap(Checks, "endpoints", lambda self: [_passed("/api/health", "endpoints")]),
        place=PLACE,
    ),
    "database: missing": caught_by(
        validation.test_a_missing_database_fails,
        "what cannot be looked at did pass",
        swap(of_checks, "unreadable", lambda name, group, *_: _passed(name, group)),
        place=PLACE,
    ),
    "database: a file is none yet": caught_by(
        validation.test_a_file_that_is_there_is_no_database_yet,
        "an empty file is a database",
        swap(of_checks, "unreadable", lambda name, group, *_: _passed(name, group)),
        place=PLACE,
        content=b"",
    ),
    "database: tables": caught_by(
        validation.test_a_missing_table_fails_and_one_that_came_since_is_named,
        "a missing table is not missed",
        rewritten(of_checks, "judge_tables", "bool(there) and not missing", "bool(there)"),
        place=PLACE,
    ),
    "database: no tables": caught_by(
        validation.test_no_tables_at_all_fail_even_where_nothing_is_known,
        "a database without a table is one",
        rewritten(of_checks, "judge_tables", "bool(there) and not missing", "not missing"),
        place=PLACE,
    ),
    "integrity": caught_by(
        validation.test_a_failed_query_is_no_count_of_0,
        "the file's integrity is not checked",
        swap(FileChecks, "malformed", lambda self: []),
        place=PLACE,
    ),
    "foreign keys": caught_by(
        validation.test_a_row_without_its_parent_fails,
        "foreign keys are not checked",
        swap(FileChecks, "dangling", lambda self, plan: []),
        place=PLACE,
    ),
    "orphans": caught_by(
        validation.test_orphans_that_no_foreign_key_declares_fail_with_their_values,
        "orphans pass",
        rewritten(of_checks, "judge_orphans", "orphans == 0", "True"),
        place=PLACE,
    ),
    "orphans: of what is there": caught_by(
        validation.test_orphans_of_what_is_not_there_fail,
        "a column that is not there has no orphans",
        swap(FileChecks, "_demand_column", nothing),
        place=PLACE,
        text="job_history.nothing -> jobs.id",
    ),
    "rows: a failed query": caught_by(
        validation.test_a_failed_query_is_no_count_of_0,
        "a table that cannot be read has no rows",
        swap(of_checks, "unreadable", lambda name, group, *_: _passed(name, group)),
        place=PLACE,
    ),
    "rows: of the table itself": caught_by(
        validation.test_a_whole_index_does_not_stand_for_its_table,
        "an index is counted in place of its table",
        swap(FileChecks, "_by_itself", staticmethod(lambda *_: "")),
        place=PLACE,
    ),
    "rows: all of them gone": caught_by(
        validation.test_a_count_that_cannot_be_negative_is_no_check,
        "a database that has lost every row is well",
        rewritten(of_checks, "judge_emptied", "has > 0 or had == 0", "has >= 0"),
        place=PLACE,
    ),
    "state: the value": caught_by(
        validation.test_the_state_of_the_application,
        "any version is the one that was asked for",
        rewritten(of_checks, "judge_state", "value == row.expect", "True"),
        place=PLACE,
        query="SELECT value FROM app_state WHERE key = 'version'",
        expect="0.1.0",
        ok=False,
        seen="'0.0.9'",
    ),
    "state: NULL is none": caught_by(
        validation.test_the_state_of_the_application,
        "NULL is a value",
        rewritten(
            of_checks, "judge_state", "value is not None if row.expect is None", "True if row.expect is None"
        ),
        place=PLACE,
        query="SELECT value FROM app_state WHERE key = 'nothing'",
        expect=None,
        ok=False,
        seen="None",
    ),
    "state: one value": caught_by(
        validation.test_the_state_of_the_application,
        "the first of many rows is the value",
        rewritten(of_checks, "judge_state", "if len(values) != 1 or len(values[0]) != 1:", "if not values:"),
        place=PLACE,
        query="SELECT value FROM app_state",
        expect=None,
        ok=False,
        seen="more than one value",
    ),
    "state: reads only": caught_by(
        validation.test_the_state_of_the_application,
        "a query of [validate.state] may write",
        rewritten(
            FileChecks,
            "_opened",
            'self.path, "read",',
            'self.path, "write",',
            ('connection.execute("PRAGMA query_only = 1")', "pass"),
        ),
        place=PLACE,
        query="DELETE FROM app_state RETURNING value",
        expect=None,
        ok=False,
        seen="readonly",
    ),
    "memory": caught_by(
        validation.test_more_memory_or_processor_than_allowed_fails,
        "any memory is allowed",
        rewritten(of_checks, "judge_memory", "usage.memory_bytes <= limit", "True"),
        place=PLACE,
    ),
    "memory: not known": caught_by(
        validation.test_what_a_platform_cannot_see_is_not_known_and_did_not_pass,
        "memory that nobody can see is little",
        rewritten(of_checks, "judge_memory", "usage is not None and", "usage is None or"),
        place=PLACE,
    ),
    "log: errors": caught_by(
        validation.test_errors_from_before_the_start_do_not_count_and_those_since_do,
        "errors in the log are a warning",
        rewritten(of_checks, "judge_log", "len(errors) <= expectations.max_log_errors", "True"),
        place=PLACE,
    ),
    "log: since the start": caught_by(
        validation.test_errors_from_before_the_start_do_not_count_and_those_since_do,
        "errors of PostgreSQL's time count",
        rewritten(LogFile, "tail", 'start = int(since["offset"])', "pass"),
        place=PLACE,
    ),
    "log: rotated since the start": caught_by(
        validation.test_a_log_that_was_rotated_is_read_from_its_begin,
        "a log that begins anew is passed over",
        rewritten(LogFile, "tail", 'since["inode"] == now.st_ino and since["offset"] <= now.st_size', "True"),
        place=PLACE,
        how="truncated",
    ),
    "log: a guess is no time": caught_by(
        validation.test_a_moment_in_the_line_counts_only_with_its_offset,
        "every line with a time is of before",
        rewritten(of_checks, "judge_log", "old = moment < since", "old = True"),
        place=PLACE,
    ),
    "log: unreadable": caught_by(
        validation.test_a_log_that_cannot_be_read_did_not_pass,
        "a log that cannot be read has no errors",
        swap(of_checks, "unreadable", lambda name, group, *_: _passed(name, group)),
        place=PLACE,
    ),
    "log: no password is shown": caught_by(
        validation.test_an_excerpt_shows_no_password,
        "passwords of the log stand in the report",
        rewritten(validation, "shown_line", "masked(line.strip())", "line.strip()"),
    ),
}

_FAILS = {
    "the step validates": Mutant(
        "a rollback is not validated",
        swap(steps_rollback, "validate_now", lambda *_: {}),
        a_check_that_fails_fails_the_step,
        "does not answer",
    ),
    "a failed validation fails the step": Mutant(
        "a failed validation is a warning",
        rewritten(steps_rollback, "validate_now", "raise failure(report)", "pass"),
        a_check_that_fails_fails_the_step,
        "does not answer",
    ),
    "a failed validation is kept": Mutant(
        "nobody can read what failed",
        rewritten(steps_rollback, "validate_now", 'keep(world.journal, report, "validate", run.id)', "pass"),
        a_check_that_fails_fails_the_step,
        "kept nowhere",
    ),
    "a failed check of whole tables fails the step": Mutant(
        "a missing table is a warning",
        rewritten(of_validate, "validate_whole", "raise failure(report)", "pass"),
        a_check_of_whole_tables_that_fails_fails_the_step,
        "a table is missing",
    ),
    "log: where it stood": Mutant(
        "where the log stood is kept in memory only",
        rewritten(of_validate, "note_start", "world.note(run.id, LOG_NOTE, mark)", "pass"),
        what_the_application_wrote_before_its_start_counts_for_nothing,
        "known to nobody",
    ),
    "log: where it stood first": Mutant(
        "a start that is repeated forgets what the first one wrote",
        rewritten(of_validate, "note_start", " or LOG_NOTE in run.notes", ""),
        what_the_application_wrote_before_its_start_counts_for_nothing,
        "from the start on",
    ),
    "what does not become normal fails": caught_by(
        validation.test_what_does_not_become_normal_fails_in_the_end,
        "a watch that ends without a word",
        rewritten(validation, "await_normal", "raise CheckFailed(", "return dict(why="),
        harm="",
        turns=[[validation.SICK]],
    ),
}

_BASELINE = {
    "baseline: a sample": caught_by(
        test_baseline.test_too_few_requests_are_refused_with_their_number,
        "ten requests are a baseline",
        swap(recording, "MIN_REQUESTS", 0),
        folder=fixture(test_baseline.folder),
        requests=99,
    ),
}

MUTANTS: dict[str, Mutant] = _CHECKS | _FAILS | _BASELINE
