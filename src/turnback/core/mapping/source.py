"""The SQLite file as the mapping sees it, in both modes, and the list of what is said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from turnback.core.choices import Choices, TableChoice
from turnback.core.findings import Finding, Severity
from turnback.core.mapping.columns import Columns, Offers, settle
from turnback.core.profile import ColumnProfile, TableProfile, Trial
from turnback.core.schema import SqliteSchema, SqliteTable


@dataclass(frozen=True, slots=True)
class Source:
    """Schema, census, the user's choices and the trial of values; `findings` grows in their order."""

    schema: SqliteSchema
    profiles: Mapping[str, TableProfile]  # by table
    choices: Choices
    trial: Trial
    findings: list[Finding]
    lacking: frozenset[str] = frozenset()  # functions and collations that SQLite lacks here: said (F44)

    def choice(self, table: SqliteTable) -> TableChoice:
        return self.choices.table(table.name)

    def facts(self, table: SqliteTable, column: str) -> ColumnProfile:
        return self.profiles[table.name].columns[column]

    def postgres_name(self, table: SqliteTable) -> str:
        """The name that the table has in PostgreSQL: the chosen one, else its own."""
        return self.choice(table).postgres or table.name

    def is_left_behind(self, name: str) -> bool:
        return name in self.choices.leave_behind

    def settle(self, table: SqliteTable, offers: Offers) -> Columns:
        """The columns that found a codec; what is to be said about the others is said."""
        settled = settle(table, self.profiles[table.name], offers, self.choice(table), self.trial)
        self.findings.extend(settled.findings)
        return dict(settled.columns)

    def refuse_nulls(self, table: SqliteTable, column: str, message: str, settle: str) -> None:
        """PostgreSQL's column is NOT NULL, and values are NULL."""
        self.say(
            "F26",
            "refused",
            message,
            table,
            column,
            count=self.facts(table, column).nulls,
            keys=self.trial.keys(table, column, "null"),
            settle=settle,
        )

    def note(self, code: str, message: str, *, settle: str = "") -> None:
        """Information that is about no table."""
        self.findings.append(Finding(code, "carries", message, settle=settle))

    def say(
        self,
        code: str,
        severity: Severity,
        message: str,
        table: SqliteTable,
        column: str | None = None,
        *,
        count: int | None = None,
        keys: tuple[str, ...] = (),
        settle: str = "",
    ) -> None:
        self.findings.append(Finding(code, severity, message, table.name, column, count, keys, settle))
