"""Whether a value is what its probe gives. One that is not is an observation without a value: an error.

A trace may have been edited, a probe may have a fault: neither may end the guard, nor cause a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from turnback.core.watch.observation import DEPENDENCY, MetricsReading, Observation, Situation

_NUMBER: Final = (int, float)
_CHECK: Final = {"ok": bool}
_KEYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "application": _CHECK,
    "database": _CHECK,
    "server": _CHECK,
    "synthetic": _CHECK,
    "platform": _CHECK,
    "integrity": {"ok": bool, "age_seconds": _NUMBER},
    "verification": {"equal": bool, "age_seconds": _NUMBER},
    "postgres": {"connections": int, "max_connections": int},
    "slot": {"wal_status": (str, type(None))},
    "capture": {"state": str, "lag_bytes": _NUMBER, "lag_seconds": _NUMBER},
    "disk": {"free_bytes": int, "needed_bytes": int},
    "log": {"errors": int},
    "process": {"starts": int, "exits": int},
    "alert": {"name": str, "status": str},
    "situation": {"phase": str},
}
_OPTIONAL: Final = ("role_connections", "role_limit", "safe_wal_size", "contact_age_seconds", "serving_since")
_NOTHING: Final = object()


def problem(o: Observation) -> str | None:
    """Why the value cannot be used; None: it can, or there is none."""
    if o.value is None:
        return None
    keys = _CHECK if o.probe.startswith(DEPENDENCY) else _KEYS.get(o.probe, {})
    for key, kind in keys.items():
        if not _is(o.value.get(key, _NOTHING), kind):
            return f"the probe {o.probe} gave no usable {key}"
    for key in _OPTIONAL:
        if o.value.get(key) is not None and not _is(o.value[key], _NUMBER):
            return f"the probe {o.probe} gave no usable {key}"
    return None


def _is(value: object, kind: Any) -> bool:
    """NaN and infinity are no numbers here: they would be below every limit, or never."""
    return isinstance(value, kind) and not (isinstance(value, float) and not isfinite(value))


def reading(value: Mapping[str, Any]) -> MetricsReading | str:
    """The application's counters, or why they are none."""
    try:
        found = MetricsReading.from_json(value)
        numbers = [r.total for r in found.requests] + [c.total for c in found.causes]
        numbers += [t for h in found.latencies for t in h.totals]
        pool = found.pool
        numbers += [n for n in (pool.size, pool.in_use, pool.waiting, pool.timeouts) if n is not None]
        if any(len(h.bounds) != len(h.totals) or not h.bounds for h in found.latencies):
            return "a histogram has not as many counts as bounds"
    except (KeyError, TypeError, ValueError) as e:
        return f"the probe metrics gave no usable reading: {e}"
    if not all(isinstance(n, _NUMBER) for n in numbers):
        return "the probe metrics gave something else than numbers"
    return found


def situation(value: Mapping[str, Any]) -> Situation | None:
    """None: it is none."""
    try:
        return Situation.from_json(value)
    except TypeError:  # also of an unproven that is no list
        return None
