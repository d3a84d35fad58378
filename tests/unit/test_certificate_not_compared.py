"""What a certificate of stored rows alone says of columns and views that both sides compute."""

from __future__ import annotations

from datetime import UTC, datetime

from turnback.app.certify import Sides, certificate
from turnback.core.plan import ColumnPlan, GeneratedPlan, Plan, TablePlan, ViewPlan

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_f32_generated_columns_and_views_are_named_where_they_were_not_compared() -> None:
    key, made = (ColumnPlan(n, n, "bigint", "integer") for n in ("id", "twice"))
    table = TablePlan("t", "t", (key,), ("id",), "default", generated=(GeneratedPlan(made, "id + id"),))
    view = ViewPlan("v", "v", "CREATE VIEW v AS SELECT id FROM t", (key,))
    plan = Plan("create", "public", (table,), views=(view,))
    sides = Sides("app.db", "the file", "server", "public", "fenced", "", "")

    def left_out(generated: list[dict[str, object]] | None) -> list[str]:
        document = certificate(
            "rollback", plan, sides, by="", begun_at=AT, ended_at=AT, comparison=None, generated=generated
        )
        return [entry["what"] for entry in document["not_compared"]]

    assert left_out(None)[-2:] == ["t: twice", "v: id"]
    assert not {"t: twice", "v: id"} & set(left_out([]))
