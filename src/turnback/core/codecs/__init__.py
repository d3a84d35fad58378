"""Codecs: how the values of one column cross between the engines. One family a file.

`codec_for` makes the codec that a plan's column names; `row.RowCodec` does whole rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from turnback.core.codecs import (
    affine,
    array,
    blob,
    boolean,
    dates,
    decimal_text,
    epochs,
    inet,
    integer,
    interval,
    json_text,
    number,
    real,
    text,
    text_bytes,
    timestamps,
    uuid,
    verbatim,
)
from turnback.core.codecs.protocol import Codec as Codec
from turnback.core.plan import ColumnPlan
from turnback.core.rows import SqliteValue, identical
from turnback.errors import CannotCarry, ConfigError

# Each codec with the options that it knows.
_FAMILIES: Final[dict[str, tuple[Callable[[ColumnPlan], Codec], frozenset[str]]]] = {
    "integer": (integer.integer, frozenset({"bits"})),
    "real": (real.real, frozenset({"nan"})),
    "float4": (real.float4, frozenset({"nan"})),
    "number": (number.number, frozenset()),
    "decimal_text": (decimal_text.decimal_text, frozenset()),
    "boolean": (boolean.boolean, frozenset({"words", "respell"})),
    "text": (text.text, frozenset({"length"})),
    "char": (text.char, frozenset({"length"})),
    "text_bytes": (text_bytes.text_bytes, frozenset()),
    "affine": (affine.affine, frozenset({"length"})),
    "verbatim": (verbatim.verbatim, frozenset()),
    "array": (array.array, frozenset({"separator", "element", "spaced", "ascii", "respell"})),
    "inet": (inet.inet, frozenset({"respell"})),
    "blob": (blob.blob, frozenset()),
    "timestamp_text": (
        timestamps.timestamp_text,
        frozenset({"separator", "fraction", "suffix", "zoned", "zone", "respell", "infinity"}),
    ),
    "date_text": (dates.date_text, frozenset({"infinity"})),
    "time_text": (dates.time_text, frozenset({"fraction"})),
    "epoch": (epochs.epoch, frozenset({"unit", "zoned", "truncate"})),
    "epoch_real": (epochs.epoch_real, frozenset({"unit", "zoned"})),
    "interval": (interval.interval, frozenset({"form"})),
    "json_text": (json_text.json_text, frozenset({"binary", "respell"})),
    "uuid_text": (uuid.uuid_text, frozenset({"upper", "hyphens", "respell"})),
    "uuid_blob": (uuid.uuid_blob, frozenset()),
}

CODECS: Final = tuple(_FAMILIES)


def codec_for(column: ColumnPlan) -> Codec:
    """The codec that the plan names. Raises ConfigError: no such codec, no such option."""
    if column.codec not in _FAMILIES:
        raise ConfigError(
            f'the plan: column "{column.sqlite}": there is no codec {column.codec!r}',
            hint=f"codecs are: {', '.join(CODECS)}",
        )
    make, options = _FAMILIES[column.codec]
    unknown = sorted(set(column.options) - options)
    if unknown:
        raise ConfigError(
            f'the plan: column "{column.sqlite}": {column.codec} has no option {", ".join(unknown)}',
            hint=f"its options are: {', '.join(sorted(options))}" if options else "it has no options",
        )
    return make(column)


def quick_refusal(codec: Codec) -> Callable[[SqliteValue], bool] | None:
    """What tells of some values at once that the codec does not take them, where it has such a thing. The
    reason is not asked.
    """
    if type(codec) is json_text.JsonbText:
        return lambda value: type(value) is str and json_text.surely_misspelled(value)
    return None


def carries(codec: Codec, column: ColumnPlan, value: SqliteValue) -> str | None:
    """None where the value comes back as law 1 says, else the reason why not. Needs no server."""
    if value is None:
        return None
    try:
        sent = codec.encode(value)
        back = codec.decode(sent)
        if identical(back, value):
            return None
        # With `respell` the value behind the text is what has to come back.
        if column.options.get("respell") and codec.canonical(codec.encode(back)) == codec.canonical(sent):
            return None
    except CannotCarry as e:
        return str(e)
    return "a value that does not come back as it was"
