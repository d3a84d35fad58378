"""What of a target table only the server can judge: read from the catalogue, as SQL over the trial's rows.

CHECK constraints, uniques that SQLite cannot try (partial, over expressions, NULLS NOT DISTINCT, in a
collation or type that finds more equal than is equal byte by byte), exclusion constraints, domains.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg.rows import tuple_row

from turnback.adapters.postgres.connect import Connection
from turnback.core.mapping.keys import holds_apart
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.core.sqltext import identifier, literal

ROW_KEY = "_turnback_key"

_CONSTANT_DEFAULT = re.compile(
    r"'(?:[^']|'')*'(::[^(]+(\(\d+\))?)?|-?\d+(\.\d+)?|true|false|NULL(::.+)?", re.I
)

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typtype = 'd', a.attgenerated <> '',
       a.attidentity <> '', pg_get_expr(d.adbin, d.adrelid),
       CASE WHEN a.attcollation NOT IN (0, t.typcollation)
            THEN format(' COLLATE %%I.%%I', cn.nspname, c.collname) ELSE '' END
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation c ON c.oid = a.attcollation LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

# to_jsonb: a column of the catalogue that older versions lack (PostgreSQL 18 has constraints NOT ENFORCED).
_CHECKS = """
SELECT k.conname, pg_get_expr(k.conbin, k.conrelid),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)),
       coalesce(0 = ANY (k.conkey), false)
FROM pg_constraint k
WHERE k.conrelid = %s AND k.contype = 'c' AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
ORDER BY k.conname
"""

# A collation that is not deterministic finds more equal than is equal byte by byte.
_INDEXES = """
SELECT x.relname, pg_get_expr(i.indpred, i.indrelid),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, false)
             FROM generate_series(1, i.indnkeyatts) AS n ORDER BY n),
       ARRAY(SELECT coalesce(' COLLATE ' || quote_ident(cn.nspname) || '.' || quote_ident(c.collname), '')
             FROM generate_series(1, i.indnkeyatts) AS n
             LEFT JOIN pg_collation c ON c.oid = (i.indcollation::oid[])[n - 1]
             LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace ORDER BY n),
       EXISTS (SELECT FROM pg_collation c
               WHERE c.oid = ANY (i.indcollation::oid[]) AND NOT c.collisdeterministic),
       0 = ANY (i.indkey::int2[]),
       ARRAY(SELECT a.attname::text FROM pg_depend d
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid
             WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                   AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0
             UNION
             SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])),
       ARRAY(SELECT format('OPERATOR(%%I.%%s)', opn.nspname, op.oprname)
             FROM unnest(k.conexclop) WITH ORDINALITY AS u(oid, place) JOIN pg_operator op ON op.oid = u.oid
             JOIN pg_namespace opn ON opn.oid = op.oprnamespace ORDER BY u.place),
       regexp_replace(substr(pg_get_indexdef(i.indexrelid),
         length(format('CREATE %%sINDEX %%I ON %%I.%%I ', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END,
                       x.relname, n.nspname, r.relname)) + 1), ' NULLS NOT DISTINCT', '')
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class r ON r.oid = i.indrelid JOIN pg_namespace n ON n.oid = r.relnamespace
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.conexclop IS NOT NULL
WHERE i.indrelid = %s AND i.indisvalid AND (i.indisunique OR i.indisexclusion)
ORDER BY x.relname
"""


@dataclass(frozen=True, slots=True)
class Question:
    """`columns`: the table's columns that the answer depends on."""

    kind: Literal["check", "unique", "exclusion"]
    name: str
    columns: frozenset[str]
    terms: tuple[str, ...]  # of a check the one condition; else SQL expressions
    where: str = ""
    operators: tuple[str, ...] = ()  # of an exclusion, one per term
    nulls_equal: bool = False
    index: str = ""  # of an exclusion: USING ...


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type_name: str
    is_domain: bool
    generated: bool
    fills_itself: bool  # identity, or a default
    expression: str | None  # of its default, or of what generates it
    collation: str  # " COLLATE ..." where it is not its type's


