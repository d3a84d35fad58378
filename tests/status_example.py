"""A status of the guard with all its parts, made by the values that the guard itself makes it of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from turnback.core.watch.verdict import Action, Decision, Outcome, Readiness, ReadinessPart, Verdict

AT = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)

VERDICTS = (
    Verdict("error-rate", Outcome.BREACH, 0.073, 0.05, True, 10.0, "7.3 % of 1,240 requests failed"),
    Verdict("application-health", Outcome.OK, 0.0, 5.0, False, None, "0 of 5 checks failed"),
    Verdict("latency", Outcome.NO_DATA, None, None, False, None, "no baseline", off="there is no baseline"),
    Verdict("pool", Outcome.ERROR, None, 3.0, False, None, "the metrics could not be read"),
)
READINESS = Readiness(
    False,
    (
        ReadinessPart("server", True, "it answers"),
        ReadinessPart("slot", False, "wal_status is lost"),
        ReadinessPart("integrity", None, "not looked at so far"),
    ),
)


def full() -> dict[str, Any]:
    decision = Decision(
        12.0, AT.isoformat(), Action.HOLD, "error-rate", "high", True, 900.0, "7.3 % failed", "slot"
    ).to_json()
    del decision["samples"]
    return {
        "at": AT.isoformat(),
        "phase": "on_postgres",
        "boot": "a-boot",
        "capture": {
            "state": "streaming",
            "applied_lsn": "0/1000",
            "lag_bytes": 4096,
            "lag_seconds": 1.5,
            "last_contact_at": AT.isoformat(),
            "last_contact_monotonic": 12.0,
            "transactions": 3,
            "lost": False,
            "warning": "",
            "error": None,
            "hint": "",
        },
        "watch": {
            "verdicts": [v.to_json() for v in VERDICTS],
            "readiness": READINESS.to_json(),
            "latched": False,
            "suspended": True,
            "baseline": False,
            "lasting": {"error-rate": {"seconds": 120.0, "fires_after_seconds": 300.0}},
            "probes": {
                "metrics": {"at": 11.0, "error": "no answer (ConnectError)"},
                "server": {"at": 12.0, "error": None},
            },
        },
        "mode": "enforce",
        "modes": {"critical": "enforce", "high": "enforce", "medium": "recommend", "low": "recommend"},
        "profile": "cautious",
        "why_no_latency": "there is no baseline",
        "frozen_otherwise": [],
        "decision": decision,
        "trace": {"path": "/srv/app.db.turnback/trace", "bytes": 123456, "error": None},
        "notices": {"sent": 7, "failed": 2, "waiting": 1, "last_error": "webhook: no answer"},
        "fuse": {"limit_bytes": 10737418240, "seconds_left": 7200.0, "bytes_per_second": 1000.0, "level": "calm", "drops": True, "warning": None},
        "slot": {"wal_status": "extended", "safe_wal_size": 1073741824, "retained_bytes": 33554432},
        "postgres": {
            "connections": 12,
            "max_connections": 100,
            "role_connections": 7,
            "role_limit": None,
            "waiting": 2,
            "oldest_transaction_seconds": 3.25,
            "deadlocks": 4,
        },
        "disk": {"free_bytes": 10**10, "needed_bytes": 10**8},
        "last_verification": {"at": AT.isoformat(), "equal": True},
        "last_drill": {"at": AT.isoformat()},
        "rpo_seconds": 0.0,
        "started_at": AT.isoformat(),
        "version": "0.1.0",
    }
