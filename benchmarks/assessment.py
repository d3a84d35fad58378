"""assess, against SQLite's own reading of the same file: a scan that touches every column, and quick_check.

Each measurement is a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import apsw

from benchmarks.tables import START_MS, Silent, seconds
from turnback.adapters.sqlite.census import Census
from turnback.adapters.sqlite.introspect import read_schema
from turnback.app.assess import assess
from turnback.core.choices import Choices
from turnback.core.profile import TableProfile
from turnback.core.rows import SqliteRow
from turnback.core.schema import SqliteTable

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = {
    "id": "INTEGER PRIMARY KEY",
    "name": "TEXT",
    "born": "DATE",
    "made": "DATETIME",  # text with microseconds, as Django and SQLAlchemy write it
    "seen": "TIMESTAMP",  # milliseconds
    "document": "JSON",  # in Python's spelling: the order of its keys is not jsonb's
    "token": "UUID",
    "active": "BOOLEAN",
    "score": "REAL",
    "price": "DECIMAL(10,2)",
}
NARROW = {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "amount": "REAL"}
_PROFILE, _SCAN, _CHECK = "assess", "scan", "quick_check"


def run(*, rows: int = 1_000_000, narrow: int = 10_000_000, times: int = 5) -> dict[str, Any]:
    """Seconds, the ratios to both yardsticks (pairs, `times` of them), the peaks of memory in MB, and the
    values that no census proves, which are tried one by one.
    """
    with tempfile.TemporaryDirectory(prefix="turnback-bench-") as name:
        folder = Path(name)
        many = _file(folder / "many.db", COLUMNS, rows)
        report: dict[str, Any] = {"typical": _measure(many, rows, times)}
        many.unlink()
        report["narrow"] = _measure(_file(folder / "narrow.db", NARROW, narrow), narrow, 1)
    return report


def _measure(path: Path, rows: int, times: int) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {_PROFILE: [], _SCAN: [], _CHECK: []}
    for what in found:
        _child(what, path)  # the file is in memory, and the machine awake
    for _ in range(times):
        for what, measured in found.items():
            measured.append(_child(what, path))
    ours = found[_PROFILE]
    return {
        "rows": rows,
        "megabytes": round(path.stat().st_size / 1e6),
        "seconds": {
            what: round(median(m["seconds"] for m in measured), 2) for what, measured in found.items()
        },
        "ratio_to_scan": _ratio(ours, found[_SCAN]),
        "ratio_to_quick_check": _ratio(ours, found[_CHECK]),
        "peak_megabytes": {what: max(m["peak"] for m in measured) for what, measured in found.items()},
        "values": ours[0]["values"],
        "tried": ours[0]["tried"],
    }


def _ratio(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> dict[str, float]:
    ratios = [o["seconds"] / t["seconds"] for o, t in zip(ours, theirs, strict=True)]
    return {"median": round(median(ratios), 2), "min": round(min(ratios), 2), "max": round(max(ratios), 2)}


def _child(what: str, path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.assessment", what, os.fspath(path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


# ---- in the process that is measured -------------------------------------------------------------------


class _Recording(Census):
    """Knows which columns were asked for their values."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[tuple[str, str]] = []

    def values(self, table: SqliteTable, columns: Sequence[str]) -> Any:
        self.asked += [(table.name, c) for c in columns]
        return super().values(table, columns)


def main(what: str, path: Path) -> None:
    if what == _PROFILE:
        profiles: dict[str, TableProfile] = {}
        with _Recording(path) as census:
            spent = seconds(lambda: profiles.update(_assessed(census, path)))
        tried = sum(profiles[table].columns[column].values for table, column in census.asked)
        report: dict[str, Any] = {
            "tried": {"values": tried, "columns": sorted({c for _, c in census.asked})},
            "values": sum(c.values for p in profiles.values() for c in p.columns.values()),
        }
    else:
        with closing(apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)) as file:
            names = [str(n) for (n,) in file.execute("SELECT name FROM pragma_table_info('t')")]
            terms = ", ".join(f"count({n}), sum(length({n}))" for n in names)
            sql = f"SELECT {terms} FROM t" if what == _SCAN else "PRAGMA quick_check"
            spent = seconds(lambda: file.execute(sql).fetchall())
        report = {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(report | {"seconds": spent, "peak": peak}))


def _assessed(census: Census, path: Path) -> dict[str, TableProfile]:
    found = assess(
        read_schema(census.connection, path), census, Choices(), mode="create", target=None, progress=Silent()
    )
    if found.plan is None:
        raise AssertionError([f.message for f in found.findings])
    return dict(found.profiles)


def _file(path: Path, columns: dict[str, str], rows: int) -> Path:
    dice = random.Random(1)
    make = _typical if columns is COLUMNS else _narrow
    with closing(apsw.Connection(os.fspath(path))) as file:
        declared = ", ".join(f"{n} {d}" for n, d in columns.items())
        file.execute(f"CREATE TABLE t ({declared})")
        with file:
            marks = ", ".join("?" * len(columns))
            file.executemany(f"INSERT INTO t VALUES ({marks})", (make(dice, i) for i in range(1, rows + 1)))
    return path


def _typical(dice: random.Random, i: int) -> SqliteRow:
    made = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=i * 31_000_123)
    document = {
        "title": f"größe {i % 5000}",
        "count": dice.randrange(10_000),
        "tags": ["a", "b"],
        "open": i % 2 == 0,
    }
    return (
        i,
        f"name {i % 1000}" if i % 10 else None,
        f"{1950 + i % 60}-{i % 12 + 1:02}-{i % 28 + 1:02}" if i % 4 else None,
        made.strftime("%Y-%m-%d %H:%M:%S.%f"),
        START_MS + i * 137,
        json.dumps(document, ensure_ascii=False),
        str(uuid.UUID(int=dice.getrandbits(128))),
        i % 2,
        dice.gauss(0, 1000),
        dice.randrange(10_000_000) / 100,
    )


def _narrow(dice: random.Random, i: int) -> SqliteRow:
    return i, f"name {i % 1000}", i / 7


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
