"""What is known of a framework that has made a schema, by its migration ledger (HAZARDS F7, R5).

Only facts of the framework itself: what it writes into SQLite whatever the application says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnback.core.mapping.ledgers import ledger
from turnback.core.schema import SqliteTable


@dataclass(frozen=True, slots=True)
class Framework:
    """`zone`: of text without an offset that becomes timestamptz. `interval_unit`: of integers."""

    name: str
    ledger: str  # the table that tells it
    zone: str | None = None
    interval_unit: str | None = None


# Django: with USE_TZ, and only then has PostgreSQL timestamptz (documentation: Time zones; DurationField).
# Rails: config.active_record.default_timezone is :utc. Prisma, Sequelize, Ecto, Sea-ORM: always UTC.
# Alembic, Knex, Drizzle, Entity Framework and the rest leave it to the application.
_ZONES = {"Django": "UTC", "Rails": "UTC", "Prisma": "UTC", "Sequelize": "UTC", "Ecto": "UTC"}
_INTERVALS = {"Django": "us"}


def framework_of(tables: Sequence[SqliteTable]) -> Framework | None:
    """The one framework whose ledger is there; None where there is none, or several disagree."""
    names = [t.name for t in tables]
    found: dict[str, Framework] = {}
    for table in tables:
        known = ledger(table.name, [c.name for c in table.columns], names)
        if known is not None:
            name = known.framework
            found.setdefault(name, Framework(name, table.name, _ZONES.get(name), _INTERVALS.get(name)))
    return next(iter(found.values())) if len(found) == 1 else None
