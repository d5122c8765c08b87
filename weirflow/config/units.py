"""Durations and sizes as people write them: a number with a unit. A bare number is refused, because it hides its unit.

Durations are as in Go and Envoy's documentation: `250ms`, `5s`, `1m30s`. Sizes take decimal (`MB`) and binary (`MiB`)
units.
"""

from __future__ import annotations

import re

DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZE_UNITS = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
DURATION_PATTERN = r"^([0-9]{1,12}(\.[0-9]{1,9})?(us|ms|s|m|h|d))+$"
SIZE_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,9})?(B|[kKMGT]B|[KMGT]iB)$"

_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(us|ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(B|[kKMGT]B|[KMGT]iB)")


def parse_duration(text: str) -> float:
    """Seconds. ValueError, with an example, for anything but numbers with units."""
    if len(text) > 64 or not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError("is not a duration; write a number with a unit, as in 250ms, 5s, 1m or 1h")
    return float(sum(float(number) * DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text)))


def format_duration(seconds: float) -> str:
    """The shortest plain form: 0.25 is `250ms`, 90 is `90s`, 120 is `2m`."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = seconds / DURATION_UNITS[unit]
        if count >= 1 and abs(count - round(count)) < 1e-9:
            return f"{round(count)}{unit}"
    if seconds == 0:
        return "0s"
    number, unit = (seconds, "s") if seconds >= 1 else (seconds * 1e6, "us")
    return f"{number:.6f}".rstrip("0").rstrip(".") + unit


def parse_size(text: str) -> int:
    """Bytes. ValueError, with an example, for anything but one number with a unit."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("is not a size; write a number with a unit, as in 512MiB or 10GiB")
    return round(float(match[1]) * SIZE_UNITS[match[2]])


def format_size(count: int) -> str:
    """The largest binary unit that divides it: 1073741824 is `1GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count and count % SIZE_UNITS[unit] == 0:
            return f"{count // SIZE_UNITS[unit]}{unit}"
    return f"{count}B"
