"""The pgoutput protocol, version 1: bytes to messages (PostgreSQL documentation: Logical Replication
Message Formats).

Relation messages are kept and given by reference with the rows that follow them; a server sends one before
the first row of each relation on a connection, and again after its definition changed.
"""

from __future__ import annotations

from struct import Struct, error

from turnback.core.changes import (
    Begin,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Relation,
    StreamMessage,
    StreamTuple,
    Truncate,
    Update,
)
from turnback.core.lsn import Lsn
from turnback.core.rows import UNCHANGED, PostgresText, Unchanged
from turnback.errors import ServerError

_BEGIN = Struct(">QqI")
_COMMIT = Struct(">BQQq")
_U16 = Struct(">H")
_U32 = Struct(">I")
_COLUMN = Struct(">Ii")  # type oid, type modifier
_MESSAGE = Struct(">BQ")

_TEXT, _NULL, _UNCHANGED = b"tnu"
_NEW, _KEY, _OLD = b"NKO"


class Decoder:
    """One connection's stream. Not for use after an error."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}

    def decode(self, raw: bytes) -> StreamMessage | None:
        """The message, or None where it only tells about what follows (Relation, Type, Origin).

        Raises ServerError for a message that protocol version 1 does not have, or that ends too early.
        """
        try:
            return self._decode(raw)
        except (IndexError, error, UnicodeDecodeError) as e:
            raise _malformed(raw, str(e)) from e

    def _decode(self, raw: bytes) -> StreamMessage | None:
        match raw[:1]:
            case b"I":
                relation = self._relation(raw, 1)
                if raw[5] != _NEW:
                    raise _malformed(raw, "an insert without a new row")
                new, _ = _tuple(raw, 6)
                return Insert(relation, new)
            case b"U":
                return self._update(raw)
            case b"D":
                relation = self._relation(raw, 1)
                kind = raw[5]
                if kind not in (_KEY, _OLD):
                    raise _malformed(raw, "a delete without an old row")
                old, _ = _tuple(raw, 6)
                return Delete(relation, old, kind == _OLD)
            case b"B":
                final_lsn, commit_time, xid = _BEGIN.unpack_from(raw, 1)
                return Begin(Lsn(final_lsn), commit_time, xid)
            case b"C":
                _, commit_lsn, end_lsn, commit_time = _COMMIT.unpack_from(raw, 1)
                return Commit(Lsn(commit_lsn), Lsn(end_lsn), commit_time)
            case b"R":
                relation = _relation(raw)
                self._relations[relation.oid] = relation
                return None
            case b"T":
                count = _U32.unpack_from(raw, 1)[0]
                return Truncate(tuple(self._relation(raw, 6 + 4 * i) for i in range(count)))
            case b"M":
                return _message(raw)
            case b"Y" | b"O":
                return None
        raise _malformed(raw, "of an unknown kind")

    def _update(self, raw: bytes) -> Update:
        relation = self._relation(raw, 1)
        old: StreamTuple | None = None
        old_key: StreamTuple | None = None
        kind, position = raw[5], 6
        if kind == _KEY:
            old_key, position = _tuple(raw, position)
        elif kind == _OLD:
            old, position = _tuple(raw, position)
        if kind != _NEW:
            kind, position = raw[position], position + 1
        if kind != _NEW:
            raise _malformed(raw, "an update without a new row")
        new, _ = _tuple(raw, position)
        return Update(relation, new, old, old_key)

    def _relation(self, raw: bytes, position: int) -> Relation:
        oid = _U32.unpack_from(raw, position)[0]
        try:
            return self._relations[oid]
        except KeyError:
            raise _malformed(raw, f"a row of relation {oid}, which was not described before") from None


def _tuple(raw: bytes, position: int) -> tuple[StreamTuple, int]:
    """The row at `position`, and where it ends."""
    count = _U16.unpack_from(raw, position)[0]
    position += 2
    items: list[PostgresText | Unchanged] = []
    append = items.append
    length_at = _U32.unpack_from
    for _ in range(count):
        kind = raw[position]
        if kind == _TEXT:
            start = position + 5
            position = start + length_at(raw, position + 1)[0]
            if position > len(raw):
                raise _malformed(raw, "a value that ends too early")
            append(raw[start:position].decode())
        elif kind == _NULL:
            append(None)
            position += 1
        elif kind == _UNCHANGED:
            append(UNCHANGED)
            position += 1
        else:
            raise _malformed(raw, f"a value of kind {chr(kind)!r}")
    return tuple(items), position


def _string(raw: bytes, position: int) -> tuple[str, int]:
    end = raw.find(b"\0", position)
    if end < 0:
        raise _malformed(raw, "a name without an end")
    return raw[position:end].decode(), end + 1


def _relation(raw: bytes) -> Relation:
    oid = _U32.unpack_from(raw, 1)[0]
    schema, position = _string(raw, 5)
    name, position = _string(raw, position)
    identity = chr(raw[position])
    count = _U16.unpack_from(raw, position + 1)[0]
    position += 3
    columns: list[str] = []
    keys: list[str] = []
    types: list[int] = []
    for _ in range(count):
        is_key = raw[position] & 1
        column, position = _string(raw, position + 1)
        type_oid, _ = _COLUMN.unpack_from(raw, position)
        position += _COLUMN.size
        columns.append(column)
        types.append(type_oid)
        if is_key:
            keys.append(column)
    # An empty name stands for pg_catalog.
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns), tuple(keys), tuple(types))


def _message(raw: bytes) -> LogicalMessage:
    flags, at = _MESSAGE.unpack_from(raw, 1)
    prefix, position = _string(raw, 1 + _MESSAGE.size)
    length = _U32.unpack_from(raw, position)[0]
    content = raw[position + 4 : position + 4 + length]
    if len(content) != length:
        raise _malformed(raw, "a message that ends too early")
    return LogicalMessage(Lsn(at), bool(flags & 1), prefix, content)


def _malformed(raw: bytes, what: str) -> ServerError:
    return ServerError(
        f"the change stream has a message that turnback does not understand ({raw[:1]!r}): {what}",
        hint="this is a fault of turnback or of the server; the fallback stands before it, whole",
    )
