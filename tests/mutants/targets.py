"""The target, the fallback and the certificate: what changed meanwhile, and what must be said."""

from __future__ import annotations

import json
from collections.abc import Callable

import apsw

from mutants import Mutant, Place, always, demand, no_findings, nothing
from mutants.carried import rows_that_somebody_wrote_meanwhile
from mutants.certified import _said_equal
from mutants.move import Move
from mutants.told import both, swap, trips_in
from trips import findings
from turnback.adapters.postgres.side import PostgresServer
from turnback.adapters.sqlite import promote
from turnback.adapters.sqlite.census import Census
from turnback.adapters.sqlite.side import SqliteFiles
from turnback.app import certify, watch_after
from turnback.core.certificate import TableCensus
from turnback.core.phases import Intent, Phase
from turnback.entrypoints import verifying
from turnback.errors import TurnbackError

VIEW = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 6), (2, 9);"
    "CREATE VIEW big AS SELECT id FROM t WHERE n > 5"
)


def refused(act: Callable[[], object]) -> TurnbackError | None:
    try:
        act()
    except TurnbackError as e:
        return e
    return None


def a_target_that_was_altered_after_assess(place: Place) -> None:
    """The numbers would fit the text column, and come back from it as what somebody then writes there."""
    with trips_in(place) as trip:
        t = trip(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 5)",
            postgres="CREATE TABLE t (id bigint PRIMARY KEY, n bigint)",
        )
        assert t.assess().plan is not None
        t.write("ALTER TABLE t ALTER n TYPE text")
        error = refused(lambda: t.run(Intent.MIGRATE))
        demand(error is not None, "migrated into a schema that the plan does not know")
        assert "is text, the plan says bigint" in str(error)


def a_change_that_only_the_full_comparison_sees(place: Place) -> None:
    """Of a row that PostgreSQL did not change: the gate does not look at it, the comparison after it does."""
    with Move(place) as move:
        move.to_postgres()
        move.in_fallback("UPDATE person SET name = 'sabotage' WHERE id = 7")
        error = move.attempt(Intent.ROLLBACK)
        demand(error is not None, "a rollback says that all is well, and a row differs")
        assert "person (7)" in str(error)


def a_rebuild_whose_foreign_key_breaks(place: Place) -> None:
    """A superuser's orphan: SQLite's own check would find it in the file that is switched to."""
    with trips_in(place) as trip:
        t = trip(
            "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);"
            "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1)"
        )
        t.there()
        with t.database.connect() as session:
            session.execute("SET session_replication_role = replica")
            session.execute("INSERT INTO c VALUES (2, 99)")
        error = refused(lambda: t.run(Intent.REBUILD))
        demand(error is not None, "a fallback that breaks its own foreign key is put in place")
        assert "row 2 of c refers to no row of p" in str(error)


def a_fallback_that_lost_an_index(place: Place) -> None:
    proper = promote.drop_fence

    def drop(connection: apsw.Connection) -> None:
        proper(connection)
        connection.execute("DROP INDEX by_n")

    place.patch.setattr(promote, "drop_fence", drop)
    with trips_in(place) as trip:
        t = trip("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); CREATE INDEX by_n ON t (n)")
        t.migrate()
        error = refused(lambda: t.run(Intent.CUTOVER))
        demand(error is not None, "the cutover goes on with a fallback that lacks an index")
        assert "its schema differs from the original's" in str(error) and t.phase is Phase.MIGRATED


def a_certificate_of_a_part(place: Place) -> None:
    with trips_in(place) as trip:
        t = trip(
            "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE cache (id INTEGER PRIMARY KEY)",
            settle="[tables.cache]\nexclude = true",
        )
        t.migrate()
        (path,) = t.setup.certificates_folder.glob("*.json")
        said = [entry["what"] for entry in json.loads(path.read_text())["not_compared"]]
        demand("sqlite cache" in said, f"a table that was left out is not named: {said}")


def a_parent_in_another_spelling(place: Place) -> None:
    """NOCASE makes it a parent in SQLite; in PostgreSQL the row is an orphan."""
    with trips_in(place) as trip:
        t = trip(
            "CREATE TABLE p (k TEXT COLLATE NOCASE PRIMARY KEY);"
            "CREATE TABLE c (id INTEGER PRIMARY KEY, p TEXT COLLATE NOCASE REFERENCES p);"
            "INSERT INTO p VALUES ('Key'); INSERT INTO c VALUES (1, 'Key'), (2, 'KEY')",
            postgres="CREATE TABLE p (k text PRIMARY KEY); CREATE TABLE c (id bigint PRIMARY KEY, p text REFERENCES p)",
        )
        said = [(f.count, f.keys) for f in findings(t.assess(), "F28")]
        demand(said == [(1, ("id=2",))], f"an orphan is not named: {said}")


def a_view_that_somebody_replaced(place: Place) -> None:
    with trips_in(place) as trip:
        t = trip(VIEW)
        t.migrate()
        assert t.proven_equal()
        with t.database.connect() as session:
            session.execute("CREATE OR REPLACE VIEW public.big AS SELECT id FROM t WHERE n > 7")
        demand(not t.proven_equal(), "verify says equal, and a view gives other rows")


def _by_collation(place: Place) -> None:
    proper = Census._counted
    place.patch.setattr(
        Census, "_counted", lambda c, table, where: proper(c, table, where.replace(" COLLATE BINARY", ""))
    )


MUTANTS = {
    "the target since assess": Mutant(
        "nobody compares its columns with the plan",
        swap(PostgresServer, "schema_differences", no_findings),
        a_target_that_was_altered_after_assess,
        "migrated into a schema that the plan does not know",
    ),
    "F36: rows in the target": Mutant(
        "nobody looks whether it is empty",
        swap(PostgresServer, "occupied", no_findings),
        rows_that_somebody_wrote_meanwhile,
        "somebody's rows are deleted",
    ),
    "the comparison after the switch": Mutant(
        "what it finds is not heeded, nor what the certificate counts",
        both(_said_equal(watch_after), swap(TableCensus, "equal", property(always))),
        a_change_that_only_the_full_comparison_sees,
        "a rollback says that all is well, and a row differs",
    ),
    "R12: the new fallback's own checks": Mutant(
        "they are left out",
        swap(SqliteFiles, "integrity", no_findings),
        a_rebuild_whose_foreign_key_breaks,
        "a fallback that breaks its own foreign key is put in place",
    ),
    "F43: the fallback's schema": Mutant(
        "nobody compares it with the original's",
        swap(promote, "_demand_equal", nothing),
        a_fallback_that_lost_an_index,
        "the cutover goes on with a fallback that lacks an index",
    ),
    "certificate: what it leaves out": Mutant(
        "it does not say so",
        swap(certify, "left_out", no_findings),
        a_certificate_of_a_part,
        "a table that was left out is not named",
    ),
    "F28: parents in another spelling": Mutant(
        "the file's collation decides who is a parent",
        _by_collation,
        a_parent_in_another_spelling,
        "an orphan is not named",
    ),
    "verify: what both sides compute": Mutant(
        "it is not compared",
        swap(verifying, "prove_generated", no_findings),
        a_view_that_somebody_replaced,
        "verify says equal, and a view gives other rows",
    ),
}

# No test of the suite has these.
SCENARIOS = [
    a_target_that_was_altered_after_assess,
    a_change_that_only_the_full_comparison_sees,
    a_rebuild_whose_foreign_key_breaks,
    a_fallback_that_lost_an_index,
    a_certificate_of_a_part,
    a_parent_in_another_spelling,
    a_view_that_somebody_replaced,
]
