"""The phases of an application's move, and the one table of how they follow each other."""

from __future__ import annotations

from enum import StrEnum

from turnback.errors import UsageError


class Phase(StrEnum):
    NEW = "new"
    PLANNED = "planned"
    MIGRATED = "migrated"
    CUTTING_OVER = "cutting_over"
    ON_POSTGRES = "on_postgres"
    ROLLING_BACK = "rolling_back"
    ON_SQLITE = "on_sqlite"  # again, after a rollback
    ACCEPTED = "accepted"


class Intent(StrEnum):
    ASSESS = "assess"
    MIGRATE = "migrate"
    CUTOVER = "cutover"
    ROLLBACK = "rollback"
    REBUILD = "rebuild"

    @property
    def command(self) -> str:
        """What a user types behind `turnback`."""
        return "fallback rebuild" if self is Intent.REBUILD else self.value


# (phase, intent) -> (phase while it runs, phase when done, phase when undone)
TRANSITIONS: dict[tuple[Phase, Intent], tuple[Phase, Phase, Phase]] = {
    (Phase.NEW, Intent.ASSESS): (Phase.NEW, Phase.PLANNED, Phase.NEW),
    (Phase.PLANNED, Intent.ASSESS): (Phase.PLANNED, Phase.PLANNED, Phase.PLANNED),
    (Phase.ON_SQLITE, Intent.ASSESS): (Phase.ON_SQLITE, Phase.PLANNED, Phase.ON_SQLITE),
    (Phase.PLANNED, Intent.MIGRATE): (Phase.PLANNED, Phase.MIGRATED, Phase.PLANNED),
    (Phase.MIGRATED, Intent.MIGRATE): (Phase.PLANNED, Phase.MIGRATED, Phase.PLANNED),
    (Phase.ON_SQLITE, Intent.MIGRATE): (Phase.ON_SQLITE, Phase.MIGRATED, Phase.ON_SQLITE),
    (Phase.MIGRATED, Intent.CUTOVER): (Phase.CUTTING_OVER, Phase.ON_POSTGRES, Phase.MIGRATED),
    (Phase.ON_POSTGRES, Intent.ROLLBACK): (Phase.ROLLING_BACK, Phase.ON_SQLITE, Phase.ON_POSTGRES),
    (Phase.ON_POSTGRES, Intent.REBUILD): (Phase.ON_POSTGRES, Phase.ON_POSTGRES, Phase.ON_POSTGRES),
}

_NEXT = {
    Phase.NEW: "turnback assess",
    Phase.PLANNED: "turnback migrate",
    Phase.MIGRATED: "turnback cutover",
    Phase.CUTTING_OVER: "turnback resume",
    Phase.ON_POSTGRES: "turnback rollback, should you need the way back",
    Phase.ROLLING_BACK: "turnback resume",
    Phase.ON_SQLITE: "turnback migrate --again",
    Phase.ACCEPTED: "nothing: the way back was given up on purpose",
}


def next_command(phase: Phase) -> str:
    """What a user would type now."""
    return _NEXT[phase]


def transition(phase: Phase, intent: Intent) -> tuple[Phase, Phase, Phase]:
    """(while, done, undone) for the intent. Raises UsageError where the intent does not fit the phase."""
    try:
        return TRANSITIONS[phase, intent]
    except KeyError:
        fits = " or ".join(sorted(p.value for p, i in TRANSITIONS if i is intent))
        raise UsageError(
            f"`turnback {intent.command}` does not fit the phase {phase.value}: it needs {fits}",
            hint=f"the next command is: {next_command(phase)}",
        ) from None
