"""`turnback validate --watch`: the application is watched from outside until all is back to normal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from turnback.core.watch.normal import BackToNormal
from turnback.core.watch.observation import Observation
from turnback.errors import CheckFailed
from turnback.ports import Announce, Clock

TURN_SECONDS = 0.2


class Observers(Protocol):
    """turnback.app.probing.Prober."""

    def select(self, names: Iterable[str]) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def drain(self) -> list[Observation]: ...


def await_normal(
    prober: Observers,
    normal: BackToNormal,
    clock: Clock,
    patience_seconds: float,
    announce: Announce,
) -> dict[str, Any]:
    """What BackToNormal.take says when all was normal for long enough; `announce` hears what is not yet,
    whenever that changes. Raises CheckFailed after `patience_seconds`.
    """
    until = clock.monotonic() + patience_seconds
    told: tuple[str, ...] = ()
    prober.start()
    try:
        while True:
            for observation in prober.drain():
                found = normal.take(observation)
                if found is not None:
                    return found
            subjects = tuple(sentence.partition(":")[0] for sentence in normal.still)
            if subjects != told:
                told = subjects
                announce("not normal: " + "; ".join(normal.still) if normal.still else "normal from here on")
            if clock.monotonic() > until:
                raise CheckFailed(
                    f"not back to normal after {patience_seconds:.0f} s: "
                    + ("; ".join(normal.still) or "it has not been normal for long enough"),
                    hint="look at that, then watch again: turnback validate --watch",
                )
            clock.sleep(TURN_SECONDS)
    finally:
        prober.stop()
