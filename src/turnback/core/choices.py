"""What the user has decided about the mapping: the `[tables]` and `[sqlite] leave_behind` of turnback.toml.

Values only; `mapping` obeys them or says in a finding why it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """`[tables.NAME.columns.COLUMN]`. Everything left out is found from declaration and values."""

    codec: str | None = None  # name in turnback.core.codecs
    pg_type: str | None = None  # create mode: the PostgreSQL type, as format_type() writes it
    respell: bool = False  # spelling that PostgreSQL does not keep may change when the value changes
    postgres: str | None = None  # the column's name in PostgreSQL
    unit: str | None = None  # epoch: "s", "ms" or "us"


@dataclass(frozen=True, slots=True)
class TableChoice:
    """`[tables.NAME]`."""

    exclude: bool = False
    postgres: str | None = None  # the table's name in PostgreSQL
    full: bool = False  # replica_identity = "full": whole rows identify rows (HAZARDS R8)
    columns: Mapping[str, ColumnChoice] = field(default_factory=dict)

    def column(self, name: str) -> ColumnChoice:
        """The choice for that column; the empty one when nothing was chosen."""
        return self.columns.get(name, ColumnChoice())


@dataclass(frozen=True, slots=True)
class Choices:
    """`leave_behind` names what stays in the SQLite file only: a view, trigger or index by its name,
    TABLE.check, TABLE.COLUMN (a generated column) or TABLE.COLUMN.default.
    """

    tables: Mapping[str, TableChoice] = field(default_factory=dict)
    leave_behind: tuple[str, ...] = ()

    def table(self, name: str) -> TableChoice:
        """The choice for that table; the empty one when nothing was chosen."""
        return self.tables.get(name, TableChoice())
