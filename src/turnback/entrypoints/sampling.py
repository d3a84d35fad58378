"""`turnback verify --sample N`: opens both sides for app.sample, by adapters of its own."""

from __future__ import annotations

import secrets

from turnback.adapters.postgres.sampling import SnapshotSample
from turnback.adapters.sqlite.sampling import FileSample
from turnback.app.catching_up import catch_up
from turnback.app.sample import Opened, Sampled
from turnback.app.sample import sample as take
from turnback.core.phases import Phase
from turnback.entrypoints.verifying import comparable
from turnback.entrypoints.wiring import Setup
from turnback.ports import Progress


def sample(setup: Setup, progress: Progress, rows: int, seed: int | None) -> Sampled:
    """Which two sides, in which phase: as `turnback verify` without options has it."""
    live = comparable(setup) is Phase.ON_POSTGRES
    plan = setup.plan()
    files, server = setup.sqlite, setup.server

    def open_sides() -> Opened:
        postgres = SnapshotSample(server.admin_dsn, server.schema)
        try:
            if live:
                catch_up(lambda: files.fallback_position(plan).applied_lsn, server.insert_lsn(), setup.clock)
            path = files.fallback if live else files.path
            return FileSample(path, extensions=files.extensions), postgres
        except BaseException:
            postgres.close()
            raise

    chosen = secrets.randbelow(2**31) if seed is None else seed
    return take(plan, rows, chosen, open_sides, setup.clock, progress, live=live)
