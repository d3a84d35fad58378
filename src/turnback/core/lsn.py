"""Positions in PostgreSQL's write-ahead log (PostgreSQL documentation: pg_lsn Type)."""

from __future__ import annotations

from typing import NewType

Lsn = NewType("Lsn", int)

ZERO = Lsn(0)


def parse(text: str) -> Lsn:
    """'16/B374D848' -> the 64-bit position. Raises ValueError on anything else."""
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f"not an LSN: {text!r}")
    return Lsn((int(high, 16) << 32) | int(low, 16))


def text(lsn: int) -> str:
    """The 64-bit position as PostgreSQL writes it: '16/B374D848'."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
