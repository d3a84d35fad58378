"""Fills a new SQLite file with Hyperpage's tables: the same rows for the same seed, on every machine.

python fill.py data/hyperpage.db --rows 50000 --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

START = 1_767_225_600_000  # 2026-01-01, ms
DAY = 86_400_000
WORDS = ("report", "naïve", "größe", "東京", "emoji 🙂", "quote's", 'say "hi"', "tab\there", "two\nlines", "")
SCORES = (0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, 1e-7, 100.0)
SHARES = {
    "users": 0.10,
    "oauth_tokens": 0.10,
    "user_sessions": 0.20,
    "tool_configs": 0.05,
    "rate_limits": 0.10,
    "jobs": 0.25,
}  # the rest is job_history


def fill(path: Path, rows: int, seed: int) -> None:
    """Makes the file (refuses to touch one that exists) with about `rows` rows in eight tables."""
    if path.exists():
        raise FileExistsError(f"{path} exists")
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(Path(__file__).with_name("schema_sqlite.sql").read_text())
        connection.execute("BEGIN")
        _insert(connection, random.Random(seed), rows)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _insert(connection: sqlite3.Connection, dice: random.Random, rows: int) -> None:
    count = {table: max(3, int(rows * share)) for table, share in SHARES.items()} if rows else {}
    count["job_history"] = max(0, rows - sum(count.values()))
    users = [_uuid(dice) for _ in range(count.get("users", 0))]

    def put(table: str, columns: int, values: Iterator[tuple[object, ...]]) -> None:
        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", values)

    put("users", 9, (_user(dice, i, user) for i, user in enumerate(users)))
    put("oauth_tokens", 4, (_oauth(dice, users, i) for i in range(count.get("oauth_tokens", 0))))
    put("user_sessions", 5, (_session(dice, users) for _ in range(count.get("user_sessions", 0))))
    put("tool_configs", 6, (_tool(dice, i) for i in range(count.get("tool_configs", 0))))
    put("rate_limits", 4, (_limit(dice, i) for i in range(count.get("rate_limits", 0))))
    put("jobs", 9, (_job(dice, users, i) for i in range(count.get("jobs", 0))))
    put("job_history", 4, (_event(dice, count["jobs"], i) for i in range(count["job_history"])))
    put("app_state", 3, iter((("version", "1.4.2", START), ("seed", "filled", START), ("motd", "", START))))
    # Holes in the ids, and a sequence that stands above the highest one.
    connection.execute("DELETE FROM jobs WHERE id % 97 = 5")
    connection.execute("DELETE FROM jobs WHERE id = (SELECT max(id) FROM jobs)")


def _user(dice: random.Random, i: int, user: str) -> tuple[object, ...]:
    made = _moment(dice)
    avatar = None if i % 3 else b"\x00\xff[" + dice.randbytes(dice.randrange(64))
    score = None if i % 5 == 4 else SCORES[i % len(SCORES)] if i % 7 == 0 else dice.gauss(50, 20)
    name = f"{dice.choice(WORDS)} {i}"
    return user, f"user{i}@example.org", name, int(i % 50 == 0), score, avatar, f"fill-user-{i}", made, made


def _oauth(dice: random.Random, users: list[str], i: int) -> tuple[object, ...]:
    provider = ("github", "google", "gitlab")[i // len(users) % 3]
    return users[i % len(users)], provider, dice.randbytes(12).hex(), _moment(dice) if i % 4 else None


def _session(dice: random.Random, users: list[str]) -> tuple[object, ...]:
    made = _moment(dice)
    return _uuid(dice), dice.choice(users), _json(dice), made, made + 30 * DAY


def _tool(dice: random.Random, i: int) -> tuple[object, ...]:
    return f"tool-{i}", dice.choice(WORDS), int(i % 4 != 0), _json(dice), f"fill-tool-{i}", _moment(dice)


def _limit(dice: random.Random, i: int) -> tuple[object, ...]:
    return f"ip:10.0.{i // 256}.{i % 256}", round(dice.random() * 100, 3), f"fill-limit-{i}", _moment(dice)


def _job(dice: random.Random, users: list[str], i: int) -> tuple[object, ...]:
    made = _moment(dice)
    user = dice.choice(users) if i % 6 else None
    status = dice.choice(("queued", "running", "done", "failed"))
    kind = dice.choice(("export", "import", "mail"))
    attempts = dice.randrange(5)
    return None, user, kind, status, _json(dice), attempts, f"fill-job-{i}", made, made + dice.randrange(DAY)


def _event(dice: random.Random, jobs: int, i: int) -> tuple[object, ...]:
    return dice.randrange(1, jobs + 1), _moment(dice), f"fill-event-{i}", dice.choice(WORDS)


def _json(dice: random.Random) -> str:
    """As JavaScript writes it: no spaces, keys in the order of the program."""
    value = {
        "theme": dice.choice(("dark", "light")),
        "a": dice.randrange(1000),
        "tags": [dice.choice(WORDS) for _ in range(dice.randrange(3))],
        "ratio": round(dice.random(), 4),
        "nested": {"on": dice.random() < 0.5, "none": None},
    }
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _uuid(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))


def _moment(dice: random.Random) -> int:
    return START + dice.randrange(300 * DAY)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fills a new SQLite file for Hyperpage.")
    parser.add_argument("database", type=Path)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    try:
        fill(asked.database, asked.rows, asked.seed)
    except FileExistsError as e:
        sys.exit(f"{e}: choose another name")
