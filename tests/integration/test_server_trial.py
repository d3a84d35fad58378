"""What only the server can say of the values is asked before anything is loaded."""

from __future__ import annotations

import random
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from assessing import assess_file, make_file
from conftest import Database
from turnback.adapters.postgres.value_trial import ServerTrial
from turnback.app.assess import Assessment
from turnback.core.choices import Choices, ColumnChoice, TableChoice
from turnback.core.findings import Finding, blocking


def tried(
    tmp_path: Path,
    database: Database,
    sqlite: str,
    postgres: str,
    choices: Choices | None = None,
    *,
    dsn: str = "",
) -> Assessment:
    with database.connect() as connection:
        connection.execute(postgres.encode())
    path = make_file(tmp_path / "a.db", sqlite)
    return assess_file(
        path,
        choices,
        target_dsn=database.admin_dsn,
        existing=True,
        server_trial=ServerTrial(dsn or database.admin_dsn),
    )


def the_blocking(found: Assessment) -> Finding:
    (finding,) = blocking(found.findings)
    return finding


def loads(database: Database, statement: str) -> bool:
    """What the server itself says when the rows are inserted."""
    with database.connect() as connection:
        try:
            connection.execute(statement.encode())
        except (psycopg.IntegrityError, psycopg.DataError):
            return False
    return True


def known(database: Database, definition: str) -> bool:
    """Whether this version of PostgreSQL has the constraint at all."""
    return "NULLS NOT DISTINCT" not in definition or database.connect().info.server_version >= 150000


ROWS = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, n INTEGER); INSERT INTO t VALUES "


@pytest.mark.parametrize(
    ("rows", "table", "kind", "count", "keys"),
    [
        pytest.param(
            "(1, 'x', 5), (2, 'y', -1), (3, 'z', NULL)",
            "(id bigint PRIMARY KEY, a text, n integer CONSTRAINT positive CHECK (n > 0))",
            "check", 1, ("id=2",), id="check",
        ),
        pytest.param(
            "(1, 'x', 5), (2, 'y', 7)",
            "(id bigint PRIMARY KEY, a text, n integer, CHECK (a <> 'x' OR n > 6) NO INHERIT)",
            "check", 1, ("id=1",), id="check-two-columns",
        ),
        pytest.param(
            "(1, 'x', 5), (2, 'y', -1)",
            "(id bigint PRIMARY KEY, a text, n integer); ALTER TABLE public.t ADD CHECK (n > 0) NOT VALID",
            "check", 1, ("id=2",), id="check-not-valid",
        ),
        pytest.param(
            "(1, 'x', 5), (2, NULL, -1)",
            "(id bigint PRIMARY KEY, a text, n integer, CHECK (t.* IS NOT NULL))",
            "check", 1, ("id=2",), id="check-of-the-row",
        ),
        pytest.param(
            "(1, 'x', 1), (2, 'x', 1), (3, 'x', 0), (4, 'x', 0)",
            "(id bigint PRIMARY KEY, a text, n integer); CREATE UNIQUE INDEX one ON public.t (a) WHERE n = 1",
            "unique", 1, ("id=1 and id=2",), id="partial",
        ),
        pytest.param(
            "(1, 'x', 1), (2, 'X', 1), (3, NULL, 0), (4, NULL, 0)",
            "(id bigint PRIMARY KEY, a text, n integer); CREATE UNIQUE INDEX one ON public.t (lower(a))",
            "unique", 1, ("id=1 and id=2",), id="expression",
        ),
        pytest.param(
            "(1, 'x', 1), (2, NULL, 1), (3, NULL, 0), (4, NULL, 0)",
            "(id bigint PRIMARY KEY, a text UNIQUE NULLS NOT DISTINCT, n integer)",
            "unique", 1, ("id=2 and id=4",), id="nulls-not-distinct",
        ),
        pytest.param(
            "(1, 'x', 1), (2, 'x', 1), (3, 'x', 3)",
            "(id bigint PRIMARY KEY, a text, n integer, EXCLUDE USING btree (a WITH =, n WITH =))",
            "exclusion", 2, ("id=1", "id=2"), id="exclusion",
        ),
        pytest.param(
            "(1, 'x', 10), (2, 'x', 14), (3, 'x', 30), (4, 'x', NULL)",
            "(id bigint PRIMARY KEY, a text, n integer, EXCLUDE USING gist (int4range(n, n + 5) WITH &&) WHERE (n > 0))",
            "exclusion", 2, ("id=1", "id=2"), id="exclusion-of-ranges",
        ),
        pytest.param(
            "(1, 'x', 0), (2, 'y', 4)",
            "(id bigint PRIMARY KEY, a text, n integer CONSTRAINT quotient CHECK (12 / n > 0))",
            "check", None, (), id="check-that-fails",
        ),
    ],
)  # fmt: skip
@pytest.mark.hazard("F13", "refused", mode="existing", why="PostgreSQL's own constraint refuses the row")
def test_f13_what_the_servers_constraints_refuse_is_known_before_the_load(
    tmp_path: Path,
    database: Database,
    rows: str,
    table: str,
    kind: str,
    count: int | None,
    keys: tuple[str, ...],
) -> None:
    if not known(database, table):
        pytest.skip("NULLS NOT DISTINCT came with PostgreSQL 15")
    found = tried(tmp_path, database, ROWS + rows, f"CREATE TABLE public.t {table}")
    finding = the_blocking(found)
    assert (finding.code, finding.severity, finding.table, finding.count) == (kind, "refused", "t", count)
    assert finding.keys == keys and finding.settle


