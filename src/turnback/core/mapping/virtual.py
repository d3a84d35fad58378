"""Virtual tables: PostgreSQL has no counterpart, and with triggers off nothing keeps them current on the way
back (HAZARDS F33, R17). Each is rebuilt from its content, or left as it was by choice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from turnback.core.choices import Choices
from turnback.core.findings import Finding
from turnback.core.plan import Excluded, VirtualPlan
from turnback.core.schema import SqliteObject, SqliteSchema, SqliteTable
from turnback.core.sqlite_sql import Token, tokens
from turnback.core.sqltext import identifier, literal
from turnback.core.toml_lines import leave_table_out, toml_key, toml_string

FULL_TEXT = frozenset({"fts3", "fts4", "fts5"})
R_TREES = frozenset({"rtree", "rtree_i32"})


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of one virtual table. `plan` is None where nothing of it is to be done on the way back."""

    excluded: Excluded
    plan: VirtualPlan | None
    finding: Finding


@dataclass(frozen=True, slots=True)
class RebuildTrial:
    """What a rebuild did to a copy of the file, compared with what the table holds now."""

    error: str = ""  # SQLite's words, of a statement or of the check
    seconds: float = 0.0
    missing: int = 0  # rows (of a full-text index: places of words) that are there now and not afterwards
    extra: int = 0
    stale: bool = False  # its own check fails on the file as it is now


def settle_virtual(
    table: SqliteTable, schema: SqliteSchema, choices: Choices, *, offer: bool = True
) -> Settled:
    """`offer`: whether a finding may name the statements that `offered` derives."""
    module, external = module_of(table.sql), is_external(table.sql)
    chosen = choices.table(table.name)
    writers = _writers(table, schema)
    if writers and all(choices.table(o.table).exclude for o in writers) and not chosen.rebuild:
        why = "virtual table; the tables whose triggers write it are left out, so it stays as it is"
        return Settled(
            Excluded(table.name, "sqlite", why),
            None,
            Finding("F33", "carries", f"{table.name}: {why}", table.name),
        )
    if chosen.exclude:
        why = "virtual table, by choice left as it is: the way back brings it as it was at cutover"
        return Settled(
            Excluded(table.name, "sqlite", why),
            None,
            Finding("F33", "carries", f"{table.name}: {why}", table.name),
        )
    if chosen.rebuild:
        check = _check(table.name, module, exact=False)
        if external and module != "fts5":
            check = None  # FTS4's always compares with the whole content, of which these index a part
        plan = VirtualPlan(table.name, module, chosen.rebuild, check)
        why = "virtual table, made current on the way back by the statements of turnback.toml"
    elif external:
        statement = _command(table.name, "rebuild")
        plan = VirtualPlan(table.name, module, (statement,), _check(table.name, module, exact=True))
        why = "virtual table, rebuilt on the way back from the table that holds its content"
    else:
        return Settled(
            Excluded(table.name, "sqlite", "virtual table"), None, _choice(table, schema, module, offer)
        )
    return Settled(
        Excluded(table.name, "sqlite", why),
        plan,
        Finding("F33", "carries", f"{table.name}: {why}; left out of PostgreSQL", table.name),
    )


def offered(table: SqliteTable, schema: SqliteSchema) -> VirtualPlan | None:
    """The rebuild that the file's own triggers amount to: what AFTER INSERT writes, for every row.

    Only of the plain form INSERT INTO it (...) VALUES (...); whether it is exact shows when it is tried.
    """
    module = module_of(table.sql)
    statements = [s for o in schema.objects if (s := _from_trigger(o, table)) is not None]
    if not statements:
        return None
    contentless = module == "fts5" and _content(table.sql) in ("''", '""')
    empty = _command(table.name, "delete-all") if contentless else f"DELETE FROM {identifier(table.name)}"
    return VirtualPlan(table.name, module, (empty, *statements), _check(table.name, module, exact=False))


def judged(plan: VirtualPlan, trial: RebuildTrial) -> Finding:
    """What a trial of the plan's rebuild showed: how long it takes, or why it would not do."""
    again = f"{leave_table_out(plan.name)}\nor, with statements of your own:\n"
    again += f'[tables.{toml_key(plan.name)}]\nrebuild = ["..."]'
    if trial.stale:
        statements = "; ".join(plan.rebuild)
        again = f"run its rebuild on the SQLite file once ({statements}), then assess again, or:\n{again}"
    if trial.stale and not trial.error:
        return Finding(
            "R17",
            "choice",
            f"{plan.name}: its index is not what its content says now (it is stale, or has other rows): "
            "a rebuild would change what a search finds",
            plan.name,
            settle=again,
        )
    if trial.error:
        return Finding(
            "R17", "choice", f"{plan.name}: its rebuild fails: {trial.error}", plan.name, settle=again
        )
    if trial.missing or trial.extra:
        return Finding(
            "R17",
            "choice",
            f"{plan.name}: after its rebuild {trial.missing} of its rows (or indexed words) are missing and "
            f"{trial.extra} are new, on a copy of the file as it is now",
            plan.name,
            count=trial.missing + trial.extra,
            settle=again,
        )
    return Finding(
        "R17",
        "carries",
        f"{plan.name}: its rebuild gives what it holds now; it takes {trial.seconds:.2f} s here, and as long "
        "within a rollback",
        plan.name,
    )


