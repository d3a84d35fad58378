"""Whether a rollback now would lose nothing, part by part, from what the probes said last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnback.core.watch.rules import Rules
from turnback.core.watch.sight import Sight
from turnback.core.watch.verdict import Readiness, ReadinessPart

DAY = 86_400.0
FRESH_CONTACT_SECONDS = 5.0  # an older contact of the stream with the server proves nothing of now

Value = Mapping[str, Any]


def readiness(rules: Rules, sight: Sight, at: float) -> Readiness:
    """Parts that nobody looks at are not known (ok None) and do not block. One whose probe is configured and
    has not answered, or not for `blind_after` intervals, is not ok.

    With PostgreSQL unreachable the last known state counts, and only as far as the RPO allows.
    """
    away = _unreachable(sight, at)
    parts = (
        _server(sight, at, away),
        _fallback_alone(rules, sight, at) if away else _fallback(rules, sight, at),
        _verification(rules, sight, at),
        _integrity(sight, at),
        _schema(sight, at, away),
        _slot(sight, at, away),
        _platform(sight, at),
        _disk(sight, at),
    )
    # What is missing of a server that does not answer is settled by the RPO, in the part `fallback`.
    ready = all(p.ok is not False for p in parts if not (away and p.name == "server"))
    return Readiness(ready, parts, lossy=ready and away)


def _age(sight: Sight, probe: str, at: float) -> float | None:
    seen = sight.probes.get(probe)
    return at - seen.value_at if seen is not None and seen.value is not None else None


def _known(sight: Sight, probe: str, at: float, *, last_will_do: bool = False) -> Value | str | None:
    """The newest value; a sentence why it cannot be used; None: nobody looks."""
    seen = sight.probes.get(probe)
    if seen is None or seen.value is None:
        why = f": {seen.error}" if seen is not None and seen.error else ""
        return f"not known: the probe {probe} has given no answer yet{why}" if _asked(sight, probe) else None
    if not last_will_do and sight.stale(probe, at):
        why = f": {seen.error}" if seen.error else ""
        return f"not known for {at - seen.value_at:.0f} s: the probe {probe} gives no answer{why}"
    return seen.value


def _asked(sight: Sight, probe: str) -> bool:
    return probe in sight.intervals or probe in sight.probes


def _unreachable(sight: Sight, at: float) -> bool:
    """The guard's own session failed to connect or to read, and no stream proves the opposite.

    (A server whose connections are all taken refuses the session, while the stream goes on.) The stream
    proves it only by a contact after the session's first failure: one from before is of a server that was.
    One that began anew after the newest check proves nothing either: the next check may be a good one.
    """
    server, capture = sight.probes.get("server"), sight.probes.get("capture")
    if server is None or server.value is None or server.value["ok"] or server.value.get("step") == "write":
        return False
    if capture is None or capture.value is None or capture.streams_since is None:
        return True
    contact, failing = _contact(sight, capture.value, at), server.refused_since
    if contact is None or contact > FRESH_CONTACT_SECONDS or capture.streams_since > server.value_at:
        return True
    return failing is not None and at - contact <= failing


def _contact(sight: Sight, capture: Value, at: float) -> float | None:
    """Seconds since the fallback was level with the server: as told, and the time since that reading."""
    told = capture.get("contact_age_seconds")
    return None if told is None else float(told) + (_age(sight, "capture", at) or 0.0)


def _server(sight: Sight, at: float, away: bool) -> ReadinessPart:
    value, age = _known(sight, "server", at), _age(sight, "server", at)
    if value is None:
        return ReadinessPart("server", None, "not known: the guard has no session of its own")
    if isinstance(value, str):
        return ReadinessPart("server", False, value, age)
    detail = str(value.get("detail", ""))
    if value["ok"]:
        return ReadinessPart("server", True, detail or "answers", age)
    if away:
        return ReadinessPart("server", False, f"PostgreSQL is unreachable: {detail}", age)
    return ReadinessPart(
        "server", True, f"the stream goes on, though the guard's session failed: {detail}", age
    )


def _fallback(rules: Rules, sight: Sight, at: float) -> ReadinessPart:
    value, age = _known(sight, "capture", at), _age(sight, "capture", at)
    if value is None:
        return ReadinessPart("fallback", False, "not known: nothing is captured")
    if isinstance(value, str):
        return ReadinessPart("fallback", False, value, age)
    bad = _lost(value)
    lag = float(value["lag_seconds"])
    if not bad and value["state"] != "streaming":
        bad = f"capture is {value['state']}" + (f": {value['error']}" if value.get("error") else "")
    if not bad and lag > rules.max_lag_seconds:
        bad = f"{lag:.1f} s behind, {rules.max_lag_seconds:g} s are allowed"
    if bad:
        return ReadinessPart("fallback", False, bad, age)
    return ReadinessPart("fallback", True, f"{lag:.1f} s and {value['lag_bytes']} bytes behind", age)


def _fallback_alone(rules: Rules, sight: Sight, at: float) -> ReadinessPart:
    """Without the server nothing can be drained: what was captured is what there is."""
    value, age = _known(sight, "capture", at, last_will_do=True), _age(sight, "capture", at)
    if value is None or isinstance(value, str):
        return ReadinessPart("fallback", False, value or "not known: nothing is captured", age)
    bad = _lost(value)
    contact, allowed = _contact(sight, value, at), rules.rpo_objective_seconds
    if bad:
        return ReadinessPart("fallback", False, bad, age)
    if contact is None:
        return ReadinessPart(
            "fallback", False, "PostgreSQL is unreachable, and there was never a contact with lag 0", age
        )
    ago = f"{contact:.1f}" if contact < 10 else f"{contact:.0f}"
    detail = f"PostgreSQL is unreachable; last contact with lag 0 was {ago} s ago, RPO allows {allowed:g} s"
    return ReadinessPart("fallback", contact <= allowed, detail, contact)


def _lost(capture: Value) -> str:
    if capture.get("lost"):
        return f"the way back is lost: {capture.get('error') or 'capture cannot go on'}"
    return ""


def _verification(rules: Rules, sight: Sight, at: float) -> ReadinessPart:
    """Before the first one the cutover's own proof stands."""
    value, since = sight.value("verification"), _age(sight, "verification", at)
    if value is None or since is None:
        return ReadinessPart(
            "verification", None, "not known: none since the cutover, which proved both sides"
        )
    age = float(value["age_seconds"]) + since
    what = str(value.get("what", "")) or "the last comparison"
    if not value["equal"]:
        return ReadinessPart("verification", False, f"{what}: the sides differed", age)
    if age > rules.verification_days * DAY:
        told = f"{what} is {age / DAY:.1f} days old, {rules.verification_days:g} are allowed"
        return ReadinessPart("verification", False, told, age)
    return ReadinessPart("verification", True, f"{what}: equal", age)


