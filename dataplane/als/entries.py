"""Access log entries as raw columns, straight off the wire: what was said, not yet what it means.

One block of int64, a row per column and a column per entry, that a `Reader` appends to and a flush empties. There is
one width for everything, so that the compiled reader needs no knowledge of NumPy: it writes numbers into a buffer.

* Times are nanoseconds; `ABSENT` where the entry had none; beyond what int64 holds (year 2262) the end of time.
* `flags` has bit n-1 set for field n of envoy.data.accesslog.v3.ResponseFlags.
* `target` and `route` are codes of names that the reader holds (`Reader.targets`, `Reader.routes`), or -1: no room.
* `request` is a 64-bit hash of the request id, 0 where there was none.
* What is unsigned on the wire (flags, hashes, sizes) is kept in its bits: a size of 2**63 or more reads as negative.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

COLUMNS = (
    "arrival_ns",  # the receiver's clock
    "start_ns",
    "duration_ns",
    "first_rx_ns",  # to the first byte from upstream, since the start
    "last_rx_ns",
    "flags",
    "status",
    "target",
    "route",
    "request",
    "request_bytes",
    "response_bytes",
    "kind",  # AccessLogType
    "intermediate",
    "method",  # contract.Method; a number of an Envoy newer than it is left for the sieve to call unknown
)

ABSENT: int = -(2**63)
MALFORMED = -1

TARGETS_MAX = 4096
ROUTES_MAX = 1024
NAME_MAX = 512
"""Bytes of one name; `_names.h` has the same numbers."""
NAME_BYTES = 64
"""Bytes of all names, on average."""
CAPACITY_MIN = 2048
CAPACITY_MAX = 131_072
"""Entries of one node between two flushes: at ten flushes a second, more than four times what one core can learn."""


class Kind(IntEnum):
    """envoy.data.accesslog.v3.AccessLogType, as far as it concerns us."""

    DOWNSTREAM_END = 6
    UPSTREAM_END = 9


class Reader(Protocol):
    """What turns messages into columns: the plain one (`reference`) and the compiled one (`_decode`) do the same."""

    def decode(self, message: bytes, block: Ints, row: int, arrival_ns: int, /) -> int:
        """Write the entries of a serialized StreamAccessLogsMessage into the block's columns from `row` on.

        Returns how many entries it holds, of which those that fit were written; MALFORMED, and nothing of it counts,
        when its bytes are not such a message.
        """

    def targets(self, since: int, /) -> list[bytes]:
        """The names of target codes from `since` on: cluster, NUL, address, NUL, port (four bytes, low first)."""

    def routes(self, since: int, /) -> list[bytes]:
        """The names of route codes from `since` on."""

    def clear(self) -> None:
        """Forget all names; codes start at 0 again."""


class Entries:
    """A column buffer that grows by doubling up to `CAPACITY_MAX` rows and is emptied by `clear`.

    `malformed` counts messages, `flooded` entries beyond the capacity, since the last `clear`.
    """

    def __init__(self) -> None:
        self._block: Ints = np.empty((len(COLUMNS), CAPACITY_MIN), dtype=np.int64)
        self.count = 0
        self.malformed = 0
        self.flooded = 0

    def append(self, reader: Reader, message: bytes, arrival_ns: int) -> None:
        """Decode a message behind the rows that are there. Never raises on bad bytes: counts."""
        seen = reader.decode(message, self._block, self.count, arrival_ns)
        if seen == MALFORMED:
            self.malformed += 1
            return
        if self.count + seen > self.capacity and self.capacity < CAPACITY_MAX:
            self._grow(self.count + seen)
            reader.decode(message, self._block, self.count, arrival_ns)
        kept = min(seen, self.capacity - self.count)
        self.flooded += seen - kept
        self.count += kept

    def column(self, name: str) -> Ints:
        """The rows of one column: a view, gone stale with the next `append`."""
        return self._block[COLUMNS.index(name), : self.count]

    @property
    def rows(self) -> Ints:
        """All columns at once, shape (len(COLUMNS), count): a view, as above."""
        return self._block[:, : self.count]

    def clear(self) -> None:
        """Forget the rows, keep the memory."""
        self.count = self.malformed = self.flooded = 0

    @property
    def capacity(self) -> int:
        """Rows that the block holds now."""
        return int(self._block.shape[1])

    def _grow(self, rows: int) -> None:
        capacity = self.capacity
        while capacity < min(rows, CAPACITY_MAX):
            capacity *= 2
        block = np.empty((len(COLUMNS), capacity), dtype=np.int64)
        block[:, : self.count] = self._block[:, : self.count]
        self._block = block
