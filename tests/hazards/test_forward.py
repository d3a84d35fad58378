"""What breaks on the way to PostgreSQL: each hazard's outcome, both schema modes where the mode matters."""

from __future__ import annotations

import hashlib
import os
import random
import struct
from contextlib import closing

import apsw
import psycopg
import pytest

from trips import findings, offers, same, trip  # noqa: F401 (a fixture)
from turnback.core.findings import blocking
from turnback.core.mapping import column_findings
from turnback.core.phases import Intent
from turnback.errors import ServerError

ID = "CREATE TABLE t (id INTEGER PRIMARY KEY, {});"
BOTH = pytest.mark.parametrize("mode", ["create", "existing"])


def target(mode: str, sql: str) -> str:
    """The schema that the application has made, in mode existing."""
    return sql if mode == "existing" else ""


def round_trip(moved) -> None:
    """There; every value back from PostgreSQL; equal."""
    before = moved.image(rowids=False)
    moved.there()
    moved.write_every_row_anew()
    moved.back()
    same(before, moved.image(rowids=False))


@pytest.mark.hazard("F2", "carried", mode="create")
def test_f2_default_false_is_made_through_the_columns_type(trip) -> None:  # noqa: F811
    moved = trip(ID.format("a BOOLEAN NOT NULL DEFAULT false, b INTEGER DEFAULT true, c NUMERIC DEFAULT false, d TEXT DEFAULT false") + "INSERT INTO t (id) VALUES (1)")
    made = moved.in_sqlite("SELECT a, b, c, d FROM t")
    moved.there()
    moved.write("INSERT INTO t (id) VALUES (2)")
    assert moved.in_postgres("SELECT a, b, c, d FROM t WHERE id = 2") == [(False, 1, 0, "0")]
    moved.back()
    assert moved.in_sqlite("SELECT a, b, c, d FROM t WHERE id = 2") == made


@pytest.mark.hazard("F2", "carried", mode="existing")
def test_f2_the_targets_own_default_holds(trip) -> None:  # noqa: F811
    moved = trip(ID.format("a BOOLEAN DEFAULT false") + "INSERT INTO t VALUES (1, 1)", postgres="CREATE TABLE t (id bigint PRIMARY KEY, a boolean DEFAULT false)")
    moved.there()
    moved.write("INSERT INTO t (id) VALUES (2)")
    moved.back()
    assert moved.in_sqlite("SELECT id, a, typeof(a) FROM t ORDER BY id") == [(1, 1, "integer"), (2, 0, "integer")]


@pytest.mark.hazard("F3", "carried", mode="create")
def test_f3_defaults_that_read_the_clock_give_what_sqlite_would_give(trip) -> None:  # noqa: F811
    moved = trip(
        ID.format("a TIMESTAMP DEFAULT CURRENT_TIMESTAMP, b INTEGER DEFAULT (unixepoch()), c INTEGER DEFAULT (strftime('%s', 'now')), d TEXT DEFAULT CURRENT_TIMESTAMP")
        + "INSERT INTO t (id) VALUES (1)"
    )
    moved.there()
    moved.write("SET LOCAL TimeZone = 'Asia/Kathmandu'", "INSERT INTO t (id) VALUES (2)")
    moved.back()
    question = "SELECT typeof(a), length(a), abs(julianday(a) - julianday('now')) < 0.01, typeof(b), abs(b - unixepoch()) < 600, typeof(c), abs(c - unixepoch()) < 600, length(d), abs(julianday(d) - julianday('now')) < 0.01 FROM t ORDER BY id"
    first, second = moved.in_sqlite(question)
    assert first == second == ("text", 19, 1, "integer", 1, "integer", 1, 19, 1)


@BOTH
@pytest.mark.hazard("F10", "carried")
def test_f10_blobs_have_the_same_hash_on_all_sides(trip, mode: str) -> None:  # noqa: F811
    chance = random.Random(10)
    blobs = [b"", b"\x00\xff[", bytes(range(256)), *(chance.randbytes(chance.randrange(70_000)) for _ in range(20))]

    def make(file: apsw.Connection) -> None:
        file.execute(ID.format("c BLOB"))
        file.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(blobs)))

    moved = trip(make, postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, c bytea)"))
    round_trip(moved)
    hashes = [hashlib.sha256(b).hexdigest() for b in blobs]
    assert [r[0] for r in moved.in_postgres("SELECT encode(sha256(c), 'hex') FROM t ORDER BY id")] == hashes
    assert [hashlib.sha256(r[0]).hexdigest() for r in moved.in_sqlite("SELECT c FROM t ORDER BY id")] == hashes


