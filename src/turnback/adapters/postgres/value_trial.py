"""The server tries, before anything is loaded, what only it can say of the values (docs/decisions/0014).

The encoded values go into a temporary table of texts, and the questions are asked there. All of it happens in
a transaction that is rolled back, in temporary objects: the right TEMPORARY on the database is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from psycopg.rows import tuple_row

from turnback.adapters.postgres.connect import Connection, connect, translated
from turnback.adapters.postgres.trial_subject import ROW_KEY, Question, Subject, read_subject
from turnback.core.findings import MAX_KEYS, Finding
from turnback.core.plan import ColumnPlan, Plan, TablePlan
from turnback.core.rows import PostgresRow
from turnback.core.sqltext import identifier, literal
from turnback.core.toml_lines import leave_table_out
from turnback.ports import EncodedRows, Progress

ROWS_PER_REPORT = 10_000

# What a constraint, a type or a function of the schema says to a value (SQLSTATE classes): data exception,
# integrity constraint, syntax or access rule (an operator or object that is missing), limits, RAISE.
_REFUSALS = ("22", "23", "42", "54", "P0")


class ServerTrial:
    """One database with the target's schema: the target itself, or a scratch database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def findings(self, plan: Plan, rows: EncodedRows, progress: Progress) -> tuple[Finding, ...]:
        """What the server would refuse of the plan's tables, with counts and keys. Raises ServerError."""
        found: list[Finding] = []
        with translated(self._dsn), connect(self._dsn, application_name="turnback trial") as connection:
            for table in plan.tables:
                subject = read_subject(connection, plan, table)
                found += [_untried(table, name) for name in subject.untried]
                sent = subject.carried()
                if not (sent or subject.questions or table.postgres_constants):
                    continue
                try:
                    with connection.transaction(force_rollback=True):
                        found += _try_table(connection, subject, sent, rows(table, sent), progress)
                except psycopg.errors.InsufficientPrivilege:
                    found.append(_no_right(connection))
                    break
        return tuple(found)


def _try_table(
    connection: Connection,
    subject: Subject,
    sent: Sequence[ColumnPlan],
    rows: Iterator[tuple[str, PostgresRow]],
    progress: Progress,
) -> list[Finding]:
    refused = [
        f for f in (_constant(connection, subject, c.column) for c in subject.table.postgres_constants) if f
    ]
    if refused:
        return refused
    columns = "".join(f", c{i} text" for i in range(len(sent)))
    connection.execute(
        f"CREATE TEMPORARY TABLE turnback_trial ({identifier(ROW_KEY)} text NOT NULL{columns})".encode()
    )
    progress.begin(f"the server tries {subject.table.sqlite}")
    with connection.cursor() as cursor, cursor.copy(b"COPY pg_temp.turnback_trial FROM STDIN") as copy:
        for number, (key, row) in enumerate(rows, start=1):
            copy.write_row((key, *row))
            if number % ROWS_PER_REPORT == 0:
                progress.advance(ROWS_PER_REPORT)
    connection.execute(b"ANALYZE pg_temp.turnback_trial")
    found = []
    for column in subject.judged():
        found += _judge(connection, subject, column, f"c{sent.index(column)}")
    for question in subject.questions:
        found += _ask(connection, subject, question, subject.rows_sql(sent))
    progress.end()
    return found


# ---- single values ---------------------------------------------------------------------------------


def _constant(connection: Connection, subject: Subject, name: str) -> Finding | None:
    """Does the column's type read the constant that the plan has for it?"""
    table = subject.table
    value = next(str(c.value) for c in table.postgres_constants if c.column == name)
    type_name = next(c.type_name for c in subject.columns if c.name == name)
    try:
        with connection.transaction():
            connection.execute(f"SELECT {literal(value)}::{type_name}".encode())
    except psycopg.DatabaseError as e:
        _only_refusals(e)
        return Finding(
            "F37",
            "choice",
            f"{table.sqlite}: {type_name} of PostgreSQL's column {name} does not read its constant",
            table.sqlite,
            name,
            settle=f"correct {name} in the constants of that table",
        )
    return None


def _judge(connection: Connection, subject: Subject, column: ColumnPlan, place: str) -> list[Finding]:
    """The rows whose text the type refuses or, for text that must stand as PostgreSQL prints it, prints
    otherwise. They are taken out: what is asked next needs values.
    """
    type_name = next(c.type_name for c in subject.columns if c.name == column.postgres)
    # format() and not a cast to text: inet and boolean have casts that print otherwise than the type does.
    connection.execute(
        f"""
        CREATE OR REPLACE FUNCTION pg_temp.turnback_printed(given text) RETURNS text
        LANGUAGE plpgsql AS $body$
        BEGIN
            RETURN pg_catalog.format('%s', given::{type_name});
        EXCEPTION
            WHEN data_exception OR integrity_constraint_violation OR syntax_error_or_access_rule_violation
                 OR program_limit_exceeded OR feature_not_supported OR raise_exception THEN
                RETURN NULL;
        END $body$
        """.encode()
    )
    verbatim = column.codec == "verbatim"
    wrong = f"IS DISTINCT FROM {place}" if verbatim else "IS NULL"
    count, keys = _one(
        connection,
        f"WITH gone AS (DELETE FROM pg_temp.turnback_trial WHERE {place} IS NOT NULL "
        f"AND pg_temp.turnback_printed({place}) {wrong} RETURNING {identifier(ROW_KEY)}) "
        f"SELECT count(*), (array_agg({identifier(ROW_KEY)}))[1:{MAX_KEYS}] FROM gone",
    )
    if not count:
        return []
    table = subject.table.sqlite
    what = f"are not printed by {type_name} as they stand" if verbatim else f"are refused by {type_name}"
    other = "choose another codec, " if verbatim else ""
    return [
        Finding(
            "R5" if verbatim else "F12",
            "refused",
            f"{table}.{column.sqlite}: {count} values {what}",
            table,
            column.sqlite,
            count,
            tuple(keys),
            f"{other}change these values, or leave the table out:\n{leave_table_out(table)}",
        )
    ]


