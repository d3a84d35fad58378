"""Whole rows: the codecs of a table's columns, side by side. NULL is NULL on both sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from turnback.core.codecs import codec_for
from turnback.core.plan import TablePlan
from turnback.core.rows import PostgresRow, SqliteRow, SqliteValue
from turnback.errors import CannotCarry

LONGEST_KEY = 60  # characters of a key's value in a message


class RowCodec:
    """One per TablePlan. Rows are in the plan's column order, of exactly its length.

    The loops run once per value over millions of rows: on failure a slow pass finds the column.
    """

    __slots__ = ("_canonicals", "_decoders", "_encoders", "_table", "codecs")

    def __init__(self, table: TablePlan) -> None:
        self._table = table
        self.codecs = tuple(codec_for(c) for c in table.columns)
        self._encoders = tuple(c.encode for c in self.codecs)
        self._decoders = tuple(c.decode for c in self.codecs)
        self._canonicals = tuple(c.canonical for c in self.codecs)

    def encode(self, row: SqliteRow) -> PostgresRow:
        """Raises CannotCarry with table, column and key."""
        try:
            return tuple([None if v is None else e(v) for e, v in zip(self._encoders, row, strict=True)])
        except CannotCarry:
            self._explain(self._encoders, row)

    def decode(self, row: PostgresRow) -> SqliteRow:
        """Raises CannotCarry with table, column and key."""
        try:
            return tuple([None if t is None else d(t) for d, t in zip(self._decoders, row, strict=True)])
        except CannotCarry:
            self._explain(self._decoders, row)

    def canonical(self, row: PostgresRow) -> tuple[bytes | None, ...]:
        """Comparable bytes per column, for encode's result and for what the server sends alike.

        Raises CannotCarry where JSON cannot be read (nested about 900 levels deep).
        """
        try:
            return tuple([None if t is None else c(t) for c, t in zip(self._canonicals, row, strict=True)])
        except CannotCarry:
            self._explain(self._canonicals, row)

    def _explain(
        self, functions: Sequence[Callable[[Any], object]], row: SqliteRow | PostgresRow
    ) -> NoReturn:
        for position, value in enumerate(row):
            if value is not None:
                try:
                    functions[position](value)
                except CannotCarry as e:
                    self._refuse(position, row, e)
        raise AssertionError("a row was refused, but none of its columns")

    def _refuse(self, position: int, row: SqliteRow | PostgresRow, error: CannotCarry) -> NoReturn:
        column = self._table.columns[position]
        raise CannotCarry(
            f'table "{self._table.sqlite}", column "{column.sqlite}", {self._key_of(row)}: {error}',
            hint=f"the plan carries this column as {column.value_type} with the codec {column.codec}: "
            "`turnback assess` shows other choices",
        ) from error

    def _key_of(self, row: SqliteRow | PostgresRow) -> str:
        if not self._table.key:
            return "in a row without a key"
        values = ", ".join(_shown(row[p]) for p in self._table.key_positions())
        return f"key ({', '.join(self._table.key)}) = ({values})"


def _shown(value: SqliteValue) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_KEY else text[:LONGEST_KEY] + "…"
