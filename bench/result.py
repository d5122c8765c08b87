"""What a bench prints: one JSON object a line, with every figure beside its bar.

A missed bar is said and is no error: the exit status only tells whether the bench could run. `noisy` warns that the
control runs, which should have been alike, were not: measure again on a quieter machine.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import comb
from statistics import median
from typing import Any


class CannotRunError(Exception):
    """Something that the bench needs is not there; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `low` and `high` bound it at 95 % where it was repeated; `bar` is None for a side figure."""

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    at_most: bool = True  # else: at least
    low: float | None = None
    high: float | None = None

    @property
    def held(self) -> bool:
        """Whether the value itself is on the right side of its bar. NaN is on no side."""
        if self.bar is None:
            return True
        return bool(self.value <= self.bar if self.at_most else self.value >= self.bar)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, numbers rounded to what was measured."""
        out = {k: v for k, v in asdict(self).items() if v is not None}
        # JSON knows no NaN: what could not be told is null.
        out = {k: (round(v, 4) if math.isfinite(v) else None) if isinstance(v, float) else v for k, v in out.items()}
        if self.bar is None:
            out.pop("at_most")
            return out
        out["bar"] = f"{'<=' if self.at_most else '>='} {self.bar:g}"
        out.pop("at_most")
        return out | {"held": self.held}


@dataclass(slots=True)
class Result:
    """All figures of one bench, and what was run to get them."""

    bench: str
    figures: list[Figure] = field(default_factory=list)
    noisy: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        """Whether every figure that has a bar held it."""
        return bool(self.figures) and all(f.held for f in self.figures)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "bench": self.bench,
            "held": self.held,
            "noisy": self.noisy,
            "figures": [f.to_dict() for f in self.figures],
            "detail": self.detail,
            "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        }


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """The median of repeated values, and an interval that holds the true one with 95 % confidence, or nearly.

    The k-th smallest and k-th largest of n values, k as large as the sign test allows: no shape of the noise is
    assumed, and a burst that spoils one value moves nothing. Below 6 values the interval is their span, and less sure.

    >>> middle([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 9.0])
    (1.3, 1.0, 9.0)
    """
    ordered = sorted(values)
    n, k, tail = len(ordered), 0, 0.5 ** len(ordered)
    while 2 * tail <= 0.05 and k < n // 2:
        k += 1
        tail += comb(n, k) * 0.5**n
    k = max(k, 1)
    return median(ordered), ordered[k - 1], ordered[n - k]


def show(result: Result) -> None:
    """One line on standard output."""
    sys.stdout.write(json.dumps(result.to_dict()) + "\n")
    sys.stdout.flush()


def say(message: str) -> None:
    """Progress, on standard error, so that standard output stays for machines."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
