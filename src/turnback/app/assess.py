"""Everything that stands between the file and PostgreSQL, found at once and before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from turnback.core.choices import Choices
from turnback.core.codecs import Codec, carries, codec_for, quick_refusal
from turnback.core.codecs.row import RowCodec
from turnback.core.findings import MAX_KEYS, Finding, blocking
from turnback.core.mapping.create import map_create
from turnback.core.mapping.existing import map_existing
from turnback.core.plan import ColumnPlan, Mode, Plan, TablePlan
from turnback.core.profile import Misfits, TableProfile, Trait
from turnback.core.rows import PostgresRow, SqliteRow, SqliteValue
from turnback.core.schema import PostgresSchema, SqliteSchema, SqliteTable
from turnback.errors import UsageError
from turnback.ports import EncodedRows, Progress

ROWS_PER_REPORT = 10_000


class Census(Protocol):
    """Reads one SQLite file, in one consistent state. Raises SourceError."""

    def profile(self, table: SqliteTable) -> TableProfile: ...

    def values(
        self, table: SqliteTable, columns: Sequence[str]
    ) -> Iterator[tuple[tuple[Any, ...], SqliteRow]]:
        """Every row's raw key (for `key_text`) and its values in these columns."""

    def key_text(self, table: SqliteTable, raw: tuple[Any, ...]) -> str: ...

    def keys(self, table: SqliteTable, column: str, trait: Trait) -> tuple[str, ...]: ...

    def outside(self, table: SqliteTable, column: str, allowed: Sequence[str]) -> Misfits: ...

    def larger(self, table: SqliteTable, columns: Sequence[str], size: int) -> Misfits: ...

    def orphans(
        self, table: SqliteTable, columns: Sequence[str], parent: SqliteTable, parent_columns: Sequence[str]
    ) -> Misfits: ...

    def duplicates(self, table: SqliteTable, columns: Sequence[str]) -> Misfits: ...


class ServerTrial(Protocol):
    """Asks a server that has the target's schema; writes nothing there but temporary objects."""

    def findings(self, plan: Plan, rows: EncodedRows, progress: Progress) -> Sequence[Finding]:
        """What it would refuse of the values: checks, uniques, exclusions, domains, text that it prints
        otherwise. Raises ServerError.
        """


@dataclass(frozen=True, slots=True)
class Assessment:
    """`plan` is there when nothing blocks. `draft` always is: what could be mapped, for a person to read."""

    plan: Plan | None
    draft: Plan
    findings: tuple[Finding, ...]
    schema: SqliteSchema
    profiles: Mapping[str, TableProfile]
    target: PostgresSchema | None

    def to_json(self) -> dict[str, Any]:
        """JSON values only; no value of any row but the keys in findings."""
        return {
            "ready": self.plan is not None,
            "blocking": len(blocking(self.findings)),
            "findings": [f.to_json() for f in self.findings],
            "tables": {
                name: {"rows": profile.rows, "columns": {c: _facts(profile, c) for c in profile.columns}}
                for name, profile in self.profiles.items()
            },
            "plan": asdict(self.plan) if self.plan else None,
            "digest": self.plan.digest() if self.plan else None,
        }


def assess(
    schema: SqliteSchema,
    census: Census,
    choices: Choices,
    *,
    mode: Mode,
    target: PostgresSchema | None,
    progress: Progress,
    postgres_schema: str = "public",
    rights: Sequence[Finding] = (),
    server_trial: ServerTrial | None = None,
    lacking: frozenset[str] = frozenset(),
) -> Assessment:
    """Profiles every table, maps it, and tries every value that the profile does not prove; what only the
    server can say of them, `server_trial` asks it.

    `target` is what PostgreSQL has now; existing mode cannot do without. `rights` are findings about rights
    and settings of the server, found elsewhere; `lacking` are functions, collations and modules (in lower
    case) that SQLite does not have here, said elsewhere too. Raises SourceError, UsageError.
    """
    tables = [t for t in schema.tables if t.kind == "table" and not choices.table(t.name).exclude]
    profiles: dict[str, TableProfile] = {}
    progress.begin("profiling tables", len(tables))
    for table in tables:
        profiles[table.name] = census.profile(table)
        progress.advance()
    progress.end()
    trial = ValueTrial(census, progress)
    if mode == "existing":
        if target is None:
            raise UsageError(
                "mode = existing needs a PostgreSQL schema to map to",
                hint='give [postgres] url, or set mode = "create"',
            )
        plan, findings = map_existing(schema, profiles, target, choices, trial)
    else:
        plan, findings = map_create(
            schema, profiles, choices, trial, postgres_schema=postgres_schema, lacking=lacking
        )
        if target is not None:
            findings += occupied(plan, target)
    if server_trial is not None:
        findings += tuple(server_trial.findings(plan, _encoded(schema, census), progress))
    findings = (*rights, *findings)
    return Assessment(
        plan=None if blocking(findings) else plan,
        draft=plan,
        findings=findings,
        schema=schema,
        profiles=profiles,
        target=target,
    )


