"""Which tables take part, and what else the SQLite file holds: views, triggers, virtual tables, sidecars."""

from __future__ import annotations

from dataclasses import dataclass, field

from turnback.core.choices import Choices
from turnback.core.findings import Finding
from turnback.core.mapping_columns import leave_behind_lines, leave_table_out
from turnback.core.mapping_ledgers import ledger
from turnback.core.plan import Excluded, Mode
from turnback.core.schema import SqliteObject, SqliteSchema, SqliteTable
from turnback.core.sqlite_sql import tokens


@dataclass(slots=True)
class Scope:
    tables: list[SqliteTable] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ledgers: list[SqliteTable] = field(default_factory=list)  # existing mode: not carried, but compared


def scope(schema: SqliteSchema, choices: Choices, mode: Mode) -> Scope:
    """The tables to carry, in schema order; the others with the reason, by name."""
    found = Scope()
    names = {t.name for t in schema.tables}
    for name in choices.tables:
        if name not in names:
            found.findings.append(
                Finding(
                    "choice",
                    "choice",
                    f"turnback.toml has [tables.{name}], and the SQLite file has no such table",
                    name,
                    settle=f"take [tables.{name}] out of turnback.toml, or correct its name",
                )
            )
    virtual = [t for t in schema.tables if t.kind == "virtual"]
    for table in schema.tables:
        if choices.table(table.name).exclude:
            found.excluded.append(Excluded(table.name, "sqlite", "chosen in turnback.toml"))
        elif table.kind == "virtual":
            _virtual(found, table)
        elif table.kind == "shadow":
            owner = max(
                (v.name for v in virtual if table.name.startswith(v.name + "_")),
                key=len,
                default="a virtual table",
            )
            found.excluded.append(Excluded(table.name, "sqlite", f"shadow table of {owner}"))
        elif table.name.startswith("_litestream_"):
            found.excluded.append(Excluded(table.name, "sqlite", "Litestream's own table"))
            found.findings.append(
                Finding("O10", "carries", f"{table.name} belongs to Litestream and is left out", table.name)
            )
        elif mode == "existing" and ledger(table.name, [c.name for c in table.columns], names):
            found.excluded.append(
                Excluded(table.name, "sqlite", "a migration ledger: each engine keeps its own")
            )
            found.ledgers.append(table)
        else:
            found.tables.append(table)
    found.findings += [_object(o, choices, mode) for o in schema.objects]
    return found


def _virtual(found: Scope, table: SqliteTable) -> None:
    """Full-text tables over another table's content can be rebuilt; all others hold the only copy."""
    rebuilt = _is_rebuilt(table.sql)
    why = "virtual table, rebuilt from the table that holds its content" if rebuilt else "virtual table"
    if rebuilt:
        found.excluded.append(Excluded(table.name, "sqlite", why))
        found.findings.append(Finding("F33", "carries", f"{table.name}: {why}; left out", table.name))
        return
    found.excluded.append(Excluded(table.name, "sqlite", why))
    found.findings.append(
        Finding(
            "F33",
            "choice",
            f"{table.name} is a virtual table with content of its own: PostgreSQL has no counterpart",
            table.name,
            settle=leave_table_out(table.name),
        )
    )


def _is_rebuilt(sql: str) -> bool:
    """FTS4/FTS5 option content=TABLE; content='' keeps no content at all."""
    stream = tokens(sql)
    for i, token in enumerate(stream[:-2]):
        if token.is_word("CONTENT") and stream[i + 1].text == "=":
            return stream[i + 2].text not in ("''", '""')
    return False


def _object(item: SqliteObject, choices: Choices, mode: Mode) -> Finding:
    what = f"{item.kind} {item.name}" + (f" on {item.table}" if item.kind == "trigger" else "")
    if mode == "existing":
        return Finding(
            "F41", "carries", f"{what} stays in the SQLite file; the PostgreSQL schema has its own"
        )
    if item.name in choices.leave_behind:
        return Finding("F41", "carries", f"{what} is left behind by choice")
    return Finding(
        "F41",
        "choice",
        f"{what} is not translated: {' '.join(item.sql.split())[:200]}",
        item.table,
        settle=leave_behind_lines(item.name),
    )