def test_a_collation_that_folds_case_makes_more_equal(tmp_path: Path, database: Database) -> None:
    with database.connect() as connection:
        try:
            connection.execute(
                "CREATE COLLATION public.folding"
                " (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )
        except psycopg.errors.FeatureNotSupported:
            pytest.skip(
                "this PostgreSQL is built without ICU: run it with TURNBACK_TEST_PG_BIN of one that has it"
            )
    found = tried(
        tmp_path,
        database,
        ROWS + "(1, 'x', 1), (2, 'X', 1), (3, 'É', 0), (4, 'é', 0)",
        "CREATE TABLE public.t (id bigint PRIMARY KEY, a text COLLATE public.folding UNIQUE, n integer)",
    )
    finding = the_blocking(found)
    assert (finding.code, finding.count) == ("unique", 2)
    assert finding.keys == ("id=1 and id=2", "id=3 and id=4")


@pytest.mark.parametrize(
    ("rows", "table"),
    [
        ("(1, 'x', 5), (2, 'y', NULL)", "(id bigint PRIMARY KEY, a text, n integer CHECK (n > 0))"),
        (
            "(1, 'x', 0), (2, 'x', 0), (3, 'x', 1)",
            "(id bigint PRIMARY KEY, a text, n integer); CREATE UNIQUE INDEX one ON public.t (a) WHERE n = 1",
        ),
        (
            "(1, 'x', 1), (2, 'X', 2)",
            "(id bigint PRIMARY KEY, a text, n integer, twice integer GENERATED ALWAYS AS (n * 2) STORED,"
            " UNIQUE (a, twice), CHECK (twice < 5))",
        ),
    ],
)  # fmt: skip
def test_rows_that_the_server_takes_are_not_refused(
    tmp_path: Path, database: Database, rows: str, table: str
) -> None:
    found = tried(tmp_path, database, ROWS + rows, f"CREATE TABLE public.t {table}")
    assert blocking(found.findings) == () and found.plan is not None
    assert loads(database, f"INSERT INTO public.t (id, a, n) VALUES {rows}")


CONSTRAINTS = (
    "CHECK (n > 0)",
    "CHECK (n * 2 < length(a))",
    "CHECK (a ~ '^[a-c]*$')",
    "CHECK (a IS NOT NULL OR n IS NOT NULL)",
    "CHECK (a < 'b' COLLATE \"C\")",
    "CHECK (12 / (n - 1) > 2)",
    "UNIQUE (a)",
    "UNIQUE (a, n)",
    "UNIQUE NULLS NOT DISTINCT (a)",
    "UNIQUE NULLS NOT DISTINCT (n, a)",
    "EXCLUDE USING btree (a WITH =)",
    "EXCLUDE USING gist (int4range(n, n + 2) WITH &&)",
    "EXCLUDE USING gist (int4range(n, n + 1) WITH -|-) WHERE (a <> 'b')",
)
INDEXES = (
    "(lower(a))",
    "(n) WHERE a = 'a'",
    "(a, (n % 2)) WHERE n IS NOT NULL",
    "((a || n)) NULLS NOT DISTINCT",
    "(coalesce(n, 0)) INCLUDE (a)",
)


def test_the_trial_says_no_exactly_where_the_load_would(tmp_path: Path, database: Database) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    refused = 0
    choices = [held for held in (*CONSTRAINTS, *INDEXES) if known(database, held)]
    for case in range(60):
        texts = ["NULL", "''", "'a'", "'A'", "'b'", "'bc'", "'ä'"]
        rows = [
            f"({i}, {chance.choice(texts)}, {chance.choice(['NULL', '-1', '0', '1', '2', '7'])})"
            for i in range(chance.randrange(1, 5))
        ]
        held = chance.choice(choices)
        made = "CREATE TABLE public.t (id bigint PRIMARY KEY, a text, n integer"
        made += f", {held})" if held in CONSTRAINTS else f"); CREATE UNIQUE INDEX one ON public.t {held}"
        folder = tmp_path / str(case)
        folder.mkdir()
        found = tried(folder, database, ROWS + ", ".join(rows), made)
        said = [f for f in blocking(found.findings) if f.code != "F26"]
        takes = loads(database, f"INSERT INTO public.t (id, a, n) VALUES {', '.join(rows)}")
        assert (said == []) == takes, f"{held} with {rows}: {said}"
        refused += not takes
        with database.connect() as connection:
            connection.execute("DROP TABLE public.t")
    assert 5 < refused < 55, "both answers have to occur"


def test_a_check_over_a_generated_column(tmp_path: Path, database: Database) -> None:
    found = tried(
        tmp_path,
        database,
        ROWS + "(1, 'x', 1), (2, 'X', 2)",
        "CREATE TABLE public.t (id bigint PRIMARY KEY, a text, n integer,"
        " twice integer GENERATED ALWAYS AS (n * 2) STORED CHECK (twice < 4))",
    )
    assert the_blocking(found).keys == ("id=2",)


@pytest.mark.hazard("F20", "refused", mode="existing", why="the type's own check refuses the value")
def test_f20_a_domain_refuses_values(tmp_path: Path, database: Database) -> None:
    found = tried(
        tmp_path,
        database,
        ROWS + "(1, 'ab', 5), (2, 'abcdef', -1), (3, NULL, NULL)",
        """CREATE DOMAIN public.short AS text CHECK (length(VALUE) < 4);
           CREATE TABLE public.t (id bigint PRIMARY KEY, a public.short, n integer)""",
    )
    finding = the_blocking(found)
    assert (finding.code, finding.column, finding.count, finding.keys) == ("F12", "a", 1, ("id=2",))


@pytest.mark.parametrize(
    ("type_name", "values", "keys"),
    [
        ("inet", "'10.0.0.1', '10.0.0.1/32', '::1', 'host'", ("id=2", "id=4")),
        ("int4range", "'[1,5)', '[1,4]', 'empty'", ("id=2",)),
        ("point", "'(1,2)', '1,2'", ("id=2",)),
        ("varchar(3)", "'abc', 'abcdef'", ("id=2",)),
        ("text[]", "'{a,b}', '{\"a\",b}', NULL", ("id=2",)),
        ("xid8", "'7', '07'", ("id=2",)),
    ],
)
@pytest.mark.hazard("R5", "choice", mode="existing")
def test_r5_verbatim_text_must_be_what_the_server_prints(
    tmp_path: Path, database: Database, type_name: str, values: str, keys: tuple[str, ...]
) -> None:
    rows = ", ".join(f"({i}, {v}, 0)" for i, v in enumerate(values.split(", "), start=1))
    found = tried(
        tmp_path,
        database,
        ROWS + rows,
        f"CREATE TABLE public.t (id bigint PRIMARY KEY, a {type_name}, n integer)",
        Choices({"t": TableChoice(columns={"a": ColumnChoice(codec="verbatim")})}),
    )
    finding = the_blocking(found)
    assert (finding.code, finding.column, finding.keys) == ("R5", "a", keys)


@pytest.mark.hazard("R5", "choice", mode="create")
def test_r5_verbatim_text_in_a_schema_that_is_to_be_made(tmp_path: Path, database: Database) -> None:
    path = make_file(tmp_path / "a.db", ROWS + "(1, '10.0.0.1', 0), (2, '010.0.0.1', 0), (3, NULL, 0)")
    choice = TableChoice(columns={"a": ColumnChoice(codec="verbatim", pg_type="inet")})
    found = assess_file(path, Choices({"t": choice}), server_trial=ServerTrial(database.admin_dsn))
    finding = the_blocking(found)
    assert (finding.code, finding.column, finding.count, finding.keys) == ("R5", "a", 1, ("id=2",))


@pytest.mark.parametrize(
    ("type_name", "values", "keys"),
    [
        ("public.citext", "'a', 'A', 'b'", ("id=1 and id=2",)),
        ("numeric", "'1.1', '1.10', '2'", ("id=1 and id=2",)),
        ("public.label", "'a', 'A', 'b'", ("id=1 and id=2",)),
    ],
)
@pytest.mark.hazard("F31", "refused", mode="existing", why="PostgreSQL holds equal what SQLite holds apart")
def test_f31_values_that_the_type_holds_equal_break_a_unique_key(
    tmp_path: Path, database: Database, type_name: str, values: str, keys: tuple[str, ...]
) -> None:
    rows = ", ".join(f"({i}, {v}, 0)" for i, v in enumerate(values.split(", "), start=1))
    found = tried(
        tmp_path,
        database,
        ROWS.replace("a TEXT", "a TEXT UNIQUE") + rows,
        f"""CREATE EXTENSION citext SCHEMA public; CREATE DOMAIN public.label AS public.citext;
            CREATE TABLE public.t (id bigint PRIMARY KEY, a {type_name} UNIQUE, n integer)""",
    )
    finding = the_blocking(found)
    assert (finding.code, finding.count, finding.keys) == ("unique", 1, keys)


def test_nothing_is_left_in_the_target_and_temporary_is_the_only_right(
    tmp_path: Path, database: Database
) -> None:
    with database.connect() as admin:
        admin.execute("CREATE ROLE visitor LOGIN PASSWORD 'v'")
        admin.execute(f'GRANT CONNECT, TEMPORARY ON DATABASE "{database.name}" TO visitor'.encode())
    visitor = conninfo.make_conninfo(database.admin_dsn, user="visitor", password="v")
    seen = "SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), txid_current() IS NULL"
    sqlite = ROWS + "(1, 'x', 5), (2, 'y', -1)"
    try:
        with database.connect() as connection:
            connection.execute(
                "CREATE TABLE public.t (id bigint PRIMARY KEY, a text, n integer CHECK (n > 0))"
            )
            before = connection.execute(seen.encode()).fetchall()
        found = tried(tmp_path, database, sqlite, "SELECT 1", dsn=visitor)
        assert the_blocking(found).keys == ("id=2",)
        with database.connect() as connection:
            assert connection.execute(seen.encode()).fetchall() == before
            connection.execute(
                f'REVOKE TEMPORARY ON DATABASE "{database.name}" FROM visitor, PUBLIC'.encode()
            )
        (tmp_path / "a.db").unlink()
        found = tried(tmp_path, database, sqlite, "SELECT 1", dsn=visitor)
        assert the_blocking(found).code == "rights.temporary"
        assert the_blocking(found).settle.startswith("GRANT TEMPORARY")
    finally:
        with database.connect() as admin:
            admin.execute(f'REVOKE ALL ON DATABASE "{database.name}" FROM visitor'.encode())
            admin.execute("DROP ROLE visitor")


def test_a_default_with_a_side_effect_is_not_drawn(tmp_path: Path, database: Database) -> None:
    found = tried(
        tmp_path,
        database,
        ROWS + "(1, 'x', 5)",
        """CREATE SEQUENCE public.tickets;
           CREATE TABLE public.t (id bigint PRIMARY KEY, a text, n integer,
             ticket bigint DEFAULT nextval('public.tickets'), state text NOT NULL DEFAULT 'new'::text,
             CONSTRAINT sold CHECK (ticket > n), CONSTRAINT known CHECK (state IN ('new', 'old')))""",
    )
    assert blocking(found.findings) == ()
    (said,) = [f for f in found.findings if f.code == "check"]
    assert "sold" in said.message and said.severity == "carries"
    with database.connect() as connection:
        assert connection.execute("SELECT is_called FROM public.tickets").fetchone() == (False,)
