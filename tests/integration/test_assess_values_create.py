"""Create mode: what the values make of a column, and what is said when the declared type is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from assessing import assess_file, column, make_file, run_statements, the_finding
from conftest import Database
from turnback.app.assess import Assessment
from turnback.core.choices import Choices, ColumnChoice, TableChoice
from turnback.core.ddl import build_constraints, create_schema
from turnback.core.findings import Finding, blocking

NUL = "'a' || char(0) || 'b'"


def assess_column(
    tmp_path: Path, declared: str, values: str, choice: ColumnChoice | None = None
) -> Assessment:
    """A table t with the column c; `values` as rows: "(1), (2)"."""
    path = tmp_path / "a.db"
    if not path.exists():
        make_file(
            path, f"CREATE TABLE t (id INTEGER PRIMARY KEY, c {declared}); INSERT INTO t (c) VALUES {values}"
        )
    return assess_file(path, Choices({"t": TableChoice(columns={"c": choice or ColumnChoice()})}))


def options(found: Assessment) -> dict[str, object]:
    return dict(found.draft.table("t").columns[1].options)


def lines(finding: Finding) -> list[str]:
    """Each way to settle it, without the section's name."""
    return [part.partition("\n")[2] for part in finding.settle.split("\nor:\n")]


# ---- F1 ------------------------------------------------------------------------------------------------


@pytest.mark.hazard("F1", "choice", mode="create")
def test_f1_a_two_in_a_boolean_is_a_choice_with_its_key(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "BOOLEAN", "(1), (0), (NULL), (2)")
    finding = the_finding(found, "F1")
    assert (finding.severity, finding.count, finding.keys) == ("choice", 1, ("id=4",))
    assert lines(finding) == ['pg_type = "bigint"'] and found.plan is None
    chosen = assess_column(tmp_path, "", "", ColumnChoice(pg_type="bigint"))
    assert chosen.plan is not None and column(chosen, "t", "c") == ("bigint", "integer")


@pytest.mark.hazard("F1", "carried", mode="create")
@pytest.mark.parametrize("words", [("true", "false"), ("False", "True"), ("Y", "N"), ("off", "on")])
def test_f1_words_are_a_boolean_and_come_back_as_words(tmp_path: Path, words: tuple[str, str]) -> None:
    found = assess_column(tmp_path, "BOOLEAN", f"('{words[0]}'), ('{words[1]}'), (NULL)")
    assert found.plan is not None and column(found, "t", "c") == ("boolean", "boolean")
    assert options(found)["words"] in words


@pytest.mark.hazard("F1", "choice", mode="create")
def test_f1_words_and_numbers_need_respell_or_become_text(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "BOOLEAN", "(1), (0), (1), ('true')")
    finding = the_finding(found, "F1")
    assert (finding.severity, finding.count, finding.keys) == ("choice", 1, ("id=4",))
    assert lines(finding) == ["respell = true", 'codec = "affine"']
    spelled = assess_column(tmp_path, "", "", ColumnChoice(respell=True))
    assert spelled.plan is not None and options(spelled) == {"words": "", "respell": True}
    apart = assess_column(tmp_path, "", "", ColumnChoice(codec="affine"))
    assert apart.plan is not None and column(apart, "t", "c") == ("text", "affine")


@pytest.mark.hazard("F1", "choice", mode="create")
@pytest.mark.parametrize(
    ("values", "count", "ways"),
    [
        ("('true'), ('T')", 1, ["respell = true", 'pg_type = "text"']),
        ("('true'), ('maybe')", 1, ['pg_type = "text"']),
        ("('perhaps'), ('maybe')", 2, ['pg_type = "text"']),
        ("(0.5), (1.5)", 2, ['pg_type = "double precision"']),
        ("(x'00')", 1, ['pg_type = "bytea"']),
    ],
)
def test_f1_what_is_no_boolean_needs_a_choice(
    tmp_path: Path, values: str, count: int, ways: list[str]
) -> None:
    finding = the_finding(assess_column(tmp_path, "BOOLEAN", values), "F1")
    assert (finding.severity, finding.count, lines(finding)) == ("choice", count, ways)


