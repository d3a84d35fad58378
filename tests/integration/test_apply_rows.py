"""Changes made in PostgreSQL, as they arrive in the SQLite file. Everything is real."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from capturing import Both, column, table
from turnback.app.transactions import Assembler
from turnback.core.lsn import Lsn
from turnback.core.plan import Plan
from turnback.errors import CannotCarry, NotReady
from turnback.ports import StreamItem

ID = column("id", "integer", "INTEGER")

ITEMS = table(
    "items",
    ("id",),
    ID,
    column("name", "text", "TEXT"),
    column("doc", "json_text", "TEXT", respell=True),
    column("mark", "uuid_text", "TEXT", upper=False, hyphens=True, respell=True),
    column("price", "real", ""),
)
ITEMS_SQLITE = """
CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, doc TEXT, mark TEXT, price, local TEXT DEFAULT 'here');
INSERT INTO items VALUES
  (1, 'one', '{"b": 1,"a":  2}', '6F9619FF-8B86-D011-B42D-00C04FC964FF', -0.0, 'mine'),
  (2, 'two', NULL, NULL, 1.5, 'mine');
"""
ITEMS_POSTGRES = """
CREATE TABLE items(price float8, id bigint PRIMARY KEY, name text, doc jsonb, mark uuid);
INSERT INTO items(id, name, doc, mark, price) VALUES
  (1, 'one', '{"b": 1,"a":  2}', '6F9619FF-8B86-D011-B42D-00C04FC964FF', '-0'), (2, 'two', NULL, NULL, 1.5);
