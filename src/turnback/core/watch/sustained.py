"""How long a breach has to last before it fires, and how long it has to be over before it does not."""

from __future__ import annotations

from collections import deque


class Sustained:
    """In every evaluation over the limit for MORE than `for_seconds`; one that is not starts it again.

    Time without data does not count, in either direction. It recovers when every evaluation has been below
    the recovery level for `for_seconds`.
    """

    def __init__(self, for_seconds: float) -> None:
        self.for_seconds = for_seconds
        self.since: float | None = None
        self.firing = False
        self.met = False  # by the newest evaluation, whatever was before; what fires may be recovering
        self._over_since: float | None = None  # of this unbroken row of evaluations
        self._paused = 0.0
        self._last: float | None = None  # the newest evaluation over the limit
        self._dark = False  # no data since
        self._calm_since: float | None = None
        self._calm_paused = 0.0
        self._calm_last = 0.0

    def lasted(self) -> float:
        """Seconds that every evaluation has been over, and that data stands behind."""
        if self._over_since is None or self._last is None:
            return 0.0
        return self._last - self._over_since - self._paused

    def no_data(self) -> None:
        """Neither over nor below: what is known stays."""
        self._dark = True

    def over(self, at: float, *, confirmed: bool) -> None:
        """An evaluation over the limit. `confirmed`: what is newest is itself over it; else it lags behind
        the end of a burst, and does not fire.
        """
        self._calm_since = None
        if self._over_since is None or self._last is None:
            self._over_since, self._paused = at, 0.0
            self.since = at if self.since is None else self.since
        elif self._dark:
            self._paused += at - self._last
        self._last, self._dark = at, False
        self.met = confirmed and self.lasted() > self.for_seconds
        self.firing = self.firing or self.met

    def below(self, at: float, *, recovered: bool) -> None:
        """An evaluation that is not over the limit; `recovered`: below the recovery level too."""
        dark, self._dark = self._dark, False
        self._over_since, self.met = None, False
        if not self.firing:
            self.since = self._last = None
            return
        if not recovered:
            self._calm_since = None
            return
        if self._calm_since is None:
            self._calm_since, self._calm_paused = at, 0.0
        elif dark:
            self._calm_paused += at - self._calm_last
        self._calm_last = at
        if at - self._calm_since - self._calm_paused >= self.for_seconds:
            self.firing = False
            self.since = self._last = self._calm_since = None


class Row:
    """Failed checks, one after the other: fires at `failures`, recovers after as many ok ones."""

    def __init__(self, failures: int) -> None:
        self.needed = failures
        self.failed = 0
        self.passed = 0
        self.since: float | None = None
        self.firing = False

    @property
    def met(self) -> bool:
        """Whether the newest checks are what the rule asks for; one that fires may be recovering."""
        return self.failed >= self.needed

    def step(self, at: float, ok: bool) -> None:
        if ok:
            self.failed = 0
            self.passed += 1
            if not self.firing or self.passed >= self.needed:
                self.since, self.firing = None, False
            return
        self.passed = 0
        self.failed += 1
        if self.since is None:
            self.since = at
        if self.met:
            self.firing = True


class SomeOf:
    """Fires at `breaches` of the last `of` readings, recovers when none of them is one any more."""

    def __init__(self, breaches: int, of: int) -> None:
        self.needed = breaches
        self._last: deque[bool] = deque(maxlen=max(of, breaches))
        self.since: float | None = None
        self.firing = False

    @property
    def count(self) -> int:
        return sum(self._last)

    def step(self, at: float, breach: bool) -> None:
        self._last.append(breach)
        if breach and self.since is None:
            self.since = at
        if self.count >= self.needed:
            self.firing = True
        elif self.count == 0:
            self.since, self.firing = None, False
