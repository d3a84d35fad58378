"""inet, cidr, macaddr <-> SQLite text in the spelling that PostgreSQL prints (HAZARDS R5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from turnback.core.codecs.protocol import Codec, flag, wrong_class
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue
from turnback.errors import CannotCarry, ConfigError

_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)
# The spellings that PostgreSQL documents for macaddr.
_MAC = re.compile(
    r"(?:[0-9a-f]{2}(?P<each>[:-])(?:[0-9a-f]{2}(?P=each)){4}[0-9a-f]{2}|[0-9a-f]{6}[:-]?[0-9a-f]{6}"
    r"|[0-9a-f]{4}(?P<four>[.-])[0-9a-f]{4}(?P=four)[0-9a-f]{4})",
    re.ASCII | re.IGNORECASE,
)


class Spelled:
    """Text whose one spelling `spell` knows; it raises CannotCarry for what is not of the type."""

    __slots__ = ("_respell", "_spell")

    def __init__(self, spell: Callable[[str], str], respell: bool) -> None:
        self._spell = spell
        self._respell = respell

    def encode(self, value: SqliteValue) -> str:
        if type(value) is not str:
            raise wrong_class(value, "an address as text")
        text = self._spell(value)
        if text != value and not self._respell:
            raise CannotCarry(f"an address in another spelling than PostgreSQL's, which is {text}")
        return text

    def decode(self, text: str) -> SqliteValue:
        return text

    def canonical(self, text: str) -> bytes:
        return text.encode()


def _inet(value: str) -> str:
    """An address, with the length of its network where that is not the whole address."""
    address, bits = _parsed(value)
    return _printed(address) if bits == address.max_prefixlen else f"{_printed(address)}/{bits}"


def _cidr(value: str) -> str:
    """A network: always with its length, and nothing behind it."""
    address, bits = _parsed(value)
    if int(address) & ((1 << address.max_prefixlen - bits) - 1):
        raise CannotCarry("a network with bits set to the right of its length, which cidr refuses")
    return f"{_printed(address)}/{bits}"


def _macaddr(value: str) -> str:
    if not _MAC.fullmatch(value):
        raise CannotCarry("text that is not a MAC address")
    digits = re.sub("[^0-9a-f]", "", value.lower())
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _parsed(value: str) -> tuple[IPv4Address | IPv6Address, int]:
    text, slash, prefix = value.partition("/")
    try:
        address = IPv6Address(text) if ":" in text else IPv4Address(text)
    except AddressValueError:
        raise CannotCarry("text that is not an IP address") from None
    if "%" in text:
        raise CannotCarry("an IP address with a zone, which PostgreSQL cannot hold")
    if not slash:
        return address, address.max_prefixlen
    if not _PREFIX.fullmatch(prefix) or int(prefix) > address.max_prefixlen:
        raise CannotCarry("an IP address whose network has no valid length")
    return address, int(prefix)


def _printed(address: IPv4Address | IPv6Address) -> str:
    """As PostgreSQL prints it: like RFC 5952, and the last four bytes in decimal where the first ones are
    those of an embedded IPv4 address (src/port/inet_net_ntop.c).
    """
    if isinstance(address, IPv4Address):
        return str(address)
    number = int(address)
    if number >> 32 == 0xFFFF:
        return f"::ffff:{IPv4Address(number & 0xFFFFFFFF)}"
    if 0xFFFF < number <= 0xFFFFFFFF:
        return f"::{IPv4Address(number)}"
    return address.compressed


_SPELLINGS: Final = {"inet": _inet, "cidr": _cidr, "macaddr": _macaddr}


def inet(column: ColumnPlan) -> Codec:
    spell = _SPELLINGS.get(column.value_type.lower())
    if spell is None:
        raise ConfigError(
            f'the plan: column "{column.sqlite}": the codec inet is for {", ".join(_SPELLINGS)}, '
            f"not for {column.value_type}",
            hint='take codec = "verbatim" for other types',
        )
    return Spelled(spell, flag(column, "respell"))
