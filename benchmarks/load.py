"""migrate's copy, against the server's own COPY of a ready binary file into the same bare table."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.tables import NARROW, WIDE, Ground, Silent, against, ground, seconds
from turnback.adapters.postgres.load import Loader
from turnback.adapters.sqlite.reader import FileReader
from turnback.app.copy import copy_tables
from turnback.core.plan import TablePlan


def run(*, narrow: int = 500_000, wide: int = 50_000, times: int = 3) -> dict[str, Any]:
    """Per table: rows/s of both, and their ratio. Times are paired: one after the other, `times` times."""
    with ground() as place:
        return {
            table.sqlite: _measure(place, table, rows, times)
            for table, rows in ((NARROW, narrow), (WIDE, wide))
        }


def _measure(place: Ground, table: TablePlan, rows: int, times: int) -> dict[str, float]:
    path = place.file(table, rows)
    ready = place.server.data / f"{table.postgres}.copy"  # a file that the server can read and write
    ours, floor = [], []
    for n in range(times):
        plan = place.tables(table)
        with (
            closing(FileReader(path)) as reader,
            closing(Loader(place.dsn, plan, run_token=f"run-{n}")) as loader,
        ):
            loader.prepare([])
            ours.append(
                seconds(lambda: copy_tables(plan, reader, loader, Silent(), lambda point: None))  # noqa: B023
            )
        place.execute(f"COPY {table.postgres} TO '{ready}' (FORMAT binary)")
        place.tables(table)
        floor.append(seconds(lambda: _copy(place, table, ready)))
    ready.unlink()
    return against(rows, ours, floor)


def _copy(place: Ground, table: TablePlan, ready: Path) -> None:
    place.execute(f"COPY {table.postgres} FROM '{ready}' (FORMAT binary)")