@dataclass(frozen=True, slots=True)
class Subject:
    """One target table. `untried` are the names of constraints that the load alone can show."""

    table: TablePlan
    columns: tuple[Column, ...]
    questions: tuple[Question, ...] = ()
    untried: tuple[str, ...] = ()

    def judged(self) -> list[ColumnPlan]:
        """Columns whose values the type itself has to take: domains, and text of any form."""
        domains = {c.name for c in self.columns if c.is_domain}
        return [c for c in self.table.columns if c.codec == "verbatim" or c.postgres in domains]

    def carried(self) -> list[ColumnPlan]:
        """The columns whose values have to be sent; all of them where something is generated from others."""
        wanted = frozenset[str]().union(*(q.columns for q in self.questions))
        if any(c.generated and c.name in wanted for c in self.columns):
            return list(self.table.columns)
        judged = {c.postgres for c in self.judged()}
        return [c for c in self.table.columns if c.postgres in wanted or c.postgres in judged]

    def rows_sql(self, sent: Sequence[ColumnPlan]) -> str:
        """The sent texts as values of the table's types, generated columns with them. A column that is
        neither sent nor generated holds its constant, its constant default, or NULL.
        """
        places = {c.postgres: f"c{i}" for i, c in enumerate(sent)}
        constants = {c.column: str(c.value) for c in self.table.postgres_constants}
        typed = [identifier(ROW_KEY)]
        generated = ["s.*"]
        for column in self.columns:
            name = identifier(column.name)
            if column.generated:
                generated.append(f"({column.expression}){column.collation} AS {name}")
                continue
            if column.name in places:
                value = places[column.name]
            elif column.name in constants:
                value = literal(constants[column.name])
            else:
                value = (column.expression if _is_constant(column) else None) or "NULL"
            typed.append(f"(({value})::{column.type_name}){column.collation} AS {name}")
        return (
            f"SELECT {', '.join(generated)} FROM (SELECT {', '.join(typed)} FROM pg_temp.turnback_trial) AS s"
        )


def read_subject(connection: Connection, plan: Plan, table: TablePlan) -> Subject:
    """Create mode: the plan's columns. Existing mode: what the catalogue says of the target."""
    if plan.mode == "create":
        columns = tuple(Column(c.postgres, c.pg_type, False, False, False, None, "") for c in table.columns)
        return Subject(table, columns)
    oid = _rows(
        connection,
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s",
        (plan.schema, table.postgres),
    )
    if not oid:
        return Subject(table, ())
    columns = tuple(
        Column(name, type_name, domain, generated, identity or default is not None, default, collation)
        for name, type_name, domain, generated, identity, default, collation in _rows(
            connection, _COLUMNS, oid[0]
        )
    )
    questions = [*_checks(connection, oid[0]), *_indexes(connection, oid[0], table)]
    known = {c.postgres for c in table.columns} | {c.column for c in table.postgres_constants}
    by_chance = {
        c.name
        for c in columns
        if c.name not in known and not c.generated and c.fills_itself and not _is_constant(c)
    }
    return Subject(
        table,
        columns,
        tuple(q for q in questions if not q.columns & by_chance),
        tuple(q.name for q in questions if q.columns & by_chance and q.kind != "unique"),
    )


def _is_constant(column: Column) -> bool:
    """A default that can be tried without a side effect: nextval() would draw a value for good."""
    return column.expression is not None and _CONSTANT_DEFAULT.fullmatch(column.expression) is not None


def _checks(connection: Connection, oid: tuple[Any, ...]) -> list[Question]:
    return [
        Question("check", name, frozenset(_every(connection, oid) if whole else columns), (expression,))
        for name, expression, columns, whole in _rows(connection, _CHECKS, oid)
    ]


def _indexes(connection: Connection, oid: tuple[Any, ...], table: TablePlan) -> list[Question]:
    found = []
    plans = {c.postgres: c for c in table.columns}
    for row in _rows(connection, _INDEXES, oid):
        name, predicate, nulls_equal, terms, collations, folds, expression, columns, operators, using = row
        used = frozenset(columns) or frozenset(_every(connection, oid))
        where = f"({predicate})" if predicate else ""
        if operators:
            found.append(
                Question(
                    "exclusion",
                    name,
                    used,
                    tuple(f"({t})" for t in terms),
                    where,
                    tuple(operators),
                    index=using,
                )
            )
            continue
        exact = all(c in plans and holds_apart(plans[c]) for c in columns)
        if predicate or nulls_equal or folds or expression or not exact:
            collated = tuple(f"({t}){c}" for t, c in zip(terms, collations, strict=True))
            found.append(Question("unique", name, used, collated, where, nulls_equal=nulls_equal))
    return found


def _every(connection: Connection, oid: tuple[Any, ...]) -> list[str]:
    return [name for name, *_ in _rows(connection, _COLUMNS, oid)]


def _rows(connection: Connection, sql: str, bound: Sequence[object]) -> list[tuple[Any, ...]]:
    return connection.cursor(row_factory=tuple_row).execute(sql.encode(), bound).fetchall()
