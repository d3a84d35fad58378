"""Writes to PostgreSQL at a steady rate: one inserted row and one COMMIT at a time, from four sessions.

Reads four lines from its input (so that no password stands in the process list): DSN, transactions a second,
seconds, number of the run. Prints the rate that it reached.
"""

from __future__ import annotations

import sys
import threading
import time

import psycopg

SESSIONS = 4


def write(dsn: str, per_second: float, seconds: float, number: int) -> float:
    """Returns transactions a second."""
    counts = [0] * SESSIONS

    def session(which: int) -> None:
        first = (number * SESSIONS + which) * 10_000_000
        with psycopg.connect(dsn, autocommit=True) as connection:
            begun = time.monotonic()
            while (spent := time.monotonic() - begun) < seconds:
                due = counts[which] * SESSIONS / per_second
                if due > spent:
                    time.sleep(due - spent)
                counts[which] += 1
                connection.execute(
                    "INSERT INTO narrow VALUES (%s, %s, %s, %s)",
                    [first + counts[which], counts[which] / 7, "name", True],
                )

    threads = [threading.Thread(target=session, args=(n,)) for n in range(SESSIONS)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begun)


if __name__ == "__main__":
    dsn, per_second, seconds, number = sys.stdin.read().split("\n")
    print(write(dsn, float(per_second), float(seconds), int(number)))
