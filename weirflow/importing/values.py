"""Lists of whatever a log holds to NumPy columns: a number, or NaN and a mark that it was none.

Absent is what is empty, `-`, null or NaN. A number that no log can mean (negative where that makes no sense, infinite,
beyond 2^53) is as bad as a word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataplane.contract import Floats

Mask = NDArray[np.bool_]
LARGEST = float(2**53)
ABSENT = ("", "-", "nan", "null", "none", "NaN", "N/A")


def numbers(values: Sequence[Any]) -> tuple[Floats, Mask]:
    """Each value as a float, NaN where it is absent or bad; and which were bad. Shapes (n,)."""
    try:
        out = _in_one(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        out = np.array([_number(v) for v in values], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        bad = (out < 0) | (out > LARGEST)
    out[bad] = np.nan
    return out, bad


def _in_one(values: Sequence[Any]) -> Floats:
    """Plain texts of numbers, by Arrow, or numbers as they are; an exception for anything else."""
    if hasattr(values, "dtype"):
        return np.asarray(values, dtype=np.float64)
    if not values or not isinstance(values[0], str):
        return np.array([math.nan if v is None else v + 0.0 for v in values], dtype=np.float64)
    if "-" in values:
        values = [None if v == "-" else v for v in values]
    out: Floats = pa.array(values, pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return out if out.flags.writeable else out.copy()


def _number(value: Any) -> float:
    """A bad one is infinite."""
    if value is None or (isinstance(value, str) and value.strip() in ABSENT):
        return math.nan
    if isinstance(value, bool | list | dict) or (isinstance(value, str) and "_" in value):
        return math.inf
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        return math.inf


def texts(values: Sequence[Any]) -> Sequence[str]:
    """Each value as text, "" where it is absent."""
    if set(map(type, values)) == {str}:
        return ["" if v == "-" else v for v in values] if "-" in values else values
    return [text(v) for v in values]


def text(value: Any) -> str:
    """A value as text; "" for what is absent, or is no single value (a list may nest deeper than Python prints)."""
    if isinstance(value, str):
        return "" if value == "-" else value
    return "" if value is None or value != value or isinstance(value, list | dict) else str(value)