def _integrity(sight: Sight, at: float) -> ReadinessPart:
    value, since = sight.value("integrity"), _age(sight, "integrity", at)
    if value is None or since is None:
        return ReadinessPart("integrity", None, "not known: the fallback file has not been read whole yet")
    age = float(value["age_seconds"]) + since
    return ReadinessPart("integrity", bool(value["ok"]), str(value.get("detail", "")), age)


def _schema(sight: Sight, at: float, away: bool) -> ReadinessPart:
    """Capture compares the schemas, and says so in its error."""
    value, age = _known(sight, "capture", at, last_will_do=away), _age(sight, "capture", at)
    if value is None or isinstance(value, str):
        return ReadinessPart("schema", None, "not known")  # the part `fallback` says why, and blocks
    error = str(value.get("error") or "")
    if "schema" in error or "drift" in error:
        return ReadinessPart("schema", False, error, age)
    return ReadinessPart("schema", True, "as it was at the cutover", age)


def _slot(sight: Sight, at: float, away: bool) -> ReadinessPart:
    value, age = _known(sight, "slot", at, last_will_do=away), _age(sight, "slot", at)
    if value is None:
        return ReadinessPart("slot", None, "not known")
    if isinstance(value, str):
        return ReadinessPart("slot", False, value, age)
    status, room = value["wal_status"], value.get("safe_wal_size")
    if status is None:
        return ReadinessPart("slot", False, "there is no slot", age)
    if status not in ("reserved", "extended"):
        return ReadinessPart("slot", False, f"wal_status is {status}", age)
    if room is not None and room <= 0:
        return ReadinessPart("slot", False, f"wal_status is {status}, safe_wal_size is {room}", age)
    return ReadinessPart("slot", True, f"wal_status is {status}", age)


def _platform(sight: Sight, at: float) -> ReadinessPart:
    value, age = _known(sight, "platform", at), _age(sight, "platform", at)
    if value is None:
        return ReadinessPart("platform", None, "not known: nothing to ask")
    if isinstance(value, str):
        return ReadinessPart("platform", False, value, age)
    return ReadinessPart("platform", bool(value["ok"]), str(value.get("detail", "")), age)


def _disk(sight: Sight, at: float) -> ReadinessPart:
    value, age = _known(sight, "disk", at), _age(sight, "disk", at)
    if value is None:
        return ReadinessPart("disk", None, "not known")
    if isinstance(value, str):
        return ReadinessPart("disk", False, value, age)
    free, needed = int(value["free_bytes"]), int(value["needed_bytes"])
    return ReadinessPart("disk", free >= needed, f"{free:,} bytes free, {needed:,} needed", age)