"""


def made(database, folder: Path, sqlite: str, postgres: str, *tables) -> Both:
    both = Both(database, folder, Plan("create", "public", tables), sqlite, postgres)
    both.open_up()
    return both


@pytest.fixture
def items(database, tmp_path):
    return made(database, tmp_path, ITEMS_SQLITE, ITEMS_POSTGRES, ITEMS)


def test_insert_update_delete_in_another_column_order(items):
    items.pg.execute("INSERT INTO items(id, name, price) VALUES (3, 'three', 'infinity')")
    items.pg.execute("UPDATE items SET name = 'zwei' WHERE id = 2")
    items.pg.execute("DELETE FROM items WHERE id = 1")
    items.pump()
    assert items.rows("items") == [
        (2, "zwei", None, None, 1.5, "mine"),
        (3, "three", None, None, float("inf"), "here"),
    ]


@pytest.mark.hazard("R14", "carried")
def test_untouched_columns_keep_their_spelling(items):
    """Law 2, HAZARDS R14: neither jsonb's nor uuid's own spelling replaces a value that nobody changed."""
    items.pg.execute("UPDATE items SET name = 'eins' WHERE id = 1")
    items.pump()
    name, doc, mark, price = items.rows("items", "name, doc, mark, price")[0]
    assert (name, doc, mark) == ("eins", '{"b": 1,"a":  2}', "6F9619FF-8B86-D011-B42D-00C04FC964FF")
    assert str(price) == "-0.0"
    items.pg.execute("UPDATE items SET doc = doc || '{\"c\": 3}', price = 0.0 WHERE id = 1")
    items.pump()
    name, doc, mark, price = items.rows("items", "name, doc, mark, price")[0]
    assert doc == '{"a": 2, "b": 1, "c": 3}'
    assert mark == "6F9619FF-8B86-D011-B42D-00C04FC964FF"
    assert str(price) == "0.0", "-0.0 and 0.0 are two values in float8"


@pytest.mark.hazard("R6", "carried")
def test_toasted_value_that_an_update_leaves_alone(items):
    """HAZARDS R6: it is not sent, and stays."""
    items.pg.execute("ALTER TABLE items ALTER COLUMN name SET STORAGE EXTERNAL")
    items.pg.execute("UPDATE items SET name = repeat('x', 100000) WHERE id = 1")
    items.pg.execute("UPDATE items SET price = 7 WHERE id = 1")
    items.pump()
    assert items.rows("items", "length(name), price")[0] == (100000, 7.0)


@pytest.mark.hazard("R6", "carried")
def test_toasted_value_with_replica_identity_full(database, tmp_path):
    both = made(
        database,
        tmp_path,
        "CREATE TABLE log(a TEXT, b INTEGER); INSERT INTO log VALUES ('s', 1);",
        "CREATE TABLE log(a text, b bigint); ALTER TABLE log ALTER a SET STORAGE EXTERNAL;"
        "INSERT INTO log VALUES ('s', 1)",
        table("log", (), column("a", "text", "TEXT"), column("b", "integer", "INTEGER")),
    )
    both.pg.execute("UPDATE log SET a = repeat('y', 50000)")
    both.pg.execute("UPDATE log SET b = 2")
    both.pump()
    assert both.rows("log", "length(a), b") == [(50000, 2)]
    with closing(both.fallback()) as fallback:
        assert fallback.touched(10) == {}
        assert fallback.touched_whole() == ["log"]


@pytest.mark.hazard("R7", "carried")
def test_primary_key_update_and_touched_keys(items):
    items.pg.execute("UPDATE items SET id = 20 WHERE id = 2")
    items.pump()
    assert items.rows("items", "id, name") == [(1, "one"), (20, "two")]
    with closing(items.fallback()) as fallback:
        touched = fallback.touched(10)
        assert touched is not None and {k: sorted(v) for k, v in touched.items()} == {
            "items": [("2",), ("20",)]
        }
        assert fallback.touched(1) is None
        fallback.clear_touched(fallback.position().applied_lsn)
        assert fallback.touched(10) == {}


@pytest.mark.hazard("R8", "carried")
def test_rows_without_a_key_are_hit_one_by_one(database, tmp_path):
    """Of equal rows one goes per message; a row that differs only in a respelled column is not confused."""
    both = made(
        database,
        tmp_path,
        "CREATE TABLE log(a TEXT, d TEXT);"
        "INSERT INTO log VALUES ('x', '{}'), ('x', '{ }'), ('x', '[ ]'), (NULL, NULL);",
        "CREATE TABLE log(a text, d jsonb);"
        "INSERT INTO log VALUES ('x', '{}'), ('x', '{}'), ('x', '[]'), (NULL, NULL)",
        table("log", (), column("a", "text", "TEXT"), column("d", "json_text", "TEXT", respell=True)),
    )
    both.pg.execute("UPDATE log SET a = 'y' WHERE d = '[]'")
    both.pump()
    assert both.rows("log") == [("x", "{}"), ("x", "{ }"), ("y", "[ ]"), (None, None)]
    both.pg.execute("DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log WHERE a = 'x')")
    both.pg.execute("UPDATE log SET a = 'n' WHERE a IS NULL")
    both.pump()
    assert len(both.rows("log")) == 3
    both.assert_equal()
    both.pg.execute("DELETE FROM log WHERE a <> 'n'")
    both.pump()
    assert both.rows("log") == [("n", None)]


@pytest.mark.hazard("R15", "carried")
def test_truncate_of_several_tables(database, tmp_path):
    both = made(
        database,
        tmp_path,
        "CREATE TABLE p(id INTEGER PRIMARY KEY);"
        "CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);"
        "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1);",
        "CREATE TABLE p(id bigint PRIMARY KEY);"
        "CREATE TABLE c(id bigint PRIMARY KEY, p bigint REFERENCES p);"
        "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1)",
        table("p", ("id",), ID),
        table("c", ("id",), ID, column("p", "integer", "INTEGER")),
    )
    both.pg.execute("TRUNCATE p CASCADE")
    both.pg.execute("INSERT INTO p VALUES (5)")
    both.pump()
    assert both.rows("p") == [(5,)]
    assert both.rows("c") == []


@pytest.mark.hazard("R9", "carried")
def test_triggers_of_the_file_do_not_fire_and_are_still_there(database, tmp_path):
    """HAZARDS R9."""
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE audit(id INTEGER);"
        "CREATE TRIGGER seen AFTER INSERT ON t BEGIN INSERT INTO audit VALUES (new.id); END;",
        "CREATE TABLE t(id bigint PRIMARY KEY)",
        table("t", ("id",), ID),
    )
    both.pg.execute("INSERT INTO t VALUES (1)")
    both.pump()
    assert both.rows("t") == [(1,)]
    assert both.rows("audit") == []
    assert both.rows("sqlite_schema", "count(*)") == both.rows("sqlite_schema", "count(*)")
    assert ("seen",) in both.rows("sqlite_schema", "name")


# ---- what cannot be applied ----------------------------------------------------------------------


@pytest.mark.parametrize("value", ["123e4567", "007", "1.10", " 5 "])
@pytest.mark.hazard("R2", "refused", why="the column's affinity would make another value of it")
def test_affinity_that_would_change_a_value_stops_capture_before_the_transaction(database, tmp_path, value):
    """HAZARDS R2, law 4: nothing of that transaction is there, everything before it is."""
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s STRING, n INTEGER)",
        "CREATE TABLE t(id bigint PRIMARY KEY, s text, n bigint)",
        table("t", ("id",), ID, column("s", "text", "STRING"), column("n", "integer", "INTEGER")),
    )
    both.pg.execute("INSERT INTO t VALUES (1, 'plain', 1)")
    both.pg.execute("INSERT INTO t VALUES (2, '2024-01-01 00:00:00', 2)")
    with both.pg.transaction():
        both.pg.execute("INSERT INTO t VALUES (3, 'fine', 3)")
        both.pg.execute("UPDATE t SET s = %s WHERE id = 1", [value])
    with pytest.raises(CannotCarry, match='table "t", column "s"'):
        both.pump()
    assert both.rows("t") == [(1, "plain", 1), (2, "2024-01-01 00:00:00", 2)]
    with closing(both.fallback()) as fallback:
        before = fallback.position()
    with pytest.raises(CannotCarry):
        both.pump()
    with closing(both.fallback()) as fallback:
        assert fallback.position() == before


@pytest.mark.hazard("R2", "refused", why="SQLite stores 0.0 for -0.0")
def test_minus_zero_into_a_real_column(database, tmp_path):
    """SQLite keeps 0 there, on disk an integer: -0.0 has no place (tried)."""
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, r REAL)",
        "CREATE TABLE t(id bigint PRIMARY KEY, r float8)",
        table("t", ("id",), ID, column("r", "real", "REAL")),
    )
    both.pg.execute("INSERT INTO t VALUES (1, 0.0)")
    both.pg.execute("INSERT INTO t VALUES (2, '-0')")
    with pytest.raises(CannotCarry, match='column "r"'):
        both.pump()
    assert both.rows("t") == [(1, 0.0)]


def test_value_that_does_not_decode_stops_capture_with_table_column_and_key(items):
    items.pg.execute("INSERT INTO items(id, name) VALUES (7, 'before')")
    items.pg.execute("UPDATE items SET price = 'NaN' WHERE id = 2")
    with pytest.raises(CannotCarry, match=r'table "items", column "price".*id.*2'):
        items.pump()
    assert items.rows("items", "id, price") == [(1, -0.0), (2, 1.5), (7, None)]


@pytest.mark.parametrize(
    "statement", ["UPDATE items SET name = 'x' WHERE id = 2", "DELETE FROM items WHERE id = 2"]
)
def test_row_that_the_fallback_lacks(items, statement):
    with closing(apsw.Connection(str(items.path))) as file:
        file.execute("DELETE FROM items WHERE id = 2")
    items.pg.execute(statement)
    with pytest.raises(NotReady, match=r"no row to .*id.*'2'"):
        items.pump()


@pytest.mark.parametrize(
    ("ddl", "says"),
    [
        ("ALTER TABLE items ADD COLUMN extra text", "column extra is new"),
        ("ALTER TABLE items DROP COLUMN price", "column price is gone"),
        ("ALTER TABLE items ALTER COLUMN name TYPE bigint USING 5", "column name is no longer text"),
        ("ALTER TABLE items RENAME TO things", "does not know the table public.things"),
        ("ALTER TABLE items REPLICA IDENTITY NOTHING", "replica identity"),
    ],
)
@pytest.mark.hazard("R10", "refused", why="the plan does not know the new schema")
def test_schema_drift_that_the_stream_shows(items, ddl, says):
    items.pg.execute(ddl)
    name = "things" if "RENAME" in ddl else "items"
    items.pg.execute(f"INSERT INTO {name}(id) VALUES (9)")
    with pytest.raises(NotReady, match=says):
        items.pump()
    assert len(items.rows("items")) == 2


def test_check_constraint_that_only_sqlite_has(database, tmp_path):
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY CHECK (id < 10))",
        "CREATE TABLE t(id bigint PRIMARY KEY)",
        table("t", ("id",), ID),
    )
    both.pg.execute("INSERT INTO t VALUES (1)")
    both.pg.execute("INSERT INTO t VALUES (10)")
    with pytest.raises(CannotCarry, match="breaks a rule of the SQLite file"):
        both.pump()
    assert both.rows("t") == [(1,)]


def test_nocase_key_does_not_hit_another_spelling(database, tmp_path):
    both = made(
        database,
        tmp_path,
        "CREATE TABLE t(k TEXT COLLATE NOCASE, v INTEGER); INSERT INTO t VALUES ('A', 1), ('a', 2);",
        "CREATE TABLE t(k text PRIMARY KEY, v bigint); INSERT INTO t VALUES ('A', 1), ('a', 2)",
        table("t", ("k",), column("k", "text", "TEXT"), column("v", "integer", "INTEGER")),
    )
    both.pg.execute("UPDATE t SET v = 5 WHERE k = 'a'")
    both.pump()
    assert both.rows("t") == [("A", 1), ("a", 5)]
    both.pg.execute("DELETE FROM t WHERE k = 'a'")
    both.pump()
    assert both.rows("t") == [("A", 1)]


def test_any_suffix_of_the_stream_again_changes_nothing(items):
    """Law 3, HAZARDS R11."""
    items.pg.execute("INSERT INTO items(id, name) VALUES (3, 'three')")
    items.pg.execute("UPDATE items SET name = 'x' || name")
    items.pg.execute("DELETE FROM items WHERE id = 2")
    token = items.emit("end")
    assembler = Assembler(items.path.parent)
    transactions = []
    with closing(items.stream(Lsn(0))) as stream:
        while not transactions or "end" not in transactions[-1].tokens:
            for item in stream.receive(1):
                done = assembler.add(item.message) if isinstance(item, StreamItem) else None
                if done is not None:
                    transactions.append(done)
    with closing(items.fallback()) as fallback:
        fallback.apply(transactions)
        once, position = items.rows("items"), fallback.position()
        assert position.applied_lsn > token
        for start in range(len(transactions)):
            fallback.apply(transactions[start:])
            assert items.rows("items") == once
            assert fallback.position() == position
    assembler.close()
