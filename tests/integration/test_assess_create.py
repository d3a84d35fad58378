"""Create mode on real files: the plan, the findings, and DDL that PostgreSQL takes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from assessing import assess_file, column, make_file, run_statements, the_finding
from conftest import Database
from turnback.app.assess import Assessment
from turnback.core.choices import Choices, ColumnChoice, TableChoice
from turnback.core.ddl import build_constraints, create_schema, drop_schema
from turnback.core.findings import blocking
from turnback.core.plan import from_json


def assess_sql(tmp_path: Path, sql: str, choices: Choices | None = None) -> Assessment:
    return assess_file(make_file(tmp_path / "a.db", sql), choices)


def test_a_real_application_database(tmp_path: Path, database: Database) -> None:
    spec = importlib.util.find_spec("mendeleev")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "elements.db"

    found = assess_file(path)
    assert [(f.code, f.table) for f in blocking(found.findings)] == [("R8", "alembic_version")]
    assert found.plan is None

    chosen = assess_file(path, Choices({"alembic_version": TableChoice(full=True)}))
    assert chosen.plan is not None and len(chosen.plan.tables) == 13
    assert from_json(chosen.plan.to_json()) == chosen.plan
    run_statements(database.admin_dsn, create_schema(chosen.plan) + build_constraints(chosen.plan))
    run_statements(database.admin_dsn, drop_schema(chosen.plan))
    with database.connect() as connection:
        left = connection.execute(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'public'"
        ).fetchone()
    assert left == (0,)


@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("BOOLEAN", "1, 0, NULL", ("boolean", "boolean")),
        ("BOOL", "NULL", ("boolean", "boolean")),
        ("INTEGER", "9223372036854775807, -9223372036854775808", ("bigint", "integer")),
        ("INTEGER", "'abc', 'def'", ("text", "text")),
        ("INTEGER", "1, 0.5", ("numeric", "number")),
        ("FLOAT", "1, -0.0, 5e-324, 9e999", ("double precision", "real")),
        ("DECIMAL(10,2)", "1230.99, 5", ("numeric(10,2)", "number")),
        ("VARCHAR(3)", "'0b5ad7bb-9e0c-4d3b-8c1a-000000000001'", ("uuid", "uuid_text")),
        ("TEXT", "'0b5ad7bb-9e0c-4d3b-8c1a-000000000001', '0B5AD7BB-9e0c-4d3b-8c1a-000000000001'", ("text", "text")),
        ("TEXT", "'0b5ad7bb-9e0c-4d3b-8c1a-000000000001', ''", ("text", "text")),
        ("TEXT", "'2024-03-31', '2024-02-29'", ("date", "date_text")),
        ("TEXT", "'2024-03-31', '2024-02-30'", ("text", "text")),
        ("TEXT", "'2024-03-31', '2024-03-31 02:30:00'", ("text", "text")),
        ("TEXT", "'2024-03-31 02:30:00', '2024-03-31 02:30:00.5'", ("text", "text")),
        ("TEXT", "'2024-03-31 02:30:00.000001', NULL", ("timestamp without time zone", "timestamp_text")),
        ("TEXT", "'2024-03-31T02:30:00.120Z'", ("timestamp with time zone", "timestamp_text")),
        ("TEXT", "'2024-03-31T02:30:00+02:00'", ("timestamp with time zone", "timestamp_text")),
        ("TEXT DEFAULT 'never'", "'2024-03-31'", ("text", "text")),
        ("TEXT DEFAULT CURRENT_TIMESTAMP", "'2024-03-31 02:30:00'", ("timestamp without time zone", "timestamp_text")),
        ("TEXT CHECK (length(c) > 5)", "'2024-03-31'", ("text", "text")),
        ("UUID", "'0b5ad7bb-9e0c-4d3b-8c1a-000000000001'", ("uuid", "uuid_text")),
        ("UUID", "'0B5AD7BB-9E0C-4D3B-8C1A-00000000000A'", ("uuid", "uuid_text")),
        ("UUID", "'0b5ad7bb-9e0c-4d3b-8c1a-000000000001', 'none'", ("text", "text")),
        ("GUID", "x'000102030405060708090a0b0c0d0e0f'", ("uuid", "uuid_blob")),
        ("GUID", "x'0001'", ("bytea", "blob")),
        ("DATETIME", "'2024-03-31 02:30:00', '2024-03-31 02:30:00.5'", ("text", "text")),
        (
            "DATETIME",
            "'2024-03-31 02:30:00', '2024-03-31 02:30:00.123456'",
            ("timestamp without time zone", "timestamp_text"),
        ),
        (
            "TIMESTAMP",
            "'2024-03-31T02:30:00.120Z', '2023-03-31T02:30:00.001Z'",
            ("timestamp with time zone", "timestamp_text"),
        ),
        ("DATETIME", "'2024-02-30 00:00:00'", ("text", "text")),
        ("DATETIME", "'2024-02-29 00:00:00', ''", ("text", "text")),
        ("DATETIME", "1619092189409, 1719092189409", ("timestamp(3) with time zone", "epoch")),
        ("DATETIME", "1619092189, 0", ("timestamp(0) with time zone", "epoch")),
        ("DATE", "'2024-02-29'", ("date", "date_text")),
        ("DATE", "'2024-02-30'", ("text", "text")),
        ("JSON", """'{"a": 1}'""", ("jsonb", "json_text")),
        ("JSON", """'{"a":1}', '{"a":1,"a":2}'""", ("json", "json_text")),
        ("JSON", """'{"a":1}', '{'""", ("text", "text")),
        ("", "x'00ff5b'", ("bytea", "blob")),
        ("ANY", "'x', 'y'", ("text", "text")),
    ],
)
def test_the_values_decide(tmp_path: Path, declared: str, values: str, expected: tuple[str, str]) -> None:
    rows = ", ".join(f"({v})" for v in _split(values))
    found = assess_sql(
        tmp_path, f"CREATE TABLE t (id INTEGER PRIMARY KEY, c {declared}); INSERT INTO t (c) VALUES {rows}"
    )
    assert blocking(found.findings) == ()
    assert column(found, "t", "c") == expected


def _split(values: str) -> list[str]:
    """At commas outside of strings."""
    parts, quoted = [""], False
    for character in values:
        quoted ^= character == "'"
        if character == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


@pytest.mark.parametrize(
    ("values", "code", "count", "keys"),
    [
        ("(1), (0), (NULL), ('true'), (2)", "F12", 1, ("id=4",)),
        ("(1), (x'01')", "F11", 1, ("id=2",)),
        ("(1), (9e999)", "F16", 1, ("id=2",)),
    ],
)
def test_what_no_type_keeps_is_refused_with_its_keys(
    tmp_path: Path, values: str, code: str, count: int, keys: tuple[str, ...]
) -> None:
    found = assess_sql(
        tmp_path, f"CREATE TABLE t (id INTEGER PRIMARY KEY, c); INSERT INTO t (c) VALUES {values}"
    )
    finding = the_finding(found, code)
    assert (finding.severity, finding.table, finding.column) == ("refused", "t", "c")
    assert (finding.count, finding.keys) == (count, keys)
    assert found.plan is None and found.draft.tables == ()


def test_at_most_five_keys(tmp_path: Path) -> None:
    found = assess_sql(
        tmp_path,
        """CREATE TABLE t (id INTEGER PRIMARY KEY, c);
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
           INSERT INTO t SELECT i, iif(i % 2, i, 'x') FROM n""",
    )
    finding = the_finding(found, "F12")
    assert finding.count == 10 and len(finding.keys) == 5


STRUCTURE = """
CREATE TABLE "order" (
  "Id" INTEGER PRIMARY KEY AUTOINCREMENT,
  "select" TEXT NOT NULL UNIQUE,
  email TEXT COLLATE NOCASE UNIQUE,
  active BOOLEAN NOT NULL DEFAULT true CHECK (active IN (0, 1)),
  kind TEXT NOT NULL DEFAULT "x y" CHECK (kind IN ('x y', 'z')),
  amount INTEGER DEFAULT -5 CHECK (amount BETWEEN -5 AND 100),
  made TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  counted INTEGER DEFAULT (unixepoch()),
  deleted TEXT
);
CREATE INDEX by_kind ON "order" (kind, amount DESC);
CREATE UNIQUE INDEX live ON "order" (kind) WHERE active = 1 AND deleted IS NULL;
CREATE TABLE part (
  a TEXT, b UUID, "größe q" REAL DEFAULT 1.5, flag BOOL DEFAULT 0, raw BLOB DEFAULT x'00ff',
  parent INTEGER REFERENCES "order" ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
  PRIMARY KEY (b, a)
) WITHOUT ROWID;
CREATE TABLE sub (pa TEXT, pb TEXT, u TEXT NOT NULL UNIQUE, FOREIGN KEY (pb, pa) REFERENCES part);
CREATE TABLE leaf (id INTEGER PRIMARY KEY, u TEXT REFERENCES sub (u), s TEXT REFERENCES "order" ("select"));
INSERT INTO "order" ("select", email) VALUES ('a', 'A@x');
INSERT INTO part VALUES ('k', '0b5ad7bb-9e0c-4d3b-8c1a-000000000001', 1, 1, x'', 1);
INSERT INTO sub VALUES ('k', '0b5ad7bb-9e0c-4d3b-8c1a-000000000001', 'u');
"""


def test_structure_is_carried_and_postgres_takes_it(tmp_path: Path, database: Database) -> None:
    found = assess_sql(tmp_path, STRUCTURE)
    assert blocking(found.findings) == ()
    assert found.plan is not None
    # A referring column takes the type of what it refers to.
    assert column(found, "sub", "pb") == ("uuid", "uuid_text")
    sub = found.plan.table("sub")
    assert (sub.key, sub.replica_identity, sub.identity_index) == (("u",), "index", "sub_u_key")
    assert found.plan.table("part").primary_key == ("b", "a")
    assert len(found.plan.table("leaf").foreign_keys) == 2

    run_statements(database.admin_dsn, create_schema(found.plan) + build_constraints(found.plan))
    with database.connect() as connection:
        connection.execute("""INSERT INTO "order" ("select", email) VALUES ('a', 'A@x')""")
        row = connection.execute(
            'SELECT "Id", active, kind, amount, made IS NOT NULL, counted > 1000000000 FROM "order"'
        ).fetchone()
        assert row == (1, True, "x y", -5, True, True)
        for breaks in (
            """INSERT INTO "order" ("select") VALUES ('a')""",
            """INSERT INTO "order" ("select", email, kind) VALUES ('b', 'a@X', 'z')""",
            """INSERT INTO "order" ("select", kind) VALUES ('b', 'other')""",
            """INSERT INTO "order" ("select", kind, amount) VALUES ('b', 'z', 101)""",
            """INSERT INTO "order" ("select") VALUES ('live twice')""",
        ):
            with pytest.raises(Exception, match=r"duplicate key|violates check"):
                connection.execute(breaks)
        connection.execute("""INSERT INTO "order" ("select", active) VALUES ('not live', false)""")
        connection.execute("INSERT INTO sub VALUES (NULL, NULL, 'u')")
        connection.execute("ALTER TABLE sub REPLICA IDENTITY USING INDEX sub_u_key")


@pytest.mark.parametrize(
    ("sql", "code", "left"),
    [
        ("CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT 1", "F41", "v"),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TRIGGER g AFTER DELETE ON t BEGIN SELECT 1; END",
            "F41",
            "g",
        ),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT CHECK (a GLOB '[x]*'))", "F41", "t.check"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b AS (hex(a)))", "F32", "t.b"),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT (lower(hex(randomblob(16)))))",
            "F3",
            "t.a.default",
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER DEFAULT CURRENT_TIMESTAMP); "
            "INSERT INTO t VALUES (1, 2)",
            "F3",
            "t.a.default",
        ),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE INDEX i ON t (hex(a))", "F30", "i"),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE INDEX i ON t (a) WHERE unicode(a) > 9",
            "F29",
            "i",
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE INDEX i ON t (a); "
            "INSERT INTO t VALUES (1, hex(zeroblob(2000)))",
            "F30",
            "i",
        ),
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY); "
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a REFERENCES p); "
            "INSERT INTO t VALUES (7, 1), (8, NULL)",
            "F28",
            "t_a_fkey",
        ),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a REFERENCES nowhere (x))", "F27", "t_a_fkey"),
    ],
)
def test_what_is_not_translated_needs_a_choice_and_can_be_left_behind(
    tmp_path: Path, database: Database, sql: str, code: str, left: str
) -> None:
    finding = the_finding(assess_sql(tmp_path, sql), code)
    assert finding.severity == "choice"
    assert f'leave_behind = ["{left}"]' in finding.settle
    path = tmp_path / "a.db"
    chosen = assess_file(path, Choices(leave_behind=(left,)))
    assert chosen.plan is not None
    assert code == "F28" or code == "F27" or the_finding(chosen, code).severity == "carries"
    run_statements(database.admin_dsn, create_schema(chosen.plan) + build_constraints(chosen.plan))


def test_tables_that_need_a_word(tmp_path: Path) -> None:
    long = "t" * 64
    found = assess_sql(
        tmp_path,
        f"""CREATE TABLE {long} (id INTEGER PRIMARY KEY);
            CREATE TABLE system (id INTEGER PRIMARY KEY, xmin TEXT);
            CREATE TABLE keyless (a);
            CREATE TABLE nullkey (a TEXT PRIMARY KEY);
            INSERT INTO nullkey VALUES (NULL), (NULL), ('x');
            CREATE VIRTUAL TABLE words USING fts5 (w);
            CREATE TABLE body (id INTEGER PRIMARY KEY, w TEXT);
            CREATE VIRTUAL TABLE found USING fts5 (w, content = 'body', content_rowid = 'id');
            CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY);""",
    )
    said = {(f.code, f.table, f.severity) for f in found.findings}
    assert said == {
        ("F17", long, "choice"),
        ("F17", "system", "choice"),
        ("R8", "keyless", "choice"),
        ("F26", "nullkey", "refused"),
        ("F33", "words", "choice"),
        ("F33", "found", "carries"),
        ("O10", "_litestream_seq", "carries"),
    }
    null_key = the_finding(found, "F26")
    assert null_key.count == 2
    excluded = {e.name for e in found.draft.excluded}
    assert {"words", "words_data", "found", "found_idx", "_litestream_seq"} <= excluded

    chosen = assess_file(
        tmp_path / "a.db",
        Choices(
            {
                long: TableChoice(postgres="short"),
                "system": TableChoice(columns={"xmin": ColumnChoice(postgres="x_min")}),
                "keyless": TableChoice(full=True),
                "nullkey": TableChoice(exclude=True),
                "words": TableChoice(exclude=True),
            }
        ),
    )
    assert chosen.plan is not None
    assert {t.postgres for t in chosen.plan.tables} == {"short", "system", "keyless", "body"}


def test_a_type_can_be_chosen(tmp_path: Path) -> None:
    sql = """CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER, doc TEXT, small INTEGER);
             INSERT INTO t VALUES (1, 1619092189409, '{"a":1}', 40000)"""
    columns = {
        "at": ColumnChoice(pg_type="timestamptz"),
        "doc": ColumnChoice(codec="json_text", respell=True),
        "small": ColumnChoice(pg_type="int"),
    }
    found = assess_sql(tmp_path, sql, Choices({"t": TableChoice(columns=columns)}))
    assert found.plan is not None
    assert column(found, "t", "at") == ("timestamp with time zone", "epoch")
    assert column(found, "t", "doc") == ("jsonb", "json_text")
    assert column(found, "t", "small") == ("integer", "integer")
    too_small = assess_file(
        tmp_path / "a.db", Choices({"t": TableChoice(columns={"small": ColumnChoice(pg_type="smallint")})})
    )
    finding = the_finding(too_small, "F13")
    assert (finding.count, finding.keys) == (1, ("id=1",))


def test_a_choice_of_respell_holds_for_values_to_come(tmp_path: Path) -> None:
    """Today's values are spelled as PostgreSQL spells them; what is written before the cutover need not be."""
    uuid = "0b5ad7bb-9e0c-4d3b-8c1a-00000000000a"
    columns = {"doc": ColumnChoice(respell=True), "u": ColumnChoice(respell=True)}
    found = assess_sql(
        tmp_path,
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, doc JSON, u UUID); INSERT INTO t VALUES (1, '[1, 2]', '{uuid}')",
        Choices({"t": TableChoice(columns=columns)}),
    )
    assert found.plan is not None
    chosen = {c.sqlite: c.options.get("respell") for c in found.plan.table("t").columns}
    assert chosen == {"id": None, "doc": True, "u": True}