def _encoded(schema: SqliteSchema, census: Census) -> EncodedRows:
    def rows(table: TablePlan, columns: Sequence[ColumnPlan]) -> Iterator[tuple[str, PostgresRow]]:
        source = schema.table(table.sqlite)
        encode = RowCodec(replace(table, columns=tuple(columns), key=())).encode
        for key, row in census.values(source, [c.sqlite for c in columns]):
            yield census.key_text(source, key), encode(row)

    return rows


def occupied(plan: Plan, target: PostgresSchema) -> tuple[Finding, ...]:
    """Tables that turnback would make and that are there already (HAZARDS F36)."""
    there = {t.name for t in target.tables}
    return tuple(
        Finding(
            "F36",
            "choice",
            f"PostgreSQL already has a table {target.name}.{table.postgres}",
            table.sqlite,
            settle='drop it, give another name, or set [postgres] mode = "existing"',
        )
        for table in plan.tables
        if table.postgres in there
    )


class ValueTrial:
    """Tries candidates on the values themselves: one pass over a table for all its columns."""

    def __init__(self, census: Census, progress: Progress) -> None:
        self._census = census
        self._progress = progress

    def misfits(
        self, table: SqliteTable, asked: Mapping[str, Sequence[ColumnPlan]]
    ) -> dict[str, tuple[Misfits, ...]]:
        columns = list(asked)
        tallies = [[_Tally(codec_for(c), c) for c in asked[name]] for name in columns]
        self._progress.begin(f"trying {table.name}")
        for number, (key, row) in enumerate(self._census.values(table, columns), start=1):
            for value, tried in zip(row, tallies, strict=True):
                if value is not None:
                    for tally in tried:
                        if tally.refuses is not None and tally.refuses(value):
                            tally.count += 1
                            continue
                        reason = carries(tally.codec, tally.column, value)
                        if reason is not None:
                            tally.count += 1
                            if len(tally.keys) < MAX_KEYS:
                                tally.keys.append(self._census.key_text(table, key))
                                tally.reason = tally.reason or reason
                            else:  # the keys and the reason are known: what is left is to count
                                tally.refuses = quick_refusal(tally.codec)
            if number % ROWS_PER_REPORT == 0:
                self._progress.advance(ROWS_PER_REPORT)
        self._progress.end()
        return {
            name: tuple(Misfits(t.count, tuple(t.keys), t.reason) for t in tried)
            for name, tried in zip(columns, tallies, strict=True)
        }

    def keys(self, table: SqliteTable, column: str, trait: Trait) -> tuple[str, ...]:
        return self._census.keys(table, column, trait)

    def outside(self, table: SqliteTable, column: str, allowed: Sequence[str]) -> Misfits:
        return self._census.outside(table, column, allowed)

    def larger(self, table: SqliteTable, columns: Sequence[str], size: int) -> Misfits:
        return self._census.larger(table, columns, size)

    def orphans(
        self, table: SqliteTable, columns: Sequence[str], parent: SqliteTable, parent_columns: Sequence[str]
    ) -> Misfits:
        return self._census.orphans(table, columns, parent, parent_columns)

    def duplicates(self, table: SqliteTable, columns: Sequence[str]) -> Misfits:
        return self._census.duplicates(table, columns)

    def rows(self, table: SqliteTable, columns: Sequence[str]) -> Iterator[SqliteRow]:
        return (row for _, row in self._census.values(table, columns))


class _Tally:
    __slots__ = ("codec", "column", "count", "keys", "reason", "refuses")

    def __init__(self, codec: Codec, column: ColumnPlan) -> None:
        self.codec = codec
        self.column = column
        self.count = 0
        self.keys: list[str] = []
        self.reason = ""
        self.refuses: Callable[[SqliteValue], bool] | None = None


def _facts(profile: TableProfile, column: str) -> dict[str, int | None]:
    """Counts, ranges and lengths; no text of any row."""
    facts = profile.columns[column]
    return {
        "nulls": facts.nulls,
        "integers": facts.integers,
        "reals": facts.reals,
        "texts": facts.texts,
        "blobs": facts.blobs,
        "min_integer": facts.min_integer,
        "max_integer": facts.max_integer,
        "max_characters": facts.max_characters,
        "max_bytes": facts.max_bytes,
        "min_blob_bytes": facts.min_blob_bytes,
        "max_blob_bytes": facts.max_blob_bytes,
        "nul_texts": facts.nul_texts,
        "invalid_texts": facts.invalid_texts,
    }
