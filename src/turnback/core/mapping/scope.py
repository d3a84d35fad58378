"""Which tables take part, and what else the SQLite file holds: views, triggers, virtual tables, sidecars."""

from __future__ import annotations

from dataclasses import dataclass, field

from turnback.core.choices import Choices
from turnback.core.findings import Finding
from turnback.core.mapping.ledgers import ledger
from turnback.core.mapping.virtual import settle_virtual
from turnback.core.plan import Excluded, Mode, VirtualPlan
from turnback.core.schema import SqliteObject, SqliteSchema, SqliteTable
from turnback.core.toml_lines import leave_behind_lines, leave_table_out


@dataclass(slots=True)
class Scope:
    tables: list[SqliteTable] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    virtual: list[VirtualPlan] = field(default_factory=list)
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
        if table.kind != "virtual" and choices.table(table.name).rebuild:
            found.findings.append(
                Finding(
                    "choice",
                    "choice",
                    f"turnback.toml has a rebuild for {table.name}, which is no virtual table",
                    table.name,
                    settle="take `rebuild` out: only virtual tables are rebuilt",
                )
            )
    for table in schema.tables:
        if table.kind == "virtual":
            settled = settle_virtual(table, schema, choices)
            found.excluded.append(settled.excluded)
            found.findings.append(settled.finding)
            if settled.plan is not None:
                found.virtual.append(settled.plan)
        elif choices.table(table.name).exclude:
            found.excluded.append(Excluded(table.name, "sqlite", "chosen in turnback.toml"))
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
    for table in [t for t in found.tables if _hides_rowid(t)]:
        found.tables.remove(table)
        found.findings.append(
            Finding(
                "rowid",
                "refused",
                f"{table.name}: columns named rowid, oid and _rowid_ hide the row id, by which rows are read",
                table.name,
                settle=f"rename one of them, or leave the table out:\n{leave_table_out(table.name)}",
            )
        )
    if not found.tables and not any(f.severity == "refused" for f in found.findings):
        found.findings.append(
            Finding(
                "tables",
                "refused",
                "the SQLite file has no table that is to be carried",
                settle="check [sqlite] path, and what [tables] excludes",
            )
        )
    found.findings += [
        _object(o, choices, mode)
        for o in schema.objects
        if o.kind == "trigger" or mode == "existing" or o.name in choices.leave_behind
    ]
    return found


def _hides_rowid(table: SqliteTable) -> bool:
    names = {c.name.lower() for c in table.columns}
    return not table.without_rowid and {"rowid", "oid", "_rowid_"} <= names


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
