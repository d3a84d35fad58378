"""Which rules decide: the thresholds that were agreed on at the cutover (decision 21)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from turnback.core.watch.rules import Rules

# What the file says now counts, on PostgreSQL too: who acts (mode), what is there to be seen (intervals), and
# how much may be lost, which the rollback itself reads from the file as well.
CURRENT = ("mode", "intervals", "rpo_objective_seconds")


def deciding(frozen: Mapping[str, Any] | None, current: Rules) -> Rules:
    """The frozen thresholds with the file's modes, intervals and RPO; without frozen ones the file's."""
    if not frozen:
        return current
    rules = Rules.from_json(frozen)
    modes = {name: line.mode for name, line in current.severities.items()}
    lines = {name: replace(line, mode=modes.get(name)) for name, line in rules.severities.items()}
    return replace(rules, severities=lines, **{name: getattr(current, name) for name in CURRENT})


def differences(decides: Rules, current: Rules) -> list[str]:
    """What the file says otherwise, each as a sentence; [] where it says the same."""
    return list(_differences(decides.to_json(), current.to_json(), ""))


def _differences(frozen: Any, current: Any, name: str) -> Iterator[str]:
    if isinstance(frozen, Mapping) and isinstance(current, Mapping):
        for key in sorted(frozen.keys() | current.keys()):
            path = f"{name}.{key}" if name else key
            yield from _differences(frozen.get(key), current.get(key), path)
    elif frozen != current:
        yield f"{name} is {_shown(frozen)} since the cutover, turnback.toml says {_shown(current)}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
