"""What ports.SqliteReader promises, of FileReader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from turnback.adapters.sqlite.reader import FileReader
from turnback.core.plan import TablePlan
from turnback.core.rows import SqliteRow
from turnback.errors import CannotCarry, SourceError
from two_sides import blob, fill, integer, run_sql, sqlite_file, table_plan, text

Open = Callable[[Path], FileReader]


@pytest.fixture
def reading() -> Iterator[Open]:
    opened: list[FileReader] = []

    def open_(path: Path) -> FileReader:
        opened.append(FileReader(path))
        return opened[-1]

    yield open_
    for reader in opened:
        reader.close()


def every(reader: FileReader, table: TablePlan, size: int = 3) -> list[SqliteRow]:
    return [row for batch in reader.batches(table, size=size) for row in batch.rows]


# Each: the schema, the rows, the plan. The scan key is a different one in each.
CASES = {
    "integer primary key": (
        "CREATE TABLE t (name TEXT, id INTEGER PRIMARY KEY)",
        [("a", 5), ("b", -3), ("c", 2**62), (None, 7)],
        table_plan("t", text("name"), integer("id")),
    ),
    "no key, equal rows": (
        "CREATE TABLE t (name TEXT)",
        [("a",), ("a",), (None,), ("b",)],
        table_plan("t", text("name"), key=()),
    ),
    "columns named rowid and oid": (
        'CREATE TABLE t (rowid TEXT, "OID" TEXT, id TEXT PRIMARY KEY)',
        [("x", "y", "1"), ("x", "y", "2"), ("w", "v", "0"), ("w", "v", "9")],
        table_plan("t", text("rowid"), text("OID"), text("id")),
    ),
    "without rowid, NOCASE": (
        "CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, n INTEGER) WITHOUT ROWID",
        [("b", 1), ("A", 2), ("C", 3), ("É", 4), ("é", 5)],
        table_plan("t", text("id"), integer("n"), without_rowid=True),
    ),
    "without rowid, composite, descending": (
        "CREATE TABLE t (a TEXT, n INTEGER, b BLOB, PRIMARY KEY (b DESC, a)) WITHOUT ROWID",
        [("x", 1, b"\0"), ("y", 2, b"\0"), ("x", 3, b""), ("y", 4, b"\xff")],
        table_plan("t", text("a"), integer("n"), blob("b"), key=("b", "a"), without_rowid=True),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_every_row_comes_once_and_a_scan_goes_on_behind_any_batch(
    tmp_path: Path, reading: Open, case: tuple[str, list[tuple[object, ...]], TablePlan], size: int
) -> None:
    schema, rows, table = case
    path = sqlite_file(tmp_path / "a.db", schema)
    fill(path, "t", rows)
    reader = reading(path)

    batches = list(reader.batches(table, size=size))
    read = [row for batch in batches for row in batch.rows]
    assert sorted(map(repr, read)) == sorted(map(repr, rows))
    assert reader.count(table) == len(rows)
    done = 0
    for batch in batches:
        done += len(batch.rows)
        rest = [r for b in reader.batches(table, after=batch.last, size=size) for r in b.rows]
        assert rest == read[done:]


def test_nothing_that_is_written_later_is_seen(tmp_path: Path, reading: Open) -> None:
    path = sqlite_file(
        tmp_path / "a.db", "PRAGMA journal_mode = WAL", "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)"
    )
    fill(path, "t", [(1, "a"), (2, "b")])
    table = table_plan("t", integer("id"), text("name"))
    reader = reading(path)
    run_sql(path, "UPDATE t SET name = 'z' WHERE id = 1")
    fill(path, "t", [(3, "c")])
    assert every(reader, table) == [(1, "a"), (2, "b")]
    assert reader.count(table) == 2
    assert every(reading(path), table) == [(1, "z"), (2, "b"), (3, "c")]


def test_by_keys(tmp_path: Path, reading: Open) -> None:
    path = sqlite_file(
        tmp_path / "a.db", "CREATE TABLE t (a TEXT COLLATE NOCASE, n INTEGER, PRIMARY KEY (n, a))"
    )
    fill(path, "t", [("x", 1), ("y", 1), ("x", 2)])
    table = table_plan("t", text("a"), integer("n"), key=("n", "a"))
    # The order of the key's values is the plan's: n, then a.
    reader = reading(path)
    positions = table.key_positions()
    assert positions == (1, 0)
    assert list(reader.by_keys(table, [(2, "x"), (9, "x"), (1, "y")])) == [("x", 2), ("y", 1)]
    assert list(reader.by_keys(table, [(1, "X")])) == []  # NOCASE finds it, but it is another key


def test_text_that_is_not_utf8_names_table_column_and_row(tmp_path: Path, reading: Open) -> None:
    path = sqlite_file(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)",
        "INSERT INTO t VALUES (1, 'good'), (42, CAST(X'6162FF' AS TEXT))",
    )
    with pytest.raises(CannotCarry, match=r"t\.name: .*UTF-8 at byte 2 \(row 42\)") as caught:
        every(reading(path), table_plan("t", integer("id"), text("name")))
    assert caught.value.hint


def test_storage_classes_and_text_with_nul_come_as_they_are(tmp_path: Path, reading: Open) -> None:
    row = (1, "a\0b", 2.0, b"\0", None, -0.0)
    path = sqlite_file(tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c, d, e)")
    fill(path, "t", [row])
    table = table_plan("t", integer("id"), *(text(c) for c in "abcde"))
    (read,) = every(reading(path), table)
    assert list(map(repr, read)) == list(map(repr, row))


def test_a_table_whose_rowid_cannot_be_named_is_refused(tmp_path: Path, reading: Open) -> None:
    path = sqlite_file(tmp_path / "a.db", "CREATE TABLE t (rowid TEXT, oid TEXT, _rowid_ TEXT)")
    with pytest.raises(SourceError, match="row id"):
        every(reading(path), table_plan("t", text("rowid"), text("oid"), text("_rowid_"), key=()))


def test_a_missing_file_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        FileReader(tmp_path / "none.db")
