"""What proves: comparisons, certificates, the sample, rebuilds, sequences, constraints, the end of a move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

import psycopg
import test_back
import test_certificate
import test_digest
import test_existing_structure
import test_fallback_rebuild
import test_generated_columns
import test_sample
import test_suspension
import test_verify
import test_views
import test_virtual_tables

from mutants import Mutant, Place, always, demand, no_findings, nothing
from mutants.move import Move
from mutants.told import Made, both, swap, told_by, trips_in
from turnback.adapters.postgres import constraints, sequences
from turnback.adapters.postgres.load import Loader
from turnback.adapters.postgres.side import PostgresServer
from turnback.adapters.sqlite import rebuilds
from turnback.adapters.sqlite import side as sqlite_side
from turnback.adapters.sqlite.side import SqliteFiles
from turnback.app import certify, sample, steps_migrate, steps_rebuild
from turnback.core import ddl, digest
from turnback.core.certificate import TableCensus
from turnback.core.codecs import codec_for
from turnback.core.equality import RowEquality
from turnback.core.lsn import Lsn
from turnback.core.phases import Intent, Phase
from turnback.entrypoints import certificates
from turnback.errors import NeedsChoice, ProofFailed

# ---- scenarios that no other test has ------------------------------------------------------------


def a_view_that_gives_other_rows(place: Place) -> None:
    """PostgreSQL's view is not what SQLite's means: migrate does not end with it."""
    proper = ddl.build_constraints
    place.patch.setattr(
        ddl, "build_constraints", lambda plan: [s.replace("> 5", "> 7") for s in proper(plan)]
    )
    with trips_in(place) as trip:
        t = trip(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 6), (2, 9);"
            "CREATE VIEW big AS SELECT id FROM t WHERE n > 5"
        )
        error = None
        try:
            t.migrate()
        except ProofFailed as e:
            error = e
        demand(error is not None, "migrated, and the view has other rows")
        assert "big" in str(error) and t.phase is not Phase.MIGRATED


def rows_that_came_to_a_seeded_table(place: Place) -> None:
    """Between assess and migrate somebody began to use what was to be cleared."""
    with trips_in(place) as trip:
        t = trip(
            test_existing_structure.UNSEEDED,
            postgres=test_existing_structure.SEEDED,
            settle=test_existing_structure.CLEAR,
        )
        assert t.assess().plan is not None
        t.write("INSERT INTO permission VALUES (3, 1, 'somebody is using it')")
        with suppress(NeedsChoice):
            t.run(Intent.MIGRATE)
        there = t.in_postgres("SELECT count(*) FROM permission WHERE code = 'somebody is using it'")
        demand(there == [(1,)], "a row that nobody was asked about is deleted")


def a_write_while_the_fallback_is_rebuilt(place: Place) -> None:
    """Behind the snapshot that the rebuild compares with: the stream has to bring it."""
    with trips_in(place) as trip:
        t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY, c TEXT); INSERT INTO t VALUES (1, 'a')")
        t.there()
        proper = steps_rebuild.correct

        def correct(*arguments: Any) -> Any:
            t.write("INSERT INTO t VALUES (2, 'meanwhile')")
            return proper(*arguments)

        place.patch.setattr(steps_rebuild, "correct", correct)
        t.run(Intent.REBUILD)
        error = None
        try:
            t.back()
        except ProofFailed as e:  # the comparison behind the switch
            error = e
        there = t.in_sqlite("SELECT id FROM t")
        demand((2,) in there, f"a row is lost on the way back: {error}")
        assert error is None and there == [(1,), (2,)]


def a_certificate_that_was_changed(place: Place) -> None:
    with trips_in(place) as trip:
        t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
        t.migrate()
        (path,) = t.setup.certificates_folder.glob("*.json")
        assert certificates.check(path)["verdict"] == "equal"
        path.write_text(path.read_text().replace('"rows_postgres": 1', '"rows_postgres": 2'))
        refused = False
        try:
            certificates.check(path)
        except ProofFailed as e:
            refused = "seal is broken" in str(e)
        demand(refused, "a changed certificate is shown as if it held")


# ---- what is taken out ---------------------------------------------------------------------------


def _said_equal(module: Any, name: str = "compare") -> Any:
    """The comparison is made, and what it found is not heeded."""

    def remove(place: Place) -> None:
        proper = getattr(module, name)
        place.patch.setattr(module, name, lambda *a, **k: replace(proper(*a, **k), equal=True))

    return remove


def _nothing_corrected(*_: object) -> dict[str, int]:
    return {}


def _position_of_the_end(place: Place) -> None:
    proper = SqliteFiles.finish_rebuild
    dsn = place.database.admin_dsn

    def finish(files: SqliteFiles, plan: Any, up_to: Any) -> None:
        with psycopg.connect(dsn) as session:
            (now,) = session.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()  # type: ignore[misc]
        proper(files, plan, Lsn(int(now)))

    place.patch.setattr(SqliteFiles, "finish_rebuild", finish)


def _any_number_of_seeds(place: Place) -> None:
    proper = Loader.clear_seed_rows

    def clear(loader: Loader) -> dict[str, int]:
        plan = loader._plan
        loader._plan = replace(plan, tables=tuple(replace(t, seed_rows=10**9) for t in plan.tables))
        try:
            return proper(loader)
        finally:
            loader._plan = plan

    place.patch.setattr(Loader, "clear_seed_rows", clear)


def _rows_without_constants(place: Place) -> None:
    proper = Loader._copy_in
    place.patch.setattr(
        Loader,
        "_copy_in",
        lambda loader, table, rows: proper(loader, replace(table, postgres_constants=()), rows),
    )


def _only_owned_sequences(place: Place) -> None:
    proper = sequences.find_sequences
    place.patch.setattr(sequences, "find_sequences", lambda c, plan: proper(c, replace(plan, sequences=())))


def _no_triggers_back(place: Place) -> None:
    proper = constraints.restore
    place.patch.setattr(constraints, "restore", lambda c, former: proper(c, replace(former, triggers=())))


def _by_the_codec(place: Place) -> None:
    """The sample asks the codec that it is there to judge."""

    def same(column: Any, value: Any, found: Any) -> bool | None:
        if value is None or found is None:
            return value is None and found is None
        codec = codec_for(column)
        return codec.decode(codec.encode(value)) == value

    place.patch.setattr(sample, "same", same)


MOVE = Made(Move)
SAMPLED = Made(lambda p: nullcontext(test_sample.Sides(p.folder, p.database)))
COMPARED = Made(lambda p: closing(test_verify.Sides(p.folder, p.database)))


@contextmanager
def _loader(place: Place) -> Iterator[Loader]:
    with closing(Loader(place.database.app_dsn, test_suspension.PLAN, run_token="run")) as loader:
        loader.prepare([])
        yield loader


@contextmanager
def _suspended(place: Place) -> Iterator[psycopg.Connection]:
    session = place.database.connect()
    session.execute(test_suspension.SCHEMA)
    yield session


SESSION = Made(_suspended)
SUSPENDED = {"dsn": Made(lambda p: nullcontext(p.database.app_dsn)), "loader": Made(_loader)}

MUTANTS = {
    "the proof of views": Mutant(
        "what both sides compute is compared, and what it finds is not heeded",
        swap(steps_migrate, "prove_generated", no_findings),
        a_view_that_gives_other_rows,
        "migrated, and the view has other rows",
    ),
    "F32: generated columns": Mutant(
        "they count as equal whatever both sides compute",
        _said_equal(certify),
        told_by(test_generated_columns.test_f32_a_generated_value_that_differs_is_found),
        r"assert \(not True\)",
    ),
    "F41: views": Mutant(
        "they count as equal whatever both sides give",
        _said_equal(certify),
        told_by(test_views.test_f41_a_view_that_gives_other_rows_is_found),
        r"assert \(not True\)",
    ),
    "F36: seed rows of assess": Mutant(
        "what is there counts as what assess saw",
        both(_any_number_of_seeds, swap(PostgresServer, "occupied", no_findings)),
        rows_that_came_to_a_seeded_table,
        "a row that nobody was asked about is deleted",
    ),
    "F36: seed rows counted again": Mutant(
        "the loader deletes without counting",
        _any_number_of_seeds,
        told_by(
            test_existing_structure.test_clearing_seed_rows_is_one_transaction_with_constraints_proven,
            app=False,
        ),
        "DID NOT RAISE NeedsChoice",
    ),
    "F36: what refers to seed rows": Mutant(
        "nobody proves the foreign keys of other tables",
        swap(constraints, "prove", nothing),
        told_by(
            test_existing_structure.test_clearing_seed_rows_is_one_transaction_with_constraints_proven,
            app=False,
        ),
        "DID NOT RAISE ProofFailed",
    ),
    "F37: PostgreSQL's constants": Mutant(
        "columns that SQLite lacks are left out of the load",
        _rows_without_constants,
        told_by(test_existing_structure.test_f37_a_constant_for_a_column_that_sqlite_lacks),
        'null value in column "tenant"',
    ),
    "F24: sequences that no column owns": Mutant(
        "only those that PostgreSQL itself knows are set",
        _only_owned_sequences,
        told_by(test_existing_structure.test_f24_a_sequence_that_no_column_owns),
        "no sequence stands behind t.at",
    ),
    "F22: the next id": Mutant(
        "sequences stay where they were made",
        both(swap(sequences, "set_sequences", no_findings), swap(sequences, "check_sequences", nothing)),
        told_by(
            test_existing_structure.test_f24_f25_sequences_behind_columns_are_found_without_being_told,
            made="CREATE TABLE t (id bigserial PRIMARY KEY, at bigint NOT NULL)",
        ),
        "duplicate key value",
    ),
    "R16: ids handed out": Mutant(
        "sqlite_sequence stays as the rows left it",
        swap(sqlite_side.switching, "set_sqlite_sequence", nothing),
        told_by(test_back.test_r16_no_id_is_given_twice, mode="create"),
        r"\(7,\)\] == \[\(8,\)",
    ),
    "R18: turnback's own objects": Mutant(
        "they stay in the file that is switched to",
        swap(sqlite_side.switching, "remove_turnback_objects", nothing),
        told_by(
            test_back.test_r18_turnbacks_own_objects_are_in_its_schema_and_gone_from_the_file, mode="create"
        ),
        "AssertionError: schema",
    ),
    "suspended triggers": Mutant(
        "they stay off behind the load",
        _no_triggers_back,
        told_by(
            test_suspension.test_tables_that_refer_to_each_other_load_in_any_order,
            session=SESSION,
            **SUSPENDED,
        ),
        "are not what they were before the load",
    ),
    "F28: the foreign keys of what was loaded": Mutant(
        "a constraint that PostgreSQL did not look at is taken for true",
        swap(constraints, "prove", nothing),
        told_by(test_suspension.test_a_half_key_breaks_match_full, session=SESSION),
        "DID NOT RAISE ProofFailed",
    ),
    "R17: the rebuild of virtual tables": Mutant(
        "it is left out",
        swap(sqlite_side, "rebuild_virtual", lambda *_, **__: {}),
        told_by(
            test_virtual_tables.test_r17_a_row_written_on_postgresql_is_found_by_match_after_the_way_back
        ),
        r"\[\] == \[3\]",
    ),
    "R17: a rebuild that fails": Mutant(
        "the switch goes on, and only behind it validation finds that the table is missing",
        swap(rebuilds, "_rebuild", lambda *_: ""),
        told_by(test_virtual_tables.test_r17_a_rebuild_that_fails_stops_before_the_switch),
        "CheckFailed: the application on sqlite is up and fails its validation: .*without found",
    ),
    "R13: what a rebuild corrects": Mutant(
        "nothing, and its proof has to refuse",
        swap(steps_rebuild, "correct", _nothing_corrected),
        told_by(test_fallback_rebuild.test_r13_changed_content_is_found_by_verify_and_rebuilt),
        "ProofFailed: 4 rows differ",
    ),
    "R13: the proof of a rebuild": Mutant(
        "nothing is corrected, and the sides count as equal",
        both(swap(steps_rebuild, "correct", _nothing_corrected), _said_equal(steps_rebuild)),
        told_by(test_fallback_rebuild.test_r13_changed_content_is_found_by_verify_and_rebuilt),
        "assert False",
    ),
    "R12: the schema before a rebuild": Mutant(
        "nobody compares it with the one of the cutover",
        swap(steps_rebuild._Rebuild, "_demand_catalogue", nothing),
        told_by(test_fallback_rebuild.test_a_rebuild_after_schema_drift_is_refused_and_the_slot_stays),
        "DID NOT RAISE NotReady",
    ),
    "R12: the position of a rebuild": Mutant(
        "the rebuilt fallback counts as current at the end of the rebuild",
        _position_of_the_end,
        a_write_while_the_fallback_is_rebuilt,
        r"a row is lost on the way back: 1 rows differ; the first: t \(2\) missing in sqlite",
    ),
    "law 1: the round trip": Mutant(
        "a comparison looks at PostgreSQL's terms alone",
        swap(RowEquality, "_exactly", lambda *_: b""),
        told_by(test_verify.test_a_codec_that_merges_values_is_found_by_the_round_trip_alone, sides=COMPARED),
        r"assert \(\) ==",
    ),
    "digests: how many rows": Mutant(
        "a chunk is the sum of its rows without their number",
        swap(digest.TableDigest, "_value", lambda d, chunk: d._chunks.get(chunk, (0, 0))[1] % 2),
        told_by(
            test_verify.test_nothing_is_too_small_to_be_seen,
            sides=COMPARED,
            change="INSERT INTO loose VALUES (NULL, NULL)",
        ),
        "assert not True",
    ),
    "digests: storage classes": Mutant(
        "1, 1.0 and '1' are one value",
        swap(test_digest, "exact", lambda values: repr([str(v) for v in values]).encode()),
        told_by(test_digest.test_exact_tells_storage_classes_and_signs_apart),
        "assert 9 == 10",
    ),
    "certificate: without a comparison": Mutant(
        "what was not compared is called equal",
        swap(certify, "verdict", lambda **_: "equal"),
        told_by(test_certificate.test_where_the_state_of_the_switch_cannot_be_held_it_does_not_say_equal),
        "'equal', False",
    ),
    "certificate: values in SQLite's terms": Mutant(
        "equal in PostgreSQL's terms is equal",
        swap(TableCensus, "equal", property(always)),
        told_by(
            test_certificate.test_a_rollback_names_values_that_are_equal_in_postgresql_terms_alone, move=MOVE
        ),
        "'equal' == 'different'",
    ),
    "certificate: the file's own checks": Mutant(
        "the file's foreign keys are not checked",
        swap(SqliteFiles, "integrity", no_findings),
        told_by(
            test_certificate.test_a_foreign_key_that_breaks_is_no_equal_certificate_though_the_rows_are,
            move=MOVE,
        ),
        r"assert \(True and not True\)",
    ),
    "certificate: the seal": Mutant(
        "any certificate will do",
        swap(certificates, "seal_holds", always),
        a_certificate_that_was_changed,
        "a changed certificate is shown as if it held",
    ),
    "certificate: the state of the switch": Mutant(
        "a file without WAL is not held",
        swap(SqliteFiles, "hold_copy", lambda *_: False),
        told_by(test_certificate.test_a_file_without_wal_is_compared_by_a_copy_of_the_switch_s_state),
        "'not compared' == 'equal'",
    ),
    "the sample's independence": Mutant(
        "it asks the codecs",
        _by_the_codec,
        told_by(
            test_sample.test_a_codec_that_is_wrong_in_both_directions_passes_full_and_is_found_by_the_sample
        ),
        "assert not True",
    ),
    "the sample's comparison": Mutant(
        "every value is the same",
        swap(sample, "same", always),
        told_by(
            test_sample.test_what_differs_is_named,
            sides=SAMPLED,
            change="UPDATE keyed SET name = name || ' ' WHERE id = 9",
            headline="keyed (9) differs in name",
        ),
        r"assert \(not True",
    ),
}

# Where a cheaper mutant guards the same end.
LONG = {
    "R13: what a rebuild corrects",
    "R12: the schema before a rebuild",
    "R17: a rebuild that fails",
    "R18: turnback's own objects",
    "F22: the next id",
    "certificate: the state of the switch",
    "certificate: the file's own checks",
    "certificate: values in SQLite's terms",
}

# No test of the suite has these.
SCENARIOS = [
    a_view_that_gives_other_rows,
    rows_that_came_to_a_seeded_table,
    a_write_while_the_fallback_is_rebuilt,
    a_certificate_that_was_changed,
]
