"""Text with NUL characters, and text that is not valid UTF-8, on its way there and back (HAZARDS F8, F9)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from capturing import Both, column, table
from turnback.adapters.sqlite.census import Census
from turnback.adapters.sqlite.introspect import read_schema
from turnback.adapters.sqlite.reader import FileReader
from turnback.core.codecs.row import RowCodec
from turnback.core.plan import Plan, TablePlan
from turnback.errors import CannotCarry

ID = column("id", "integer", "INTEGER")
BODY = column("body", "text_bytes", "TEXT", "bytea")
NAME = column("name", "text", "TEXT")

OCTETS = [b"", b"plain", b"\0", b"a\0b", b"\xff\xfe", b"caf\xc3", b"\xed\xa0\x80", "é\0😀".encode(), b"007"]


def held(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


Make = Callable[..., FileReader]


@pytest.fixture
def file_of(tmp_path: Path) -> Iterator[Make]:
    """A reader of a file with these statements run."""
    opened: list[FileReader] = []

    def make(sql: str, rows: list[tuple[object, ...]], insert: str) -> FileReader:
        with closing(apsw.Connection(os.fspath(tmp_path / "t.db"))) as file:
            for _ in file.execute(sql):
                pass
            file.executemany(insert, rows)
        opened.append(FileReader(tmp_path / "t.db"))
        return opened[-1]

    yield make
    for reader in opened:
        reader.close()


def test_f8_f9_the_reader_gives_every_byte(file_of: Make) -> None:
    rows = [(i, o) for i, o in enumerate(OCTETS)]
    reader = file_of(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, body TEXT)",
        [*rows, (100, None)],
        "INSERT INTO t VALUES (?1, 'n', CAST(?2 AS TEXT))",
    )
    plan = table("t", ("id",), ID, BODY, NAME)
    expected = [(i, held(o), "n") for i, o in rows] + [(100, None, "n")]
    assert [row for batch in reader.batches(plan, size=2) for row in batch.rows] == expected
    assert [row for batch in reader.batches(plan, after=(4,)) for row in batch.rows] == expected[5:]
    assert list(reader.by_keys(plan, [(3,), (100,), (77,)])) == [expected[3], expected[9]]
    codec = RowCodec(plan)
    assert [codec.decode(codec.encode(row)) for row in expected] == expected


def test_f9_such_text_as_a_key_of_a_table_without_rowid(file_of: Make) -> None:
    reader = file_of(
        "CREATE TABLE t (body TEXT PRIMARY KEY, id INTEGER) WITHOUT ROWID",
        [(o, i) for i, o in enumerate(OCTETS)],
        "INSERT INTO t VALUES (CAST(?1 AS TEXT), ?2)",
    )
    plan = table("t", ("body",), BODY, ID, without_rowid=True)
    found: list[tuple[object, ...]] = []
    after = None
    while batch := next(reader.batches(plan, after=after, size=2), None):
        found += batch.rows
        after = batch.last
    assert found == sorted(((held(o), i) for i, o in enumerate(OCTETS)), key=lambda r: OCTETS[r[1]])
    assert list(reader.by_keys(plan, [(held(OCTETS[4]),), (held(OCTETS[3]),)])) == [
        (held(OCTETS[4]), 4),
        (held(OCTETS[3]), 3),
    ]


@pytest.mark.hazard("F11", "refused", why="one PostgreSQL type does not tell text from a blob")
def test_f11_a_blob_in_such_a_column_is_not_taken_for_text(file_of: Make) -> None:
    reader = file_of(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)", [(1, b"\xff")], "INSERT INTO t VALUES (?, ?)"
    )
    plan = table("t", ("id",), ID, BODY)
    ((row,),) = [batch.rows for batch in reader.batches(plan)]
    with pytest.raises(CannotCarry, match=r'column "body", key \(id\) = \(1\): .*storage class blob'):
        RowCodec(plan).encode(row)


def test_f9_without_the_codec_the_reader_names_table_column_and_row(file_of: Make) -> None:
    reader = file_of(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, body TEXT)",
        [(1, b"\xff", b"\xff"), (2, b"ok", b"a\xff")],
        "INSERT INTO t VALUES (?1, CAST(?3 AS TEXT), CAST(?2 AS TEXT))",
    )
    with pytest.raises(CannotCarry, match=r"t.name: text that is not valid UTF-8 at byte 0 \(row 1\)") as e:
        list(reader.batches(table("t", ("id",), ID, BODY, NAME)))
    assert "text_bytes" in e.value.hint


@pytest.mark.parametrize("codec", ["text", "text_bytes"])
def test_f9_a_row_is_named_even_where_its_key_cannot_be_read(file_of: Make, codec: str) -> None:
    reader = file_of(
        "CREATE TABLE t (body TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID",
        [(b"k\xff", b"\xfe")],
        "INSERT INTO t VALUES (CAST(?1 AS TEXT), CAST(?2 AS TEXT))",
    )
    pg_type = {"text": "text", "text_bytes": "bytea"}[codec]
    plan = table("t", ("body",), column("body", codec, "TEXT", pg_type), NAME, without_rowid=True)
    name = {"text": "body", "text_bytes": "name"}[codec]
    with pytest.raises(CannotCarry, match=rf"t\.{name}: text that is not valid UTF-8 .*\(row 'k\\xff'\)"):
        list(reader.batches(plan))


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_f8_f9_the_census_hands_such_values_to_the_trial(tmp_path: Path, encoding: str) -> None:
    """In UTF-16 only half of a surrogate pair has no way across; a byte too many is refused like it."""
    name = {"UTF-8": "utf-8", "UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}[encoding]
    values = {
        1: "a\0b".encode(name),
        2: b"\xff" if encoding == "UTF-8" else "x\ud800".encode(name, "surrogatepass"),
        3: "é".encode(name),
    }
    path = tmp_path / "t.db"
    with closing(apsw.Connection(os.fspath(path))) as file:
        file.execute(f"PRAGMA encoding = '{encoding}'")
        file.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT, other)")
        file.executemany("INSERT INTO t VALUES (?, CAST(? AS TEXT), x'00')", list(values.items()))
    with Census(path) as census:
        schema = read_schema(census.connection, path)
        profile = census.profile(schema.tables[0])
        assert profile.columns["body"].invalid_texts == 1
        assert profile.columns["body"].nul_texts == 1
        found = {key[0]: row for key, row in census.values(schema.tables[0], ["other", "body"])}
    plan = TablePlan("t", "t", (column("other", "blob", ""), BODY), (), "full")
    assert found[1] == (b"\0", "a\0b")
    assert found[3] == (b"\0", "é")
    if encoding == "UTF-8":
        assert RowCodec(plan).encode(found[2]) == ("\\x00", "\\xff")
    else:
        with pytest.raises(CannotCarry, match="surrogate"):
            RowCodec(plan).encode(found[2])


# ---- changes on their way back -------------------------------------------------------------------


def both_sides(database, folder: Path, declared: str, plan: TablePlan, indexes: str = "") -> Both:
    """Every value of OCTETS on both sides, and nothing captured yet."""
    both = Both(
        database,
        folder,
        Plan("create", "public", (plan,)),
        f"CREATE TABLE t ({declared});",
        "CREATE TABLE t (id bigint, body bytea, name text)",
    )
    with closing(apsw.Connection(os.fspath(both.path))) as file:
        file.executemany(
            "INSERT INTO t (id, body, name) VALUES (?, CAST(? AS TEXT), 'n')", list(enumerate(OCTETS))
        )
    for i, o in enumerate(OCTETS):
        both.pg.execute("INSERT INTO t VALUES (%s, %s, 'n')", [i, o])
    key = plan.key[0] if plan.key else None
    if key:
        both.pg.execute(f"ALTER TABLE t ADD PRIMARY KEY ({key})".encode())
    both.open_up()
    return both


def stored(both: Both) -> dict[int, tuple[str, bytes, str]]:
    return {row[0]: row[1:] for row in both.rows("t", "id, typeof(body), CAST(body AS BLOB), name")}


@pytest.mark.hazard("F8", "choice", mode="create")
@pytest.mark.hazard("F9", "choice", mode="create")
def test_f8_f9_changes_write_exactly_these_bytes_as_text(database, tmp_path: Path) -> None:
    both = both_sides(
        database,
        tmp_path,
        "id INTEGER PRIMARY KEY, name TEXT, body TEXT",
        table("t", ("id",), ID, NAME, BODY),
    )
    both.pg.execute("UPDATE t SET name = 'changed'")
    both.pg.execute("UPDATE t SET body = '\\x00ff' WHERE id = 1")
    both.pg.execute("UPDATE t SET body = NULL WHERE id = 0")
    both.pg.execute("INSERT INTO t VALUES (50, '\\xc3280061', 'new')")
    both.pump()
    expected = {i: ("text", o, "changed") for i, o in enumerate(OCTETS)}
    expected |= {0: ("null", None, "changed"), 1: ("text", b"\x00\xff", "changed")}
    assert stored(both) == expected | {50: ("text", b"\xc3(\x00a", "new")}


@pytest.mark.hazard("R6", "carried")
def test_r6_a_toasted_value_that_was_not_sent_stays(database, tmp_path: Path) -> None:
    both = both_sides(
        database,
        tmp_path,
        "id INTEGER PRIMARY KEY, name TEXT, body TEXT",
        table("t", ("id",), ID, NAME, BODY),
    )
    both.pg.execute("ALTER TABLE t ALTER body SET STORAGE EXTERNAL")
    both.pg.execute("UPDATE t SET body = decode(repeat('ff00', 40000), 'hex') WHERE id = 2")
    both.pg.execute("UPDATE t SET name = 'again' WHERE id = 2")
    both.pump()
    assert stored(both)[2] == ("text", b"\xff\0" * 40000, "again")


@pytest.mark.parametrize("without_rowid", [False, True])
def test_f9_rows_are_found_by_such_a_key(database, tmp_path: Path, without_rowid: bool) -> None:
    both = (
        both_sides(
            database,
            tmp_path,
            "body TEXT PRIMARY KEY NOT NULL, id INTEGER, name TEXT",
            table("t", ("body",), ID, BODY, NAME),
        )
        if not without_rowid
        else both_sides(
            database,
            tmp_path,
            "body TEXT PRIMARY KEY NOT NULL, id INTEGER, name TEXT) WITHOUT ROWID; CREATE TABLE u (x",
            table("t", ("body",), ID, BODY, NAME, without_rowid=True),
        )
    )
    both.pg.execute("UPDATE t SET name = 'x' WHERE body = '\\xfffe'")
    both.pg.execute("UPDATE t SET body = '\\xff00' WHERE body = '\\x610062'")
    both.pg.execute("DELETE FROM t WHERE body = '\\xeda080'")
    both.pump()
    expected = {i: ("text", o, "n") for i, o in enumerate(OCTETS)}
    del expected[6]
    assert stored(both) == expected | {4: ("text", b"\xff\xfe", "x"), 3: ("text", b"\xff\0", "n")}
    with closing(both.fallback()) as fallback:
        touched = fallback.touched(10)
    assert touched is not None and ("\\xff00",) in touched["t"]


@pytest.mark.hazard("R7", "carried")
def test_r7_keys_that_swap_in_one_transaction(database, tmp_path: Path) -> None:
    """The net change moves rows aside and back, columns that are not carried included."""
    both = Both(
        database,
        tmp_path,
        Plan("create", "public", (table("t", ("id",), ID, BODY),)),
        "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT UNIQUE, local TEXT);"
        "INSERT INTO t VALUES (1, CAST(x'ff' AS TEXT), CAST(x'fe00' AS TEXT)), (2, CAST(x'0061' AS TEXT), 'l');",
        "CREATE TABLE t (id bigint PRIMARY KEY, body bytea UNIQUE DEFERRABLE);"
        "INSERT INTO t VALUES (1, '\\xff'), (2, '\\x0061')",
    )
    both.open_up()
    both.pg.execute("UPDATE t SET body = CASE id WHEN 1 THEN '\\x0061'::bytea ELSE '\\xff'::bytea END")
    both.pump()
    assert both.rows("t", "id, CAST(body AS BLOB), typeof(body), CAST(local AS BLOB)") == [
        (1, b"\0a", "text", b"\xfe\0"),
        (2, b"\xff", "text", b"l"),
    ]


def test_f9_rows_without_a_key(database, tmp_path: Path) -> None:
    both = both_sides(database, tmp_path, "id INTEGER, body TEXT, name TEXT", table("t", (), ID, BODY, NAME))
    both.pg.execute("UPDATE t SET name = 'x' WHERE body = '\\xfffe'")
    both.pg.execute("DELETE FROM t WHERE body = '\\x00'")
    both.pump()
    expected = {i: ("text", o, "n") for i, o in enumerate(OCTETS)}
    del expected[2]
    assert stored(both) == expected | {4: ("text", b"\xff\xfe", "x")}


@pytest.mark.hazard("R2", "refused", why="the column's affinity makes a number of such text")
@pytest.mark.parametrize(
    ("octets", "message"), [(b"007", "'007' would"), (b"5\0x", r"'5\\x00x' would land as 5")]
)
def test_r2_bytes_that_the_affinity_would_make_a_number_stop_capture(
    database, tmp_path: Path, octets: bytes, message: str
) -> None:
    plan = table("t", ("id",), ID, column("body", "text_bytes", "STRING", "bytea"))
    both = Both(
        database,
        tmp_path,
        Plan("create", "public", (plan,)),
        "CREATE TABLE t (id INTEGER PRIMARY KEY, body STRING);",
        "CREATE TABLE t (id bigint PRIMARY KEY, body bytea)",
    )
    both.open_up()
    both.pg.execute("INSERT INTO t VALUES (1, 'seven'), (2, %s)", [octets])
    with pytest.raises(CannotCarry, match=message):
        both.pump()
    assert both.rows("t") == []
