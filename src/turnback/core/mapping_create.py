"""The schema that turnback makes (create mode): what a PostgreSQL user would choose, wherever every value
survives the round trip, else a wider type, and the plan says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from turnback.core.candidates import for_create, is_known_codec
from turnback.core.choices import Choices
from turnback.core.conditions import ALWAYS, translate_condition
from turnback.core.defaults import Untranslatable, default_sample, translate_default
from turnback.core.findings import Finding, Severity
from turnback.core.mapping_columns import (
    column_lines,
    fits,
    leave_behind_lines,
    leave_table_out,
    settle,
    toml_key,
    toml_string,
)
from turnback.core.mapping_scope import scope
from turnback.core.plan import ColumnPlan, ForeignKeyPlan, IndexPlan, Plan, ReplicaIdentity, TablePlan
from turnback.core.profile import TableProfile, Trial
from turnback.core.schema import SqliteForeignKey, SqliteIndex, SqliteSchema, SqliteTable
from turnback.core.sqlite_sql import check_bodies, index_condition
from turnback.core.sqltext import identifier, qualified

MAX_NAME_BYTES = 63  # NAMEDATALEN - 1 (PostgreSQL documentation: Identifiers and Key Words)
MAX_COLUMNS = 1600  # PostgreSQL documentation: Limits
MAX_INDEXED_BYTES = 2600  # a B-tree entry holds 2,704 bytes, the other columns and headers included
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

Columns = dict[str, ColumnPlan]  # by SQLite name


def map_create(
    schema: SqliteSchema,
    profiles: Mapping[str, TableProfile],
    choices: Choices,
    trial: Trial,
    *,
    postgres_schema: str = "public",
) -> tuple[Plan, tuple[Finding, ...]]:
    """The plan, and everything that is to be said about it. A table with a refused column is not in it."""
    found = scope(schema, choices, "create")
    work = _Create(schema, profiles, choices, trial, postgres_schema, found.findings)
    tables = work.tables(found.tables)
    return Plan("create", postgres_schema, tables, tuple(found.excluded)), tuple(found.findings)


class _Create:
    def __init__(
        self,
        schema: SqliteSchema,
        profiles: Mapping[str, TableProfile],
        choices: Choices,
        trial: Trial,
        postgres_schema: str,
        findings: list[Finding],
    ) -> None:
        self._schema = schema
        self._profiles = profiles
        self._choices = choices
        self._trial = trial
        self._postgres_schema = postgres_schema
        self._findings = findings
        self._names: set[str] = set()  # relations of the PostgreSQL schema share one namespace
        self._columns: dict[str, Columns] = {}

    def tables(self, tables: list[SqliteTable]) -> tuple[TablePlan, ...]:
        for table in tables:
            self._take_name(table)
            self._columns[table.name] = self._settled(table)
        for table in tables:
            self._align_references(table)
        complete = {t.name: t for t in tables if self._is_complete(t)}
        without_keys = [self._table(t) for t in complete.values()]
        return tuple(
            replace(plan, foreign_keys=self._foreign_keys(complete[plan.sqlite], without_keys))
            for plan in without_keys
        )

    # ---- names -----------------------------------------------------------------------------------

    def _postgres_name(self, table: str) -> str:
        return self._choices.table(table).postgres or table

    def _take_name(self, table: SqliteTable) -> None:
        name = self._postgres_name(table.name)
        lines = f"[tables.{toml_key(table.name)}]\npostgres = {toml_string(_shortened(name))}"
        if problem := _name_problem(name):
            self._say("F17", "choice", f"table {table.name}: the name {problem}", table, settle=lines)
        elif name in self._names:
            self._say(
                "F17", "choice", f"table {table.name}: another table is named {name} too", table, settle=lines
            )
        self._names.add(name)

    def _unused(self, name: str) -> str:
        """The name, or one near to it, that no other relation has."""
        tried, number = _shortened(name), 1
        while tried in self._names:
            number += 1
            tried = _shortened(f"{name}_{number}")
        self._names.add(tried)
        return tried

    # ---- columns ---------------------------------------------------------------------------------

    def _settled(self, table: SqliteTable) -> Columns:
        choice = self._choices.table(table.name)
        profile = self._profiles[table.name]
        compared = {c for index in table.indexes for k in index.columns if (c := k.name)}
        compared |= set(table.primary_key) | {c for fk in table.foreign_keys for c in fk.columns}
        candidates = {}
        for column in table.columns:
            if column.generated:
                self._generated(table, column.name)
                continue
            own = choice.column(column.name)
            if own.codec and not is_known_codec(own.codec):
                self._say(
                    "choice",
                    "choice",
                    f"{table.name}.{column.name}: there is no codec {own.codec}",
                    table,
                    column.name,
                    settle="`codec` takes a name of the reference's list of codecs",
                )
            candidates[column.name] = for_create(
                column,
                profile.columns[column.name],
                own,
                comparable=column.name in compared,
                default_sample=default_sample(column),
            )
        for name in choice.columns:
            if name not in {c.name for c in table.columns}:
                self._say(
                    "choice",
                    "choice",
                    f"turnback.toml chooses something for {table.name}.{name}, which the SQLite table lacks",
                    table,
                    name,
                    settle=f"take [tables.{toml_key(table.name)}.columns.{toml_key(name)}] out",
                )
        if len(candidates) > MAX_COLUMNS:
            self._say(
                "F42",
                "refused",
                f"{table.name} has {len(candidates)} columns, and PostgreSQL holds {MAX_COLUMNS}",
                table,
                settle=leave_table_out(table.name),
            )
        settled = settle(table, profile, candidates, choice, self._trial)
        self._findings += settled.findings
        return {name: self._named(table, plan) for name, plan in settled.columns.items()}

    def _generated(self, table: SqliteTable, column: str) -> None:
        name = f"{table.name}.{column}"
        if name in self._choices.leave_behind:
            self._say("F32", "carries", f"{name}: generated, and left behind by choice", table, column)
        else:
            self._say(
                "F32",
                "choice",
                f"{name} is a generated column, which is not translated; "
                "left behind, SQLite goes on making it",
                table,
                column,
                settle=leave_behind_lines(name),
            )

    def _named(self, table: SqliteTable, plan: ColumnPlan) -> ColumnPlan:
        source = next(c for c in table.columns if c.name == plan.sqlite)
        name = self._choices.table(table.name).column(plan.sqlite).postgres or plan.sqlite
        problem = _name_problem(name)
        if name in SYSTEM_COLUMNS:
            problem = "is that of a system column of PostgreSQL"
        if problem:
            self._say(
                "F17",
                "choice",
                f"{table.name}.{plan.sqlite}: the name {problem}",
                table,
                plan.sqlite,
                settle=column_lines(
                    table.name, plan.sqlite, f"postgres = {toml_string(_shortened(name + '_'))}"
                ),
            )
        if source.collation != "BINARY":
            self._say(
                "F31",
                "carries",
                f"{table.name}.{plan.sqlite}: SQLite compares it by {source.collation}, PostgreSQL exactly; "
                "queries that rely on it need lower()",
                table,
                plan.sqlite,
            )
        nulls = self._profiles[table.name].columns[plan.sqlite].nulls
        in_key = plan.sqlite in table.primary_key
        if nulls and (in_key or source.not_null):
            what = "part of the primary key" if in_key else "declared NOT NULL"
            self._say(
                "F26",
                "refused",
                f"{table.name}.{plan.sqlite} is {what}, and {nulls} values are NULL",
                table,
                plan.sqlite,
                count=nulls,
                keys=self._trial.keys(table, plan.sqlite, "null"),
                settle="give these rows a value, or delete them",
            )
        return replace(
            plan,
            postgres=name,
            not_null=source.not_null or in_key,
            identity=plan.sqlite == table.rowid_alias and plan.pg_type == "bigint",
        )

    def _is_complete(self, table: SqliteTable) -> bool:
        stored = [c.name for c in table.columns if not c.generated]
        return len(self._columns[table.name]) == len(stored)

    # ---- references ------------------------------------------------------------------------------

    def _align_references(self, table: SqliteTable) -> None:
        """A referring column gets the type of what it refers to, where its values survive in it."""
        for key in table.foreign_keys:
            parent = self._columns.get(key.parent, {})
            for own, other in zip(key.columns, key.parent_columns, strict=False):
                child_plan, parent_plan = self._columns[table.name].get(own), parent.get(other)
                if child_plan is None or parent_plan is None or _alike(child_plan, parent_plan):
                    continue
                wanted = replace(
                    child_plan,
                    pg_type=parent_plan.pg_type,
                    codec=parent_plan.codec,
                    options=parent_plan.options,
                    why=f"refers to {key.parent}.{other}",
                )
                if fits(table, self._profiles[table.name], wanted, self._trial):
                    self._columns[table.name][own] = replace(
                        wanted, identity=wanted.pg_type == "bigint" and own == table.rowid_alias
                    )

    def _foreign_keys(self, table: SqliteTable, plans: list[TablePlan]) -> tuple[ForeignKeyPlan, ...]:
        made: list[ForeignKeyPlan] = []
        for key in table.foreign_keys:
            own = [
                self._columns[table.name][c].postgres for c in key.columns if c in self._columns[table.name]
            ]
            name = _shortened(f"{self._postgres_name(table.name)}_{'_'.join(own)}_fkey")
            taken = {k.name for k in made}
            number = 1
            while name in taken:
                number += 1
                name = _shortened(f"{self._postgres_name(table.name)}_{'_'.join(own)}_fkey{number}")
            if name in self._choices.leave_behind:
                self._say("F27", "carries", f"foreign key {name} is left behind by choice", table)
                continue
            parent = next((p for p in plans if p.sqlite == key.parent), None)
            problem, count, keys = self._reference_problem(table, key, parent)
            if problem or parent is None:
                self._say(
                    "F28" if count else "F27",
                    "choice",
                    f"{table.name}: foreign key ({', '.join(key.columns)}) to {key.parent}: {problem}",
                    table,
                    count=count or None,
                    keys=keys,
                    settle=("repair the rows, or do without the constraint:\n" if count else "")
                    + leave_behind_lines(name),
                )
                continue
            parent_columns = tuple(self._columns[key.parent][c].postgres for c in key.parent_columns)
            made.append(
                ForeignKeyPlan(
                    name,
                    tuple(own),
                    parent.postgres,
                    parent_columns,
                    key.on_update,
                    key.on_delete,
                    key.deferred,
                )
            )
        return tuple(made)

    def _reference_problem(
        self, table: SqliteTable, key: SqliteForeignKey, parent: TablePlan | None
    ) -> tuple[str, int, tuple[str, ...]]:
        if parent is None:
            return "that table is not carried", 0, ()
        if len(key.columns) != len(key.parent_columns):
            return "it does not name as many columns as it refers to", 0, ()
        own, other = self._columns[table.name], self._columns[key.parent]
        if any(c not in own for c in key.columns) or any(c not in other for c in key.parent_columns):
            return "one of its columns is not carried", 0, ()
        wanted = {other[c].postgres for c in key.parent_columns}
        unique = [set(parent.primary_key)]
        unique += [
            {other[k.name].postgres for k in i.columns if k.name in other}
            for i in self._schema.table(key.parent).indexes
            if i.unique and not i.partial and _is_plain(i) and i.name not in self._choices.leave_behind
        ]
        if wanted not in unique:
            return "the columns that it refers to are not unique", 0, ()
        for a, b in zip(key.columns, key.parent_columns, strict=True):
            if not _alike(own[a], other[b]):
                return f"{a} becomes {own[a].pg_type}, and {b} becomes {other[b].pg_type}", 0, ()
        misfits = self._trial.orphans(table, key.columns, self._schema.table(key.parent), key.parent_columns)
        if misfits.count:
            return f"{misfits.count} rows refer to no row", misfits.count, misfits.keys
        return "", 0, ()

    # ---- tables ----------------------------------------------------------------------------------

    def _table(self, table: SqliteTable) -> TablePlan:
        columns = self._columns[table.name] = {
            name: self._with_default(table, plan) for name, plan in self._columns[table.name].items()
        }
        primary_key = tuple(columns[c].postgres for c in table.primary_key)
        plan = TablePlan(
            sqlite=table.name,
            postgres=self._postgres_name(table.name),
            columns=tuple(columns.values()),
            key=table.primary_key,
            replica_identity="default",
            without_rowid=table.without_rowid,
            autoincrement=table.autoincrement,
            primary_key=primary_key,
            checks=self._checks(table, columns),
        )
        uniques: list[tuple[str, ...]] = []
        indexes: list[IndexPlan] = []
        identity: tuple[tuple[str, ...], str] | None = None
        for index in table.indexes:
            if self._is_left(index, table):
                continue
            names = tuple(k.name for k in index.columns if k.name is not None)
            if index.unique:
                self._refuse_respelled(table, index, names)
            identifies = (
                not table.primary_key
                and identity is None
                and index.unique
                and not index.partial
                and _is_plain(index)
                and all(columns[n].not_null for n in names)
            )
            if index.origin == "primary_key" and _is_plain(index):
                continue
            if index.origin == "unique" and _is_plain(index) and not identifies:
                uniques.append(tuple(columns[n].postgres for n in names))
                continue
            made = self._index(table, index, columns)
            if made is not None:
                indexes.append(made)
                if identifies:
                    identity = (names, made.name)
        key, replica, identity_index = self._identity(table, identity)
        return replace(
            plan,
            uniques=tuple(dict.fromkeys(uniques)),
            indexes=tuple(indexes),
            key=key,
            replica_identity=replica,
            identity_index=identity_index,
        )

    def _identity(
        self, table: SqliteTable, unique: tuple[tuple[str, ...], str] | None
    ) -> tuple[tuple[str, ...], ReplicaIdentity, str | None]:
        if table.primary_key:
            return table.primary_key, "default", None
        if unique is not None:
            return unique[0], "index", unique[1]
        if not self._choices.table(table.name).full:
            self._say(
                "R8",
                "choice",
                f"{table.name} has no primary key and no unique key of NOT NULL columns: "
                "on the way back whole rows have to identify rows",
                table,
                settle=f'[tables.{toml_key(table.name)}]\nreplica_identity = "full"',
            )
        return (), "full", None

    def _with_default(self, table: SqliteTable, plan: ColumnPlan) -> ColumnPlan:
        source = next(c for c in table.columns if c.name == plan.sqlite)
        name = f"{table.name}.{plan.sqlite}.default"
        if plan.identity or source.default_sql is None:
            return plan
        if name in self._choices.leave_behind:
            self._say("F3", "carries", f"{name} is left behind by choice", table, plan.sqlite)
            return plan
        try:
            return replace(plan, default_sql=translate_default(source, plan))
        except Untranslatable as e:
            self._say(
                "F3",
                "choice",
                f"{table.name}.{plan.sqlite}: the default {source.default_sql} is not carried: {e}",
                table,
                plan.sqlite,
                settle=leave_behind_lines(name),
            )
            return plan

    def _checks(self, table: SqliteTable, columns: Columns) -> tuple[str, ...]:
        bodies = check_bodies(table.sql)
        name = f"{table.name}.check"
        translated = [(body, translate_condition(body, self._comparable(table, columns))) for body in bodies]
        lost = [body for body, condition in translated if condition is None]
        if lost and name in self._choices.leave_behind:
            self._say(
                "F41", "carries", f"{len(lost)} checks of {table.name} are left behind by choice", table
            )
        elif lost:
            self._say(
                "F41",
                "choice",
                f"{table.name}: not translated: " + "; ".join(f"CHECK ({' '.join(b.split())})" for b in lost),
                table,
                count=len(lost),
                settle=leave_behind_lines(name),
            )
        return tuple(c for _, c in translated if c is not None and c != ALWAYS)

    def _comparable(self, table: SqliteTable, columns: Columns) -> Columns:
        binary = {c.name for c in table.columns if c.collation == "BINARY"}
        return {name: plan for name, plan in columns.items() if name in binary}

    # ---- indexes ---------------------------------------------------------------------------------

    def _is_left(self, index: SqliteIndex, table: SqliteTable) -> bool:
        """Left behind by choice, or not carried, which is said."""
        if index.name in self._choices.leave_behind:
            code = "F29" if index.partial else "F30"
            self._say(code, "carries", f"index {index.name} is left behind by choice", table)
            return True
        columns = self._columns[table.name]
        problem = ""
        if any(k.name is None for k in index.columns):
            problem = "is over an expression"
        elif any(k.name not in columns for k in index.columns):
            problem = "has a column that is not carried"
        elif odd := {k.collation for k in index.columns} - {"BINARY", "NOCASE"}:
            problem = f"compares by {', '.join(sorted(odd))}"
        elif too_long := [n for n in (k.name for k in index.columns) if n and self._is_long(table, n)]:
            problem = (
                f"has values of {', '.join(too_long)} over {MAX_INDEXED_BYTES} bytes, "
                "more than PostgreSQL's B-tree takes"
            )
        elif index.partial and self._index_condition(table, index) is None:
            problem = f"is partial, and its condition is not translated: {index_condition(index.sql or '')}"
        if not problem:
            return False
        must = index.origin == "primary_key"
        self._say(
            "F29" if index.partial else "F30",
            "refused" if must else "choice",
            f"{'primary key' if must else 'unique index' if index.unique else 'index'} {index.name} "
            f"of {table.name} {problem}",
            table,
            settle=leave_table_out(table.name) if must else leave_behind_lines(index.name),
        )
        return True

    def _refuse_respelled(self, table: SqliteTable, index: SqliteIndex, names: tuple[str, ...]) -> None:
        """Two spellings of one value are two keys in SQLite and one in PostgreSQL."""
        for name in names:
            if self._columns[table.name][name].options.get("respell"):
                self._say(
                    "F35",
                    "refused",
                    f"{table.name}.{name} belongs to the unique key {index.name}; "
                    "its values must have one spelling",
                    table,
                    name,
                    settle="write all values in one spelling in SQLite, and take `respell` out",
                )

    def _is_long(self, table: SqliteTable, column: str) -> bool:
        return self._profiles[table.name].columns[column].max_bytes > MAX_INDEXED_BYTES

    def _index_condition(self, table: SqliteTable, index: SqliteIndex) -> str | None:
        columns = self._comparable(table, self._columns[table.name])
        return translate_condition(index_condition(index.sql or ""), columns, of_check=False)

    def _index(self, table: SqliteTable, index: SqliteIndex, columns: Columns) -> IndexPlan | None:
        """A whole CREATE INDEX. NOCASE folds the 26 ASCII letters, which is what lower() does in the C
        collation, so a unique index over that means the same (HAZARDS F31).
        """
        terms = []
        for part in index.columns:
            assert part.name is not None
            term = identifier(columns[part.name].postgres)
            if part.collation == "NOCASE" and columns[part.name].codec == "text":
                term = f'lower({term} COLLATE "C")'
            terms.append(f"{term} DESC" if part.descending else term)
        wanted = index.name
        if index.origin != "create":
            names = [columns[k.name].postgres for k in index.columns if k.name]
            wanted = f"{self._postgres_name(table.name)}_{'_'.join(names)}_key"
        name = self._unused(wanted)
        unique = "UNIQUE " if index.unique else ""
        where = f" WHERE {self._index_condition(table, index)}" if index.partial else ""
        target = qualified(self._postgres_schema, self._postgres_name(table.name))
        return IndexPlan(
            name, f"CREATE {unique}INDEX {identifier(name)} ON {target} ({', '.join(terms)}){where}"
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


def _is_plain(index: SqliteIndex) -> bool:
    """Over columns only, compared byte by byte."""
    return all(k.name is not None and k.collation == "BINARY" for k in index.columns)


def _alike(a: ColumnPlan, b: ColumnPlan) -> bool:
    """Equal values on one engine are equal on the other: the same type, reached in the same way."""
    if a.codec == b.codec == "text":
        return True
    return (a.pg_type, a.codec, a.options) == (b.pg_type, b.codec, b.options)


def _name_problem(name: str) -> str:
    if not name:
        return "is empty, which PostgreSQL does not take"
    if "\0" in name:
        return "has a NUL character"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"has {len(name.encode())} bytes, more than PostgreSQL's {MAX_NAME_BYTES}"
    return ""


def _shortened(name: str) -> str:
    """At most 63 bytes; a longer name keeps its start and gets a mark of the whole."""
    raw = name.encode()
    if len(raw) <= MAX_NAME_BYTES:
        return name
    mark = hashlib.sha256(raw).hexdigest()[:8]
    return raw[: MAX_NAME_BYTES - 9].decode(errors="ignore") + "_" + mark
