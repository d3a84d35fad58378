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
    unit: str | None = None  # epoch and interval: "s", "ms" or "us"
    zone: str | None = None  # text without an offset that becomes timestamptz: the zone it is meant in
    separator: str | None = None  # text that becomes an array: what stands between the elements
    nan: bool = False  # a NaN of PostgreSQL stands as the text 'NaN' in SQLite (HAZARDS R4)
    infinity: bool = False  # 'infinity' and '-infinity' of PostgreSQL stand as these texts (HAZARDS R5)
    constant: str | int | float | bool | None = None  # PostgreSQL lacks the column: what new rows get


@dataclass(frozen=True, slots=True)
class TableChoice:
    """`[tables.NAME]`."""

    exclude: bool = False
    postgres: str | None = None  # the table's name in PostgreSQL
    full: bool = False  # replica_identity = "full": whole rows identify rows (HAZARDS R8)
    columns: Mapping[str, ColumnChoice] = field(default_factory=dict)
    # PostgreSQL columns that SQLite lacks: what the load writes there (HAZARDS F37)
    constants: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    rebuild: tuple[str, ...] = ()  # a virtual table: the SQLite statements that make it current (HAZARDS R17)

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
    zone: str | None = None  # for every column without a zone of its own
    clear_seed_rows: bool = False  # existing mode: rows that the target has already are cleared (HAZARDS F36)
    sequences: Mapping[str, str] = field(default_factory=dict)  # name -> "table.column", PostgreSQL's names

    def table(self, name: str) -> TableChoice:
        """The choice for that table; the empty one when nothing was chosen."""
        return self.tables.get(name, TableChoice())
