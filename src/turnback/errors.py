"""Every error that a user can meet, as one tree.

    TurnbackError
    ├── ConfigError            turnback.toml or the plan file cannot be used
    ├── UsageError             the command does not fit the phase, or the options contradict each other
    ├── LeaseHeld              another turnback acts on this application
    ├── SourceError            the SQLite file: missing, not a database, corrupt, locked, held, read-only
    ├── ServerError            PostgreSQL: unreachable, refused, missing right or setting
    │   └── ServerGone         the connection died while in use
    ├── NeedsChoice            findings that only the user can settle (exit status 3)
    ├── CannotCarry            a value or a change has no exact counterpart on the other side
    ├── ProofFailed            two sides that must be equal are not; a fence that must refuse did not
    ├── CheckFailed            the application does not hold what `turnback validate` asks of it
    ├── NotReady               the way back is not open: schema drift, a missing publication
    │   └── WayBackLost        nothing opens it again but a rebuild: lost slot, damaged or older fallback
    ├── PlatformError          the application could not be stopped, started or reached
    ├── ProbeError             what was to be observed could not be read: no verdict comes of it
    ├── NoticeError            a notice did not reach whom it was for
    └── DiskFull               no room where data must be written

`retry` says who may try again: "auto" (the same step, by turnback itself), "operator" (after a person
did what the hint says), "never" (a new run is needed).
"""

from __future__ import annotations

from typing import ClassVar, Literal

Retry = Literal["auto", "operator", "never"]


class TurnbackError(Exception):
    """One clear line (`str(error)`) and one line of what to do next (`hint`)."""

    retry: ClassVar[Retry] = "operator"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(TurnbackError):
    """turnback.toml or turnback.plan.json cannot be used as it stands."""

    exit_status: ClassVar[int] = 2


class UsageError(TurnbackError):
    """The command does not fit the phase, or its options contradict each other."""

    exit_status: ClassVar[int] = 2


class LeaseHeld(TurnbackError):
    """Another turnback acts on this application."""


class SourceError(TurnbackError):
    """The SQLite file cannot be used: missing, no database, corrupt, locked, held, read-only."""


class ServerError(TurnbackError):
    """PostgreSQL cannot be used: unreachable, refused, or a right or setting is missing."""


class ServerGone(ServerError):
    """The connection died while in use; nothing is known about what was under way."""

    retry: ClassVar[Retry] = "auto"


class NeedsChoice(TurnbackError):
    """Findings that only the user can settle."""

    exit_status: ClassVar[int] = 3


class CannotCarry(TurnbackError):
    """A value or a change has no exact counterpart on the other side."""


class ProofFailed(TurnbackError):
    """Two sides that must be equal are not, or a fence that must refuse did not."""


class CheckFailed(TurnbackError):
    """The application does not hold what `turnback validate` asks of it."""


class NotReady(TurnbackError):
    """The way back is not open."""


class WayBackLost(NotReady):
    """There is no way back until the fallback is made anew (`turnback fallback rebuild`)."""


class PlatformError(TurnbackError):
    """The application could not be stopped, started or reached."""


class DiskFull(TurnbackError):
    """No room where data must be written."""


class ProbeError(TurnbackError):
    """What was to be observed could not be read; it is an observation without a value."""

    retry: ClassVar[Retry] = "auto"


class NoticeError(TurnbackError):
    """A notice did not reach whom it was for."""

    retry: ClassVar[Retry] = "auto"
