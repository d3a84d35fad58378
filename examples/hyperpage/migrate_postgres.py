"""Makes Hyperpage's tables in PostgreSQL (DATABASE_URL), all or none. Does nothing where they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psycopg


def migrate(dsn: str) -> bool:
    """True when the tables were made now."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT to_regclass('app_state')").fetchone()
        if found is not None and found[0] is not None:
            return False
        connection.execute(Path(__file__).with_suffix(".sql").read_bytes())
        return True


if __name__ == "__main__":
    url = os.environ.get("DATABASE_URL")
    if not url:
        sys.exit("DATABASE_URL is not set")
    try:
        print("tables made" if migrate(url) else "nothing to do")
    except psycopg.Error as e:
        sys.exit(f"the migration failed: {str(e).strip().splitlines()[0]}")