@pytest.mark.hazard("F13", "refused", mode="existing", why="the PostgreSQL column holds no such number; its type is the target's to change")
def test_f13_a_value_too_large_for_the_targets_column_is_found_before_loading(trip) -> None:  # noqa: F811
    moved = trip(
        ID.format("c INTEGER") + "INSERT INTO t VALUES (1, 2147483647), (2, 2147483648), (3, -2147483649)",
        postgres="CREATE TABLE t (id bigint PRIMARY KEY, c integer)",
    )
    (finding,) = findings(moved.assess(), "F13", "t", "c")
    assert finding.severity != "carries" and finding.count == 2 and finding.keys == ("id=2", "id=3")
    assert moved.in_postgres("SELECT count(*) FROM t") == [(0,)]


@BOTH
@pytest.mark.hazard("F14", "carried")
def test_f14_doubles_keep_every_bit(trip, mode: str) -> None:  # noqa: F811
    chance = random.Random(14)
    drawn = (struct.unpack(">d", chance.randbytes(8))[0] for _ in range(300))
    doubles = [0.1234567890123, 5e-324, 1.7976931348623157e308, 2.2250738585072009e-308, 0.1, 1e23, 9007199254740993.0, *(d for d in drawn if d == d)]

    def make(file: apsw.Connection) -> None:
        file.execute(ID.format("c REAL"))
        file.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(doubles)))

    moved = trip(make, postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, c double precision)"))
    round_trip(moved)
    assert [r[0] for r in moved.in_postgres("SELECT float8send(c) FROM t ORDER BY id")] == [struct.pack(">d", d) for d in doubles]


@pytest.mark.hazard("F14", "carried", mode="create")
def test_f14_minus_zero_is_what_sqlite_makes_of_it(trip) -> None:  # noqa: F811
    moved = trip(ID.format("c REAL") + "INSERT INTO t VALUES (1, -0.0)")
    held = struct.pack(">d", moved.in_sqlite("SELECT c FROM t")[0][0])
    round_trip(moved)
    assert moved.in_postgres("SELECT float8send(c) FROM t") == [(held,)]


@BOTH
@pytest.mark.hazard("F16", "carried")
def test_f16_infinity_is_infinity(trip, mode: str) -> None:  # noqa: F811
    moved = trip(ID.format("c REAL") + "INSERT INTO t VALUES (1, 9e999), (2, -9e999)", postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, c double precision)"))
    round_trip(moved)
    assert moved.in_postgres("SELECT c::text FROM t ORDER BY id") == [("Infinity",), ("-Infinity",)]


