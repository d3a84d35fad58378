"""The page of a certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnback.core.certificate import CLASSES
from turnback.entrypoints import pages

TEMPLATE = "certificate.html"
_TITLES = {
    "verify": "Comparison on demand",
    "migrate": "Proof of a migrate",
    "rollback": "Proof of a rollback",
}
_VERDICTS = {
    "equal": ("good", "Equal"),
    "different": ("bad", "Different"),
    "not compared": ("warn", "Not compared"),
}
# What to know first, for somebody who reads this at night.
_ADVICE = {
    (
        "rollback",
        "different",
    ): "SQLite serves. PostgreSQL is fenced and whole: nothing that it holds is lost. "
    "Look at what is named below on both sides before anything is cleared there.",
    (
        "rollback",
        "not compared",
    ): "SQLite serves. No difference was found, because none was looked for: only the "
    "checks below were made. PostgreSQL still holds what it held, to compare with by hand.",
    ("verify", "different"): "Run turnback verify again. What is named again differs in the data. "
    "Nothing was changed by looking.",
    ("migrate", "different"): "Nothing was switched: the application is on SQLite, as before.",
}


def prepare() -> None:
    """Loads the template."""
    pages.prepare(TEMPLATE)


def certificate_page(document: Mapping[str, Any]) -> str:
    """HTML, whole in itself. `document` is a sealed certificate (core.certificate)."""
    tone, word = _VERDICTS[document["verdict"]]
    tables = document["tables"]
    original = document["original"]
    return pages.render(
        TEMPLATE,
        document=document,
        title=_TITLES.get(document["what"], document["what"]),
        tone=tone,
        word=word,
        tables=tables,
        rows=sum(t["rows_sqlite"] for t in tables),
        classes=CLASSES,
        original=original,
        advice=_ADVICE.get((document["what"], document["verdict"]), ""),
        changed=[t for t in original["tables"] if not t["equal"]] if original and original["made"] else [],
    )