# ---- F4, F5, F6, F7 --------------------------------------------------------------------------------------


@pytest.mark.hazard("F4", "carried", mode="create")
@pytest.mark.parametrize(
    ("values", "expected", "unit"),
    [
        ("(1619092189), (0)", ("timestamp(0) with time zone", "epoch"), "s"),
        ("(1619092189409), (NULL)", ("timestamp(3) with time zone", "epoch"), "ms"),
        ("(1619092189409123)", ("timestamp with time zone", "epoch"), "us"),
        ("(1619092189.5), (1619092190.25)", ("timestamp with time zone", "epoch_real"), "s"),
    ],
)
def test_f4_epochs_are_detected(tmp_path: Path, values: str, expected: tuple[str, str], unit: str) -> None:
    found = assess_column(tmp_path, "DATETIME", values)
    assert found.plan is not None
    assert (column(found, "t", "c"), options(found)["unit"]) == (expected, unit)


@pytest.mark.hazard("F4", "choice", mode="create")
def test_f4_mixed_units_stop_with_the_keys_of_the_others(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "DATETIME", "(1619092189), (1619092190), (1619092189409)")
    finding = the_finding(found, "F4")
    assert (finding.severity, finding.count, finding.keys) == ("choice", 1, ("id=3",))
    assert lines(finding) == ['pg_type = "bigint"'] and found.plan is None


@pytest.mark.hazard("F4", "carried", mode="create")
def test_f4_julian_days_stay_double_precision_and_are_said(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "DATETIME", "(2459326.5), (2459327.25)")
    assert column(found, "t", "c") == ("double precision", "real") and found.plan is not None
    finding = the_finding(found, "F4")
    assert finding.severity == "carries" and "Julian days" in finding.message


def test_f4_numbers_that_count_nothing_known_stay_numbers_and_are_said(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "DATETIME", "(20240331), (20240401)")
    assert column(found, "t", "c") == ("bigint", "integer")
    assert the_finding(found, "F4").severity == "carries"


@pytest.mark.hazard("F5", "choice", mode="create")
def test_f5_dates_and_numbers_in_one_column(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "DATETIME", "('2021-04-22'), ('2021-04-23'), (1619092189409)")
    finding = the_finding(found, "F5")
    assert (finding.severity, finding.count, finding.keys) == ("choice", 1, ("id=3",))
    assert lines(finding) == ['codec = "affine"'] and found.plan is None
    chosen = assess_column(tmp_path, "", "", ColumnChoice(codec="affine"))
    assert chosen.plan is not None and column(chosen, "t", "c") == ("text", "affine")


@pytest.mark.hazard("F6", "carried", mode="create")
@pytest.mark.parametrize(
    ("declared", "values", "keys"),
    [
        ("DATETIME", "('2024-02-29 00:00:00'), ('2024-02-30 00:00:00')", ("id=2",)),
        ("DATETIME", "(''), ('2024-02-29 00:00:00')", ("id=1",)),
        ("DATE", "('2024-02-29'), ('0000-00-00'), ('')", ("id=2", "id=3")),
    ],
)
def test_f6_impossible_dates_stay_text_and_are_named(
    tmp_path: Path, declared: str, values: str, keys: tuple[str, ...]
) -> None:
    found = assess_column(tmp_path, declared, values)
    assert column(found, "t", "c") == ("text", "text") and found.plan is not None
    (finding,) = [f for f in found.findings if f.code in ("F6", "F7")]
    assert (finding.severity, finding.count, finding.keys) == ("carries", len(keys), keys)
    assert "becomes text" in finding.message and finding.settle


