"""The proof that both sides are equal, against PostgreSQL's own COPY TO /dev/null of the same table."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from benchmarks.tables import NARROW, WIDE, Ground, Silent, against, ground, seconds
from turnback.adapters.postgres.load import Loader
from turnback.adapters.postgres.reader import SnapshotReader
from turnback.adapters.sqlite.reader import FileReader
from turnback.app.copy import copy_tables
from turnback.app.verify import compare
from turnback.core.plan import Plan, TablePlan


def run(*, narrow: int = 300_000, wide: int = 30_000, times: int = 3) -> dict[str, Any]:
    """Per table: rows/s (a row counts once, though it is read on both sides), the floor, their ratio."""
    with ground() as place:
        return {
            table.sqlite: _measure(place, table, rows, times)
            for table, rows in ((NARROW, narrow), (WIDE, wide))
        }


def _measure(place: Ground, table: TablePlan, rows: int, times: int) -> dict[str, float]:
    path = place.file(table, rows)
    plan = place.tables(table)
    with closing(FileReader(path)) as reader:
        with closing(Loader(place.dsn, plan, run_token="run")) as loader:
            loader.prepare([])
            copy_tables(plan, reader, loader, Silent(), lambda point: None)
        ours, floor = [], []
        for _ in range(times):
            ours.append(seconds(lambda: _prove(plan, reader, place)))
            floor.append(seconds(lambda: place.execute(f"COPY {table.postgres} TO '/dev/null'")))
    return against(rows, ours, floor)


def _prove(plan: Plan, reader: FileReader, place: Ground) -> None:
    with closing(SnapshotReader(place.dsn, "public")) as postgres:
        proof = compare(plan, reader, postgres, Silent(), check_round_trip=True)
    if not proof.equal:
        raise AssertionError(proof.headline())
