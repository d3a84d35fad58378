"""Reading CREATE TABLE text as SQLite keeps it, for what no PRAGMA tells: CHECK bodies, deferred keys.

Only a tokenizer (SQLite documentation: lang_createtable, lang_comment): it never has to understand the
statement, so that no valid table can make it fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
  | (?P<string>'(?:[^']|'')*')
  | (?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
  | (?P<word>[^\W\d][\w$]*)
  | (?P<number>0[xX][\da-fA-F]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


# Keywords that an operand follows.
_BEFORE_OPERANDS = frozenset(
    re.findall(
        r"\w+",
        "AND AS BETWEEN BY CASE DISTINCT ELSE ESCAPE GLOB HAVING IN IS LIKE LIMIT MATCH NOT ON OR REGEXP "
        "SELECT THEN WHEN WHERE",
    )
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # "string", "name" (quoted), "word", "number", "other"
    text: str
    start: int  # offsets into the statement
    end: int

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.upper() == word


def tokens(sql: str) -> list[Token]:
    """The statement's tokens without space and comments."""
    found = []
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or "other"
        if kind != "space":
            found.append(Token(kind, match.group(), match.start(), match.end()))
    return found


def check_bodies(sql: str) -> tuple[str, ...]:
    """What stands between the parentheses of every CHECK, in order."""
    stream = tokens(sql)
    bodies = []
    for i, token in enumerate(stream[:-1]):
        if token.is_word("CHECK") and stream[i + 1].text == "(":
            close = _closing(stream, i + 1)
            bodies.append(sql[stream[i + 1].end : stream[close].start].strip())
    return tuple(bodies)


def index_condition(sql: str) -> str:
    """What follows WHERE in a CREATE INDEX; "" when there is none."""
    depth = 0
    for token in tokens(sql):
        if token.kind == "other":
            depth += (token.text == "(") - (token.text == ")")
        elif depth == 0 and token.is_word("WHERE"):
            return sql[token.end :].strip()
    return ""


def index_terms(sql: str) -> tuple[str, ...]:
    """What stands between the parentheses of a CREATE INDEX, term by term, without COLLATE, ASC and DESC at
    their ends.
    """
    stream = tokens(sql)
    opening = next((i for i, t in enumerate(stream) if t.text == "("), len(stream) - 1)
    found = []
    for part in _parts(stream[opening + 1 : _closing(stream, opening)]):
        if part[-1].is_word("ASC") or part[-1].is_word("DESC"):
            part = part[:-1]
        if len(part) > 2 and part[-2].is_word("COLLATE"):
            part = part[:-2]
        found.append(sql[part[0].start : part[-1].end])
    return tuple(found)


def generated_expressions(sql: str) -> dict[str, str]:
    """What stands between the parentheses of every AS (...) of a CREATE TABLE, by column."""
    stream = tokens(sql)
    opening = next((i for i, t in enumerate(stream) if t.text == "("), len(stream) - 1)
    found = {}
    for part in _parts(stream[opening + 1 : _closing(stream, opening)]):
        depth = 0
        for i, token in enumerate(part[:-1]):
            if token.kind == "other":
                depth += (token.text == "(") - (token.text == ")")
            if depth == 0 and i and token.is_word("AS") and part[i + 1].text == "(":
                close = _closing(part, i + 1)
                found[unquoted(part[0])] = sql[part[i + 1].end : part[close].start].strip()
    return found


def has_unary_plus(sql: str) -> bool:
    """Is there a + that stands before an operand and behind none?"""
    stream = tokens(sql)
    for before, token in zip([None, *stream], stream, strict=False):
        if token.text == "+" and (
            before is None
            or (before.kind == "other" and before.text != ")")
            or (before.kind == "word" and before.text.upper() in _BEFORE_OPERANDS)
        ):
            return True
    return False


def unquoted(token: Token) -> str:
    """The name or string that the token means."""
    text = token.text
    if token.kind not in ("name", "string"):
        return text
    return text[1:-1] if text[0] == "[" else text[1:-1].replace(text[0] * 2, text[0])


def _parts(stream: list[Token]) -> list[list[Token]]:
    """The tokens between commas that stand in no parentheses."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in stream:
        if token.kind == "other":
            depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return [p for p in parts if p]


def deferred_references(sql: str) -> tuple[bool, ...]:
    """For every REFERENCES clause, in order: is it DEFERRABLE INITIALLY DEFERRED?"""
    stream = tokens(sql)
    return tuple(_deferred(stream, i) for i, token in enumerate(stream) if token.is_word("REFERENCES"))


def _deferred(stream: list[Token], start: int) -> bool:
    """SQLite documentation, foreignkeys 4.2: only this one spelling defers, all others are immediate."""
    clause: list[str] = []
    depth = 0
    for token in stream[start + 1 :]:
        if token.text == "(":
            depth += 1
        elif token.text == ")":
            depth -= 1
        if depth < 0 or (depth == 0 and token.text == ","):
            break
        clause.append(token.text.upper() if token.kind == "word" else "")
    wanted = ["DEFERRABLE", "INITIALLY", "DEFERRED"]
    for i in range(len(clause)):
        if clause[i : i + 3] == wanted:
            return i == 0 or clause[i - 1] != "NOT"
    return False


def _closing(stream: list[Token], opening: int) -> int:
    """The index of the parenthesis that closes the one at `opening`."""
    depth = 0
    for i in range(opening, len(stream)):
        if stream[i].kind == "other":
            depth += (stream[i].text == "(") - (stream[i].text == ")")
            if depth == 0:
                return i
    return len(stream) - 1
