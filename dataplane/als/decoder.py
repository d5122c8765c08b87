"""The decoder of one node: messages in, whenever they come; attempts out, at each flush.

    reader (bytes to columns) -> Entries -> Sieve (columns to attempts)

Of the two readers the compiled one is taken when it was built and is of this source's making; `COMPILED` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from dataplane.als.entries import COLUMNS, ROUTES_MAX, TARGETS_MAX, Entries, Reader
from dataplane.als.places import NO_OTHERS, Places
from dataplane.als.reference import PlainReader, identify
from dataplane.als.sieve import Sieve
from dataplane.contract import Dropped, Felt, Requests, Topology

__all__ = ["COMPILED", "Decoder", "identify"]

_compiled: ModuleType | None
try:
    from dataplane.als import _decode as _compiled
except ImportError:
    _compiled = None

COMPILED: bool = _compiled is not None and getattr(_compiled, "COLUMNS", None) == COLUMNS
"""Whether the compiled reader is there and writes the columns that this source reads (else: build it again)."""


class Decoder:
    """Turns one node's access log into `Requests`, `Felt` and `Dropped`. Bytes may be bad, late, doubled or hostile:
    they are counted, never raised.

    `others` is the service's name of clusters that are called otherwise. `compiled` forces one reader or the other;
    RuntimeError when the compiled one is wanted and not there. `by_request`: it writes no log of attempts (`sieve`).
    """

    def __init__(
        self,
        node: int,
        topology: Topology,
        others: Mapping[str, str] = NO_OTHERS,
        *,
        compiled: bool | None = None,
        by_request: bool = False,
    ) -> None:
        if compiled and not COMPILED:
            raise RuntimeError("the compiled decoder is not built, or of another version: run `make setup`")
        self.node = node
        self.compiled = COMPILED if compiled is None else compiled
        self._reader = _reader(self.compiled)
        self._entries = Entries()
        self._places = Places(topology, others)
        self._sieve = Sieve(node, by_request=by_request)

    @property
    def offset_s(self) -> float:
        """What to add to this node's times to get ours; NaN until known. See `offset`."""
        return self._sieve.offset.seconds

    @property
    def skewed(self) -> int:
        """Entries ever whose clock was far off this node's others. They were learned all the same."""
        return self._sieve.offset.skewed

    def moved(self, topology: Topology, others: Mapping[str, str] = NO_OTHERS) -> None:
        """The membership changed. Attempts at an endpoint that just left are still understood."""
        self._places.moved(topology, others)

    def decode(self, message: bytes, now: float) -> None:
        """Append the entries of a serialized StreamAccessLogsMessage that arrived at `now`. Bad bytes never raise."""
        self._entries.append(self._reader, message, int(now * 1e9))

    def flush(self, now: float) -> list[Requests | Felt | Dropped]:
        """What has settled since the last flush; nothing, when nothing has. To be called about every 0.1 s.

        `Dropped` counts entries by reason, except `malformed`, which counts messages: their entries cannot be counted.
        """
        self._places.learn(self._reader)
        out = self._sieve.sift(self._entries, self._places, now)
        self._entries.clear()
        if self._places.full:
            self._reader.clear()
            self._places.clear()
        return out


def _reader(compiled: bool) -> Reader:
    if compiled and _compiled is not None:
        reader: Reader = _compiled.Reader(TARGETS_MAX, ROUTES_MAX)
        return reader
    return PlainReader(TARGETS_MAX, ROUTES_MAX)
