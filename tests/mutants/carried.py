"""More of what keeps values and rows: refusals of single codecs, keys, undo, snapshots, the gate's reach."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import test_apply_rows
import test_assess_create
import test_certificate
import test_codec_laws_numbers
import test_codec_laws_time
import test_codecs_values
import test_extensions
import test_forward
import test_server_trial

from mutants import Mutant, Place, always, demand, no_findings, nothing
from mutants.capture import _write_all
from mutants.certified import MOVE
from mutants.told import Made, swap, told_by, trips_in
from mutants.values import ORACLE
from trips import same
from turnback.adapters.postgres import trial_subject
from turnback.adapters.sqlite import promote, snapshot
from turnback.adapters.sqlite.fallback import Fallback
from turnback.adapters.sqlite.side import SqliteFiles
from turnback.app import recheck, steps_migrate
from turnback.core.codecs import array, interval, real
from turnback.core.codecs.affine import Affine
from turnback.core.codecs.decimal_text import DecimalText
from turnback.core.mapping import indexes as mapping_indexes
from turnback.core.phases import Intent, Phase
from turnback.errors import CannotCarry, NeedsChoice, NotReady, ProofFailed

# ---- scenarios that no other test has ------------------------------------------------------------


def a_table_that_somebody_made_meanwhile(place: Place) -> None:
    """Migrate finds it and stops; its undo must not take away what it has not made."""
    with trips_in(place) as trip:
        t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
        assert t.assess().plan is not None
        t.write("CREATE TABLE t (id bigint PRIMARY KEY, theirs text); INSERT INTO t VALUES (7, 'kept')")
        with suppress(NeedsChoice):
            t.run(Intent.MIGRATE)
        there = t.in_postgres("SELECT to_regclass('public.t') IS NOT NULL")
        demand(there == [(True,)], "somebody's table is dropped")
        assert t.in_postgres("SELECT * FROM t") == [(7, "kept")]


def rows_that_somebody_wrote_meanwhile(place: Place) -> None:
    """The same in mode existing: their rows."""
    with trips_in(place) as trip:
        t = trip(
            "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)",
            postgres="CREATE TABLE t (id bigint PRIMARY KEY)",
        )
        assert t.assess().plan is not None
        t.write("INSERT INTO t VALUES (7)")
        with suppress(NeedsChoice, ProofFailed):
            t.run(Intent.MIGRATE)
        demand(t.in_postgres("SELECT id FROM t") == [(7,)], "somebody's rows are deleted")


def a_column_that_came_after_assess(place: Place) -> None:
    """The plan does not know it: its values would be nowhere in PostgreSQL."""
    with trips_in(place) as trip:
        t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
        assert t.assess().plan is not None
        with closing(apsw.Connection(os.fspath(t.path))) as file:
            file.execute("ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'from now on'")
        refused = False
        try:
            t.run(Intent.MIGRATE)
        except NotReady:
            refused = True
        demand(refused, "migrated without a column of the file")


def a_table_without_a_key_that_differs(place: Place) -> None:
    """Of its changed rows no key can be told: the gate compares it whole, before the switch."""
    with trips_in(place) as trip:
        t = trip(
            "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x'), ('x'), ('y')",
            settle='[tables.t]\nreplica_identity = "full"',
        )
        t.there()
        t.write("INSERT INTO t VALUES ('z')")
        capture = t.capture()
        token = "here"
        with t.database.connect() as session:
            session.execute("SELECT pg_logical_emit_message(true, 'turnback', %s)", (token,))
            (position,) = session.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        assert capture.wait_for(token, 0, 20), position
        with closing(apsw.Connection(os.fspath(t.setup.sqlite.fallback))) as file:
            file.set_busy_timeout(5000)
            file.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
            file.execute("UPDATE t SET a = 'sabotage' WHERE a = 'y'")
        stopped = False
        try:
            t.back()
        except ProofFailed:
            stopped = t.phase is Phase.ON_POSTGRES
        demand(stopped, "switched to a file that differs")


def values_that_postgresql_writes_once_more(place: Place) -> None:
    """Every row comes over the stream and none has changed: the file stays as it was, byte for byte."""
    with trips_in(place) as trip:
        t = trip(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, u UUID, doc JSON, flag BOOLEAN, note TEXT);"
            "INSERT INTO t VALUES (1, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{\"b\":  1, \"a\":2}', 'TRUE', 'x'),"
            " (2, 'b0eebc999c0b4ef8bb6d6bb9bd380a11', '[1 ]', 0, NULL)",
            settle='[tables.t.columns]\nu = { codec = "uuid_text", respell = true }\n'
            'doc = { pg_type = "jsonb", respell = true }\nflag = { codec = "boolean", respell = true }',
        )
        t.there()
        t.touch_every_row()
        t.back()
        try:
            same(t.before, t.image())
        except AssertionError as e:
            demand(False, f"the file has other spellings: {e}")


# ---- what is taken out ---------------------------------------------------------------------------


def _lenient(proper: Callable[..., Any], otherwise: Any) -> Callable[..., Any]:
    def taken(*arguments: Any) -> Any:
        try:
            return proper(*arguments)
        except CannotCarry:
            return otherwise

    return taken


def _triggers_on(place: Place) -> None:
    proper = Fallback._prepare

    def prepare(fallback: Fallback) -> None:
        proper(fallback)
        fallback._connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)

    place.patch.setattr(Fallback, "_prepare", prepare)


def _clear_whatever_is_there(place: Place) -> None:
    proper = steps_migrate._Migrate.clear_target

    def clear(migrate: Any) -> None:
        migrate.run.notes.pop("foreign_target", None)
        proper(migrate)

    place.patch.setattr(steps_migrate._Migrate, "clear_target", clear)


def _no_extensions(place: Place) -> None:
    place.patch.setattr(
        SqliteFiles,
        "_fallback",
        lambda files, path, plan: Fallback(path, plan, busy_seconds=files.busy_seconds),
    )


@contextmanager
def _library(place: Place) -> Iterator[Path]:
    class Folders:
        def mktemp(self, name: str) -> Path:
            (place.folder / name).mkdir()
            return place.folder / name

    yield inspect.unwrap(test_extensions.library)(Folders())


LIBRARY = Made(_library)

MUTANTS = {
    "undo: a table of somebody": Mutant(
        "what is in the way is cleared as if this run had made it",
        _clear_whatever_is_there,
        a_table_that_somebody_made_meanwhile,
        "somebody's table is dropped",
    ),
    "undo: rows of somebody": Mutant(
        "what is in the way is cleared as if this run had made it",
        _clear_whatever_is_there,
        rows_that_somebody_wrote_meanwhile,
        "somebody's rows are deleted",
    ),
    "the file's schema since assess": Mutant(
        "nobody compares it",
        swap(steps_migrate, "refuse_changed_schema", nothing),
        a_column_that_came_after_assess,
        "migrated without a column of the file",
    ),
    "gate: tables without a key": Mutant(
        "those that changed are passed over",
        swap(SqliteFiles, "touched_whole", no_findings),
        a_table_without_a_key_that_differs,
        "switched to a file that differs",
    ),
    "verify: what still differs": Mutant(
        "what differs in the first look is taken for a row under way",
        swap(recheck, "_still", no_findings),
        told_by(test_certificate.test_a_fallback_that_differs_gets_a_certificate_that_says_so, move=MOVE),
        "assert \\(not True",
    ),
    "law 2: over the stream": Mutant(
        "an update writes every column that it was sent",
        _write_all,
        values_that_postgresql_writes_once_more,
        "the file has other spellings",
    ),
    "F44: the fallback's extensions": Mutant(
        "the fallback is opened without them",
        _no_extensions,
        told_by(
            test_extensions.test_f44_with_the_extension_loaded_all_of_it_goes_there_and_back, library=LIBRARY
        ),
        "unknown function: weight",
    ),
    "affine: another spelling": Mutant(
        "'007' is read as the number that SQLite would make of it",
        swap(Affine, "decode", lambda codec, text: float(text) if "." in text else int(text)),
        told_by(
            test_codecs_values.test_what_sqlite_cannot_hold_is_refused_but_still_has_a_canonical_form,
            plan=test_codecs_values.column("affine", affinity="NUMERIC"),
            text="007",
        ),
        "DID NOT RAISE CannotCarry",
    ),
    "array: NULL elements": Mutant(
        "they are texts",
        swap(array, "_elements", lambda text: text.strip("{}").split(",")),
        told_by(
            test_codecs_values.test_what_sqlite_cannot_hold_is_refused_but_still_has_a_canonical_form,
            plan=test_codecs_values.column("array", "text[]", separator="json"),
            text="{a,NULL}",
        ),
        "DID NOT RAISE CannotCarry",
    ),
    "interval: months": Mutant(
        "what has no length counts as none",
        swap(interval, "_length", _lenient(interval._length, 0)),
        told_by(
            test_codec_laws_time.test_r5_an_interval_without_months_is_carried_and_with_them_refused,
            oracle=ORACLE,
        ),
        "assert 4 == 0",
    ),
    "float4: more digits": Mutant(
        "every double fits",
        swap(real, "_in_single", always),
        told_by(
            test_codec_laws_numbers.test_f14_six_digits_always_fit_single_precision_and_more_are_refused,
            oracle=ORACLE,
        ),
        "out of range for type real",
    ),
    "decimal_text: what the type holds": Mutant(
        "the type's digits are not counted",
        swap(DecimalText, "_fit", nothing),
        told_by(
            test_codecs_values.test_a_value_that_would_not_come_back_is_refused_with_the_reason,
            plan=test_codecs_values.column("decimal_text", "numeric(10,2)", "TEXT"),
            value="1.1",
            reason="decimal places",
        ),
        "DID NOT RAISE CannotCarry",
    ),
    "F35: a key in two spellings": Mutant(
        "a key may be respelled",
        swap(mapping_indexes, "refuse_respelled", nothing),
        told_by(test_assess_create.test_a_key_has_one_spelling),
        "not enough values",
    ),
    "F31: types that hold more equal": Mutant(
        "the server is not asked about unique keys of such types",
        swap(trial_subject, "holds_apart", always),
        told_by(
            test_server_trial.test_f31_values_that_the_type_holds_equal_break_a_unique_key,
            type_name="numeric",
            values="'1.1', '1.10', '2'",
            keys=("id=1 and id=2",),
        ),
        "not enough values",
    ),
    "R9: the file's triggers": Mutant(
        "they fire for what capture writes",
        _triggers_on,
        told_by(test_apply_rows.test_triggers_of_the_file_do_not_fire_and_are_still_there),
        "\\(1,\\)\\] == \\[\\]",
    ),
    "F38: what is in the WAL": Mutant(
        "the file is copied as it lies on the disk",
        swap(snapshot, "_copy_pages", lambda origin, source, part: shutil.copyfile(source, part)),
        told_by(test_forward.test_f38_what_is_only_in_the_wal_is_moved, mode="create"),
        "'in the file',\\)\\] ==",
    ),
    "F43: the file's settings": Mutant(
        "the fallback goes to the path as it is",
        swap(promote, "_make_plain", nothing),
        told_by(test_forward.test_f43_the_file_that_comes_back_is_as_it_was),
        "AssertionError: schema",
    ),
}

LONG = {"F43: the file's settings", "F44: the fallback's extensions", "verify: what still differs"}

# No test of the suite has these.
SCENARIOS = [
    a_table_that_somebody_made_meanwhile,
    rows_that_somebody_wrote_meanwhile,
    a_column_that_came_after_assess,
    a_table_without_a_key_that_differs,
    values_that_postgresql_writes_once_more,
]
