"""Which entries are sound: what is not is counted by its first reason and learned by nobody.

Soundness is about the entry alone: a number that cannot be, or an entry that is not the end of anything. A clock that
runs wrong is no reason (see `offset`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dataplane.als.entries import ABSENT, Entries, Ints, Kind
from dataplane.als.outcome import STATUS_MAX

Mask = NDArray[np.bool_]

DURATION_MAX_NS: Final = 3600 * 10**9
"""An hour: beyond it a request is not one, and one such sample would drown all others."""
START_MAX_NS: Final = 7_258_118_400 * 10**9
"""The year 2200: beyond it (2262 is where int64 ends) a time is not one."""
BYTES_MAX: Final = 2**53

REASONS: Final[tuple[tuple[str, tuple[str, ...], Callable[[Ints], Mask]], ...]] = (
    ("intermediate", ("intermediate",), lambda x: x != 0),
    ("not_an_end", ("kind",), lambda x: (x != Kind.UPSTREAM_END) & (x != Kind.DOWNSTREAM_END)),
    ("no_start", ("start_ns",), lambda x: (x == ABSENT) | (x == 0)),
    ("absurd_start", ("start_ns",), lambda x: (x < 0) | (x > START_MAX_NS)),
    ("no_duration", ("duration_ns",), lambda x: x == ABSENT),
    ("negative_duration", ("duration_ns",), lambda x: x < 0),
    ("absurd_duration", ("duration_ns",), lambda x: x > DURATION_MAX_NS),
    ("absurd_first_byte", ("first_rx_ns",), lambda x: ((x < 0) & (x != ABSENT)) | (x > DURATION_MAX_NS)),
    ("absurd_status", ("status",), lambda x: (x < 0) | (x > STATUS_MAX)),
    ("absurd_size", ("request_bytes", "response_bytes"), lambda x: (x < 0) | (x > BYTES_MAX)),
)
"""Reason, the columns that it looks at, and the test of each. NaN has no row: the wire's times are integers."""


def sound(entries: Entries, dropped: Counter[str]) -> Mask:
    """True for each sound entry; the others are added to `dropped`."""
    keep = _plausible(entries)
    if keep.all():
        return keep
    suspects = (~keep).nonzero()[0]
    keep[suspects] = True
    for reason, columns, test in REASONS:
        for name in columns:
            bad = test(entries.column(name)[suspects]) & keep[suspects]
            keep[suspects[bad]] = False
            dropped[reason] += int(np.count_nonzero(bad))
    return keep


def _plausible(entries: Entries) -> Mask:
    """A quick look that lets every usual entry pass: one unsigned comparison a column, where negative means huge."""
    c = entries.column
    keep = (c("duration_ns").view(np.uint64) <= DURATION_MAX_NS) & ((c("start_ns") - 1).view(np.uint64) < START_MAX_NS)
    keep &= (c("kind") == Kind.UPSTREAM_END) | (c("kind") == Kind.DOWNSTREAM_END)
    keep &= (c("status").view(np.uint64) <= STATUS_MAX) & (c("intermediate") == 0)
    keep &= c("first_rx_ns") <= DURATION_MAX_NS
    keep &= (c("first_rx_ns") >= 0) | (c("first_rx_ns") == ABSENT)
    keep &= (c("request_bytes") | c("response_bytes")).view(np.uint64) < BYTES_MAX
    return keep
