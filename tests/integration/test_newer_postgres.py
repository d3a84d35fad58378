"""What newer versions of PostgreSQL added to a schema that the application made itself, and to its statements:
there and back, with every row written on PostgreSQL. Each version runs all that it has."""

from __future__ import annotations

from collections.abc import Callable

from trips import Image, Trip, same
from trips import trip as trip

SQLITE = """
CREATE TABLE owner (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE item (
  id INTEGER PRIMARY KEY, owner INTEGER, other INTEGER, code TEXT, cents INTEGER, tax INTEGER AS (cents / 5)
);
INSERT INTO owner VALUES (1, 'a'), (2, NULL), (3, 'c');
INSERT INTO item (id, owner, other, code, cents) VALUES
  (1, 1, 2, 'x', 500), (2, 1, NULL, 'y', NULL), (3, 3, 1, NULL, 7);
"""
CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
"""


def schema(version: int) -> str:
    distinct = "UNIQUE NULLS NOT DISTINCT" if version >= 15 else "UNIQUE"
    these = "(other)" if version >= 15 else ""
    unenforced = "NOT ENFORCED" if version >= 18 else "NOT VALID"
    computed = "VIRTUAL" if version >= 18 else "STORED"
    return f"""
        CREATE TABLE owner (id bigint PRIMARY KEY, name text {distinct});
        CREATE TABLE item (
          id bigint PRIMARY KEY, owner bigint, other bigint, code text {distinct}, cents bigint,
          tax bigint GENERATED ALWAYS AS (cents / 5) {computed},
          FOREIGN KEY (other) REFERENCES owner ON DELETE SET NULL {these}
        );
        ALTER TABLE item ADD CONSTRAINT owned FOREIGN KEY (owner) REFERENCES owner {unenforced};
        ALTER TABLE item ADD CONSTRAINT dear CHECK (cents > 0) {unenforced};
    """


def statement(version: int) -> str:
    """Changes the price of item 1 and makes item 4."""
    if version < 15:
        return """INSERT INTO item (id, code, owner, cents) VALUES (1, '', 2, 600), (4, 'new', 3, 25)
            ON CONFLICT (id) DO UPDATE SET cents = excluded.cents"""
    merge = """MERGE INTO item USING (VALUES (1, 600), (4, 25)) AS come (id, cents) ON item.id = come.id
        WHEN MATCHED THEN UPDATE SET cents = come.cents
        WHEN NOT MATCHED THEN INSERT (id, code, owner, cents) VALUES (come.id, 'new', 3, come.cents)"""
    if version >= 17:
        merge += " WHEN NOT MATCHED BY SOURCE AND item.id = 2 THEN DELETE RETURNING merge_action(), item.*"
    return merge + (", old.cents, new.cents" if version >= 18 else "")


def test_there_and_back_with_all_that_this_version_has(trip: Callable[..., Trip]) -> None:
    t = trip(SQLITE, postgres="SELECT 1")
    with t.database.connect(app=True) as application:
        version = application.info.server_version // 10000
        application.execute(schema(version).encode())
    made = t.in_postgres(CONSTRAINTS)
    t.there()
    assert t.in_postgres(CONSTRAINTS) == made
    assert t.in_postgres("SELECT tax FROM item ORDER BY id") == [(100,), (None,), (1,)]
    t.touch_every_row()
    t.write_every_row_anew()
    assert t.proven_equal()
    t.write(statement(version))
    now = t.in_postgres("SELECT id, owner, other, code, cents, tax FROM item ORDER BY id")
    assert (1, 1, 2, "x", 600, 120) in now and (4, 3, None, "new", 25, 5) in now
    assert len(now) == (3 if version >= 17 else 4)
    t.back()
    assert t.in_sqlite("SELECT id, owner, other, code, cents, tax FROM item ORDER BY id") == now
    same(without_items(t.before), without_items(t.image()))


def without_items(image: Image) -> Image:
    return {**image, "rows": {name: rows for name, rows in image["rows"].items() if name != "item"}}
