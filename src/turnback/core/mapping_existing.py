"""The schema that the application's own ORM has made (existing mode): types come from the catalogue, the
storage classes that are there choose the codec, and what does not fit is said by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from turnback.core.candidates import detect_unit, for_type, parse_type
from turnback.core.choices import Choices, ColumnChoice
from turnback.core.findings import Finding, Severity
from turnback.core.mapping_columns import column_lines, leave_table_out, settle, toml_key
from turnback.core.mapping_scope import LEDGERS, scope
from turnback.core.plan import ColumnPlan, Excluded, ForeignKeyPlan, Plan, ReplicaIdentity, TablePlan
from turnback.core.profile import TableProfile, Trial
from turnback.core.schema import (
    PostgresColumn,
    PostgresConstraint,
    PostgresSchema,
    PostgresTable,
    SqliteColumn,
    SqliteSchema,
    SqliteTable,
    affinity,
)

# timestamp(3) holds milliseconds and nothing else
_UNIT_BY_DIGITS: dict[tuple[int, ...], str] = {(0,): "s", (3,): "ms"}

Pairs = dict[str, PostgresColumn]  # by SQLite column


def map_existing(
    schema: SqliteSchema,
    profiles: Mapping[str, TableProfile],
    postgres: PostgresSchema,
    choices: Choices,
    trial: Trial,
) -> tuple[Plan, tuple[Finding, ...]]:
    """The plan, and everything that is to be said about it. A table with a refused column is not in it."""
    found = scope(schema, choices, "existing")
    work = _Existing(schema, profiles, postgres, choices, trial, found.findings)
    tables = work.tables(found.tables)
    met = {t.name for t in work.met.values()}
    for table in postgres.tables:
        if table.name not in met and table.kind != "partition":
            why = "a migration ledger" if table.name in LEDGERS else "the SQLite file has no such table"
            found.excluded.append(Excluded(table.name, "postgres", why))
            found.findings.append(
                Finding("F36", "carries", f"PostgreSQL's table {table.name} is left alone: {why}", table.name)
            )
    return Plan("existing", postgres.name, tables, tuple(found.excluded)), tuple(found.findings)


class _Existing:
    def __init__(
        self,
        schema: SqliteSchema,
        profiles: Mapping[str, TableProfile],
        postgres: PostgresSchema,
        choices: Choices,
        trial: Trial,
        findings: list[Finding],
    ) -> None:
        self._schema = schema
        self._profiles = profiles
        self._postgres = postgres
        self._choices = choices
        self._trial = trial
        self._findings = findings
        self._unit: str | None = None
        self.met: dict[str, PostgresTable] = {}  # by SQLite table

    def tables(self, tables: list[SqliteTable]) -> tuple[TablePlan, ...]:
        for table in tables:
            target = self._target(table)
            if target is not None:
                self.met[table.name] = target
        self._unit = self._common_unit()
        plans = [
            p for t in tables if t.name in self.met and (p := self._table(t, self.met[t.name])) is not None
        ]
        return tuple(replace(p, foreign_keys=self._foreign_keys(p, plans)) for p in plans)

    def _common_unit(self) -> str | None:
        """The one unit that all filled integer columns share that become moments; for the empty ones."""
        units = set()
        for name, target in self.met.items():
            moments = {c.name.lower() for c in target.columns if parse_type(c.type_name)[0] == "timestamp"}
            for column, facts in self._profiles[name].columns.items():
                if facts.classes == {"integer"} and column.lower() in moments:
                    units.add(self._choices.table(name).column(column).unit or detect_unit(facts))
        return units.pop() if len(units) == 1 else None

    # ---- what meets what -------------------------------------------------------------------------

    def _target(self, table: SqliteTable) -> PostgresTable | None:
        wanted = self._choices.table(table.name).postgres or table.name
        name = _meeting(wanted, [t.name for t in self._postgres.tables])
        if name is None:
            self._say(
                "F36",
                "choice",
                f"{table.name}: PostgreSQL has no table {self._postgres.name}.{wanted}",
                table,
                settle=f"{leave_table_out(table.name)}\nor the name of the table that it becomes:\n"
                f'[tables.{toml_key(table.name)}]\npostgres = "..."',
            )
            return None
        if any(t.name == name for t in self.met.values()):
            self._say("F17", "choice", f"{table.name}: another table already becomes {name}", table)
            return None
        return self._postgres.table(name)

    def _pairs(self, table: SqliteTable, target: PostgresTable) -> Pairs:
        """Stored columns of both sides that belong together; the others are said."""
        choice = self._choices.table(table.name)
        names = [c.name for c in target.columns]
        pairs: Pairs = {}
        for column in table.columns:
            own = choice.column(column.name)
            name = _meeting(own.postgres or column.name, names)
            other = None if name is None else next(c for c in target.columns if c.name == name)
            if column.generated:
                self._generated(table, column, other)
            elif other is None:
                self._say(
                    "F36",
                    "choice",
                    f"{table.name}.{column.name}: PostgreSQL's table {target.name} has no such column",
                    table,
                    column.name,
                    settle="add it to the PostgreSQL schema, or say its name there:\n"
                    + column_lines(table.name, column.name, 'postgres = "..."'),
                )
            elif other.generated:
                self._say(
                    "F32",
                    "refused",
                    f"{table.name}.{column.name} holds values, and PostgreSQL generates {other.name}",
                    table,
                    column.name,
                    settle=leave_table_out(table.name),
                )
            else:
                pairs[column.name] = other
        self._only_on_postgres(table, target, pairs)
        return pairs

    def _generated(self, table: SqliteTable, column: SqliteColumn, other: PostgresColumn | None) -> None:
        name = f"{table.name}.{column.name}"
        if other is None or other.generated:
            where = "SQLite only" if other is None else "both sides"
            self._say(
                "F32", "carries", f"{name} is generated on {where}, and not carried", table, column.name
            )
        else:
            self._say(
                "F32",
                "refused",
                f"{name} is generated, and PostgreSQL's column of that name holds values",
                table,
                column.name,
                settle=f"make it a generated column in PostgreSQL too, or leave the table out:\n"
                f"{leave_table_out(table.name)}",
            )

    def _only_on_postgres(self, table: SqliteTable, target: PostgresTable, pairs: Pairs) -> None:
        taken = {c.name for c in pairs.values()}
        known = {c.name for c in table.columns}
        for column in target.columns:
            if column.name in taken or column.generated or column.name in known:
                continue
            fills_itself = column.default_sql is not None or column.identity
            if column.not_null and not fills_itself:
                self._say(
                    "F37",
                    "choice",
                    f"{table.name}: PostgreSQL's column {column.name} is NOT NULL without a default, "
                    "and SQLite has no such column",
                    table,
                    column.name,
                    settle="give it a default in PostgreSQL, or say which SQLite column it is: "
                    f'[tables.{toml_key(table.name)}.columns.COLUMN] postgres = "{column.name}"',
                )
            else:
                fill = "its default" if fills_itself else "NULL"
                self._say(
                    "F37",
                    "carries",
                    f"{table.name}: PostgreSQL's column {column.name} gets {fill}; "
                    "what is written to it does not come back to SQLite",
                    table,
                    column.name,
                )

    # ---- tables ----------------------------------------------------------------------------------

    def _table(self, table: SqliteTable, target: PostgresTable) -> TablePlan | None:
        if not self._is_usable(table, target):
            return None
        choice = self._choices.table(table.name)
        profile = self._profiles[table.name]
        pairs = self._pairs(table, target)
        candidates: dict[str, tuple[ColumnPlan, ...]] = {}
        for column in table.columns:
            if column.name in pairs:
                offered = self._candidates(table, column, pairs[column.name])
                if offered:
                    candidates[column.name] = offered
        settled = settle(table, profile, candidates, choice, self._trial)
        self._findings += settled.findings
        stored = [c.name for c in table.columns if not c.generated]
        columns = {
            name: self._column(table, target, plan, pairs[name]) for name, plan in settled.columns.items()
        }
        if len(columns) != len(stored):
            return None
        key, replica, index = self._identity(table, target, columns)
        self._uniques(table, target, columns)
        if target.triggers:
            self._say(
                "F41",
                "carries",
                f"{target.name} has triggers in PostgreSQL ({', '.join(target.triggers)}): "
                "suspended for the load",
                table,
            )
        return TablePlan(
            sqlite=table.name,
            postgres=target.name,
            columns=tuple(columns.values()),
            key=key,
            replica_identity=replica,
            identity_index=index,
            without_rowid=table.without_rowid,
            autoincrement=table.autoincrement,
            primary_key=next((c.columns for c in target.constraints if c.kind == "primary_key"), ()),
        )

    def _is_usable(self, table: SqliteTable, target: PostgresTable) -> bool:
        problem = ""
        if target.kind != "table":
            problem = f"is a {target.kind} table"
        elif target.persistence != "permanent":
            problem = f"is {target.persistence}: its changes are not in the WAL"
        if problem:
            self._say(
                "target",
                "refused",
                f"PostgreSQL's table {target.name} {problem}, which is not carried",
                table,
                settle=f"make it an ordinary table, or leave it out:\n{leave_table_out(table.name)}",
            )
            return False
        if target.has_rows:
            self._say(
                "F36",
                "choice",
                f"PostgreSQL's table {target.name} has rows already",
                table,
                settle=f"empty it (TRUNCATE), or leave the table out:\n{leave_table_out(table.name)}",
            )
        return True

    def _candidates(
        self, table: SqliteTable, column: SqliteColumn, target: PostgresColumn
    ) -> tuple[ColumnPlan, ...]:
        """For one column; empty when the reason has been said."""
        facts = self._profiles[table.name].columns[column.name]
        own = self._choices.table(table.name).column(column.name)
        base = parse_type(target.type_name)[0]
        counts_time = base == "timestamp" and (
            facts.classes == {"integer"}
            or (not facts.classes and affinity(column.declared_type) == "INTEGER")
        )
        if counts_time and own.unit is None and detect_unit(facts) is None:
            unit = self._unit or _UNIT_BY_DIGITS.get(parse_type(target.type_name)[1])
            if facts.values == 0 and unit is not None:
                own = replace(own, unit=unit)
            else:
                what = "no value shows" if facts.values == 0 else "the values do not agree on"
                self._say(
                    "F4",
                    "choice",
                    f"{table.name}.{column.name}: integers that become {target.type_name}; {what} their unit",
                    table,
                    column.name,
                    count=facts.values,
                    settle=column_lines(table.name, column.name, 'unit = "ms"'),
                )
                return ()
        offered: tuple[ColumnPlan, ...] = ()
        if target.type_kind in ("base", "enum"):
            is_enum = target.type_kind == "enum"
            offered = for_type(column, facts, own, target.type_name, is_enum=is_enum)
        if own.codec:
            offered = tuple(c for c in offered if c.codec == own.codec)
        if offered:
            return offered
        self._no_codec(table, column, target, own)
        return ()

    def _no_codec(
        self, table: SqliteTable, column: SqliteColumn, target: PostgresColumn, own: ColumnChoice
    ) -> None:
        facts = self._profiles[table.name].columns[column.name]
        kind = "" if target.type_kind == "base" else f", {_article(target.type_kind)}"
        classes = " and ".join(sorted(facts.classes)) or "NULL"
        if facts.classes == {"text"} and parse_type(target.type_name)[0] == "timestamp":
            message = f"the texts have no form that {target.type_name} comes back to: {facts.min_text!r}"
            code, count = "F7", facts.texts
        else:
            chosen = f" by the codec {own.codec}" if own.codec else ""
            message = f"{classes} values are not carried into {target.type_name}{kind}{chosen}"
            code, count = "R5", facts.values
        self._say(
            code,
            "refused",
            f"{table.name}.{column.name}: {message}",
            table,
            column.name,
            count=count,
            keys=self._trial.keys(table, column.name, "text") if code == "F7" else (),
            settle=f"change the PostgreSQL type, or leave the table out:\n{leave_table_out(table.name)}",
        )

    def _column(
        self, table: SqliteTable, target: PostgresTable, plan: ColumnPlan, other: PostgresColumn
    ) -> ColumnPlan:
        nulls = self._profiles[table.name].columns[plan.sqlite].nulls
        if other.not_null and nulls:
            self._say(
                "F26",
                "refused",
                f"{table.name}.{plan.sqlite}: {nulls} values are NULL, "
                f"and PostgreSQL's {other.name} is NOT NULL",
                table,
                plan.sqlite,
                count=nulls,
                keys=self._trial.keys(table, plan.sqlite, "null"),
                settle="give these rows a value, or let the PostgreSQL column take NULL",
            )
        if other.type_kind == "enum":
            self._labels(table, plan, other)
        if plan.codec == "epoch" and plan.options.get("truncate"):
            self._say(
                "R1",
                "carries",
                f"{table.name}.{plan.sqlite}: what PostgreSQL holds beyond {plan.options['unit']} "
                "does not come back to SQLite",
                table,
                plan.sqlite,
            )
        owned = any(s.owner == (target.name, other.name) for s in self._postgres.sequences)
        return replace(plan, postgres=other.name, identity=other.identity != "" or owned)

    def _labels(self, table: SqliteTable, plan: ColumnPlan, other: PostgresColumn) -> None:
        misfits = self._trial.outside(table, plan.sqlite, other.labels)
        if misfits.count:
            self._say(
                "R5",
                "refused",
                f"{table.name}.{plan.sqlite}: {misfits.count} values are no label of {other.type_name}",
                table,
                plan.sqlite,
                count=misfits.count,
                keys=misfits.keys,
                settle=f"ALTER TYPE {other.type_name} ADD VALUE, or change the values",
            )

    # ---- keys ------------------------------------------------------------------------------------

    def _identity(
        self, table: SqliteTable, target: PostgresTable, columns: dict[str, ColumnPlan]
    ) -> tuple[tuple[str, ...], ReplicaIdentity, str | None]:
        """PostgreSQL uses a primary key that is not deferrable, or an index that is unique, immediate, not
        partial, and over NOT NULL columns (documentation: ALTER TABLE, REPLICA IDENTITY).
        """
        if self._choices.table(table.name).full:
            return (), "full", None
        sqlite_names = {plan.postgres: name for name, plan in columns.items()}
        not_null = {c.name for c in target.columns if c.not_null}
        usable: list[tuple[tuple[str, ...], ReplicaIdentity, str | None]] = [
            (c.columns, "default", None)
            for c in target.constraints
            if c.kind == "primary_key" and not c.deferrable
        ]
        usable += [
            (i.columns, "index", i.name)
            for i in target.indexes
            if i.unique and i.immediate and not i.partial and set(i.columns) <= not_null
        ]
        for names, replica, index in usable:
            if all(n in sqlite_names for n in names):
                key = tuple(sqlite_names[n] for n in names)
                if _is_unique(table, key):
                    return key, replica, index
        why = "no usable key" if not usable else "no key that is unique on both sides"
        self._say(
            "R8",
            "choice",
            f"{table.name} has {why}: on the way back whole rows have to identify rows",
            table,
            settle=f'[tables.{toml_key(table.name)}]\nreplica_identity = "full"',
        )
        return (), "full", None

    def _uniques(self, table: SqliteTable, target: PostgresTable, columns: dict[str, ColumnPlan]) -> None:
        """What PostgreSQL holds unique and SQLite does not: the rows must already be."""
        sqlite_names = {plan.postgres: name for name, plan in columns.items()}
        for index in target.indexes:
            if not index.unique or index.partial or not set(index.columns) <= set(sqlite_names):
                continue
            names = tuple(sqlite_names[n] for n in index.columns)
            folds = [n for n in names if columns[n].options.get("respell")]
            if folds:
                self._say(
                    "F35",
                    "refused",
                    f"{table.name}: {', '.join(folds)} belongs to the unique index {index.name}; "
                    "its values must have one spelling",
                    table,
                    folds[0],
                    settle="write all values in one spelling in SQLite, and take `respell` out",
                )
            if not _is_unique(table, names):
                misfits = self._trial.duplicates(table, names)
                if misfits.count:
                    self._say(
                        "unique",
                        "refused",
                        f"{table.name}: {misfits.count} groups of rows have equal ({', '.join(names)}), "
                        f"which PostgreSQL's {index.name} refuses",
                        table,
                        count=misfits.count,
                        keys=misfits.keys,
                        settle="make them differ, or drop the unique index in PostgreSQL",
                    )

    def _foreign_keys(self, plan: TablePlan, plans: list[TablePlan]) -> tuple[ForeignKeyPlan, ...]:
        table, target = self._schema.table(plan.sqlite), self.met[plan.sqlite]
        made = []
        for key in target.constraints:
            if key.kind != "foreign_key":
                continue
            parent = next((p for p in plans if p.postgres == key.parent), None)
            if parent is None:
                filled = any(
                    self._profiles[table.name].columns[c.sqlite].values
                    for c in plan.columns
                    if c.postgres in key.columns
                )
                self._say(
                    "F27",
                    "choice" if filled else "carries",
                    f"{table.name}: PostgreSQL's {key.name} refers to {key.parent}, which is not carried",
                    table,
                    settle="load that table by other means, or drop the constraint" if filled else "",
                )
                continue
            self._check_orphans(table, plan, parent, key)
            made.append(
                ForeignKeyPlan(
                    key.name,
                    key.columns,
                    key.parent,
                    key.parent_columns,
                    key.on_update,
                    key.on_delete,
                    key.deferred,
                )
            )
        return tuple(made)

    def _check_orphans(
        self, table: SqliteTable, plan: TablePlan, parent: TablePlan, key: PostgresConstraint
    ) -> None:
        own = {c.postgres: c.sqlite for c in plan.columns}
        other = {c.postgres: c.sqlite for c in parent.columns}
        if not set(key.columns) <= set(own) or not set(key.parent_columns) <= set(other):
            return  # a column of it exists in PostgreSQL only: said already
        misfits = self._trial.orphans(
            table,
            [own[c] for c in key.columns],
            self._schema.table(parent.sqlite),
            [other[c] for c in key.parent_columns],
        )
        if misfits.count:
            self._say(
                "F28",
                "refused",
                f"{table.name}: {misfits.count} rows refer to no row of {parent.sqlite}, which PostgreSQL's "
                f"{key.name} refuses",
                table,
                count=misfits.count,
                keys=misfits.keys,
                settle="repair or delete these rows, or drop the constraint in PostgreSQL",
            )

    def _say(
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
        self._findings.append(Finding(code, severity, message, table.name, column, count, keys, settle))


def _meeting(wanted: str, names: list[str]) -> str | None:
    """The exact name, else the only one that differs in case alone."""
    if wanted in names:
        return wanted
    near = [n for n in names if n.lower() == wanted.lower()]
    return near[0] if len(near) == 1 else None


def _is_unique(table: SqliteTable, columns: tuple[str, ...]) -> bool:
    """Does SQLite itself hold these columns unique, compared byte by byte?"""
    wanted = set(columns)
    if table.rowid_alias is not None and table.rowid_alias in wanted:
        return True
    return any(
        i.unique
        and not i.partial
        and all(k.name is not None and k.collation == "BINARY" for k in i.columns)
        and {k.name for k in i.columns} <= wanted
        for i in table.indexes
    )


def _article(type_kind: str) -> str:
    return f"{'an' if type_kind[0] in 'aeiou' else 'a'} {type_kind}"
