"""The judge against handmade files: every way to lose or double a write is seen, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import apsw
import pytest

from turnback.entrypoints.demo_judge import Verdict, judge
from turnback.entrypoints.demo_traffic import Attempt
from turnback.errors import SourceError, UsageError

SCHEMA = Path(__file__).parents[2] / "examples" / "hyperpage" / "schema_sqlite.sql"


class Case:
    """A file and one client's records, made by hand."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hyperpage.db"
        self.traffic = folder / "traffic"
        self.traffic.mkdir()
        self.connection = apsw.Connection(str(self.path))
        for _ in self.connection.execute(SCHEMA.read_text()):
            pass
        self.attempts: list[Attempt] = []

    def limit(self, key: str, token: str, remaining: object = 1.5, updated_at: object = 7) -> None:
        """A row of rate_limits in the file."""
        self.connection.execute(
            "INSERT INTO rate_limits VALUES (?, ?, ?, ?)", (key, remaining, token, updated_at)
        )

    def tell(self, operation: str, key: str | None, token: str, outcome: str, **values: object) -> None:
        """A record of a client."""
        table = "job_history" if operation == "event" else "rate_limits"
        self.attempts.append(Attempt(1.0, 0.1, operation, table, key, token, values, outcome, None))  # type: ignore[arg-type]

    def verdict(self) -> Verdict:
        (self.traffic / "client-0.jsonl").write_text(
            "".join(json.dumps(asdict(a)) + "\n" for a in self.attempts)
        )
        return judge(self.path, self.traffic)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    made.connection.close()


def counts(verdict: Verdict) -> dict[str, int]:
    return {name: n for name, n in asdict(verdict).items() if n and name != "details"}


def test_everything_is_there(case: Case) -> None:
    case.limit("a", "t3", 3.5)
    case.connection.execute("INSERT INTO job_history VALUES (1, 7, 'e', 'm')")
    case.tell("create", "a", "t1", "acknowledged", remaining=1.5)
    case.tell("update", "a", "t2", "refused", remaining=2.5)
    case.tell("update", "a", "t3", "acknowledged", remaining=3.5)
    case.tell("create", "b", "t4", "acknowledged")
    case.tell("delete", "b", "t5", "acknowledged")
    case.tell("event", None, "e", "acknowledged", job_id=1, message="m")
    case.tell("create", None, "t6", "refused")
    assert counts(case.verdict()) == {"acknowledged": 5}


def test_lost(case: Case) -> None:
    case.tell("create", "a", "t1", "acknowledged")
    case.tell("event", None, "e", "acknowledged", job_id=1, message="m")
    verdict = case.verdict()
    assert counts(verdict) == {"acknowledged": 2, "lost": 2}
    assert sorted(verdict.details) == [
        "lost: create of rate_limits a, token t1: the row is missing",
        "lost: event of job_history, token e: no row has it",
    ]


def test_stale(case: Case) -> None:
    case.limit("a", "t1")
    case.tell("create", "a", "t1", "acknowledged", remaining=1.5)
    case.tell("update", "a", "t2", "acknowledged", remaining=2.5)
    verdict = case.verdict()
    assert counts(verdict) == {"acknowledged": 2, "lost": 1}
    assert "t2: stale: the row has the token 't1'" in verdict.details[0]


def test_resurrected(case: Case) -> None:
    case.limit("a", "t1")
    case.tell("create", "a", "t1", "acknowledged", remaining=1.5)
    case.tell("delete", "a", "t2", "acknowledged")
    verdict = case.verdict()
    assert counts(verdict) == {"acknowledged": 2, "lost": 1}
    assert "resurrected" in verdict.details[0]


@pytest.mark.parametrize(("remaining", "updated_at"), [(1.25, 7), (b"1.5", 7), (1.5, "2026-01-01 00:00:00")])
def test_altered(case: Case, remaining: object, updated_at: object) -> None:
    case.limit("a", "t1", remaining, updated_at)
    case.tell("create", "a", "t1", "acknowledged", remaining=1.5)
    verdict = case.verdict()
    assert counts(verdict) == {"acknowledged": 1, "lost": 1}
    assert "altered" in verdict.details[0]


def test_what_an_earlier_write_set_must_still_stand(case: Case) -> None:
    case.connection.execute("INSERT INTO tool_configs VALUES ('a', 'other', 1, '{\"x\":1}', 't2', 7)")
    case.tell("create", "a", "t1", "acknowledged", name="first", config={"x": 1})
    case.tell("update", "a", "t2", "acknowledged", enabled=True)
    case.attempts = [replace(a, table="tool_configs") for a in case.attempts]
    verdict = case.verdict()
    assert counts(verdict) == {"acknowledged": 2, "lost": 1}
    assert "altered: name is 'other', not 'first'" in verdict.details[0]


