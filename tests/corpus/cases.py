"""The hazard files: what is in each, and what has to become of it in mode create."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import apsw

Outcome = Literal["carried", "choice", "refused"]


@dataclass(frozen=True)
class Case:
    """`outcome` is that of assess without any line in turnback.toml.

    carried: there and back without a question. choice: a finding with the hazard's number (`code` where it goes by
    another) offers every line of `settle`; with them it is carried. Without `settle` the lines name what only the
    user has. refused: no line carries it; `why` says so.
    """

    hazard: str
    what: str
    make: str | Callable[[apsw.Connection], None]
    outcome: Outcome = "carried"
    settle: str = ""
    code: str = ""
    why: str = ""
    keys: tuple[str, ...] = ()  # that the finding has to name
    anew: bool = True  # values come back the same when PostgreSQL writes every row anew
    not_moved: tuple[str, ...] = ()  # tables that `settle` leaves out: the file keeps them

    @property
    def number(self) -> str:
        return self.code or self.hazard


def _wide(columns: int) -> str:
    return f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(f'c{i}' for i in range(columns))}); INSERT INTO t (id, c0) VALUES (1, 'x')"


def _foreign_function(file: apsw.Connection) -> None:
    """An index over a function that only the application has."""
    file.create_scalar_function("soundslike", lambda text: str(text)[:2], 1, deterministic=True)
    for _ in file.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'anna');"
        "CREATE INDEX by_sound ON t (soundslike(name))"
    ):
        pass


def _foreign_collation(file: apsw.Connection) -> None:
    file.create_collation("german", lambda a, b: (a > b) - (a < b))
    for _ in file.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE german); INSERT INTO t VALUES (1, 'anna');"
        "CREATE INDEX by_name ON t (name)"
    ):
        pass


T = "CREATE TABLE t (id INTEGER PRIMARY KEY, c {});"
LONG = "n" * 64
UUID = "0b5ad7bb-9e0c-4d3b-8c1a-00000000000"

CASES: dict[str, Case] = {
    "f01": Case("F1", "a boolean column of 1, 0 and NULL", T.format("BOOLEAN") + "INSERT INTO t VALUES (1, 1), (2, 0), (3, NULL)"),
    "f01_words": Case("F1", "a boolean column of 'true' and 'false'", T.format("BOOLEAN") + "INSERT INTO t VALUES (1, 'true'), (2, 'false'), (3, NULL)"),
    "f01_two": Case(
        "F1", "a 2 in a boolean column", T.format("BOOLEAN") + "INSERT INTO t VALUES (1, 1), (2, 0), (3, 2)", "choice",
        '[tables.t.columns.c]\npg_type = "bigint"', keys=("id=3",),
    ),
    "f02": Case(
        "F2", "DEFAULT false and true on boolean and number columns",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a BOOLEAN NOT NULL DEFAULT false, b INTEGER NOT NULL DEFAULT true, c NUMERIC DEFAULT false);"
        "INSERT INTO t (id) VALUES (1), (2); UPDATE t SET a = 1, b = 7, c = 2.5 WHERE id = 2",
    ),
    "f03": Case(
        "F3", "defaults that read the clock",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TIMESTAMP DEFAULT CURRENT_TIMESTAMP, b INTEGER DEFAULT (unixepoch()),"
        " c INTEGER DEFAULT (strftime('%s', 'now')), d DATE DEFAULT CURRENT_DATE);"
        "INSERT INTO t VALUES (1, '2024-02-03 04:05:06', 1700000000, 1700000001, '2024-02-03')",
    ),
    "f03_local": Case(
        "F3", "a default in local time",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT (datetime('now', 'localtime'))); INSERT INTO t VALUES (1, 'x')",
        "choice", '[sqlite]\nleave_behind = ["t.a.default"]',
    ),
    "f04": Case(
        "F4", "moments as seconds, milliseconds, microseconds and julian days",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, s DATETIME, ms DATETIME, us DATETIME, jd REAL);"
        "INSERT INTO t VALUES (1, 1619092189, 1619092189409, 1619092189409123, 2459326.9999), (2, 1719092189, 1719092189001, 1719092189000001, NULL)",
    ),
    "f04_mixed": Case(
        "F4", "seconds and milliseconds in one column", T.format("DATETIME") + "INSERT INTO t VALUES (1, 1619092189), (2, 1619092189409)",
        "choice", '[tables.t.columns.c]\npg_type = "bigint"',
    ),
    "f05": Case(
        "F5", "dates and milliseconds in one column", T.format("DATETIME") + "INSERT INTO t VALUES (1, '2021-04-22'), (2, 1619092189409)",
        "choice", '[tables.t.columns.c]\ncodec = "affine"',
    ),
    "f06": Case(
        "F6", "dates that no calendar has, and empty ones",
        T.format("DATETIME") + "INSERT INTO t VALUES (1, '2024-02-30 00:00:00'), (2, ''), (3, '0000-00-00 00:00:00'), (4, '2024-02-29 00:00:00')",
    ),
    "f07": Case(
        "F7", "moments in eight spellings, a column each",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a DATETIME, b DATETIME, c DATETIME, d DATETIME, e DATETIME, f DATETIME, g DATETIME, h DATE);"
        "INSERT INTO t VALUES (1, '2024-03-31 02:30:00', '2024-03-31T02:30:00', '2024-03-31 02:30:00.123', '2024-03-31 02:30:00.123456',"
        " '2024-03-31T02:30:00Z', '2024-03-31 02:30:00+02:00', '2024-03-31T02:30:00.123456789Z', '2024-03-31')",
    ),
    "f08": Case(
        "F8", "a NUL inside a text", T.format("TEXT") + "INSERT INTO t VALUES (1, 'a' || char(0) || 'b'), (2, 'c')", "choice",
        '[tables.t.columns.c]\ncodec = "text_bytes"', keys=("id=1",),
    ),
    "f09": Case(
        "F9", "a text that is not UTF-8", T.format("TEXT") + "INSERT INTO t VALUES (1, 'a'), (2, CAST(x'c328ff' AS TEXT))", "choice",
        '[tables.t.columns.c]\ncodec = "text_bytes"', keys=("id=2",),
    ),
    "f10": Case(
        "F10", "blobs of every byte", T.format("BLOB") + "INSERT INTO t VALUES (1, x'00ff5b'), (2, x''), (3, NULL), (4, x'5c78'),"
        f" (5, x'{bytes(range(256)).hex()}')",
    ),
    "f11": Case(
        "F11", "text and blobs in one column", T.format("BLOB") + "INSERT INTO t VALUES (1, 'text'), (2, x'74657874')", "refused",
        why="no PostgreSQL type tells the two classes apart",
    ),
    "f12": Case("F12", "text and a fraction in an integer column", T.format("INTEGER") + "INSERT INTO t VALUES (1, 'abc'), (2, 12.5), (3, 7), (4, 9223372036854775807)"),
    "f12_none": Case(
        "F12", "text and numbers in a column without a type", T.format("") + "INSERT INTO t VALUES (1, '7'), (2, 7)", "refused",
        why="the text '7' and the number 7 are one value in any type that takes both", keys=("id=2",),
    ),
    "f14": Case(
        "F14", "doubles at their limits",
        T.format("REAL") + "INSERT INTO t VALUES (1, 0.1234567890123), (2, 5e-324), (3, 1.7976931348623157e308), (4, -2.2250738585072014e-308), (5, 0.1), (6, 1e23), (7, NULL)",
    ),
    "f15": Case("F15", "decimals that SQLite holds as doubles", T.format("DECIMAL(10,2)") + "INSERT INTO t VALUES (1, 1230.99), (2, 5), (3, 0.1), (4, NULL)"),
    "f16": Case("F16", "infinity", T.format("REAL") + "INSERT INTO t VALUES (1, 9e999), (2, -9e999), (3, 1.5)"),
    "f17": Case(
        "F17", "a name of 64 bytes", f"CREATE TABLE {LONG} (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO {LONG} VALUES (1, 'x')", "choice",
        f'[tables.{LONG}]\npostgres = "{LONG[:54]}_ce068a19"',
    ),
    "f18": Case(
        "F18", "names that are words of SQL, or hold blanks, other letters",
        """CREATE TABLE "order" ("Id" INTEGER PRIMARY KEY, "references" TEXT, "a b" TEXT, "große" TEXT);
        CREATE TABLE "user" (id INTEGER PRIMARY KEY, "group" INTEGER REFERENCES "order" ("Id"));
        CREATE TABLE "Ünïcødé tæble" ("select" TEXT PRIMARY KEY, "50%" INTEGER, "a.b" REAL);
        INSERT INTO "order" VALUES (1, 'r', 'ab', 'g'); INSERT INTO "user" VALUES (1, 1); INSERT INTO "Ünïcødé tæble" VALUES ('s', 50, 0.5)""",
    ),
    "f18_quotes": Case(
        "F18", "quotes in names", """CREATE TABLE t (id INTEGER PRIMARY KEY, "it's" TEXT, "q""q" TEXT); INSERT INTO t VALUES (1, 'its', 'q')""",
    ),
    "f19": Case("F19", "a string in double quotes as default", 'CREATE TABLE t (id INTEGER PRIMARY KEY, c TEXT DEFAULT "x y"); INSERT INTO t (id) VALUES (1)'),
    "f20": Case("F20", "500 characters in varchar(5)", T.format("VARCHAR(5)") + "INSERT INTO t VALUES (1, hex(zeroblob(250))), (2, 'a')"),
    "f21": Case(
        "F21", "declared types that only SQLite knows",
        """CREATE TABLE t (id INTEGER PRIMARY KEY, a, b "TEXT[]", c "byte[]", d int(5), e UNSIGNED BIG INT, f DOUBLE PRECISION, g NATIVE CHARACTER(70), h WHATEVER);
        INSERT INTO t VALUES (1, 'x', 'y', x'01', 5, 9223372036854775807, 0.5, 'z', 3), (2, 'x2', 'y2', x'02', 6, 7, 1, 'z2', 4)""",
    ),
    "f22": Case("F22", "AUTOINCREMENT on an empty table", "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, c TEXT)"),
    "f23": Case(
        "F23", "all rows deleted, sqlite_sequence at 10",
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, c TEXT); INSERT INTO t VALUES (10, 'x'); DELETE FROM t",
    ),
    "f24": Case("F24", "integer keys with and without AUTOINCREMENT", T.format("TEXT") + "INSERT INTO t VALUES (7, 'x');"
                "CREATE TABLE u (id INTEGER PRIMARY KEY AUTOINCREMENT, c TEXT); INSERT INTO u VALUES (9, 'y'), (3, 'z')"),
    "f26": Case(
        "F26", "two NULLs in a primary key", "CREATE TABLE t (k TEXT PRIMARY KEY, c TEXT); INSERT INTO t VALUES (NULL, 'a'), (NULL, 'b'), ('x', 'c')",
        "refused", why="a primary key in PostgreSQL is not null: no key names these rows",
    ),
    "f27": Case(
        "F27", "composite keys, implied primary keys, all actions, cycles",
        """CREATE TABLE p (a INTEGER, b TEXT, PRIMARY KEY (a, b));
        CREATE TABLE c (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, FOREIGN KEY (a, b) REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE);
        CREATE TABLE x (id INTEGER PRIMARY KEY, y INTEGER REFERENCES y DEFERRABLE INITIALLY DEFERRED, me INTEGER REFERENCES x (id) ON DELETE SET NULL);
        CREATE TABLE y (id INTEGER PRIMARY KEY, x INTEGER REFERENCES x ON DELETE SET DEFAULT);
        INSERT INTO p VALUES (1, 'one'), (2, 'two'); INSERT INTO c VALUES (1, 1, 'one'), (2, NULL, 'two'), (3, 2, 'two');
        INSERT INTO x VALUES (1, 1, 1), (2, NULL, 1); INSERT INTO y VALUES (1, 2)""",
    ),
    "f28": Case(
        "F28", "rows that refer to nothing",
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (id INTEGER PRIMARY KEY, a REFERENCES p); INSERT INTO t VALUES (7, 1), (8, NULL)",
        "choice", '[sqlite]\nleave_behind = ["t_a_fkey"]', keys=("id=7",),
    ),
    "f29": Case(
        "F29", "partial and partial unique indexes",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, kind TEXT, gone TEXT, n INTEGER); CREATE UNIQUE INDEX live ON t (kind) WHERE gone IS NULL;"
        "CREATE INDEX big ON t (n) WHERE n > 10 AND kind IS NOT NULL; INSERT INTO t VALUES (1, 'a', NULL, 1), (2, 'a', 'x', 20), (3, 'a', 'x', 30)",
    ),
    "f30": Case(
        "F30", "indexes with DESC and over an expression",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b TEXT); CREATE INDEX i ON t (a DESC, b); CREATE INDEX j ON t (a + 1);"
        "INSERT INTO t VALUES (1, 2, 'x'), (2, NULL, 'y')",
    ),
    "f30_unknown": Case(
        "F30", "an index over a function that PostgreSQL lacks",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE INDEX i ON t (quote(a)); INSERT INTO t VALUES (1, 'x')", "choice",
        '[sqlite]\nleave_behind = ["i"]',
    ),
    "f31": Case(
        "F31", "a NOCASE unique column with letters outside ASCII",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, c TEXT COLLATE NOCASE UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'É'), (3, 'é'), (4, 'B')",
    ),
    "f32": Case(
        "F32", "generated columns, stored and virtual",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, s INTEGER GENERATED ALWAYS AS (a + b) STORED, v INTEGER AS (a * 2) VIRTUAL);"
        "INSERT INTO t (id, a, b) VALUES (1, 2, 3), (2, NULL, 1)",
    ),
    "f33": Case(
        "F33", "full text with content of its own",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, w TEXT); INSERT INTO t VALUES (1, 'a word'); CREATE VIRTUAL TABLE words USING fts5 (w);"
        "INSERT INTO words VALUES ('only here')",
        "choice", "[tables.words]\nexclude = true",
    ),
    "f33_outside": Case(
        "F33", "full text over another table's content",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, w TEXT); INSERT INTO t VALUES (1, 'a word');"
        "CREATE VIRTUAL TABLE found USING fts5 (w, content = 't', content_rowid = 'id'); INSERT INTO found (found) VALUES ('rebuild')",
    ),
    "f34": Case(
        "F34", "JSON with a key twice, 1.10, \\u0000, an order of keys",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a JSON, b JSON, c JSON, d JSON);"
        """INSERT INTO t VALUES (1, '{"a":1,"a":2}', '{"a": 1.10}', '{"a":"\\u0000"}', '{"b": 1, "a": 2}'), (2, '[]', '[1]', '{}', '{"a": 1}')""",
    ),
    "f35": Case(
        "F35", "UUIDs in capitals, without hyphens, as bytes",
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, a UUID, b UUID, c GUID); INSERT INTO t VALUES (1, '{UUID}1', upper('{UUID}a'), x'000102030405060708090a0b0c0d0e0f')",
    ),
    "f40": Case(
        "F40", "STRICT, WITHOUT ROWID, ANY, a key that is the rowid",
        """CREATE TABLE s (id INTEGER PRIMARY KEY, a INT, b REAL, c TEXT, d BLOB) STRICT; INSERT INTO s VALUES (1, 2, 3.5, 'x', x'00');
        CREATE TABLE w (a TEXT, b INTEGER, c TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID; INSERT INTO w VALUES ('a', 1, 'x'), ('a', 2, 'y');
        CREATE TABLE sw (k TEXT PRIMARY KEY, v ANY) STRICT, WITHOUT ROWID; INSERT INTO sw VALUES ('a', '007'), ('b', 'x')""",
    ),
    "f40_keyless": Case(
        "F40", "a table without a key", "CREATE TABLE t (a TEXT, b INTEGER); INSERT INTO t VALUES ('x', 1), ('x', 1), (NULL, NULL)", "choice",
        '[tables.t]\nreplica_identity = "full"', code="R8",
    ),
    "f41": Case(
        "F41", "a trigger", T.format("INTEGER") + "CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET c = 9 WHERE id = new.id; END; INSERT INTO t VALUES (1, 1)",
        "choice", '[sqlite]\nleave_behind = ["g"]',
    ),
    "f41_view": Case(
        "F41", "a plain view", T.format("INTEGER") + "INSERT INTO t VALUES (1, 5), (2, 6); CREATE VIEW v AS SELECT id, c FROM t WHERE c > 5",
    ),
    "f41_check": Case(
        "F41", "CHECKs", "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER CHECK (a BETWEEN 1 AND 9), b TEXT CHECK (b IN ('x', 'y') OR b IS NULL));"
        "INSERT INTO t VALUES (1, 1, 'x'), (2, NULL, NULL)",
    ),
    "f42": Case("F42", "a row of 8 MB", T.format("BLOB") + "INSERT INTO t VALUES (1, randomblob(8000000)), (2, zeroblob(10))"),
    "f42_wide": Case(
        "F42", "1,700 columns", _wide(1700), "refused", why="a table in PostgreSQL has 1,600 columns at most",
    ),
    "f43": Case(
        "F43", "numbers in the file's header",
        "PRAGMA page_size = 8192; PRAGMA auto_vacuum = 1; PRAGMA user_version = 77; PRAGMA application_id = 12345; " + T.format("TEXT") + "INSERT INTO t VALUES (1, 'x')",
    ),
    "f43_utf16": Case("F43", "a file in UTF-16", "PRAGMA encoding = 'UTF-16le'; " + T.format("TEXT") + "INSERT INTO t VALUES (1, 'grüße 🎉')"),
    "f44": Case("F44", "an index over the application's function", _foreign_function, "choice"),
    "f44_collation": Case("F44", "an index in the application's collation", _foreign_collation, "choice"),
}
