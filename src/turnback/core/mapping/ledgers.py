"""Migration ledgers: the tables in which a framework notes what it has done to a schema (HAZARDS F36).

In existing mode none is carried: PostgreSQL's was written by the migrations that made its schema. Where a
framework runs the same migrations on both engines, both ledgers must say the same; where each engine has
migrations of its own (Drizzle, Prisma, Synapse), tables and columns are compared instead, as they always are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from turnback.core.findings import MAX_KEYS
from turnback.core.mapping.source import Source
from turnback.core.schema import PostgresSchema, PostgresTable, SqliteTable
from turnback.core.toml_lines import leave_table_out

Heads = frozenset[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Ledger:
    """`heads`: the columns that name a migration, where both engines run the same ones; else empty."""

    framework: str
    heads: tuple[str, ...] = ()
    run: str = ""  # what brings a database to the newest migration


_LEDGERS = {
    "alembic_version": Ledger("Alembic", ("version_num",), "alembic upgrade head"),
    "django_migrations": Ledger("Django", ("app", "name"), "python manage.py migrate"),
    "ar_internal_metadata": Ledger("Rails"),
    "knex_migrations": Ledger("Knex", ("name",), "knex migrate:latest"),
    "knex_migrations_lock": Ledger("Knex"),
    "SequelizeMeta": Ledger("Sequelize", ("name",), "sequelize db:migrate"),
    "SequelizeData": Ledger("Sequelize"),
    "VersionInfo": Ledger("FluentMigrator", ("Version",), "start the application on PostgreSQL once"),
    "seaql_migrations": Ledger("SeaORM", ("version",), "sea-orm-cli migrate up"),
    "kysely_migration": Ledger("Kysely", ("name",), "the application's migrations"),
    "kysely_migration_lock": Ledger("Kysely"),
    "__drizzle_migrations": Ledger("Drizzle"),
    "_prisma_migrations": Ledger("Prisma"),
    "mikro_orm_migrations": Ledger("MikroORM"),
    "goose_db_version": Ledger("goose"),
    "gorp_migrations": Ledger("sql-migrate"),
    "flyway_schema_history": Ledger("Flyway"),
    "DATABASECHANGELOG": Ledger("Liquibase"),
    "DATABASECHANGELOGLOCK": Ledger("Liquibase"),
    "databasechangelog": Ledger("Liquibase"),
    "databasechangeloglock": Ledger("Liquibase"),
    "_sqlx_migrations": Ledger("sqlx"),
    "refinery_schema_history": Ledger("refinery"),
    "__diesel_schema_migrations": Ledger("Diesel"),
    "__EFMigrationsHistory": Ledger("Entity Framework"),
    "doctrine_migration_versions": Ledger("Doctrine"),
    "phinxlog": Ledger("Phinx"),
    "aerich": Ledger("Aerich"),
    "_yoyo_migration": Ledger("yoyo"),
    "_yoyo_log": Ledger("yoyo"),
    "_yoyo_version": Ledger("yoyo"),
    "yoyo_lock": Ledger("yoyo"),
    "atlas_schema_revisions": Ledger("Atlas"),
    "applied_schema_deltas": Ledger("Synapse"),
    "applied_module_schemas": Ledger("Synapse"),
}
# Names that an application may use for something else: `migrations` (Laravel, TypeORM) is left to `exclude`.
_RAILS = Ledger("Rails", ("version",), "bin/rails db:migrate")
_ECTO = Ledger("Ecto", ("version",), "mix ecto.migrate")
_SCHEMA_MIGRATIONS: Mapping[frozenset[str], Ledger] = {
    frozenset({"version"}): _RAILS,
    frozenset({"version", "inserted_at"}): _ECTO,
    frozenset({"version", "dirty"}): Ledger("golang-migrate"),
}
_SYNAPSE = frozenset({"schema_version", "schema_compat_version"})


def ledger(table: str, columns: Iterable[str], tables: Iterable[str]) -> Ledger | None:
    """The ledger that a table of this name is, with these columns, among these tables of its side."""
    if table == "schema_migrations":
        return _SCHEMA_MIGRATIONS.get(frozenset(columns), Ledger("schema_migrations"))
    if table in _SYNAPSE:
        return Ledger("Synapse") if "applied_schema_deltas" in tables else None
    return _LEDGERS.get(table)


def compare_ledgers(source: Source, tables: list[SqliteTable], postgres: PostgresSchema) -> None:
    """Says of every ledger of the SQLite file whether PostgreSQL's says the same."""
    names = [t.name for t in source.schema.tables]
    for table in tables:
        columns = [c.name for c in table.columns]
        found = ledger(table.name, columns, names)
        assert found is not None, "the caller hands in ledgers only"
        there = next((t for t in postgres.tables if t.name == source.postgres_name(table)), None)
        if not found.heads or not set(found.heads) <= set(columns):
            also = "" if there is not None else ", and PostgreSQL has none"
            source.say(
                "F36",
                "carries",
                f"{table.name}: the migration ledger of {found.framework} is left out{also}: each engine "
                "has its own, and what is compared is tables and columns",
                table,
            )
        elif there is None or there.heads is None:
            _absent(source, table, found)
        else:
            _compare(source, table, found, there)


def _absent(source: Source, table: SqliteTable, found: Ledger) -> None:
    source.say(
        "F36",
        "choice",
        f"{table.name}: PostgreSQL has no migration ledger of {found.framework}, so that nothing says "
        "whether both schemas belong together",
        table,
        settle=f"make the schema by the application's migrations ({found.run} on PostgreSQL), or, where you "
        f"know that both schemas belong together:\n{leave_table_out(table.name)}",
    )


def _compare(source: Source, table: SqliteTable, found: Ledger, there: PostgresTable) -> None:
    here = frozenset(
        tuple(str(value) for value in row) for row in source.trial.rows(table, found.heads) if None not in row
    )
    heads = frozenset(there.heads or ())
    if here == heads:
        source.say(
            "F36",
            "carries",
            f"{table.name}: left out; the ledgers of {found.framework} agree ({len(here)} migrations)",
            table,
        )
        return
    lacking = [
        f"{side} lacks {_listed(missing)}"
        for side, missing in (("PostgreSQL", here - heads), ("SQLite", heads - here))
        if missing
    ]
    sides = [name for name, missing in (("PostgreSQL", here - heads), ("SQLite", heads - here)) if missing]
    source.say(
        "F36",
        "choice",
        f"{table.name}: the ledgers of {found.framework} differ: {'; '.join(lacking)}",
        table,
        count=len(here ^ heads),
        keys=tuple(".".join(h) for h in sorted(here ^ heads)[:MAX_KEYS]),
        settle=f"bring both to the same migrations ({found.run} on {' and on '.join(sides)}), or, where you "
        f"know that both schemas belong together:\n{leave_table_out(table.name)}",
    )


def _listed(heads: Heads) -> str:
    shown = ", ".join(".".join(h) for h in islice(sorted(heads), MAX_KEYS))
    return shown if len(heads) <= MAX_KEYS else f"{shown} and {len(heads) - MAX_KEYS} more"