@pytest.mark.hazard("F7", "carried", mode="create")
@pytest.mark.parametrize(
    ("values", "pg_type", "expected"),
    [
        ("('2024-03-31 02:30:00')", "timestamp without time zone", (" ", 0, "")),
        ("('2024-03-31T02:30:00.5')", "timestamp without time zone", ("T", 1, "")),
        ("('2024-03-31T02:30:00.120Z')", "timestamp with time zone", ("T", 3, "Z")),
        ("('2024-03-31 02:30:00+02:00')", "timestamp with time zone", (" ", 0, "+02:00")),
        (
            "('2024-03-31 02:30:00.123456'), ('2024-03-31 02:30:00')",
            "timestamp without time zone",
            (" ", 0, ""),
        ),
    ],
)
def test_f7_one_form_everywhere_is_kept(
    tmp_path: Path, values: str, pg_type: str, expected: tuple[str, int, str]
) -> None:
    found = assess_column(tmp_path, "TIMESTAMP", values)
    assert found.plan is not None and column(found, "t", "c") == (pg_type, "timestamp_text")
    chosen = options(found)
    assert (chosen["separator"], chosen["fraction"], chosen["suffix"]) == expected


@pytest.mark.hazard("F7", "carried", mode="create")
def test_f7_nine_digits_stay_text_and_are_named(tmp_path: Path) -> None:
    found = assess_column(
        tmp_path, "DATETIME", "('2024-03-31 02:30:00.123456789'), ('2024-03-31 02:30:00.000000')"
    )
    finding = the_finding(found, "F7")
    assert column(found, "t", "c") == ("text", "text") and found.plan is not None
    assert (finding.severity, finding.count, finding.keys) == ("carries", 1, ("id=1",))


@pytest.mark.hazard("F7", "carried", mode="create")
def test_f7_several_forms_stay_text_or_are_respelled_by_choice(tmp_path: Path) -> None:
    values = "('2024-03-31 02:30:00Z'), ('2024-03-31T02:30:00Z'), ('2024-03-31T02:30:00+02:00'), ('2024-03-31T02:30:00Z')"
    found = assess_column(tmp_path, "DATETIME", values)
    finding = the_finding(found, "F7")
    assert column(found, "t", "c") == ("text", "text") and found.plan is not None
    # The most common spelling is that of two values.
    assert (finding.severity, finding.count, finding.keys) == ("carries", 2, ("id=1", "id=3"))
    assert lines(finding) == ["respell = true"]
    chosen = assess_column(tmp_path, "", "", ColumnChoice(respell=True))
    assert column(chosen, "t", "c") == ("timestamp with time zone", "timestamp_text")
    assert (options(chosen)["separator"], options(chosen)["suffix"]) == ("T", "Z") and chosen.plan is not None


@pytest.mark.hazard("F7", "choice", mode="create")
def test_f7_a_declared_zone_makes_timestamptz_of_local_text(tmp_path: Path) -> None:
    """02:30 does not exist in Berlin on that day; without a zone it is only digits."""
    values = "('2024-03-31 01:30:00'), ('2024-03-31 02:30:00')"
    assert column(assess_column(tmp_path, "DATETIME", values), "t", "c")[0] == "timestamp without time zone"
    zoned = assess_column(tmp_path, "", "", ColumnChoice(zone="Europe/Berlin"))
    finding = the_finding(zoned, "F7")
    assert (finding.keys, column(zoned, "t", "c")) == (("id=2",), ("text", "text"))
    other = assess_column(tmp_path, "", "", ColumnChoice(zone="Asia/Kolkata"))
    assert column(other, "t", "c") == ("timestamp with time zone", "timestamp_text")
    assert options(other)["zone"] == "Asia/Kolkata"


def test_a_zone_that_there_is_not_is_said(tmp_path: Path) -> None:
    found = assess_column(
        tmp_path, "DATETIME", "('2024-03-31 02:30:00')", ColumnChoice(zone="Europe/Atlantis")
    )
    (finding,) = blocking(found.findings)
    assert finding.severity == "choice" and "Europe/Atlantis" in finding.message


