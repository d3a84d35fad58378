"""From candidates to one codec for each column: the profile decides what it can, the trial the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from turnback.core.candidates.case import Alternative, Note, Offer, proven, respelled, takes
from turnback.core.choices import TableChoice
from turnback.core.codecs import codec_for
from turnback.core.findings import Finding
from turnback.core.mapping.column_findings import (
    becomes_another,
    misfitting,
    noted,
    too_large,
    unreadable,
    wrong_class,
)
from turnback.core.plan import ColumnPlan
from turnback.core.profile import ColumnProfile, Misfits, TableProfile, Trial
from turnback.core.schema import SqliteTable
from turnback.errors import ConfigError

Offers = Mapping[str, Offer]  # by SQLite column
Columns = dict[str, ColumnPlan]  # by SQLite column


@dataclass(frozen=True, slots=True)
class Settled:
    """The columns that found a codec, by SQLite name, and what is to be said about them and the others."""

    columns: Mapping[str, ColumnPlan]
    findings: tuple[Finding, ...]


def settle(
    table: SqliteTable, profile: TableProfile, offers: Offers, choice: TableChoice, trial: Trial
) -> Settled:
    """For each column the first candidate that carries every value. Where none does, what would by choice."""
    return _Settling(table, profile, choice, trial).settled(offers)


def fits(table: SqliteTable, profile: TableProfile, candidate: ColumnPlan, trial: Trial) -> bool:
    """Does that one candidate carry every value of its column?"""
    try:
        codec_for(candidate)
    except ConfigError:
        return False  # its options are not for a column of this affinity
    return not _misfits(table, profile, {candidate.sqlite: (candidate,)}, trial)[candidate.sqlite][0].count


def is_complete(table: SqliteTable, columns: Columns) -> bool:
    """Has every stored column of the table found its codec?"""
    return len(columns) == sum(not c.generated for c in table.columns)


class _Settling:
    def __init__(self, table: SqliteTable, profile: TableProfile, choice: TableChoice, trial: Trial) -> None:
        self._table = table
        self._profile = profile
        self._choice = choice
        self._trial = trial
        self._columns: dict[str, ColumnPlan] = {}
        self._findings: list[Finding] = []
        self._open: dict[str, tuple[ColumnPlan, Misfits] | Note] = {}  # the nearest candidate, or the problem
        self._another: dict[str, tuple[ColumnPlan, Misfits]] = {}  # what a column could not become

    def settled(self, offers: Offers) -> Settled:
        asked = {name: fitting for name, offer in offers.items() if (fitting := self._ask(name, offer))}
        answers = _misfits(self._table, self._profile, asked, self._trial)
        for name, candidates in asked.items():
            self._take(name, candidates, answers[name])
        self._by_choice(offers)
        for name, offer in offers.items():
            if offer.note is not None and name in self._columns and name not in self._another:
                self._findings.append(noted(self._table, name, offer.note, self._facts(name), self._trial))
        ordered = {c.name: self._columns[c.name] for c in self._table.columns if c.name in self._columns}
        return Settled(ordered, tuple(self._findings))

    def _facts(self, name: str) -> ColumnProfile:
        return self._profile.columns[name]

    def _ask(self, name: str, offer: Offer) -> tuple[ColumnPlan, ...]:
        """The candidates to try; none where the census alone decides."""
        facts = self._facts(name)
        if large := too_large(self._table, name, facts, self._trial):
            self._findings.append(large)
            return ()
        by_bytes = any(c.codec == "text_bytes" for c in offer.candidates)
        if (facts.nul_texts or facts.invalid_texts) and not by_bytes:
            lines = next((a.lines for a in offer.alternatives if a.plan.codec == "text_bytes"), "")
            self._findings += unreadable(self._table, name, facts, lines, self._trial)
            return ()
        if not offer.candidates:
            self._open[name] = offer.problem or Note("", "")
            return ()
        fitting = tuple(c for c in offer.candidates if facts.classes <= takes(c))
        if not fitting:
            self._findings.append(wrong_class(self._table, offer.candidates[0], facts, self._trial))
            return ()
        for i, candidate in enumerate(fitting):
            if proven(candidate, facts):
                return fitting[: i + 1]
        return fitting

    def _take(self, name: str, candidates: tuple[ColumnPlan, ...], answers: tuple[Misfits, ...]) -> None:
        rejected: list[tuple[ColumnPlan, Misfits]] = []
        for candidate, misfits in zip(candidates, answers, strict=True):
            if not misfits.count:
                self._columns[name] = _explained(candidate, rejected, self._facts(name).values)
                another = [tried for tried in rejected if tried[0].pg_type != candidate.pg_type]
                if another:
                    self._another[name] = _nearest(another)
                return
            rejected.append((candidate, misfits))
        self._open[name] = _nearest(rejected)

    def _by_choice(self, offers: Offers) -> None:
        """What would carry the columns that are still open, and those that became something else."""
        would = {
            name: tuple(a for a in self._alternatives(name, offers[name]) if self._may(name, a))
            for name in (*self._open, *self._another)
        }
        asked = {name: tuple(a.plan for a in found) for name, found in would.items() if found}
        answers = _misfits(self._table, self._profile, asked, self._trial)
        for name, found in would.items():
            lines = tuple(
                dict.fromkeys(
                    a.lines
                    for a, misfits in zip(found, answers.get(name, ()), strict=True)
                    if not misfits.count
                )
            )
            facts = self._facts(name)
            if name in self._another:
                tried, misfits = self._another[name]
                self._findings.append(
                    becomes_another(self._table, self._columns[name], tried, misfits, facts, lines)
                )
                continue
            problem = self._open[name]
            if isinstance(problem, Note):
                self._findings.append(
                    noted(self._table, name, problem, facts, self._trial, lines=lines, asks=True)
                )
            else:
                self._findings.append(misfitting(self._table, *problem, facts, lines))

    def _alternatives(self, name: str, offer: Offer) -> tuple[Alternative, ...]:
        tried = self._another.get(name) or self._open.get(name)
        if isinstance(tried, tuple) and not self._choice.column(name).respell:
            spelled = respelled(tried[0])
            if spelled is not None:
                return (Alternative(spelled, "respell = true"), *offer.alternatives)
        return offer.alternatives

    def _may(self, name: str, alternative: Alternative) -> bool:
        return self._facts(name).classes <= takes(alternative.plan)


def _misfits(
    table: SqliteTable, profile: TableProfile, asked: Mapping[str, tuple[ColumnPlan, ...]], trial: Trial
) -> dict[str, tuple[Misfits, ...]]:
    """The trial's answers, for all that the census does not answer."""
    known: dict[tuple[str, int], Misfits] = {}
    unknown: dict[str, tuple[ColumnPlan, ...]] = {}
    for name, candidates in asked.items():
        facts = profile.columns[name]
        for i, candidate in enumerate(candidates):
            if not facts.classes <= takes(candidate):
                known[name, i] = Misfits(1, (), "values of another storage class")
            elif proven(candidate, facts):
                known[name, i] = Misfits()
        tried = tuple(c for i, c in enumerate(candidates) if (name, i) not in known)
        if tried:
            unknown[name] = tried
    answers = {name: iter(found) for name, found in trial.misfits(table, unknown).items()} if unknown else {}
    return {
        name: tuple(
            known[name, i] if (name, i) in known else next(answers[name]) for i in range(len(candidates))
        )
        for name, candidates in asked.items()
    }


def _nearest(tried: list[tuple[ColumnPlan, Misfits]]) -> tuple[ColumnPlan, Misfits]:
    """With several spellings, that of most values."""
    return min(tried, key=lambda one: one[1].count)


def _explained(candidate: ColumnPlan, rejected: list[tuple[ColumnPlan, Misfits]], values: int) -> ColumnPlan:
    if not rejected:
        return candidate
    _, first = rejected[0]
    return replace(candidate, why=f"{candidate.why}; {first.count} of {values} values: {first.reason}")
