"""The census: counts classes, ranges and sizes of every column in SQL, and hands values to the trial.

Reads one file in one consistent state. Text whose bytes are not valid, or that holds a NUL, is counted
and its keys are kept; it is never skipped and never replaced (HAZARDS F8, F9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import apsw

from turnback.adapters.sqlite.census_forms import declared_decimals, with_forms
from turnback.adapters.sqlite.database import open_database, pragma, quoted, translated
from turnback.adapters.sqlite.raw_text import RawText, raw_term
from turnback.core.findings import MAX_KEYS
from turnback.core.profile import ColumnProfile, Misfits, TableProfile, Trait
from turnback.core.rows import SqliteRow, SqliteValue
from turnback.core.schema import SqliteColumn, SqliteTable
from turnback.core.sqltext import literal

COLUMNS_AT_ONCE = 50
SAMPLE_CHARACTERS = 64

_PYTHON_ENCODING = {"UTF-8": "utf-8", "UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}
_SOUND, _INVALID, _NUL = 0, 1, 1 << 32

# Fields of ColumnProfile by storage class; {c} is the column, {only} a filter. Only what is
# there is measured.
_COUNTS = {"nulls": "null", "integers": "integer", "reals": "real", "texts": "text", "blobs": "blob"}
_MEASURES = {
    "integer": {"min_integer": "min({c}){only}", "max_integer": "max({c}){only}"},
    "real": {"min_real": "min({c}){only}", "max_real": "max({c}){only}"},
    "text": {
        "max_characters": "max(length({c})){only}",
        "max_bytes": "max(octet_length({c})){only}",
        "faults": "total(turnback_text_fault(CAST({c} AS BLOB))){only}",
        "min_text": "CAST(substr(min({c}){only}, 1, 64) AS BLOB)",
        "max_text": "CAST(substr(max({c}){only}, 1, 64) AS BLOB)",
    },
    "blob": {
        "min_blob_bytes": "min(octet_length({c})){only}",
        "max_blob_bytes": "max(octet_length({c})){only}",
    },
}
_TRAITS: dict[Trait, str] = {
    "null": "{c} IS NULL",
    "integer": "typeof({c}) = 'integer'",
    "real": "typeof({c}) = 'real'",
    "text": "typeof({c}) = 'text'",
    "blob": "typeof({c}) = 'blob'",
    "nul": "typeof({c}) = 'text' AND turnback_text_fault(CAST({c} AS BLOB)) = 4294967296",
    "invalid": "typeof({c}) = 'text' AND turnback_text_fault(CAST({c} AS BLOB)) = 1",
    "wide": "typeof({c}) = 'text' AND {c} GLOB '*[^' || char(1) || '-' || char(127) || ']*'",
}


class Census:
    """Use as a context manager, or call close(). Raises SourceError."""

    def __init__(self, path: Path, *, extensions: Sequence[str] = ()) -> None:
        self._path = path
        self._connection = open_database(path, extensions=extensions)
        self._raw = RawText(self._connection)
        self._with_invalid_text: set[str] = set()  # tables that `profile` found it in
        self._encoding = _PYTHON_ENCODING[str(pragma(self._connection, "encoding"))]
        with translated(path):
            self._connection.create_scalar_function("turnback_text_fault", self._fault, 1, deterministic=True)
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # takes the snapshot

    def __enter__(self) -> Census:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    @property
    def connection(self) -> apsw.Connection:
        """For introspection in the same consistent state."""
        return self._connection

    def profile(self, table: SqliteTable) -> TableProfile:
        """Two passes over the table (two per 50 columns of a wide one), and one more for each column whose
        texts look like dates, UUIDs or a few short words.
        """
        stored = [c for c in table.columns if not c.generated]
        columns: dict[str, ColumnProfile] = {}
        rows = 0
        with translated(self._path):
            for start in range(0, len(stored), COLUMNS_AT_ONCE):
                some = stored[start : start + COLUMNS_AT_ONCE]
                rows, found = self._measure(table, some)
                columns |= found
            return TableProfile(rows, columns, self._last_id(table))

    def _last_id(self, table: SqliteTable) -> int:
        if not table.autoincrement:
            return 0
        sql = "SELECT max(CAST(seq AS INTEGER)) FROM sqlite_sequence WHERE name = ?"
        row = self._connection.execute(sql, (table.name,)).fetchone()
        return 0 if row is None or row[0] is None else int(str(row[0]))

    def _measure(
        self, table: SqliteTable, columns: list[SqliteColumn]
    ) -> tuple[int, dict[str, ColumnProfile]]:
        source = f"main.{quoted(table.name)}"
        terms = [
            f"count(*) FILTER (WHERE typeof({quoted(c.name)}) = '{kind}')"
            for c in columns
            for kind in _COUNTS.values()
        ]
        rows, *counted = self._one(f"SELECT count(*), {', '.join(terms)} FROM {source}")
        counts = {
            c.name: dict(zip(_COUNTS, (int(str(n)) for n in counted[i * 5 : i * 5 + 5]), strict=True))
            for i, c in enumerate(columns)
        }
        wanted = {c.name: self._wanted(c, counts[c.name]) for c in columns}
        terms = [term for terms_of in wanted.values() for term in terms_of.values()]
        measured = iter(self._one(f"SELECT {', '.join(terms) or '0'} FROM {source}"))
        return int(str(rows)), {
            name: self._column(table, name, counts[name], {field: next(measured) for field in terms_of})
            for name, terms_of in wanted.items()
        }

    def _wanted(self, column: SqliteColumn, counts: Mapping[str, int]) -> dict[str, str]:
        """The terms to measure, by field. A column of one class needs no filter."""
        there = [kind for field, kind in _COUNTS.items() if counts[field] and kind != "null"]
        c = quoted(column.name)
        terms: dict[str, str] = {}
        for kind in there:
            only = "" if len(there) == 1 else f" FILTER (WHERE typeof({c}) = '{kind}')"
            terms |= {field: term.format(c=c, only=only) for field, term in _MEASURES[kind].items()}
        if "real" in there and (decimals := declared_decimals(column)):
            terms["decimals"] = decimals
        return terms

    def _column(
        self, table: SqliteTable, name: str, counts: Mapping[str, int], measured: dict[str, SqliteValue]
    ) -> ColumnProfile:
        invalid, nul = 0, 0
        if faults := measured.pop("faults", None):
            nul, invalid = divmod(int(str(faults).partition(".")[0]), _NUL)
        if invalid:
            self._with_invalid_text.add(table.name)
        samples = {
            "min_text": self._text(measured.pop("min_text", None)),
            "max_text": self._text(measured.pop("max_text", None)),
            "longest_text": self._longest(table, name, int(str(measured.get("max_characters") or 0))),
        }
        facts = replace(
            ColumnProfile(nul_texts=nul, invalid_texts=invalid),
            **counts,  # type: ignore[arg-type]  # each field by its name, as the terms above have them
            **measured,  # type: ignore[arg-type]
            **samples,  # type: ignore[arg-type]
        )
        facts = replace(facts, max_bytes=max(facts.max_bytes, facts.max_blob_bytes))
        sound = facts.texts and not nul and not invalid
        return with_forms(self._connection, f"main.{quoted(table.name)}", name, facts) if sound else facts

    def _longest(self, table: SqliteTable, name: str, characters: int) -> str:
        """A text of the greatest length, where it may be a date or a UUID; not looked for beyond that."""
        if not 0 < characters <= SAMPLE_CHARACTERS:
            return ""
        c = quoted(name)
        row = self._one(
            f"SELECT CAST({c} AS BLOB) FROM main.{quoted(table.name)} "
            f"WHERE typeof({c}) = 'text' AND length({c}) = {characters} LIMIT 1"
        )
        return self._text(row[0])

    def values(
        self, table: SqliteTable, columns: Sequence[str]
    ) -> Iterator[tuple[tuple[SqliteValue, ...], SqliteRow]]:
        """Every row's raw key (for `key_text`) and its values in these columns, in scan order.

        Where `profile` found text in the table whose bytes are not valid, these come as surrogates (RawText).
        """
        key = self._key_terms(table)
        width = len(key)
        raw = table.name in self._with_invalid_text
        terms = [f"{raw_term(c)}, typeof({quoted(c)})" if raw else quoted(c) for c in columns]
        wanted = ", ".join([*key, *terms])
        with translated(self._path):
            for row in self._connection.execute(f"SELECT {wanted} FROM main.{quoted(table.name)}"):
                values = row[width:]
                if raw:
                    pairs = zip(values[::2], values[1::2], strict=True)
                    values = tuple([self._raw.text(v) if kind == "text" else v for v, kind in pairs])
                yield row[:width], values

    def key_text(self, table: SqliteTable, raw: tuple[SqliteValue, ...]) -> str:
        """The key as a person reads it: `id=5`, or `rowid=5` where no primary key is declared."""
        return ", ".join(
            f"{name}={self._readable(value)}" for name, value in zip(_key_names(table), raw, strict=True)
        )

    def keys(self, table: SqliteTable, column: str, trait: Trait) -> tuple[str, ...]:
        """Up to five keys of rows whose value in `column` has that trait."""
        if trait == "null" and column in table.primary_key and not table.without_rowid:
            table = replace(table, primary_key=())  # a key of NULLs names no row, the row id does
        return self._keys_where(table, _TRAITS[trait].format(c=quoted(column)))

    def outside(self, table: SqliteTable, column: str, allowed: Sequence[str]) -> Misfits:
        """Rows whose text in `column` is none of these, compared byte by byte."""
        c = quoted(column)
        labels = ", ".join(literal(a) for a in allowed)
        return self._counted(table, f"typeof({c}) = 'text' AND {c} COLLATE BINARY NOT IN ({labels})")

    def larger(self, table: SqliteTable, columns: Sequence[str], size: int) -> Misfits:
        """Rows whose values in these columns have more than so many bytes together; a number counts 8."""
        sizes = (
            f"CASE typeof({c}) WHEN 'null' THEN 0 WHEN 'text' THEN octet_length({c}) "
            f"WHEN 'blob' THEN octet_length({c}) ELSE 8 END"
            for c in map(quoted, columns)
        )
        return self._counted(table, f"{' + '.join(sizes)} > {size}")

    def orphans(
        self, table: SqliteTable, columns: Sequence[str], parent: SqliteTable, parent_columns: Sequence[str]
    ) -> Misfits:
        """Rows that refer to no row of the parent. Compared as PostgreSQL does: no collation folds."""
        own = [f"main.{quoted(table.name)}.{quoted(c)}" for c in columns]
        matches = " AND ".join(
            f"p.{quoted(p)} = {c} COLLATE BINARY" for p, c in zip(parent_columns, own, strict=True)
        )
        present = " AND ".join(f"{c} IS NOT NULL" for c in own)
        where = f"{present} AND NOT EXISTS (SELECT 1 FROM main.{quoted(parent.name)} AS p WHERE {matches})"
        return self._counted(table, where)

    def duplicates(self, table: SqliteTable, columns: Sequence[str]) -> Misfits:
        """Groups of rows that are equal in these columns, none of them NULL. The keys are the values."""
        folded = ", ".join(f"{quoted(c)} COLLATE BINARY" for c in columns)
        present = " AND ".join(f"{quoted(c)} IS NOT NULL" for c in columns)
        shown_columns = ", ".join(f"CAST({quoted(c)} AS BLOB)" for c in columns)
        groups = (
            f"SELECT {shown_columns} FROM main.{quoted(table.name)} "
            f"WHERE {present} GROUP BY {folded} HAVING count(*) > 1"
        )
        with translated(self._path):
            count = int(str(self._one(f"SELECT count(*) FROM ({groups})")[0]))
            if not count:
                return Misfits()
            shown = self._connection.execute(f"{groups} LIMIT {MAX_KEYS}").fetchall()
        keys = tuple(
            ", ".join(f"{c}={self._readable(v)}" for c, v in zip(columns, row, strict=True)) for row in shown
        )
        return Misfits(count, keys, "more than one row has the same values")

    def _counted(self, table: SqliteTable, where: str) -> Misfits:
        with translated(self._path):
            count = int(str(self._one(f"SELECT count(*) FROM main.{quoted(table.name)} WHERE {where}")[0]))
        return Misfits(count, self._keys_where(table, where) if count else ())

    def _keys_where(self, table: SqliteTable, where: str) -> tuple[str, ...]:
        terms = ", ".join(self._key_terms(table))
        with translated(self._path):
            rows = self._connection.execute(
                f"SELECT {terms} FROM main.{quoted(table.name)} WHERE {where} LIMIT {MAX_KEYS}"
            ).fetchall()
        return tuple(self.key_text(table, row) for row in rows)

    def _key_terms(self, table: SqliteTable) -> list[str]:
        """A key's text is read as bytes, so that invalid text in a key cannot hide the row that has it."""
        own = main = f"main.{quoted(table.name)}"
        if not table.primary_key:
            return [f"{own}.{_rowid_name(table)}"]
        return [
            f"CASE typeof({main}.{quoted(c)}) WHEN 'text' THEN CAST({main}.{quoted(c)} AS BLOB) "
            f"ELSE {main}.{quoted(c)} END"
            for c in table.primary_key
        ]

    def _one(self, sql: str) -> tuple[SqliteValue, ...]:
        row = self._connection.execute(sql).fetchone()
        return () if row is None else row

    def _fault(self, *values: SqliteValue) -> int:
        (value,) = values
        if not isinstance(value, bytes):
            return _SOUND  # NULL
        try:
            text = value.decode(self._encoding)
        except UnicodeDecodeError:
            return _INVALID
        return _NUL if "\0" in text else _SOUND

    def _text(self, value: SqliteValue) -> str:
        return value.decode(self._encoding, "replace") if isinstance(value, bytes) else ""

    def _readable(self, value: SqliteValue) -> str:
        if not isinstance(value, bytes):
            return "NULL" if value is None else str(value)
        try:
            text = value.decode(self._encoding)
        except UnicodeDecodeError:
            text = ""
        readable = text if text.isprintable() and text else f"x'{value.hex()}'"
        return readable if len(readable) <= 80 else readable[:77] + "..."


def _key_names(table: SqliteTable) -> tuple[str, ...]:
    return table.primary_key or ("rowid",)


def _rowid_name(table: SqliteTable) -> str:
    """A name of the rowid that no column hides (SQLite documentation: rowidtable)."""
    taken = {c.name.lower() for c in table.columns}
    return next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), "rowid")
