"""Text and numbers to seconds since 1970.

A time that says its offset is taken by it; one that does not is of the zone that the user named, UTC by default. A leap
second (23:59:60) is the second after it, as POSIX counts. What is no time is NaN: never an exception.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from dataplane.contract import Floats
from weirflow.importing.errors import WrongUseError
from weirflow.importing.fields import PER_SECOND

EARLIEST_S = 315_532_800.0  # 1980: before it no log was written
LATEST_S = 7_258_118_400.0  # 2200
_EPOCH = re.compile(r"\d{1,20}(?:\.\d*)?")
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,12}))?\s?(Z|[+-]\d\d(?::?\d\d)?)?", re.IGNORECASE
)
_CLF = re.compile(r"(\d\d?)/([A-Za-z]{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ([+-]\d{4}))?")
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {m: i + 1 for i, m in enumerate(_NAMES)}


def zone(name: str) -> tzinfo:
    """A time zone by name (`Europe/Berlin`) or offset (`+02:00`). WrongUseError for anything else."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    if (offset := _offset(name)) is not None:
        return offset
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError) as error:
        raise WrongUseError(f"--timezone {name}: is no zone; write Europe/Berlin or +02:00") from error


def seconds(values: Sequence[Any], unit: str, where: tzinfo) -> Floats:
    """Each value as seconds since 1970, NaN where it is no time. `unit` "" lets numbers tell theirs by their size."""
    fast = _numbers_in_one(values, unit)
    if fast is None and unit == "":
        fast = _iso_in_one(values)
    if fast is not None:
        return fast
    one = _Known(unit, where)
    return np.fromiter((one[v] if isinstance(v, str) else _number(v, unit) for v in values), np.float64, len(values))


def _numbers_in_one(values: Sequence[Any], unit: str) -> Floats | None:
    """Numbers throughout, or texts of numbers, as NGINX's $msec; None when any is not."""
    if not len(values) or isinstance(values[0], list | dict):
        return None
    if not (hasattr(values, "dtype") or _EPOCH.fullmatch(str(values[0]))):
        return None
    try:
        if isinstance(values[0], str):
            values = pa.array(values, pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
        numbers = np.array(values, dtype=np.float64)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    with np.errstate(invalid="ignore"):
        if unit:
            return np.where((numbers > 0) & (numbers < np.inf), numbers / PER_SECOND[unit], np.nan)
        out = np.full(len(numbers), np.nan)
        for per in PER_SECOND.values():
            out = np.where((numbers / per >= EARLIEST_S) & (numbers / per <= LATEST_S), numbers / per, out)
    return out


def _iso_in_one(values: Sequence[Any]) -> Floats | None:
    """ISO 8601 in UTC throughout, as Envoy writes it, by Arrow; None when any is not."""
    if not values or not isinstance(values[0], str) or not values[0].endswith("Z"):
        return None
    try:
        found = pa.array(values, pa.string()).cast(pa.timestamp("ns", "UTC"))
    except (pa.ArrowException, TypeError, OverflowError):
        return None
    if found.null_count:
        return None
    out: Floats = found.cast(pa.int64()).to_numpy() * 1e-9
    return out


class _Known(dict[str, float]):
    """Texts that were understood; a log repeats its seconds."""

    def __init__(self, unit: str, where: tzinfo) -> None:
        super().__init__()
        self._unit, self._where = unit, where
        self._minutes: dict[tuple[str, ...], float] = {}

    def __missing__(self, text: str) -> float:
        self[text] = value = self._read(text.strip())
        return value

    def _read(self, text: str) -> float:
        if (m := _ISO.fullmatch(text)) is not None:
            year, month, day, hour, minute, second, part, offset = m.groups()
        elif (m := _CLF.fullmatch(text)) is not None:
            day, name, year, hour, minute, second, part, offset = m.groups()
            month = str(_MONTHS.get(name.lower(), 0))
        elif _EPOCH.fullmatch(text):
            return _number(float(text), self._unit)
        else:
            return math.nan
        key = (year, month, day, hour, minute, offset or "")
        start = self._minutes.get(key)
        if start is None:
            start = self._minutes[key] = _minute(key, self._where)
        if int(second) > 60:
            return math.nan
        return start + int(second) + (float(f"0.{part}") if part else 0.0)


def _minute(key: tuple[str, ...], where: tzinfo) -> float:
    year, month, day, hour, minute, offset = key
    given = where if not offset else _offset(offset)
    try:
        at = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=given)
        return at.timestamp() if given is not None else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _offset(text: str) -> tzinfo | None:
    if text.upper() == "Z":
        return UTC
    m = re.fullmatch(r"([+-])(\d\d):?(\d\d)?", text)
    if m is None:
        return None
    minutes = int(m[2]) * 60 + int(m[3] or 0)
    if minutes >= 24 * 60:
        return None
    return timezone(timedelta(minutes=-minutes if m[1] == "-" else minutes))


def _number(value: Any, unit: str) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    if not 0 < number < math.inf:
        return math.nan
    if unit:
        return number / PER_SECOND[unit]
    for per in PER_SECOND.values():  # the unit in which it is a time after 1980 and before 2200
        if EARLIEST_S <= number / per <= LATEST_S:
            return number / per
    return math.nan


# Envoy's %START_TIME(...)%: the directives of strftime(3), and its own for parts of a second.

_DIRECTIVES: dict[str, str] = {
    "Y": r"(?P<Y>\d{4})",
    "m": r"(?P<m>\d\d)",
    "d": r"(?P<d>\d\d)",
    "e": r"(?P<d>[ \d]\d)",
    "H": r"(?P<H>\d\d)",
    "M": r"(?P<M>\d\d)",
    "S": r"(?P<S>\d\d)",
    "s": r"(?P<s>\d{1,12})",
    "b": r"(?P<b>[A-Za-z]{3})",
    "f": r"(?P<f>\d{1,9})",
    "z": r"(?P<z>[+-]\d\d:?\d\d|Z)",
    "Z": r"[A-Za-z]+",
    "%": "%",
}
_WHOLE = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M"}


def by_directives(form: str, where: tzinfo) -> tuple[str, Callable[[str], str]]:
    """The pattern of a strftime format, and what turns its text into one that `seconds` knows. WrongUseError."""
    form = re.sub(r"%([FTR])", lambda m: _WHOLE[m[1]], form)
    pattern, seen = "", set()
    for m in re.finditer(r"%([1-9]?)([A-Za-z%*])|([^%]+)", form):
        if m[3]:
            pattern += re.escape(m[3])
            continue
        piece = _DIRECTIVES.get(m[2])
        if piece is None or m[2] in seen:
            raise WrongUseError(f"%{m[1]}{m[2]} in {form!r}: is not understood (once each of {' '.join(_DIRECTIVES)})")
        seen.add(m[2])
        pattern += piece
    if not ({"s"} <= seen or {"Y", "d", "H", "M", "S"} <= seen):
        raise WrongUseError(f"{form!r}: tells no moment to the second")
    compiled = re.compile(pattern)

    def normal(text: str) -> str:
        m = compiled.fullmatch(text)
        if m is None:
            return ""
        g = m.groupdict()
        part = f".{g['f']}" if g.get("f") else ""
        if g.get("s"):
            return g["s"] + part
        month = g.get("m") or f"{_MONTHS.get((g.get('b') or '').lower(), 0):02d}"
        day = g["d"].strip().zfill(2)
        return f"{g['Y']}-{month}-{day}T{g['H']}:{g['M']}:{g['S']}{part}{g.get('z') or ''}"

    return re.sub(r"\(\?P<\w>", "(?:", pattern), normal