# ---- F8, F9, F11, F12 ------------------------------------------------------------------------------------


@pytest.mark.hazard("F8", "choice", mode="create")
@pytest.mark.hazard("F9", "choice", mode="create")
@pytest.mark.parametrize(("value", "code"), [(NUL, "F8"), ("CAST(x'c328' AS TEXT)", "F9")])
def test_f8_f9_text_that_postgres_cannot_hold_is_carried_as_bytes_by_choice(
    tmp_path: Path, value: str, code: str
) -> None:
    found = assess_column(tmp_path, "TEXT", f"('sound'), ({value})")
    finding = the_finding(found, code)
    assert (finding.severity, finding.count, finding.keys) == ("choice", 1, ("id=2",))
    assert finding.settle.endswith('[tables.t.columns.c]\ncodec = "text_bytes"') and found.plan is None
    chosen = assess_column(tmp_path, "", "", ColumnChoice(codec="text_bytes"))
    assert chosen.plan is not None and column(chosen, "t", "c") == ("bytea", "text_bytes")


@pytest.mark.hazard("F8", "refused", why="text is carried as bytes from files in UTF-8", mode="create")
def test_f8_in_a_utf16_file_is_refused(tmp_path: Path) -> None:
    sql = f"PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY, c TEXT); INSERT INTO t VALUES (1, {NUL})"
    path = make_file(tmp_path / "a.db", sql)
    assert the_finding(assess_file(path), "F8").severity == "refused"
    chosen = assess_file(path, Choices({"t": TableChoice(columns={"c": ColumnChoice(codec="text_bytes")})}))
    assert the_finding(chosen, "F8").severity == "refused"


@pytest.mark.hazard("F11", "refused", why="blobs and other classes have no common type", mode="create")
@pytest.mark.hazard("F12", "refused", why="no affinity tells 5 from '5' there", mode="create")
@pytest.mark.parametrize(
    ("declared", "values", "code", "key"),
    [
        ("BLOB", "(x'41'), (x'42'), ('text')", "F11", "id=3"),
        ("TEXT", "('a'), (x'42'), ('b')", "F11", "id=2"),
        ("INTEGER", "(1), (x'42'), (2)", "F11", "id=2"),
        ("", "(1), (2), ('3')", "F12", "id=3"),
        ("BLOB", "(1), (2), ('3')", "F12", "id=3"),
    ],
)
def test_f11_f12_classes_that_nothing_tells_apart_are_refused(
    tmp_path: Path, declared: str, values: str, code: str, key: str
) -> None:
    finding = the_finding(assess_column(tmp_path, declared, values), code)
    assert (finding.severity, finding.count, finding.keys) == ("refused", 1, (key,))
    assert "affinity" in finding.message


@pytest.mark.hazard("F12", "carried", mode="create")
@pytest.mark.parametrize("declared", ["INTEGER", "NUMERIC", "STRING"])
def test_f12_numbers_and_text_in_a_numeric_column_become_text_and_are_told_apart(
    tmp_path: Path, declared: str
) -> None:
    found = assess_column(tmp_path, declared, "(1), (12.5), (-7), ('abc')")
    assert found.plan is not None and column(found, "t", "c") == ("text", "affine")
    finding = the_finding(found, "F12")
    assert (finding.severity, finding.count) == ("carries", 1) and len(finding.keys) == 1


# ---- F15, F16, F20, F21, F31, F34, F35 ---------------------------------------------------------------------