@pytest.mark.parametrize("pg_type", ["bigint", "numeric"])
@pytest.mark.hazard("F16", "refused", mode="existing", why="neither bigint nor numeric gives the double back")
def test_f16_infinity_into_whole_numbers_stops(trip, pg_type: str) -> None:  # noqa: F811
    moved = trip(ID.format("c INTEGER") + "INSERT INTO t VALUES (1, 7), (2, 9e999)", postgres=f"CREATE TABLE t (id bigint PRIMARY KEY, c {pg_type})")
    found = moved.assess()
    stops = [f for f in blocking(found.findings) if (f.table, f.column) == ("t", "c")]
    assert found.plan is None and stops and all("id=2" in f.keys for f in stops), [f.message for f in stops]
    assert moved.in_postgres("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.hazard("F17", "carried")
@BOTH
def test_f17_capitals_stay_apart(trip, mode: str) -> None:  # noqa: F811
    moved = trip(
        'CREATE TABLE "Users" ("Id" INTEGER PRIMARY KEY, "userName" TEXT); INSERT INTO "Users" VALUES (1, \'a\')',
        postgres=target(mode, 'CREATE TABLE "Users" ("Id" bigint PRIMARY KEY, "userName" text, username text)'),
    )
    round_trip(moved)
    assert moved.in_postgres('SELECT "Id", "userName" FROM "Users"') == [(1, "a")]


@pytest.mark.hazard("F17", "choice", mode="create")
def test_f17_two_long_names_with_one_beginning_get_a_name_each(trip) -> None:  # noqa: F811
    long = "ü" * 32  # 64 bytes
    moved = trip(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {long}a TEXT, {long}b TEXT); INSERT INTO t VALUES (1, 'x', 'y')")
    asked = findings(moved.assess(), "F17", "t")
    assert [f.severity for f in asked] == ["choice", "choice"] and asked[0].settle != asked[1].settle
    for finding in asked:
        moved.settle(finding.settle)
    round_trip(moved)


NAMES = """
CREATE TABLE "order" ("references" INTEGER PRIMARY KEY, "a b" TEXT UNIQUE, "it's" TEXT, "q""q" TEXT, "größe" TEXT, "100%" INTEGER DEFAULT 5 CHECK ("100%" > 0));
CREATE TABLE "user" ("select" INTEGER PRIMARY KEY, "from" INTEGER REFERENCES "order" ("references"), "日本" TEXT REFERENCES "order" ("a b"));
CREATE INDEX "in dex" ON "user" ("from", "日本");
INSERT INTO "order" VALUES (1, 'x', 'y', 'z', 'ä', 100); INSERT INTO "user" VALUES (1, 1, 'x')
"""
NAMES_POSTGRES = """
CREATE TABLE "order" ("references" bigint PRIMARY KEY, "a b" text UNIQUE, "it's" text, "q""q" text, "größe" text, "100%" integer);
CREATE TABLE "user" ("select" bigint PRIMARY KEY, "from" bigint REFERENCES "order" ("references"), "日本" text REFERENCES "order" ("a b"))
"""


@BOTH
@pytest.mark.hazard("F18", "carried")
def test_f18_any_name_is_quoted_everywhere(trip, mode: str) -> None:  # noqa: F811
    moved = trip(NAMES, postgres=target(mode, NAMES_POSTGRES))
    round_trip(moved)
    with pytest.raises(psycopg.errors.ForeignKeyViolation), moved.database.connect() as session:
        session.execute("SET session_replication_role = origin")
        session.execute('ALTER TABLE "user" DISABLE TRIGGER USER')
        session.execute('INSERT INTO "user" VALUES (2, 99, NULL)')


@pytest.mark.hazard("F19", "carried", mode="create")
def test_f19_a_default_in_double_quotes_is_a_string(trip) -> None:  # noqa: F811
    moved = trip('CREATE TABLE t (id INTEGER PRIMARY KEY, c TEXT DEFAULT "x y", d TEXT DEFAULT "it\'s"); INSERT INTO t (id) VALUES (1)')
    moved.there()
    moved.write("INSERT INTO t (id) VALUES (2)")
    moved.back()
    assert moved.in_sqlite("SELECT c, d FROM t") == [("x y", "it's")] * 2


@pytest.mark.hazard("F20", "refused", mode="existing", why="the column's length is the target's to change")
def test_f20_text_longer_than_the_targets_column_is_found_before_loading(trip) -> None:  # noqa: F811
    moved = trip(ID.format("c VARCHAR(5)") + "INSERT INTO t VALUES (1, 'fünf5'), (2, hex(zeroblob(250)))", postgres="CREATE TABLE t (id bigint PRIMARY KEY, c varchar(5))")
    (finding,) = findings(moved.assess(), "F20", "t", "c")
    assert finding.severity != "carries" and finding.count == 1 and finding.keys == ("id=2",)
    assert moved.in_postgres("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.hazard("F20", "carried", mode="create")
def test_f20_sqlites_lengths_are_not_taken_over(trip) -> None:  # noqa: F811
    round_trip(trip(ID.format("c VARCHAR(5)") + "INSERT INTO t VALUES (1, hex(zeroblob(250)))"))


AUTO = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, c TEXT);"
IDENTITY = "CREATE TABLE t (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, c text)"
SERIAL = "CREATE TABLE t (id bigserial PRIMARY KEY, c text)"
TARGETS = pytest.mark.parametrize("postgres", ["", IDENTITY, SERIAL], ids=["create", "identity", "serial"])


def next_ids(moved) -> tuple[int, int]:
    """The id that PostgreSQL gives first, and then the one that SQLite gives after the way back."""
    moved.there()
    moved.write("INSERT INTO t (c) VALUES ('by postgres')")
    ((there,),) = moved.in_postgres("SELECT max(id) FROM t")
    moved.back()
    with closing(apsw.Connection(os.fspath(moved.path))) as file:
        file.execute("INSERT INTO t (c) VALUES ('by sqlite')")
        return there, file.last_insert_rowid()


@TARGETS
@pytest.mark.hazard("F22", "carried")
@pytest.mark.hazard("F25", "carried")
def test_f22_an_empty_table_begins_at_1(trip, postgres: str) -> None:  # noqa: F811
    assert next_ids(trip(AUTO, postgres=postgres)) == (1, 2)


@TARGETS
@pytest.mark.hazard("F23", "carried")
@pytest.mark.hazard("F25", "carried")
def test_f23_ids_of_deleted_rows_are_not_given_again(trip, postgres: str) -> None:  # noqa: F811
    assert next_ids(trip(AUTO + "INSERT INTO t VALUES (10, 'x'); DELETE FROM t", postgres=postgres)) == (11, 12)


@TARGETS
@pytest.mark.hazard("F24", "carried")
@pytest.mark.hazard("F25", "carried")
def test_f24_sequences_go_on_behind_the_largest_id(trip, postgres: str) -> None:  # noqa: F811
    assert next_ids(trip(AUTO + "INSERT INTO t VALUES (41, 'x'), (7, 'y')", postgres=postgres)) == (42, 43)


@pytest.mark.hazard("F24", "carried", mode="create")
def test_f24_a_plain_integer_key_becomes_an_identity_too(trip) -> None:  # noqa: F811
    assert next_ids(trip(ID.format("c TEXT") + "INSERT INTO t VALUES (41, 'x')")) == (42, 43)


@BOTH
@pytest.mark.hazard("F26", "refused", why="a primary key in PostgreSQL is not null: nothing names these rows")
def test_f26_nulls_in_a_primary_key_stop(trip, mode: str) -> None:  # noqa: F811
    moved = trip(
        "CREATE TABLE t (k TEXT PRIMARY KEY, c TEXT); INSERT INTO t VALUES (NULL, 'a'), (NULL, 'b'), ('x', 'c')",
        postgres=target(mode, "CREATE TABLE t (k text PRIMARY KEY, c text)"),
    )
    found = moved.assess()
    stops = findings(found, "F26", "t")
    assert found.plan is None and stops and stops[0].severity != "carries" and stops[0].count == 2


FOREIGN = """
CREATE TABLE p (a INTEGER, b TEXT, PRIMARY KEY (a, b)); CREATE TABLE q (id INTEGER PRIMARY KEY);
CREATE TABLE c (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, q INTEGER REFERENCES q ON DELETE SET NULL, FOREIGN KEY (a, b) REFERENCES p ON DELETE CASCADE);
INSERT INTO p VALUES (1, 'x'), (2, 'y'); INSERT INTO q VALUES (5); INSERT INTO c VALUES (1, 1, 'x', 5), (2, 2, 'y', NULL)
"""
FOREIGN_POSTGRES = """
CREATE TABLE p (a bigint, b text, PRIMARY KEY (a, b)); CREATE TABLE q (id bigint PRIMARY KEY);
CREATE TABLE c (id bigint PRIMARY KEY, a bigint, b text, q bigint REFERENCES q ON DELETE SET NULL, FOREIGN KEY (a, b) REFERENCES p ON DELETE CASCADE)
"""


@BOTH
@pytest.mark.hazard("F27", "carried")
def test_f27_a_composite_foreign_key_is_one_constraint(trip, mode: str) -> None:  # noqa: F811
    moved = trip(FOREIGN, postgres=target(mode, FOREIGN_POSTGRES))
    moved.there()
    keys = moved.in_postgres("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY 1")
    assert keys == [("FOREIGN KEY (a, b) REFERENCES p(a, b) ON DELETE CASCADE",), ("FOREIGN KEY (q) REFERENCES q(id) ON DELETE SET NULL",)]
    moved.write("DELETE FROM p WHERE a = 1", "DELETE FROM q")  # PostgreSQL's actions come back as rows
    moved.back()
    assert moved.in_sqlite("SELECT id, a, b, q FROM c") == [(2, 2, "y", None)]


ORPHANS = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER REFERENCES p); INSERT INTO p VALUES (2); INSERT INTO t VALUES (7, 1), (8, NULL), (9, 2)"


