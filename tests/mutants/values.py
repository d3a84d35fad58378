"""Values: the codecs' refusals, what they hold equal, what lands in SQLite, what assess says of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import test_apply_codecs
import test_apply_net
import test_apply_rows
import test_assess_existing
import test_assess_values_create
import test_assess_values_existing
import test_codec_laws_time
import test_codecs_values
import test_forward
import test_ledgers
import test_server_trial
import test_text_bytes
import test_virtual_tables
import test_written_later
from oracle import Oracle

from mutants import Mutant, Place, never, no_findings, nothing
from mutants.capture import _write_all
from mutants.told import Made, both, swap, told_by
from turnback.adapters.postgres import value_trial
from turnback.adapters.postgres.connect import connect
from turnback.adapters.postgres.value_trial import ServerTrial
from turnback.adapters.sqlite import apply, rebuilds, relation_map
from turnback.adapters.sqlite.apply import TableWriter
from turnback.adapters.sqlite.census import Census
from turnback.app import assess
from turnback.core.changes import Update
from turnback.core.codecs import text_bytes
from turnback.core.codecs.boolean import Boolean
from turnback.core.codecs.epochs import Epoch
from turnback.core.codecs.zones import ZoneClock
from turnback.core.mapping import ledgers as mapping_ledgers
from turnback.core.mapping import offers as mapping_offers
from turnback.core.mapping import virtual as mapping_virtual
from turnback.core.mapping.source import Source
from turnback.core.profile import Misfits
from turnback.core.rows import Unchanged


def _all_alike(place: Place) -> None:
    """Each number but 0 means true."""
    place.patch.setattr(Boolean, "encode", lambda codec, value: "t" if value else "f")


def _first_reading(clock: ZoneClock, local: datetime) -> datetime:
    return local.replace(tzinfo=clock._zone).astimezone(UTC).replace(tzinfo=None)


def _either_pass(clock: ZoneClock, utc: datetime) -> datetime:
    return utc.replace(tzinfo=UTC).astimezone(clock._zone).replace(tzinfo=None)


def _to_the_second(place: Place) -> None:
    proper = Epoch.decode

    def decode(codec: Epoch, text: str) -> Any:
        return proper(codec, text.partition(".")[0] + codec._zone)

    place.patch.setattr(Epoch, "decode", decode)


def _without_constants(place: Place) -> None:
    proper = TableWriter.__init__

    def init(writer: TableWriter, connection: Any, map: Any, **more: Any) -> None:
        proper(writer, connection, replace(map, table=replace(map.table, sqlite_constants=())), **more)

    place.patch.setattr(TableWriter, "__init__", init)


def _null_where_unsent(change: Update) -> tuple[str | None, ...]:
    return tuple(None if isinstance(v, Unchanged) else v for v in change.new)


def _keys_unsaid(place: Place) -> None:
    proper = assess.ValueTrial.misfits

    def misfits(*arguments: Any) -> Any:
        return {name: tuple(replace(m, keys=()) for m in found) for name, found in proper(*arguments).items()}

    place.patch.setattr(assess.ValueTrial, "misfits", misfits)


def _no_misfits(*_: object) -> Misfits:
    return Misfits()


def _trial_of_nothing(place: Place) -> None:
    def tried(path: object, plans: Any, *_: object, **__: object) -> Any:
        return {p.name: mapping_virtual.RebuildTrial("") for p in plans}

    import turnback.entrypoints.assessing as assessing

    place.patch.setattr(assessing, "try_rebuilds", tried)


CHECKED = {
    "rows": "(1, 'x', 5), (2, 'y', -1), (3, 'z', NULL)",
    "table": "(id bigint PRIMARY KEY, a text, n integer CONSTRAINT positive CHECK (n > 0))",
    "kind": "check",
    "count": 1,
    "keys": ("id=2",),
}


@contextmanager
def _oracle(place: Place) -> Iterator[Oracle]:
    with closing(connect(place.database.admin_dsn)) as connection:
        yield Oracle(connection)


ORACLE = Made(_oracle)
VALUES = Made(lambda p: nullcontext(test_assess_values_existing.Both(p.folder, p.database)))

MUTANTS = {
    "law 2: respelled values": Mutant(
        "an update writes every column that it was sent",
        _write_all,
        told_by(test_apply_codecs.test_r14_a_spelling_that_nobody_changed_stays),
        "'TRUE'",
    ),
    "R2: which columns are watched": Mutant(
        "no column's affinity is suspected",
        swap(apply, "is_watched", never),
        told_by(
            test_apply_rows.test_affinity_that_would_change_a_value_stops_capture_before_the_transaction,
            value="007",
        ),
        "DID NOT RAISE CannotCarry",
    ),
    "R2: which values are looked at": Mutant(
        "no value is suspected",
        swap(apply, "may_change", never),
        told_by(test_apply_rows.test_minus_zero_into_a_real_column),
        "DID NOT RAISE CannotCarry",
    ),
    "R2: the read-back": Mutant(
        "what landed is not read back",
        swap(TableWriter, "_verify", nothing),
        told_by(test_apply_net.test_affinity_is_checked_in_a_colliding_transaction_too),
        "DID NOT RAISE CannotCarry",
    ),
    "R2: said in assess": Mutant(
        "assess says of no column that capture may stop at it",
        swap(mapping_offers, "trap", lambda *_: ""),
        told_by(
            test_assess_values_create.test_r2_values_that_the_affinity_would_change_are_said_before_the_cutover,
            declared="STRING",
            value="'x'",
            says="'007'",
        ),
        "assert 0 == True",
    ),
    "text_bytes: every byte": Mutant(
        "bytes that are not valid become the replacement character",
        both(
            swap(text_bytes, "from_octets", lambda octets: octets.decode("utf-8", "replace")),
            swap(text_bytes, "octets", lambda text: text.encode("utf-8", "replace")),
        ),
        told_by(test_text_bytes.test_f8_f9_changes_write_exactly_these_bytes_as_text),
        "'changed'",
    ),
    "boolean: another number": Mutant(
        "each number but 0 is true",
        _all_alike,
        told_by(test_assess_values_create.test_f1_a_two_in_a_boolean_is_a_choice_with_its_key),
        "'respell = true'",
    ),
    "epoch: canonical of what is cut": Mutant(
        "moments within one unit count as different though SQLite cannot tell them apart",
        swap(Epoch, "canonical", lambda codec, text: text.encode()),
        told_by(test_codecs_values.test_one_sqlite_value_for_several_texts_means_one_canonical_form),
        r"00:00:00\.1239",
    ),
    "zones: a time that the clocks skip": Mutant(
        "it is taken for another moment, and nobody tries whether it comes back",
        both(swap(ZoneClock, "to_utc", _first_reading), swap(assess, "carries", nothing)),
        told_by(test_assess_values_existing.test_f7_a_time_that_the_clocks_skip_is_named, both=VALUES),
        "not enough values",
    ),
    "zones: the second pass": Mutant(
        "a time that the clocks show twice is written as if it were the first",
        swap(ZoneClock, "to_local", _either_pass),
        told_by(
            test_codec_laws_time.test_f7_a_time_that_a_zone_has_twice_means_the_first_and_the_second_is_refused,
            zone="Europe/Berlin",
            oracle=ORACLE,
        ),
        "2024-10-27 01:30:00",
    ),
    "law 1: each value tried": Mutant(
        "assess does not try whether a value comes back",
        swap(assess, "carries", nothing),
        told_by(
            test_assess_values_create.test_f6_impossible_dates_stay_text_and_are_named,
            declared="DATETIME",
            values="('2024-02-29 00:00:00'), ('2024-02-30 00:00:00')",
            keys=("id=2",),
        ),
        "'timestamp w",
    ),
    "F37: the file's constants": Mutant(
        "a column that PostgreSQL lacks gets whatever SQLite gives it",
        _without_constants,
        told_by(test_written_later.test_f37_a_column_that_postgresql_lacks_gets_its_constant_in_new_rows),
        "NOT NULL constraint failed: t.kind",
    ),
    "R6: values that were not sent": Mutant(
        "they count as NULL",
        swap(apply, "filled", _null_where_unsent),
        told_by(test_apply_rows.test_toasted_value_with_replica_identity_full),
        "None, 2",
    ),
    "R10: another type": Mutant(
        "the types that the stream names are not compared",
        swap(relation_map, "_TYPE_OIDS", {}),
        told_by(test_apply_codecs.test_r10_another_type_is_drift),
        "DID NOT RAISE NotReady",
    ),
    "F13: the server's trial": Mutant(
        "nobody asks the server what it would refuse",
        swap(ServerTrial, "findings", lambda *_: ()),
        told_by(
            test_server_trial.test_f13_what_the_servers_constraints_refuse_is_known_before_the_load, **CHECKED
        ),
        "not enough values",
    ),
    "F13: its questions": Mutant(
        "constraints are not tried",
        swap(value_trial, "_ask", no_findings),
        told_by(
            test_server_trial.test_f13_what_the_servers_constraints_refuse_is_known_before_the_load, **CHECKED
        ),
        "not enough values",
    ),
    "F20: the type's own word": Mutant(
        "values are not tried on the target's types",
        swap(value_trial, "_judge", no_findings),
        told_by(test_server_trial.test_f20_a_domain_refuses_values),
        "not enough values",
    ),
    "F28: orphans": Mutant(
        "nobody looks for rows without a parent",
        swap(Census, "orphans", _no_misfits),
        told_by(test_forward.test_f28_orphans_under_the_targets_constraint_stop),
        "not enough values",
    ),
    "F26: rows without a key": Mutant(
        "NULL in a primary key is passed over",
        swap(Source, "refuse_nulls", nothing),
        told_by(test_forward.test_f26_nulls_in_a_primary_key_stop, mode="create"),
        "Plan.* is None",
    ),
    "F28: duplicates": Mutant(
        "nobody looks for rows that only the target holds unique",
        swap(Census, "duplicates", _no_misfits),
        told_by(test_assess_existing.test_constraints_that_only_postgres_has_are_tried_on_the_rows),
        "not enough values",
    ),
    "findings: their keys": Mutant(
        "a finding does not say which rows",
        _keys_unsaid,
        told_by(test_assess_values_existing.test_f7_a_time_that_the_clocks_skip_is_named, both=VALUES),
        r"'refused', \(\)",
    ),
    "F36: ledgers": Mutant(
        "the migrations of both sides count as the same",
        swap(mapping_ledgers, "_compare", nothing),
        told_by(test_ledgers.test_f36_a_ledger_that_is_behind, framework="Django", behind="PostgreSQL"),
        "not enough values",
    ),
    "R17: the rebuild's trial": Mutant(
        "a rebuild is not tried on a copy",
        _trial_of_nothing,
        told_by(
            test_virtual_tables.test_r17_a_wrong_rebuild_is_found_on_a_copy_before_anything,
            statements='"DELETE FROM area"',
            says="2 of its rows (or indexed words) are missing and 0 are new",
        ),
        "Plan.* is None",
    ),
    "R17: what a rebuild's trial compares": Mutant(
        "whatever the rebuild leaves is taken for right",
        swap(rebuilds, "_differences", lambda *_: (0, 0)),
        told_by(
            test_virtual_tables.test_r17_a_wrong_rebuild_is_found_on_a_copy_before_anything,
            statements='"DELETE FROM area"',
            says="2 of its rows (or indexed words) are missing and 0 are new",
        ),
        "Plan.* is None",
    ),
    "R17: the virtual table's own check": Mutant(
        "an index that is stale already is not noticed",
        swap(rebuilds, "_failed_check", lambda *_: ""),
        told_by(test_virtual_tables.test_r17_a_full_text_index_that_is_stale_already_is_said),
        "'stale' in",
    ),
}
