"""Log, disk, processes, availability, and what turnback knows of itself, on real files and a real journal."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from turnback.adapters.journal import SqliteJournal
from turnback.adapters.probes import log
from turnback.adapters.probes.log import LogErrors
from turnback.adapters.probes.machine import SPARE_BYTES, Disk, Processes
from turnback.app.capture import CaptureStatus
from turnback.app.own_probes import CaptureProbe, IntegrityProbe, Proof, VerificationProbe
from turnback.entrypoints.config_guard import LogSection
from turnback.errors import ProbeError


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    made = SqliteJournal(tmp_path / "journal.db")
    yield made
    made.close()


@dataclass
class Clock:
    """Set by hand: `moment` may jump, `seconds` may not."""

    moment: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


# ---- log -------------------------------------------------------------------------------------------


def follow(path: Path, pattern: str = LogSection().pattern) -> LogErrors:
    return LogErrors(path, re.compile(pattern), 10)


def write(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def errors(probe: LogErrors) -> int:
    value = probe.observe()["errors"]
    assert isinstance(value, int)
    return value


def test_lines_with_errors_are_counted_from_the_first_reading_on(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    write(path, "ERROR before\n")
    probe = follow(path)
    assert probe.observe() == {"errors": 0, "lines": []}
    write(path, "fine\nERROR one\nno terror here\nTraceback (most recent call last):\n")
    assert probe.observe() == {"errors": 2, "lines": ["ERROR one", "Traceback (most recent call last):"]}
    assert errors(probe) == 2


def test_a_line_counts_when_its_end_is_there(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.touch()
    probe = follow(path)
    probe.observe()
    write(path, "ERR")
    assert errors(probe) == 0
    write(path, "OR one\nERROR two")
    assert probe.observe() == {"errors": 1, "lines": ["ERROR one"]}
    write(path, "\n")
    assert errors(probe) == 2


def test_through_rotation_by_rename_nothing_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.touch()
    probe = follow(path)
    probe.observe()
    write(path, "ERROR 1\n")
    assert errors(probe) == 1
    write(path, "ERROR 2\n")
    path.rename(tmp_path / "app.log.1")
    write(tmp_path / "app.log.1", "ERROR 3\n")  # the application had it open still
    write(path, "ERROR 4\n")
    assert probe.observe() == {"errors": 4, "lines": ["ERROR 1", "ERROR 2", "ERROR 3", "ERROR 4"]}
    write(path, "ERROR 5\n")
    assert errors(probe) == 5


def test_through_truncation_the_file_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.touch()
    probe = follow(path)
    probe.observe()
    write(path, "ERROR 1 of a long line\nERR")
    assert errors(probe) == 1
    os.truncate(path, 0)
    write(path, "ERROR 2\n")
    assert probe.observe() == {"errors": 2, "lines": ["ERROR 1 of a long line", "ERROR 2"]}


def test_a_missing_file_is_no_data_and_what_appears_then_counts(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    probe = follow(path)
    for _ in range(2):
        with pytest.raises(ProbeError, match=r"app.log: No such file"):
            probe.observe()
    write(path, "ERROR 1\n")
    assert errors(probe) == 1
    path.unlink()
    with pytest.raises(ProbeError):
        probe.observe()
    write(path, "ERROR 2\n")  # a file of the same size, perhaps with the same inode
    assert errors(probe) == 2
    os.truncate(path, 0)
    write(path, "fine\nERROR 3 makes it longer than it was\n")
    assert errors(probe) == 3
    with pytest.raises(ProbeError, match="Is a directory"):
        follow(tmp_path).observe()


def test_a_line_of_megabytes_is_one_line_and_keeps_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "CHUNK_BYTES", 4096)
    path = tmp_path / "app.log"
    path.touch()
    probe = follow(path)
    probe.observe()
    write(path, b"ERROR " + b"x" * 5_000_000)
    assert errors(probe) == 0 and len(probe._partial) == 4096
    write(
        path,
        b"y" * 1_000_000 + b" ERROR\n" + b"z" * 5000 + b" ERROR at the end of a long line\nERROR short\n",
    )
    value = probe.observe()
    assert value["errors"] == 2, "of a long line only the beginning is looked at"
    assert [len(line) for line in value["lines"]] == [500, 11]


def test_one_reading_takes_a_bounded_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(log, "MOST_BYTES", 10_000)
    path = tmp_path / "app.log"
    path.touch()
    probe = follow(path)
    probe.observe()
    write(path, b"ERROR 9\n" * 3000)
    counts = [errors(probe) for _ in range(4)]
    assert counts == [1250, 2500, 3000, 3000]


def test_bytes_that_are_no_text_and_only_the_newest_lines(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.touch()
    probe = follow(path)
    probe.observe()
    write(path, b"ERROR \xff\xfe\x00 caf\xc3\xa9\r\n")
    assert probe.observe()["lines"] == ["ERROR \\xff\\xfe\ufffd café"]
    write(path, "".join(f"ERROR {i}\n" for i in range(50)))
    assert probe.observe()["lines"] == [f"ERROR {i}" for i in range(30, 50)]


@pytest.mark.parametrize(
    "line",
    [
        "ERROR connecting to postgresql://app:s3cret@db/x failed",
        "ERROR postgres+psycopg://app:p%40s3cret@db:5432/x?a=b",
        "ERROR url=redis://:s3cret@host and amqp://u:s3cret@h/",
        "ERROR password=s3cret host=db",
        'ERROR {"password": "s3cret", "a": 1}',
        "ERROR token: s3cret",
        "ERROR api_key='s3cret'",
    ],
)
def test_what_looks_like_a_password_is_blanked(tmp_path: Path, line: str) -> None:
    path = tmp_path / "app.log"
    path.touch()
    probe = follow(path)
    probe.observe()
    write(path, line + "\n")
    (kept,) = probe.observe()["lines"]
    assert "s3cret" not in kept and "***" in kept and kept.startswith("ERROR")


# ---- disk and processes ----------------------------------------------------------------------------


def test_room_on_the_disk_and_what_is_needed(tmp_path: Path) -> None:
    wal = tmp_path / "app.db.turnback-fallback-wal"
    probe = Disk([tmp_path, Path("/")], [wal], 10)
    value = probe.observe()
    assert value["needed_bytes"] == SPARE_BYTES == 64 * 1024 * 1024
    room = min(os.statvfs(p).f_bavail * os.statvfs(p).f_frsize for p in (tmp_path, "/"))
    assert abs(value["free_bytes"] - room) < 500_000_000
    wal.write_bytes(b"x" * 12345)
    assert probe.observe()["needed_bytes"] == SPARE_BYTES + 12345


def test_starts_and_exits_are_counted_over_the_whole_journal(journal: SqliteJournal) -> None:
    probe = Processes(journal, 1)
    assert probe.observe() == {"starts": 0, "exits": 0, "started": False}
    for kind in ("process_started", "process_exited", "process_started", "process_adopted", "intent"):
        journal.append(kind, {"side": "postgres"})
    expected = {"starts": 2, "exits": 1, "started": True}
    assert probe.observe() == expected == probe.observe()
    assert Processes(journal, 1).observe() == expected, "another guard counts the same"
    journal.append("process_stopping", {"side": "postgres"})
    assert probe.observe()["started"] is False
    journal.append("process_stopped", {"side": "postgres"})
    assert probe.observe() == {"starts": 2, "exits": 1, "started": False}, "a stop is no exit of its own"


# ---- what turnback knows ---------------------------------------------------------------------------

STREAMING = CaptureStatus("streaming", 7, 9, 2, 0.5, None, None, "", 3, contact_monotonic=990.0)


def test_the_age_of_the_last_contact_counts_by_the_clock_that_never_jumps() -> None:
    clock = Clock()
    probe = CaptureProbe(lambda: STREAMING, clock, lambda: None, 1)
    assert probe.observe()["contact_age_seconds"] == 10.0
    clock.moment += timedelta(days=400)
    clock.seconds += 5
    assert probe.observe() == {
        "state": "streaming",
        "lag_bytes": 2,
        "lag_seconds": 0.5,
        "contact_age_seconds": 15.0,
        "lost": False,
        "warning": None,
        "error": None,
    }


def test_a_contact_of_the_guard_before_grows_old_by_the_same_clock() -> None:
    clock = Clock()
    never = replace(STREAMING, contact_monotonic=None)
    before = clock.moment - timedelta(seconds=30)
    probe = CaptureProbe(lambda: never, clock, lambda: before, 1)
    clock.seconds += 12
    clock.moment -= timedelta(days=1)
    assert probe.observe()["contact_age_seconds"] == 42.0
    assert CaptureProbe(lambda: never, Clock(), lambda: None, 1).observe()["contact_age_seconds"] is None
    future = clock.moment + timedelta(seconds=1)
    assert CaptureProbe(lambda: never, clock, lambda: future, 1).observe()["contact_age_seconds"] is None


def test_capture_that_does_not_run_is_no_data() -> None:
    with pytest.raises(ProbeError, match="capture does not run"):
        CaptureProbe(lambda: None, Clock(), lambda: None, 1).observe()


def test_integrity_is_what_capture_has_checked() -> None:
    clock = Clock()
    checked = replace(STREAMING, checked_at=940.0)
    assert IntegrityProbe(lambda: checked, clock, 10).observe()["age_seconds"] == 60.0
    with pytest.raises(ProbeError, match="not been checked yet"):
        IntegrityProbe(lambda: STREAMING, clock, 10).observe()
    lost = replace(checked, lost=True, error="the fallback file is damaged: row 3 missing from index")
    value = IntegrityProbe(lambda: lost, clock, 10).observe()
    assert value["ok"] is False and "row 3 missing" in value["detail"]


def test_the_newest_comparison_counts(journal: SqliteJournal) -> None:
    certified: list[Proof] = []
    clock = Clock()
    probe = VerificationProbe(journal, clock, lambda: certified[-1] if certified else None, 10)
    with pytest.raises(ProbeError, match="nothing was compared yet"):
        probe.observe()
    journal.append("step_done", {"step": "copy_rows", "result": {}}, run="r1")
    record = journal.append("step_done", {"step": "last_proof", "result": {}}, run="r1")
    clock.moment = record.at + timedelta(days=2)
    assert probe.observe() == {"equal": True, "age_seconds": 2 * 86400.0, "what": "cutover"}
    certified.append(Proof(record.at - timedelta(hours=1), "verify", False))
    assert probe.observe()["what"] == "cutover", "an older difference is overtaken by the cutover's proof"
    certified.append(Proof(record.at + timedelta(hours=1), "verify", False))
    value = probe.observe()
    assert (value["equal"], value["what"], value["age_seconds"]) == (False, "verify", 47 * 3600.0)
    clock.moment = record.at - timedelta(days=1)
    assert probe.observe()["age_seconds"] == 0.0


def test_the_follower_ends_in_time(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.touch()
    probe = LogErrors(path, re.compile("error"), 10, timeout_seconds=0.0)
    probe.observe()
    write(path, b"error\n" * 10)
    began = time.monotonic()
    assert errors(probe) == 0 and time.monotonic() - began < 4, "no time: nothing is read, and nothing lost"
    probe.timeout_seconds = 5
    assert errors(probe) == 10