@pytest.mark.hazard("F28", "choice", mode="create")
def test_f28_orphans_are_named_and_carried_without_the_constraint(trip) -> None:  # noqa: F811
    moved = trip(ORPHANS)
    (finding,) = findings(moved.assess(), "F28", "t")
    assert (finding.severity, finding.count, finding.keys) == ("choice", 1, ("id=7",))
    lines = '[sqlite]\nleave_behind = ["t_a_fkey"]'
    offers(finding, lines)
    moved.settle(lines)
    round_trip(moved)


@pytest.mark.hazard("F28", "refused", mode="existing", why="PostgreSQL's constraint refuses such rows; they are the user's to repair")
def test_f28_orphans_under_the_targets_constraint_stop(trip) -> None:  # noqa: F811
    moved = trip(ORPHANS, postgres="CREATE TABLE p (id bigint PRIMARY KEY); CREATE TABLE t (id bigint PRIMARY KEY, a bigint REFERENCES p)")
    (finding,) = findings(moved.assess(), "F28", "t")
    assert finding.severity != "carries" and (finding.count, finding.keys) == (1, ("id=7",))


@BOTH
@pytest.mark.hazard("F38", "carried")
def test_f38_what_is_only_in_the_wal_is_moved(trip, mode: str) -> None:  # noqa: F811
    moved = trip(ID.format("c TEXT") + "INSERT INTO t VALUES (1, 'in the file')", postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, c text)"))
    with closing(apsw.Connection(os.fspath(moved.path))) as application:
        application.pragma("wal_autocheckpoint", 0)
        application.execute("INSERT INTO t VALUES (2, 'in the wal')")
        assert b"in the wal" not in moved.path.read_bytes()
        moved.migrate()
        assert b"in the wal" not in moved.path.read_bytes()
    assert moved.in_postgres("SELECT c FROM t ORDER BY id") == [("in the file",), ("in the wal",)]


