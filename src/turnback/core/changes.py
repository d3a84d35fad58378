"""What PostgreSQL's change stream says, in the terms of the catalogue (not yet of the plan).

A tuple has one item per column of the relation: text, None for NULL, UNCHANGED for a TOASTed value that
was not sent. `key` tuples carry values only where the column belongs to the replica identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from turnback.core.lsn import Lsn
from turnback.core.rows import PostgresText, Unchanged

StreamTuple = tuple[PostgresText | Unchanged, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    oid: int
    schema: str
    name: str
    replica_identity: str  # 'd', 'n', 'f', 'i' (pg_class.relreplident)
    columns: tuple[str, ...]
    key_columns: tuple[str, ...]  # flagged as part of the key by the server
    type_oids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    final_lsn: Lsn  # commit_lsn of the transaction to come
    commit_time_us: int  # microseconds since 2000-01-01, the server's clock
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    commit_lsn: Lsn
    end_lsn: Lsn
    commit_time_us: int


@dataclass(frozen=True, slots=True)
class Insert:
    relation: Relation
    new: StreamTuple


@dataclass(frozen=True, slots=True)
class Update:
    relation: Relation
    new: StreamTuple
    old: StreamTuple | None  # whole old row (replica identity full)
    old_key: StreamTuple | None  # old key, when the key changed ('K')


@dataclass(frozen=True, slots=True)
class Delete:
    relation: Relation
    old: StreamTuple  # the key's columns, or the whole row (replica identity full)
    whole: bool


@dataclass(frozen=True, slots=True)
class Truncate:
    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """pg_logical_emit_message(): turnback's gate token, or somebody else's."""

    lsn: Lsn
    transactional: bool
    prefix: str
    content: bytes


RowChange = Insert | Update | Delete | Truncate
StreamMessage = Begin | Commit | RowChange | LogicalMessage


@dataclass(frozen=True, slots=True)
class CapturedTransaction:
    """One whole PostgreSQL transaction, in order. `changes` can be gone through more than once."""

    begin: Begin
    changes: Iterable[RowChange]
    commit: Commit
    tokens: tuple[str, ...] = ()  # what turnback itself wrote into it (pg_logical_emit_message)


TOKEN_PREFIX = "turnback"  # of pg_logical_emit_message()
