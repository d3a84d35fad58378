"""What the file's schema uses and this connection lacks: functions, collations, modules (HAZARDS F44).

SQLite itself is asked: EXPLAIN compiles a write with its CHECKs, generated columns, indexes and triggers, and
runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import apsw

from turnback.adapters.sqlite.database import quoted
from turnback.core.choices import Choices
from turnback.core.findings import Finding
from turnback.core.schema import SqliteSchema, SqliteTable
from turnback.core.sqlite_sql import tokens
from turnback.core.toml_lines import leave_table_out

_LACKS = re.compile(
    r"(?:no such |unknown )(?P<kind>function|collation sequence|module|tokenizer):? (?P<name>.+?)(?:\(\))?$"
)
_LINES = '[sqlite]\nextensions = ["/path/of/the/library.so"]'
MAX_LACKS = 100  # of one table


class Missing(NamedTuple):
    findings: tuple[Finding, ...]
    names: frozenset[str]  # of functions, collations and modules, in lower case


def missing_parts(connection: apsw.Connection, schema: SqliteSchema, choices: Choices) -> Missing:
    """One finding for each function, collation or module that is not there, with the objects that use it.

    Afterwards the connection has stand-ins for functions and collations, so that all else can be read: what
    is found then does not rest on their order, and a finding stops migrate anyway.
    """
    used: dict[tuple[str, str], set[str]] = {}
    tables: dict[tuple[str, str], set[str]] = {}
    for table in schema.tables:
        if choices.table(table.name).exclude or table.kind == "shadow":
            continue
        for lack in _lacks_of(connection, table):
            tables.setdefault(lack, set()).add(table.name)
            used.setdefault(lack, set()).update(_users(schema, table, *lack))
    findings = [
        Finding(
            "F44",
            "choice",
            f"the {kind} {name} is not part of SQLite, and {', '.join(sorted(used[kind, name]))} "
            f"{'needs' if len(used[kind, name]) == 1 else 'need'} it",
            min(tables[kind, name]),
            settle=f"{_LINES}\n# or, to leave what needs it in the SQLite file alone:\n# "
            + "\n# ".join("\n".join(map(leave_table_out, sorted(tables[kind, name]))).splitlines()),
        )
        for kind, name in sorted(used)
    ]
    return Missing(tuple(findings), frozenset(name.lower() for _, name in used))


def _lacks_of(connection: apsw.Connection, table: SqliteTable) -> Iterator[tuple[str, str]]:
    for statement in _statements(table):
        seen: set[tuple[str, str]] = set()
        while len(seen) < MAX_LACKS:
            try:
                connection.execute(f"EXPLAIN {statement}").fetchall()
                break
            except apsw.SQLError as e:
                lack = _LACKS.search(str(e))
                if lack is None or (found := (lack["kind"], lack["name"])) in seen:
                    break  # something else: what reads the table says it
                seen.add(found)
                yield found
                if not _stand_in(connection, *found):
                    break


def _statements(table: SqliteTable) -> list[str]:
    name = quoted(table.name)
    if table.kind == "virtual":
        return [f"SELECT * FROM {name}"]
    first = table.columns[0].name
    plain = next((c.name for c in table.columns if not c.generated), first)
    return [
        f"SELECT * FROM {name}",
        f"INSERT INTO {name} DEFAULT VALUES",
        f"UPDATE {name} SET {quoted(plain)} = {quoted(plain)}",
        f"DELETE FROM {name} WHERE {quoted(first)} = 1",
        *(f"REINDEX {quoted(i.name)}" for i in table.indexes),
    ]


def _stand_in(connection: apsw.Connection, kind: str, name: str) -> bool:
    match kind:
        case "function":
            connection.create_scalar_function(name, lambda *_: None, deterministic=True)
        case "collation sequence":
            connection.create_collation(name, lambda a, b: (a > b) - (a < b))
        case _:
            return False
    return True


def _users(schema: SqliteSchema, table: SqliteTable, kind: str, name: str) -> Iterator[str]:
    """The objects of the table whose text has the name; the table itself where no other has."""
    found = False
    for index in table.indexes:
        by_column = any(c.collation.lower() == name.lower() for c in index.columns)
        if _names(index.sql or "", name) or (kind == "collation sequence" and by_column):
            found = True
            yield f"index {index.name}"
    for item in schema.objects:
        if item.kind == "trigger" and item.table.lower() == table.name.lower() and _names(item.sql, name):
            found = True
            yield f"trigger {item.name}"
    if not found or _names(table.sql, name):
        yield f"table {table.name}"


def _names(sql: str, name: str) -> bool:
    return any(
        t.kind in ("word", "name") and t.text.strip('"`[]').lower() == name.lower() for t in tokens(sql)
    )