@pytest.mark.hazard("F15", "carried", mode="create")
@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("DECIMAL(10,2)", "(1230.99), (5), (0.1)", "numeric(10,2)"),
        ("NUMERIC(5)", "(12345), (-1)", "numeric(5,0)"),
        ("DECIMAL(4,2)", "(123.45)", "numeric"),
        ("DECIMAL(10,2)", "(1.234)", "numeric"),
        ("DECIMAL(10,2)", "(NULL)", "numeric(10,2)"),
    ],
)
def test_f15_decimals_keep_the_declared_scale_where_every_value_fits(
    tmp_path: Path, declared: str, values: str, expected: str
) -> None:
    found = assess_column(tmp_path, declared, values)
    assert found.plan is not None and column(found, "t", "c") == (expected, "number")
    if "," in declared and expected == "numeric":
        finding = the_finding(found, "F15")
        assert (finding.severity, finding.keys) == ("carries", ("id=1",))


@pytest.mark.hazard("F16", "carried", mode="create")
def test_f16_infinity_is_double_precision_also_where_a_decimal_is_declared(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "DECIMAL(10,2)", "(1e999), (1.5), (3)")
    assert found.plan is not None and column(found, "t", "c") == ("double precision", "real")
    finding = the_finding(found, "F16")
    assert (finding.severity, finding.keys) == ("carries", ("id=1",))


@pytest.mark.hazard("F20", "carried", mode="create")
def test_f20_a_length_that_sqlite_does_not_enforce_is_not_made(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "VARCHAR(5)", f"('{'x' * 500}')")
    assert found.plan is not None and column(found, "t", "c") == ("text", "text")


@pytest.mark.hazard("F21", "carried", mode="create")
@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("", "(1)", "bigint"),
        ("", "('x')", "text"),
        ("", "(NULL)", "text"),
        ("TEXT[]", "('a,b')", "text"),
        ("TEXT[]", "(NULL)", "text"),
        ("byte[]", "(x'00')", "bytea"),
        ("int(5)", "(1234567)", "bigint"),
        ("UNSIGNED BIG INT", "(NULL)", "bigint"),
        ("DOUBLE PRECISION", "(NULL)", "double precision"),
        ("FLOATING POINT", "(1)", "bigint"),
        ("STRING", "('x')", "text"),
        ("anything", "(1.5)", "double precision"),
    ],
)
def test_f21_odd_declared_types_follow_sqlites_affinity_and_the_values(
    tmp_path: Path, declared: str, values: str, expected: str
) -> None:
    found = assess_column(tmp_path, declared, values)
    assert found.plan is not None and column(found, "t", "c")[0] == expected


@pytest.mark.hazard("F31", "choice", mode="create")
def test_f31_nocase_may_be_citext_where_all_is_ascii(tmp_path: Path, database: Database) -> None:
    found = assess_column(tmp_path, "TEXT COLLATE NOCASE UNIQUE", "('Ada'), ('bob')")
    finding = the_finding(found, "F31")
    assert finding.severity == "carries" and lines(finding) == ['pg_type = "citext"']
    chosen = assess_column(tmp_path, "", "", ColumnChoice(pg_type="citext"))
    assert chosen.plan is not None and chosen.plan.extensions == ("citext",)
    run_statements(database.admin_dsn, create_schema(chosen.plan) + build_constraints(chosen.plan))
    with database.connect() as connection:
        connection.execute("INSERT INTO public.t (c) VALUES ('Ada')")
        row = connection.execute(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'public.t'::regclass AND attname = 'c'"
        ).fetchone()
        assert row is not None and row[0].endswith("citext")
        with pytest.raises(Exception, match="duplicate key"):
            connection.execute("INSERT INTO public.t (c) VALUES ('ADA')")


@pytest.mark.hazard("F31", "carried", mode="create")
def test_f31_beyond_ascii_citext_is_not_offered_and_not_taken(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "TEXT COLLATE NOCASE", "('Ada'), ('É'), ('é')")
    assert the_finding(found, "F31").settle == "" and found.plan is not None
    chosen = assess_column(tmp_path, "", "", ColumnChoice(pg_type="citext"))
    finding = the_finding(chosen, "F31")
    assert (finding.severity, finding.keys) == ("refused", ("id=2", "id=3"))


