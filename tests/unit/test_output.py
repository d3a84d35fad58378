"""What a person sees of an assessment and a status."""

from __future__ import annotations

import pytest

from turnback.app.assess import Assessment
from turnback.core.findings import Finding
from turnback.core.plan import Plan
from turnback.core.schema import SqliteSchema
from turnback.entrypoints.output import print_assessment


def told(*findings: Finding) -> Assessment:
    """An assessment of nothing but these findings."""
    schema = SqliteSchema((), (), None)  # type: ignore[arg-type]  # what is printed has no use for it
    return Assessment(None, Plan("create", "public", (), ()), findings, schema, {}, None)


def test_the_lines_for_turnback_toml_are_shown_as_they_have_to_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Square brackets are TOML here, not a style of the terminal's."""
    monkeypatch.setenv("COLUMNS", "200")
    settle = '[tables.job_history]\nreplica_identity = "full"'
    finding = Finding("R8", "choice", "a [log] without a key", "job_history", settle=settle)
    print_assessment(told(finding))
    shown = capsys.readouterr().out
    for part in ("[tables.job_history]", 'replica_identity = "full"', "a [log] without a key"):
        assert part in shown, shown
    assert "1 finding, 1 to settle" in shown


def test_findings_that_only_inform_do_not_ask_for_anything(capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding("O10", "carries", "belongs to Litestream")
    print_assessment(told(finding, finding))
    assert "2 findings, none stops the move" in capsys.readouterr().out


def test_findings_are_grouped_and_what_stops_the_move_comes_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_assessment(
        told(
            Finding("R2", "carries", "read this", "a", "x"),
            Finding("F1", "choice", "choose", "b", "y", settle="[tables.b]"),
            Finding("F1", "choice", "choose", "c", "y", settle="[tables.c]"),
            Finding("R2", "carries", "read this", "b", "x"),
            Finding("F12", "refused", "no way", "d"),
        )
    )
    shown = capsys.readouterr().out
    places = ["Cannot be carried (1)", "F12", "To settle (2)", "b.y", "[tables.b]", "c.y", "Good to know (2)"]
    assert [shown.index(p) for p in places] == sorted(shown.index(p) for p in places), shown
    assert "R2  a.x, b.x" in shown and shown.count("read this") == 1, (
        "the same said of two places is said once"
    )


def test_what_is_left_behind_is_also_shown_as_one_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TOML takes a list once: 62 triggers are 62 findings and one line."""
    monkeypatch.setenv("COLUMNS", "20")
    lines = ('[sqlite]\nleave_behind = ["a [x]"]', '[sqlite]\nleave_behind = ["b\\"c"]', "drop it\nor change it", "[tables.d]\nexclude = true")
    print_assessment(told(*(Finding("F41", "choice", f"not translated {n}", settle=s) for n, s in enumerate(lines))))
    assert '        leave_behind = ["a [x]", "b\\"c"]\n' in capsys.readouterr().out
    print_assessment(told(Finding("F41", "choice", "not translated", settle=lines[0])))
    assert "together" not in capsys.readouterr().out
