"""Bounded memories of what was just seen, as direct-mapped tables: a key has one slot, a newer key takes it over.

Nothing here grows. When more is remembered than there are slots, the oldest is forgotten early: a duplicate may then
pass, or a retry count as a first try. Keys are 64-bit hashes that are already well mixed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]


class Recent:
    """Keys seen within the last `window_s`, each with a slot where callers keep columns of their own.

    Key 0 stands for "none" and is never held.
    """

    def __init__(self, slots: int, window_s: float) -> None:
        """`slots`: a power of two."""
        self._mask = slots - 1
        self._keys = np.zeros(slots, dtype=np.int64)
        self._at = np.zeros(slots)
        self._window_s = window_s
        self._newest = -np.inf

    def slots(self, keys: Ints) -> Ints:
        """The slot of each key."""
        return keys & self._mask

    def holds(self, keys: Ints, now: float) -> Mask:
        """Which keys are remembered."""
        slots = self.slots(keys)
        held: Mask = (self._keys[slots] == keys) & (keys != 0) & (self._at[slots] >= now - self._window_s)
        return held

    def put(self, keys: Ints, now: float) -> None:
        """Remember these keys, none of them 0."""
        slots = self.slots(keys)
        self._keys[slots] = keys
        self._at[slots] = now
        self._newest = now

    def idle(self, now: float) -> bool:
        """Whether nothing at all is remembered."""
        return self._newest < now - self._window_s


class Duplicates:
    """Fingerprints of the entries seen last: an entry sent again (Envoy resends what a broken stream left unsure)."""

    def __init__(self, slots: int = 1 << 17) -> None:
        """`slots`: a power of two; at the default the last hundred thousand entries of a node are remembered."""
        self._mask = np.uint64(slots - 1)
        self._seen = np.zeros(slots, dtype=np.uint64)
        self._first = np.zeros(slots, dtype=np.int32)

    def fresh(self, fingerprints: Hashes) -> Mask:
        """True for each entry that is new, False for one seen before, in an earlier batch or further up in this one."""
        slots = (fingerprints & self._mask).astype(np.intp)
        fresh: Mask = self._seen[slots] != fingerprints
        self._seen[slots] = fingerprints
        rows = np.arange(len(slots), dtype=np.int32)
        self._first[slots[::-1]] = rows[::-1]  # NumPy keeps the last of several writes: here the first row
        first = self._first[slots]
        later = (first != rows).nonzero()[0]
        if len(later):
            same = fingerprints[first[later]] == fingerprints[later]
            fresh[later[same]] = False
            others = later[~same]  # they only share a slot with another; twins among them are left to find
            _, firsts = np.unique(fingerprints[others], return_index=True)
            twins = np.ones(len(others), dtype=bool)
            twins[firsts] = False
            fresh[others[twins]] = False
        return fresh


def fingerprint(*columns: Ints) -> Hashes:
    """A 64-bit hash of each row, never 0. The constants are those of splitmix64 (Steele, Lea and Flood, 2014)."""
    out = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        out ^= column.view(np.uint64)
        out *= np.uint64(0xBF58476D1CE4E5B9)
        out ^= out >> np.uint64(27)
    out *= np.uint64(0x94D049BB133111EB)
    out ^= out >> np.uint64(31)
    return out | np.uint64(1)
