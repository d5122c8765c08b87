"""Which rows of the streams a request is about: its path, looked up by its ids.

A stream is known by one integer made of three ids, of which those that do not tell it apart are left out. There is
room for so many; when it is used up, the stream that was silent longest makes way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.base import Ints

IDS = {"service": 16, "endpoint": 24, "class": 16}
"""The ids of a request, and the bits of each."""

_TELL_APART = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 0, 0]], dtype=bool)
"""By place in a path (leaf, endpoint, class, service), which ids do."""

_NONE = np.empty(0, dtype=np.int64)
_NEVER = np.iinfo(np.int64).max


class Paths:
    """Rows by stream, for at most `rows` streams."""

    def __init__(self, rows: int) -> None:
        self.keys = np.full(rows, -1, dtype=np.int64)  # of each row's stream; -1: of none
        self.heard = np.full(rows, -1, dtype=np.int64)  # when it was last taught, counting requests
        self.taught = 0
        self._row_of: dict[int, int] = {}

    def find(self, x: Mapping[str, Any], requests: int) -> Ints:
        """The path of each request, shape (requests, 4): rows, -1 for a stream that has none or where an id is no id.

        ValueError when a column has another length; KeyError when service or endpoint is missing.
        """
        return self._rows(_keys(x, requests))

    def make(self, x: Mapping[str, Any], requests: int) -> tuple[Ints, Ints]:
        """The same for requests that are about to be learned, in their order: streams are made that are not there.

        Returns the paths, and the rows that were given to a new stream and hold what another left. A batch about more
        streams than there is room for leaves some of them without.
        """
        keys = _keys(x, requests)
        distinct, first = np.unique(keys, return_index=True)
        new = [key for key in distinct[np.argsort(first)].tolist() if key >= 0 and key not in self._row_of]
        paths = self._rows(keys)
        given = self._give(new, paths[paths >= 0]) if new else _NONE
        if new:
            paths = self._rows(keys)
        for column in paths.T:
            told = np.flatnonzero(column >= 0)
            self.heard[column[told]] = self.taught + told  # where a row comes twice, the later stays
        self.taught += requests
        return paths, given

    def find_one(self, x: Mapping[str, Any]) -> Ints:
        """The same for one request with plain numbers for ids, at a fifth of the cost. Shape (1, 4)."""
        return np.array([[self._row_of.get(key, -1) for key in _keys_of_one(x)]], dtype=np.int64)

    def make_one(self, x: Mapping[str, Any]) -> tuple[Ints, Ints]:
        """As `make`, of one request."""
        paths = self.find_one(x)
        rows = paths[0].tolist()
        if min(rows) < 0:
            return self.make(x, 1)
        for row in rows:
            self.heard[row] = self.taught
        self.taught += 1
        return paths, _NONE

    def restore(self, keys: Ints, heard: Ints, taught: int) -> None:
        """Take up what another had."""
        self.keys[:], self.heard[:], self.taught = keys, heard, taught
        self._row_of = {key: row for row, key in enumerate(self.keys.tolist()) if key >= 0}

    def _give(self, new: list[int], named: Ints) -> Ints:
        """Rows to new streams: empty ones, then the longest silent, but none that this batch is about."""
        silent = self.heard.copy()
        silent[named] = _NEVER
        order = np.argsort(silent, kind="stable")
        given = order[: np.count_nonzero(silent < _NEVER)][: len(new)]
        for key, row in zip(new, given.tolist(), strict=False):
            self._row_of.pop(int(self.keys[row]), None)
            self._row_of[key] = row
            self.keys[row] = key
        return given

    def _rows(self, keys: Ints) -> Ints:
        row_of = self._row_of
        if keys.size <= 64:
            return np.array([row_of.get(key, -1) for key in keys.ravel().tolist()], dtype=np.int64).reshape(keys.shape)
        distinct, back = np.unique(keys, return_inverse=True)
        rows = np.array([row_of.get(key, -1) for key in distinct.tolist()], dtype=np.int64)
        return rows[back].reshape(keys.shape)


def pack(ids: Ints) -> Ints:
    """Ids in the last axis (service, endpoint, class) as one integer, -1 where the service is -1."""
    key = np.zeros(ids.shape[:-1], dtype=np.int64)
    for k, bits in enumerate(IDS.values()):
        key = (key << (bits + 1)) | (ids[..., k] + 1)
    return np.where(ids[..., 0] < 0, -1, key)


def unpack(keys: Ints) -> Ints:
    """The ids of each key, -1 where one tells nothing and throughout where there is no key."""
    ids, rest = np.empty((len(keys), len(IDS)), dtype=np.int64), np.where(keys < 0, 0, keys)
    for k, bits in reversed(list(enumerate(IDS.values()))):
        ids[:, k] = (rest & (2 ** (bits + 1) - 1)) - 1
        rest = rest >> (bits + 1)
    return ids


def _keys_of_one(x: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """What `pack` makes of the four streams of one request, by plain arithmetic."""
    service, endpoint, klass = x["service"], x["endpoint"], x.get("class", 0)
    most = IDS.values()
    if not all(0 <= one < 2**bits for one, bits in zip((service, endpoint, klass), most, strict=True)):
        return -1, -1, -1, -1
    _, endpoint_bits, class_bits = most
    by_service = (int(service) + 1) << (endpoint_bits + class_bits + 2)
    by_endpoint, by_class = (int(endpoint) + 1) << (class_bits + 1), int(klass) + 1
    return by_service | by_endpoint | by_class, by_service | by_endpoint, by_service | by_class, by_service


def _keys(x: Mapping[str, Any], requests: int) -> Ints:
    """Keys of the four streams of each request, (requests, 4); -1 throughout where an id is out of its range or NaN."""
    ids, good = np.empty((requests, len(IDS)), dtype=np.int64), np.ones(requests, dtype=bool)
    for k, (name, bits) in enumerate(IDS.items()):
        column = np.asarray(x.get(name, 0) if name == "class" else x[name])
        usable = (column >= 0) & (column < 2**bits)
        ids[:, k] = np.where(usable, column, 0)
        good &= usable
    keys = pack(np.where(_TELL_APART, ids[:, None, :], -1))
    keys[~good] = -1
    return keys