# ---- constraints -----------------------------------------------------------------------------------


def _ask(connection: Connection, subject: Subject, question: Question, rows_sql: str) -> list[Finding]:
    table = subject.table.sqlite
    try:
        with connection.transaction():
            # Under the table's own name, which an expression over the whole row speaks of.
            rows_named = f"({rows_sql}) AS {identifier(subject.table.postgres)}"
            count, keys = _answer(connection, question, rows_named)
    except psycopg.DatabaseError as e:
        _only_refusals(e)
        return [
            Finding(
                question.kind,
                "refused",
                f"{table}: PostgreSQL's {question.name} cannot be evaluated for the values that are there "
                f"(SQLSTATE {e.sqlstate})",
                table,
                settle=f"change the values, or {question.name} in PostgreSQL, or leave the table out:\n"
                f"{leave_table_out(table)}",
            )
        ]
    if not count:
        return []
    what = {
        "check": f"{count} rows break the check {question.name}",
        "unique": f"{count} groups of rows are equal under {question.name}, which is unique",
        "exclusion": f"{count} rows conflict with others under {question.name}",
    }
    return [
        Finding(
            question.kind,
            "refused",
            f"{table}: {what[question.kind]} in PostgreSQL",
            table,
            count=count,
            keys=tuple(keys),
            settle=f"change these rows, or {question.name} in PostgreSQL",
        )
    ]


def _answer(connection: Connection, question: Question, rows: str) -> tuple[int, Sequence[str]]:
    key = identifier(ROW_KEY)
    if question.kind == "exclusion":
        return _conflicts(connection, question, rows)
    if question.kind == "check":
        broken = f"SELECT {key} AS k FROM {rows} WHERE NOT ({question.terms[0]})"
    else:
        conditions = [question.where] if question.where else []
        if not question.nulls_equal:
            conditions += [f"{term} IS NOT NULL" for term in question.terms]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        broken = (
            f"SELECT min({key}) || ' and ' || max({key}) AS k FROM {rows}{where} "
            f"GROUP BY {', '.join(question.terms)} HAVING count(*) > 1"
        )
    return _one(connection, f"SELECT count(*), (array_agg(k))[1:{MAX_KEYS}] FROM ({broken}) AS broken")


def _conflicts(connection: Connection, question: Question, rows: str) -> tuple[int, Sequence[str]]:
    """With an index as the constraint has it: every row looks for its conflicts there."""
    key = identifier(ROW_KEY)
    name = "turnback_excluded"
    terms = [f"x{i}" for i in range(len(question.terms))]
    connection.execute(f"CREATE TEMPORARY TABLE {name} AS SELECT * FROM {rows}".encode())
    connection.execute(f"CREATE INDEX ON pg_temp.{name} {question.index}".encode())
    connection.execute(f"ANALYZE pg_temp.{name}".encode())
    listed = ", ".join(f"{t} AS {x}" for t, x in zip(question.terms, terms, strict=True))
    where = f" WHERE {question.where}" if question.where else ""
    one = f"(SELECT {key}, ctid AS place, {listed} FROM pg_temp.{name}{where})"
    conflict = " AND ".join(f"a.{x} {op} b.{x}" for x, op in zip(terms, question.operators, strict=True))
    broken = (
        f"SELECT a.{key} AS k FROM {one} AS a "
        f"WHERE EXISTS (SELECT FROM {one} AS b WHERE a.place <> b.place AND {conflict})"
    )
    found = _one(connection, f"SELECT count(*), (array_agg(k))[1:{MAX_KEYS}] FROM ({broken}) AS broken")
    connection.execute(f"DROP TABLE pg_temp.{name}".encode())
    return found


# ---- inside ----------------------------------------------------------------------------------------


def _untried(table: TablePlan, name: str) -> Finding:
    return Finding(
        "check",
        "carries",
        f"{table.sqlite}: PostgreSQL's {name} depends on a default that is not a constant; only the load "
        "shows whether it holds",
        table.sqlite,
    )


def _no_right(connection: Connection) -> Finding:
    database, user = connection.info.dbname, connection.info.user
    return Finding(
        "rights.temporary",
        "choice",
        f"the user {user} may not make temporary tables, or not use what the constraints use, in {database}: "
        "what only the server can try has not been tried",
        settle=f"GRANT TEMPORARY ON DATABASE {identifier(database)} TO {identifier(user)}",
    )


def _only_refusals(error: psycopg.DatabaseError) -> None:
    """Raises the error again unless it is the schema's word on a value."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege) or not (error.sqlstate or "").startswith(
        _REFUSALS
    ):
        raise error


def _one(connection: Connection, sql: str) -> tuple[int, Sequence[str]]:
    row = connection.cursor(row_factory=tuple_row).execute(sql.encode()).fetchone()
    assert row is not None
    return row[0], row[1] or ()
