"""`turnback server`: the embedded PostgreSQL by hand, and never from under the application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from bench_app import Bench
from turnback.adapters.postgres.embedded import EmbeddedPostgres


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "b", "", "")
    path = made.folder / "turnback.toml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "url" not in line))  # no url: the embedded server
    try:
        yield made
    finally:
        made.stop_guard()
        EmbeddedPostgres(made.state).remove()


def test_there_and_back_on_the_embedded_server_and_its_end(bench: Bench) -> None:
    assert bench.ok("server", "status") == {"running": False}
    bench.ok("assess")
    assert bench.ok("server", "status") == {"running": True}
    bench.ok("migrate")
    bench.ok("cutover", "--yes")
    assert "rollback" in bench.refused("server", "stop", status=2)
    bench.ok("rollback", "--yes")
    with apsw.Connection(str(bench.path), flags=apsw.SQLITE_OPEN_READONLY) as db:
        assert db.execute("SELECT count(*) FROM person").fetchall() == [(300,)]
    assert bench.ok("server", "stop") == {"running": False}
    assert bench.ok("server", "start") == {"running": True}
    assert "--yes" in bench.refused("server", "remove", status=2)
    assert bench.ok("server", "remove", "--yes") == {"running": False}


def test_a_server_of_the_users_own_is_not_touched(tmp_path: Path, database) -> None:
    bench = Bench(tmp_path / "b", database.app_dsn, database.admin_dsn)
    assert "not turnback's" in bench.refused("server", "stop", status=2)