def test_a_key_has_one_spelling(tmp_path: Path) -> None:
    found = assess_sql(
        tmp_path,
        """CREATE TABLE t (id UUID PRIMARY KEY);
           INSERT INTO t VALUES ('0b5ad7bb-9e0c-4d3b-8c1a-00000000000a'),
                                ('0B5AD7BB-9E0C-4D3B-8C1A-00000000000A')""",
        Choices({"t": TableChoice(columns={"id": ColumnChoice(codec="uuid_text", respell=True)})}),
    )
    assert the_finding(found, "F35").severity == "refused"


def test_choices_for_what_is_not_there_are_said(tmp_path: Path) -> None:
    found = assess_sql(
        tmp_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
        Choices({"typo": TableChoice(), "t": TableChoice(columns={"typo": ColumnChoice()})}),
    )
    assert [f.table for f in blocking(found.findings)] == ["typo", "t"]


def test_a_table_that_is_there_already(tmp_path: Path, database: Database) -> None:
    run_statements(database.admin_dsn, ["CREATE TABLE public.t (id integer)"])
    path = make_file(tmp_path / "a.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    finding = the_finding(assess_file(path, target_dsn=database.admin_dsn), "F36")
    assert finding.severity == "choice" and "public.t" in finding.message


def test_to_json_is_json(tmp_path: Path) -> None:
    import json

    found = assess_sql(tmp_path, STRUCTURE)
    document = json.loads(json.dumps(found.to_json()))
    assert document["ready"] is True and document["tables"]["order"]["rows"] == 1
    assert document["digest"] == found.draft.digest()
