"""The certificate: what was compared, when and by whom, and what was found, as one sealed JSON document.

Its digests and censuses are of SQLite's values on both sides: what SQLite holds, and what PostgreSQL's text
decodes to. So the certificates of one database, taken at different times, can be laid beside each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from turnback.core.digest import Canonical, exact
from turnback.core.plan import Plan, TablePlan
from turnback.core.rows import SqliteRow, storage_class

FORMAT: Final = "turnback certificate 1"
CLASSES: Final = ("null", "integer", "real", "text", "blob")
MOST_PATTERNS = 4096  # combinations of classes in one row that are counted as such

_MODULUS = 1 << 128
_CLASS_OF: Final = {type(v): storage_class(v) for v in (None, 0, 0.0, "", b"")}

Json = dict[str, Any]


class SideCensus:
    """One side of one table in SQLite's values: rows, storage classes by column, a digest.

    The digest is the sum modulo 2^128 of the rows' BLAKE2b digests (core.digest: no order is needed). In
    `digest` the columns that may be respelled stand with their canonical value, in `exact_digest` none does.
    """

    __slots__ = ("_columns", "_exact", "_patterns", "_respelled", "_sum", "rows")

    def __init__(self, table: TablePlan) -> None:
        self._respelled = respelled_positions(table)
        self._columns: list[dict[str, int]] = [dict.fromkeys(CLASSES, 0) for _ in table.columns]
        self._patterns: dict[tuple[type, ...], int] = {}
        self._sum = self._exact = 0
        self.rows = 0

    def add(self, row: SqliteRow, canonical: Canonical) -> None:
        """Counts one row. It is called for every row of both sides: no loop over the columns here."""
        pattern = tuple(map(type, row))
        known = self._patterns.get(pattern)
        if known is None:
            if len(self._patterns) >= MOST_PATTERNS:
                self._fold()
            known = 0
        self._patterns[pattern] = known + 1
        self.rows += 1
        digest = values_digest(row)
        self._exact += digest
        if self._respelled:
            meant = list(row)
            for position in self._respelled:
                meant[position] = canonical[position]
            digest = values_digest(tuple(meant))
        self._sum += digest

    @property
    def digest(self) -> str:
        return f"{self._sum % _MODULUS:032x}"

    @property
    def exact_digest(self) -> str:
        return f"{self._exact % _MODULUS:032x}"

    def classes(self) -> list[dict[str, int]]:
        """For each column how many values are of each storage class."""
        self._fold()
        return [dict(c) for c in self._columns]

    def _fold(self) -> None:
        for pattern, count in self._patterns.items():
            for column, kind in zip(self._columns, pattern, strict=True):
                column[_CLASS_OF[kind]] += count
        self._patterns.clear()


@dataclass(slots=True)
class TableCensus:
    """Both sides of one table. `unreadable`: PostgreSQL rows that are no SQLite row, and the first reason."""

    sqlite: SideCensus
    postgres: SideCensus
    unreadable: int = 0
    first_unreadable: str = ""

    def refuse(self, reason: str) -> None:
        self.unreadable += 1
        self.first_unreadable = self.first_unreadable or reason

    @property
    def equal(self) -> bool:
        here, there = self.sqlite, self.postgres
        return not self.unreadable and (here.rows, here.digest) == (there.rows, there.digest)


class Censuses:
    """The censuses of one comparison, by SQLite table name."""

    def __init__(self) -> None:
        self.tables: dict[str, TableCensus] = {}

    def of(self, table: TablePlan) -> TableCensus:
        self.tables[table.sqlite] = TableCensus(SideCensus(table), SideCensus(table))
        return self.tables[table.sqlite]


def values_digest(values: SqliteRow) -> int:
    """128 bits of BLAKE2b over the values with their storage classes."""
    return int.from_bytes(blake2b(exact(values), digest_size=16).digest())


def respelled_positions(table: TablePlan) -> tuple[int, ...]:
    """Where the columns stand whose spelling may change: compared by what they mean."""
    return tuple(i for i, c in enumerate(table.columns) if c.options.get("respell"))


def table_entry(table: TablePlan, census: TableCensus, *, equal: bool, looked_again: int) -> Json:
    """What the certificate says of one table."""
    here, there = census.sqlite, census.postgres
    columns = [
        {
            "column": column.sqlite,
            "postgres": column.postgres,
            "type": column.pg_type,
            "codec": column.codec,
            "canonical": position in respelled_positions(table),
            "sqlite_classes": ours,
            "postgres_classes": theirs,
        }
        for position, (column, ours, theirs) in enumerate(
            zip(table.columns, here.classes(), there.classes(), strict=True)
        )
    ]
    return {
        "table": table.sqlite,
        "postgres": table.postgres,
        "key": list(table.key),
        "rows_sqlite": here.rows,
        "rows_postgres": there.rows + census.unreadable,
        "digest_sqlite": here.digest,
        "digest_postgres": there.digest,
        "digests_equal": census.equal,
        "equal": equal,
        "looked_at_again": looked_again,
        "unreadable": census.unreadable,
        "first_unreadable": census.first_unreadable,
        "columns": columns,
    }


def left_out(plan: Plan) -> list[Json]:
    """What a comparison of the plan's columns does not reach, each with the reason."""
    found = [{"what": f"{e.side} {e.name}", "why": e.why or "excluded"} for e in plan.excluded]
    for table in plan.tables:
        found += [
            {"what": f"sqlite {table.sqlite}.{c.column}", "why": "PostgreSQL has no such column"}
            for c in table.sqlite_constants
        ]
        found += [
            {"what": f"postgres {table.postgres}.{c.column}", "why": "SQLite has no such column: a constant"}
            for c in table.postgres_constants
        ]
    found += [
        {"what": f"virtual table {v.name}", "why": f"{v.module}: made from other tables, in SQLite only"}
        for v in plan.virtual
    ]
    found.append(
        {
            "what": "definitions of indexes, constraints, defaults and triggers",
            "why": "a certificate is about rows; migrate and the gate check the catalogue",
        }
    )
    return found


def seal(document: Mapping[str, Any]) -> Json:
    """The document with its `seal`: sha256 over its canonical JSON (keys sorted, no blanks, ASCII)."""
    body = {k: v for k, v in document.items() if k != "seal"}
    return body | {"seal": _digest(body)}


def seal_holds(document: Mapping[str, Any]) -> bool:
    """Whether nothing was changed since it was sealed. Who can write the file can also seal it anew."""
    return document.get("seal") == _digest({k: v for k, v in document.items() if k != "seal"})


def _digest(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def verdict(*, compared: bool, equal: bool) -> str:
    """The word at the top. What was not compared is never equal."""
    if not compared:
        return "not compared"
    return "equal" if equal else "different"


def headline(document: Mapping[str, Any]) -> str:
    """One line of what it says."""
    tables: Sequence[Mapping[str, Any]] = document["tables"]
    rows = sum(t["rows_sqlite"] for t in tables)
    match document["verdict"]:
        case "equal":
            said = f"{rows} rows in {len(tables)} tables are equal"
        case "different":
            said = document["reason"] or "the sides differ"
        case _:
            said = document["reason"]
    return f"{document['what']} of {document['ended_at']}: {document['verdict']}: {said}"
