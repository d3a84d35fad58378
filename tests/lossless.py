"""docs/lossless.md, made from the tests: what becomes of each hazard, and which test shows it.

`make lossless` writes it; a test makes it again and compares. Read are the `hazard` markers of all tests, without
running them, and the cases of the corpus.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
OUTCOMES = ("carried", "choice", "refused")

HAZARDS = {
    "F1": "boolean columns of 1 and 0, of words, of something else",
    "F2": "DEFAULT false on a number",
    "F3": "defaults that read the clock",
    "F4": "moments as seconds, milliseconds, microseconds, julian days",
    "F5": "dates and integers in one column",
    "F6": "dates that no calendar has, 0, empty text",
    "F7": "times without a zone, T or blank, fractions, offsets",
    "F8": "text with a NUL inside",
    "F9": "text that is not UTF-8",
    "F10": "blobs of any bytes",
    "F11": "text in a BLOB column, blobs in a TEXT column",
    "F12": "text, fractions and huge integers in an INTEGER column",
    "F13": "a PostgreSQL column that is too small for a value",
    "F14": "doubles at their limits, -0.0",
    "F15": "decimals that SQLite holds as doubles",
    "F16": "infinity",
    "F17": "names that differ by case only, names over 63 bytes",
    "F18": "names that are words of SQL, with blanks, quotes, any letter",
    "F19": "a default in double quotes",
    "F20": "text that is longer than its column says",
    "F21": "declared types that only SQLite knows",
    "F22": "AUTOINCREMENT on an empty table",
    "F23": "AUTOINCREMENT after all rows were deleted",
    "F24": "identity and serial columns",
    "F25": "the next id, to the unit",
    "F26": "NULLs in a primary key",
    "F27": "composite and implied foreign keys",
    "F28": "rows that refer to nothing",
    "F29": "partial indexes",
    "F30": "indexes over expressions, DESC, COLLATE",
    "F31": "NOCASE unique columns",
    "F32": "generated columns",
    "F33": "full text, R-tree and other virtual tables",
    "F34": "JSON that jsonb would write in another way",
    "F35": "UUIDs in capitals, UUIDs as bytes",
    "F36": "a target that the application has set up: seed rows, ledgers of migrations",
    "F37": "columns that only one side has",
    "F38": "a file with a live -wal beside it",
    "F39": "killed in the middle, started again",
    "F40": "WITHOUT ROWID, STRICT, no key, the rowid as key",
    "F41": "views, triggers, CHECKs",
    "F42": "huge rows, many rows, many columns",
    "F43": "owner, mode and header of the file",
    "F44": "functions, collations and extensions of the application",
    "F45": "values over 500 MB",
    "R1": "a timestamp changed in PostgreSQL, integers in SQLite",
    "R2": "values that a column's affinity would turn into others",
    "R3": "numerics that no double holds",
    "R4": "NaN",
    "R5": "infinity, BC, arrays, enums, intervals, numerics of 100 digits",
    "R6": "an update that leaves a TOASTed value alone",
    "R7": "swaps of unique keys, updates of primary keys, circular foreign keys",
    "R8": "tables without a key",
    "R9": "triggers in the SQLite file",
    "R10": "DDL in PostgreSQL after the cutover",
    "R11": "killed while applying",
    "R12": "a slot that is lost or about to be",
    "R13": "a damaged fallback file",
    "R14": "values that nobody changed",
    "R15": "TRUNCATE, COPY, a transaction of a million rows",
    "R16": "ids that PostgreSQL's sequences gave",
    "R17": "virtual tables after a rollback",
    "R18": "turnback's own rows and tables",
}

HEAD = """\
# What is carried

Made from the tests by `make lossless`; a test compares. Do not edit.

One row per hazard, F on the way to PostgreSQL, R on the way back. Outcomes: **carried**: exactly, without a question.
**choice**: assess stops with table, column, count, keys and the lines of turnback.toml that settle it; with them it is
carried. **refused**: stopped before anything is touched, or, after the cutover, before that transaction, with the
reason. Most hazards come in several forms; each form has its own test. Modes: `create`, `existing`, or `any` where it makes no difference.

"""


@dataclass(frozen=True)
class Shown:
    """One test of one form of a hazard."""

    hazard: str
    outcome: str
    mode: str
    why: str
    test: str  # file and name, or the file of the corpus and what is in it


def shown() -> list[Shown]:
    """Every test that shows a row, in the order of files and lines."""
    return [*_marked(), *_corpus()]


def _marked() -> Iterator[Shown]:
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for marker in node.decorator_list:
                    if (found := _hazard(marker)) is not None:
                        hazard, outcome, more = found
                        test = f"`{path.relative_to(TESTS)}`: {_words(node.name, hazard)}"
                        yield Shown(hazard, outcome, more.get("mode", ""), more.get("why", ""), test)


def _hazard(marker: ast.expr) -> tuple[str, str, dict[str, str]] | None:
    """(number, outcome, the rest) of `@pytest.mark.hazard("F1", "carried", ...)`, all literals."""
    if not (isinstance(marker, ast.Call) and ast.unparse(marker.func) == "pytest.mark.hazard"):
        return None
    values = [ast.literal_eval(a) for a in marker.args]
    more = {str(k.arg): ast.literal_eval(k.value) for k in marker.keywords}
    number, outcome = (*values, more.pop("outcome", None))[:2]
    more |= dict(zip(("why", "mode"), values[2:], strict=False))
    return number, outcome, more


def _words(name: str, hazard: str) -> str:
    """The test's name as a sentence, without the hazard's number."""
    words = name.removeprefix("test_").split("_")
    while words and words[0].upper() == hazard:
        words.pop(0)
    return " ".join(words)


def _corpus() -> Iterator[Shown]:
    from corpus.cases import CASES

    for name, case in CASES.items():
        test = f"corpus `{name}.db`: {case.what}"
        yield Shown(case.hazard, case.outcome, "create", case.why, test)


def missing(tests: list[Shown]) -> list[str]:
    return [h for h in HAZARDS if not any(t.hazard == h for t in tests)]


def lossless() -> str:
    """The whole page, in Markdown."""
    tests = shown()
    by_hazard = {h: [t for t in tests if t.hazard == h] for h in HAZARDS}
    kinds = {h: {t.outcome for t in found} for h, found in by_hazard.items() if found}
    counts = (
        f"{len(kinds)} of {len(HAZARDS)} hazards have {len(tests)} tests: "
        f"{sum(k == {'carried'} for k in kinds.values())} are carried in every form, "
        f"{sum('choice' in k and 'refused' not in k for k in kinds.values())} ask for a choice in some form, "
        f"{sum('refused' in k for k in kinds.values())} are refused in some form.\n"
    )
    rows = ["| # | what | outcome | mode | tests |", "| --- | --- | --- | --- | --- |"]
    for hazard, found in by_hazard.items():
        tests_shown = "<br>".join(_cell(f"{t.outcome}: {t.test}{f' ({t.why})' if t.why else ''}") for t in _ordered(found))
        outcome = ", ".join(o for o in OUTCOMES if any(t.outcome == o for t in found))
        mode = ", ".join(sorted({t.mode or "any" for t in found}))
        rows.append(f"| {hazard} | {_cell(HAZARDS[hazard])} | {outcome} | {mode} | {tests_shown} |")
    return HEAD + counts + "\n" + "\n".join(rows) + "\n"


def _ordered(found: list[Shown]) -> list[Shown]:
    return sorted(found, key=lambda t: OUTCOMES.index(t.outcome))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    sys.stdout.write(lossless())