KINDS = """
CREATE TABLE s (id INTEGER PRIMARY KEY, a INT, b REAL, c TEXT, d BLOB) STRICT; INSERT INTO s VALUES (1, 2, 3.5, 'x', x'00');
CREATE TABLE w (a TEXT, b INTEGER, c TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID; INSERT INTO w VALUES ('a', 1, 'x'), ('a', 2, NULL);
CREATE TABLE sw (k TEXT PRIMARY KEY, v ANY) STRICT, WITHOUT ROWID; INSERT INTO sw VALUES ('a', '007'), ('b', 'x');
CREATE TABLE r (id INTEGER PRIMARY KEY, c TEXT); INSERT INTO r VALUES (-5, 'minus'), (4611686018427387904, 'far')
"""
KINDS_POSTGRES = """
CREATE TABLE s (id bigint PRIMARY KEY, a bigint, b double precision, c text, d bytea); CREATE TABLE w (a text, b bigint, c text, PRIMARY KEY (a, b));
CREATE TABLE sw (k text PRIMARY KEY, v text); CREATE TABLE r (id bigint PRIMARY KEY, c text)
"""


@BOTH
@pytest.mark.hazard("F40", "carried")
def test_f40_every_kind_of_table(trip, mode: str) -> None:  # noqa: F811
    round_trip(trip(KINDS, postgres=target(mode, KINDS_POSTGRES)))


@BOTH
@pytest.mark.hazard("F42", "carried")
def test_f42_a_row_of_30_megabytes(trip, mode: str) -> None:  # noqa: F811
    moved = trip(ID.format("c BLOB") + "INSERT INTO t VALUES (1, randomblob(30000000))", postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, c bytea)"))
    round_trip(moved)


@pytest.mark.hazard("F43", "carried")
def test_f43_the_file_that_comes_back_is_as_it_was(trip) -> None:  # noqa: F811
    moved = trip(
        "PRAGMA page_size = 8192; PRAGMA auto_vacuum = 2; PRAGMA user_version = 77; PRAGMA application_id = 12345;" + ID.format("c TEXT") + "INSERT INTO t VALUES (1, 'x')"
    )
    moved.path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(moved.path, 65534, 65534)
    before = moved.image()
    assert before["header"] == {"page_size": 8192, "encoding": "UTF-8", "user_version": 77, "application_id": 12345, "auto_vacuum": 2, "journal_mode": "wal"}
    moved.there()
    moved.write("INSERT INTO t VALUES (2, 'y')", "DELETE FROM t WHERE id = 2")
    moved.back()
    same(before, moved.image())


