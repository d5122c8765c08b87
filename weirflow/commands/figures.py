"""Figures as people read them. What is unknown is a dash, never a nought."""

from __future__ import annotations

from typing import Any

UNKNOWN = "–"


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def seconds(value: Any) -> str:
    """Three digits in the unit that fits: `350us`, `12.3ms`, `1.2s`."""
    if not _known(value):
        return UNKNOWN
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value * 1e6:.3g}us" if value else "0s"


def percent(value: Any) -> str:
    """A share from 0 to 1 as a percentage."""
    return f"{value * 100:.1f}%" if _known(value) else UNKNOWN


def number(value: Any, digits: int = 0) -> str:
    """A count or a rate."""
    return f"{value:.{digits}f}" if _known(value) else UNKNOWN