def without_offer(finding: Finding, table: SqliteTable, schema: SqliteSchema, choices: Choices) -> Finding:
    """The finding without statements that turned out not to be exact."""
    return replace(finding, settle=settle_virtual(table, schema, choices, offer=False).finding.settle)


# ---- reading CREATE VIRTUAL TABLE ----------------------------------------------------------------


def module_of(sql: str) -> str:
    """The module's name in lower case; "" where the text has none."""
    stream = tokens(sql)
    for i, token in enumerate(stream[:-1]):
        if token.is_word("USING"):
            return _plain(stream[i + 1]).lower()
    return ""


def is_external(sql: str) -> bool:
    """FTS4/FTS5 with content=TABLE: the index can be made again from that table. content='' keeps none."""
    content = _content(sql)
    return module_of(sql) in FULL_TEXT and content is not None and content not in ("''", '""')


def _content(sql: str) -> str | None:
    stream = tokens(sql)
    for i, token in enumerate(stream[:-2]):
        if token.is_word("CONTENT") and stream[i + 1].text == "=":
            return stream[i + 2].text
    return None


def _plain(token: Token) -> str:
    if token.kind == "name":
        quote = "]" if token.text[0] == "[" else token.text[0]
        return token.text[1:-1].replace(quote * 2, quote)
    return token.text[1:-1].replace("''", "'") if token.kind == "string" else token.text


# ---- statements ----------------------------------------------------------------------------------


def _command(table: str, command: str) -> str:
    """FTS5 documentation, section 6; FTS3/4 documentation, section 7: a write to the hidden column."""
    name = identifier(table)
    return f"INSERT INTO {name}({name}) VALUES ({literal(command)})"


def _check(table: str, module: str, *, exact: bool) -> str | None:
    """The module's own check. `exact`: FTS5 also compares its index with the content table (6.4)."""
    name = identifier(table)
    if module == "fts5" and exact:
        return f"INSERT INTO {name}({name}, rank) VALUES ('integrity-check', 1)"
    if module in FULL_TEXT:
        return _command(table, "integrity-check")
    return f"SELECT rtreecheck({literal(table)})" if module in R_TREES else None


# ---- triggers that keep it ----------------------------------------------------------------------


def _writers(table: SqliteTable, schema: SqliteSchema) -> list[SqliteObject]:
    name = table.name.lower()
    return [
        o
        for o in schema.objects
        if o.kind == "trigger"
        and any(t.kind in ("word", "name") and _plain(t).lower() == name for t in _body(o.sql))
    ]


def _body(sql: str) -> list[Token]:
    stream = tokens(sql)
    begin = next((i for i, t in enumerate(stream) if t.is_word("BEGIN")), len(stream))
    return stream[begin + 1 :]


def _from_trigger(item: SqliteObject, table: SqliteTable) -> str | None:
    if item.kind != "trigger":
        return None
    stream = tokens(item.sql)
    begin = next((i for i, t in enumerate(stream) if t.is_word("BEGIN")), None)
    head = stream[:begin]
    if (
        begin is None
        or not any(t.is_word("AFTER") for t in head)
        or not any(t.is_word("INSERT") for t in head)
    ):
        return None
    body = stream[begin + 1 :]
    ends = [i for i, t in enumerate(body) if t.text == ";"]
    statement = body[: ends[0]] if len(ends) == 1 else []
    into = next((i for i, t in enumerate(statement) if t.is_word("INTO")), None)
    values = next((i for i, t in enumerate(statement) if t.is_word("VALUES")), None)
    if into is None or values is None or _plain(statement[into + 1]).lower() != table.name.lower():
        return None
    columns, row = statement[into + 2 : values], statement[values + 1 :]
    if not columns or not _is_one_row(row):
        return None
    sql = item.sql
    listed = sql[columns[0].start : columns[-1].end]
    values_text = sql[row[0].end : row[-1].start].strip()
    when = next((t for t in head if t.is_word("WHEN")), None)
    condition = f" WHERE {sql[when.end : stream[begin].start].strip()}" if when is not None else ""
    # The trigger's own words stay as they are: its table is called new.
    return (
        f"INSERT INTO {identifier(table.name)} {listed} "
        f"SELECT {values_text} FROM {identifier(item.table)} AS new{condition}"
    )


def _is_one_row(stream: list[Token]) -> bool:
    depth = 0
    for i, token in enumerate(stream):
        if token.kind == "other":
            depth += (token.text == "(") - (token.text == ")")
        if depth == 0:
            return i == len(stream) - 1 and i > 0
    return False


def _choice(table: SqliteTable, schema: SqliteSchema, module: str, offer: bool) -> Finding:
    writers = _writers(table, schema)
    kept = (
        f"; the triggers {', '.join(o.name for o in writers)} write into it, and they do not fire while "
        "PostgreSQL is primary"
        if writers
        else "; it holds the only copy of its content"
    )
    statements = offered(table, schema) if offer and writers else None
    sample = ("DELETE FROM ...", "INSERT INTO ... SELECT ...")
    ways = [
        leave_table_out(table.name),
        f"[tables.{toml_key(table.name)}]\nrebuild = "
        f"[{', '.join(map(toml_string, statements.rebuild if statements else sample))}]",
    ]
    lines = "\nor:\n".join(reversed(ways) if statements else ways)
    return Finding(
        "F33",
        "choice",
        f"{table.name} is a virtual table ({module}), and PostgreSQL has no counterpart{kept}; "
        "left out, it stays as it was at cutover",
        table.name,
        settle=lines,
    )