def test_f45_the_limit_of_a_value_is_500_megabytes() -> None:
    assert column_findings.LARGEST_VALUE == 500_000_000


@pytest.mark.long
@pytest.mark.hazard("F45", "refused", mode="create", why="text doubles a bytea, and PostgreSQL's protocol holds 1 GB")
def test_f45_a_blob_of_500_megabytes_and_one_byte(trip) -> None:  # noqa: F811
    moved = trip(ID.format("c BLOB") + "INSERT INTO t VALUES (1, zeroblob(500000001))")
    (finding,) = findings(moved.assess(), "F45", "t", "c")
    assert finding.severity != "carries"


@BOTH
@pytest.mark.hazard("F45", "refused", why="text doubles a bytea, and PostgreSQL's protocol holds 1 GB")
def test_f45_a_value_over_the_limit_is_found_in_assess(trip, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The limit made small: the rule is the same."""
    monkeypatch.setattr(column_findings, "LARGEST_VALUE", 1_000_000)
    moved = trip(
        ID.format("c BLOB") + "INSERT INTO t VALUES (1, zeroblob(1000000)), (2, zeroblob(1000001))",
        postgres=target(mode, "CREATE TABLE t (id bigint PRIMARY KEY, c bytea)"),
    )
    found = moved.assess()
    (finding,) = findings(found, "F45", "t", "c")
    assert found.plan is None and finding.severity != "carries"
    assert (finding.count, finding.keys) == (1, ("id=2",))
    assert moved.path.read_bytes() == moved.bytes


@pytest.mark.hazard("F24", "refused", mode="create", why="no sequence goes on behind 2^63 - 1")
def test_f24_the_last_id_that_there_is_leaves_no_next_one(trip) -> None:  # noqa: F811
    moved = trip(ID.format("c TEXT") + "INSERT INTO t VALUES (9223372036854775807, 'last')")
    found = moved.assess()
    (finding,) = findings(found, "F24", "t", "id")
    assert found.plan is None and (finding.count, finding.keys) == (1, ("id=9223372036854775807",))
    moved.demand_untouched()
    with closing(apsw.Connection(str(moved.path))) as file:  # given after assess
        file.execute("UPDATE t SET id = 1")
        assert moved.assess().plan is not None
        file.execute("UPDATE t SET id = 9223372036854775807")
    with pytest.raises(ServerError, match=r"t\.id: the id 9223372036854775807 is given"):
        moved.run(Intent.MIGRATE)


@pytest.mark.hazard("F24", "refused", mode="create", why="no sequence goes on behind 2^63 - 1")
def test_f24_the_last_id_of_all_was_given_and_deleted(trip) -> None:  # noqa: F811
    moved = trip("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, c TEXT); INSERT INTO t VALUES (9223372036854775807, 'a'), (1, 'b'); DELETE FROM t WHERE id > 1")
    found = moved.assess()
    (finding,) = findings(found, "F24", "t", "id")
    assert found.plan is None and finding.keys == () and "UPDATE sqlite_sequence" in finding.settle


@pytest.mark.hazard("F24", "refused", mode="existing", why="the target's sequence ends at its MAXVALUE")
@pytest.mark.parametrize(("made", "last"), [("id smallserial PRIMARY KEY", 32767), ("id bigint GENERATED ALWAYS AS IDENTITY (MAXVALUE 9) PRIMARY KEY", 9)])
def test_f24_the_targets_sequence_ends_before_the_ids(trip, made: str, last: int) -> None:  # noqa: F811
    moved = trip(ID.format("c TEXT") + f"INSERT INTO t VALUES ({last}, 'a')", postgres=f"CREATE TABLE t ({made}, c text)")
    found = moved.assess()
    (finding,) = findings(found, "F24", "t", "id")
    assert found.plan is None and finding.keys == (f"id={last}",) and "ALTER SEQUENCE t_id_seq" in finding.settle
    with closing(apsw.Connection(str(moved.path))) as file:
        file.execute("UPDATE t SET id = id - 1")
    assert findings(moved.assess(), "F24") == []