def test_values_are_compared_as_the_application_stores_them(case: Case) -> None:
    case.connection.execute("INSERT INTO users VALUES ('u', 'e', 'n', 1, NULL, x'00ff5b', 't1', 7, 7)")
    sent = {"email": "e", "name": "n", "is_admin": True, "score": None, "avatar": "AP9b"}
    case.tell("create", "u", "t1", "acknowledged", **sent)
    case.attempts = [replace(a, table="users") for a in case.attempts]
    assert counts(case.verdict()) == {"acknowledged": 1}
    case.connection.execute("UPDATE users SET avatar = 'AP9b'")
    assert counts(case.verdict()) == {"acknowledged": 1, "lost": 1}


def test_duplicated(case: Case) -> None:
    for _ in range(2):
        case.connection.execute("INSERT INTO job_history VALUES (1, 7, 'e', 'm')")
    case.tell("event", None, "e", "acknowledged", job_id=1, message="m")
    verdict = case.verdict()
    assert counts(verdict) == {"acknowledged": 1, "duplicated": 1}
    assert verdict.details == ["duplicated: the token e stands in 2 rows"]


def test_an_unknown_one_that_is_there_twice_is_duplicated(case: Case) -> None:
    case.limit("a", "t")
    case.limit("b", "t")
    case.tell("create", None, "t", "unknown")
    assert counts(case.verdict()) == {"duplicated": 1, "unknown_present": 1}


def test_refused_but_there(case: Case) -> None:
    case.limit("a", "t2", 2.5)
    case.limit("b", "t3")
    case.tell("create", "a", "t1", "acknowledged", remaining=1.5)
    case.tell("update", "a", "t2", "refused", remaining=2.5)
    case.tell("create", None, "t3", "refused")
    assert counts(case.verdict()) == {"acknowledged": 1, "refused_present": 2}


@pytest.mark.parametrize(
    ("operation", "held", "expected"),
    [
        ("update", "t2", {"acknowledged": 1, "unknown_present": 1}),
        ("update", "t1", {"acknowledged": 1, "unknown_absent": 1}),
        ("update", None, {"acknowledged": 1, "unknown_absent": 1, "lost": 1}),
        ("update", "t0", {"acknowledged": 1, "unknown_absent": 1, "lost": 1}),
        ("delete", None, {"acknowledged": 1, "unknown_present": 1}),
        ("delete", "t1", {"acknowledged": 1, "unknown_absent": 1}),
        ("delete", "t0", {"acknowledged": 1, "unknown_absent": 1, "lost": 1}),
    ],
)
def test_after_an_unknown_one_both_are_right_and_nothing_else(
    case: Case, operation: str, held: str | None, expected: dict[str, int]
) -> None:
    if held is not None:
        case.limit("a", held)
    case.tell("create", "a", "t1", "acknowledged", remaining=1.5)
    case.tell(operation, "a", "t2", "unknown")
    assert counts(case.verdict()) == expected


@pytest.mark.parametrize(("there", "expected"), [(True, "unknown_present"), (False, "unknown_absent")])
def test_unknown_creations(case: Case, there: bool, expected: str) -> None:
    if there:
        case.limit("a", "t1")
    case.tell("create", None, "t1", "unknown")
    assert counts(case.verdict()) == {expected: 1}


def test_what_cannot_be_judged_is_an_error(case: Case, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no records"):
        judge(case.path, case.traffic)
    (case.traffic / "client-0.jsonl").write_text('{"at": 1}\n')
    with pytest.raises(UsageError, match="line 1: not a record"):
        judge(case.path, case.traffic)
    (tmp_path / "tombstone.db").write_text("moved to PostgreSQL\n" * 50)
    with pytest.raises(SourceError):
        judge(tmp_path / "tombstone.db", case.traffic)
    case.tell("create", None, "t", "refused")
    case.tell("create", None, "t", "refused")
    with pytest.raises(UsageError, match="two records"):
        case.verdict()


def test_as_a_process(case: Case, tmp_path: Path) -> None:
    case.tell("create", "a", "t1", "acknowledged")
    case.verdict()
    command = [sys.executable, "-m", "turnback.entrypoints.demo_judge"]
    done = subprocess.run([*command, case.path, case.traffic], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["lost"] == 1
    failed = subprocess.run([*command, tmp_path / "no.db", case.traffic], capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ") and "Traceback" not in failed.stderr
