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
