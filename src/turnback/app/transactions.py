"""From the stream's messages to whole transactions. A large one is spooled to disk: memory stays bounded."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from turnback.core.changes import (
    TOKEN_PREFIX,
    Begin,
    CapturedTransaction,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    RowChange,
    StreamMessage,
    Truncate,
    Update,
)
from turnback.errors import DiskFull, ServerError

IN_MEMORY = 10_000  # changes

# Plain tuples pickle several times faster than frozen dataclasses.
_FIELDS: dict[type[RowChange], Callable[[Any], tuple[Any, ...]]] = {
    Insert: lambda c: (c.relation, c.new),
    Update: lambda c: (c.relation, c.new, c.old, c.old_key),
    Delete: lambda c: (c.relation, c.old, c.whole),
    Truncate: lambda c: (c.relations,),
}


class Spool:
    """Changes in order: a list, and beyond IN_MEMORY of them a file that has no name (mode 0600)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tail: list[RowChange] = []
        self._file: IO[bytes] | None = None
        self._chunks = 0

    def append(self, change: RowChange) -> None:
        """Raises DiskFull."""
        self._tail.append(change)
        if len(self._tail) >= IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, prefix="turnback-spool-")  # noqa: SIM115  (closed by `close`)
            packed = [(type(c), _FIELDS[type(c)](c)) for c in self._tail]
            pickle.dump(packed, self._file, pickle.HIGHEST_PROTOCOL)
            self._file.flush()
        except OSError as e:
            raise DiskFull(
                f"{self._folder}: a large transaction cannot be spooled: {e.strerror}",
                hint="make room on that disk; the transaction is applied whole or not at all",
            ) from e
        self._tail = []
        self._chunks += 1

    def __iter__(self) -> Iterator[RowChange]:
        if self._file is not None:
            self._file.seek(0)
            for _ in range(self._chunks):
                for kind, fields in pickle.load(self._file):
                    yield kind(*fields)
        yield from self._tail

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._tail = []


class Assembler:
    """Collects one connection's messages. `close` forgets a transaction that was cut off."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begin: Begin | None = None
        self._spool: Spool | None = None
        self._tokens: list[str] = []
        self._done: list[Spool] = []

    @property
    def inside(self) -> bool:
        """Whether a transaction has begun and not ended yet."""
        return self._begin is not None

    @property
    def begun(self) -> Begin | None:
        return self._begin

    def add(self, message: StreamMessage) -> CapturedTransaction | None:
        """The transaction, when the message ends one. Raises ServerError where messages are out of order."""
        match message:
            case Begin():
                if self._begin is not None:
                    raise _out_of_order("a transaction begins inside another")
                self._begin = message
                self._spool = Spool(self._folder)
                self._tokens = []
            case Commit():
                if self._begin is None or self._spool is None:
                    raise _out_of_order("a commit without a beginning")
                transaction = CapturedTransaction(self._begin, self._spool, message, tuple(self._tokens))
                self._done.append(self._spool)
                self._begin = self._spool = None
                return transaction
            case LogicalMessage():
                if message.transactional and message.prefix == TOKEN_PREFIX:
                    self._tokens.append(message.content.decode(errors="replace"))
            case _:
                if self._spool is None:
                    raise _out_of_order("a change outside a transaction")
                self._spool.append(message)
        return None

    def release(self) -> None:
        """The transactions given so far are applied: their spools go."""
        for spool in self._done:
            spool.close()
        self._done.clear()

    def close(self) -> None:
        self.release()
        if self._spool is not None:
            self._spool.close()
        self._begin = self._spool = None


def _out_of_order(what: str) -> ServerError:
    return ServerError(f"the change stream is out of order: {what}", hint="run `turnback verify --full`")