@pytest.mark.hazard("F34", "carried", mode="create")
def test_f34_json_that_jsonb_would_respell_is_json_and_said(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "JSON", """('{"a": 1}'), ('{"a":1,"a":2}')""")
    assert found.plan is not None and column(found, "t", "c") == ("json", "json_text")
    finding = the_finding(found, "F34")
    assert (finding.severity, finding.keys, lines(finding)) == ("carries", ("id=2",), ["respell = true"])


@pytest.mark.hazard("F35", "carried", mode="create")
def test_f35_uuids_keep_their_spelling_or_stay_text(tmp_path: Path) -> None:
    upper = "'0B5AD7BB-9E0C-4D3B-8C1A-00000000000A'"
    found = assess_column(tmp_path, "UUID", f"({upper}), (lower({upper})), ({upper})")
    assert column(found, "t", "c") == ("text", "text") and found.plan is not None
    finding = the_finding(found, "F35")
    assert (finding.count, finding.keys, lines(finding)) == (1, ("id=2",), ["respell = true"])
    chosen = assess_column(tmp_path, "", "", ColumnChoice(respell=True))
    assert column(chosen, "t", "c") == ("uuid", "uuid_text")
    assert options(chosen) == {"upper": True, "hyphens": True, "respell": True}


# ---- R2, R4, R5 --------------------------------------------------------------------------------------------


@pytest.mark.hazard("R2", "carried", mode="create")
@pytest.mark.parametrize(
    ("declared", "value", "says"),
    [
        ("STRING", "'x'", "'007'"),
        ("JSON", """'{"a": 1}'""", "1.10"),
        ("UUID", "'123e4567e89b12d3a456426614174000'", "123e4567"),
        ("UUID", "'123e4567-e89b-12d3-a456-426614174000'", ""),
        ("DATETIME", "'2024-03-31 02:30:00'", ""),
        ("DATE", "'2024-03-31'", ""),
        ("TEXT", "'007'", ""),
        ("INTEGER", "1", ""),
        ("DECIMAL(10,2)", "1.5", ""),
        ("BOOLEAN", "'true'", ""),
        ("", "'x'", ""),
    ],
)
def test_r2_values_that_the_affinity_would_change_are_said_before_the_cutover(
    tmp_path: Path, declared: str, value: str, says: str
) -> None:
    found = assess_column(tmp_path, declared, f"({value})")
    assert found.plan is not None
    traps = [f for f in found.findings if f.code == "R2"]
    assert len(traps) == bool(says)
    for finding in traps:
        assert finding.severity == "carries" and finding.column == "c" and says in finding.message
        assert "capture then stops" in finding.message


@pytest.mark.hazard("R4", "choice", mode="create")
@pytest.mark.hazard("R5", "choice", mode="create")
@pytest.mark.parametrize(
    ("declared", "value", "choice", "option"),
    [
        ("REAL", "1.5", ColumnChoice(nan=True), "nan"),
        ("DATE", "'2024-03-31'", ColumnChoice(infinity=True), "infinity"),
        ("DATETIME", "'2024-03-31 02:30:00'", ColumnChoice(infinity=True), "infinity"),
    ],
)
def test_r4_r5_stand_ins_reach_the_codec(
    tmp_path: Path, declared: str, value: str, choice: ColumnChoice, option: str
) -> None:
    found = assess_column(tmp_path, declared, f"({value})", choice)
    assert found.plan is not None and options(found)[option] is True


def test_a_codec_that_does_not_fit_the_column_is_said(tmp_path: Path) -> None:
    found = assess_column(tmp_path, "TEXT", "('5')", ColumnChoice(codec="affine"))
    (finding,) = blocking(found.findings)
    assert finding.severity == "choice" and "affinity" in finding.message
