"""From entries to attempts: sound, new, understood, placed, settled, numbered. Each stage is a vectorised look.

What falls through is counted by its reason. What is not bad but not news either (a downstream entry of a request that
ended well: its attempts tell it) is left out without a word.

A proxy that writes no log of attempts tells `by_request`: then a downstream entry stands for the request's last
attempt, the one that it names an endpoint of. Of those before it, and of when a retry began, nobody hears.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataplane.als import checks
from dataplane.als.attempts import NO_ATTEMPTS, Attempts
from dataplane.als.entries import ABSENT, COLUMNS, Entries, Ints, Kind
from dataplane.als.join import Join
from dataplane.als.offset import Offset
from dataplane.als.outcome import MEANING, NOTHING, TABLE, UNEXPLAINED, classify
from dataplane.als.places import UNKNOWN, Place, Places
from dataplane.als.recent import Duplicates, fingerprint
from dataplane.als.tries import Tries
from dataplane.contract import Dropped, Felt, Floats, Method, Outcome, Requests

Mask = NDArray[np.bool_]
_METHODS = np.array([*Method, Method.UNKNOWN], dtype=np.int8)
"""By the wire's number; the last is for numbers that we do not know."""
_FEW = 1 << 13
"""Entries by which one of a crowd of proxies knows what it has told already: there may be thousands of them."""
_AT = {name: i for i, name in enumerate(COLUMNS)}


@dataclass(slots=True)
class Batch:
    """Sound entries on their way: the rows of `Entries` (see there), a meaning each, and once it is known, a place."""

    rows: Ints  # shape (len(COLUMNS), n)
    meaning: NDArray[np.int8]
    place: Place

    def column(self, name: str) -> Ints:
        """One column of the entries."""
        column: Ints = self.rows[_AT[name]]
        return column

    def take(self, chosen: Mask) -> Batch:
        """The rows that a mask names; the same batch when it names all."""
        if chosen.all():
            return self
        index = chosen.nonzero()[0]
        return Batch(self.rows[:, index], self.meaning[index], Place(*(column[index] for column in self.place)))


class Sieve:
    """All that must be remembered of one node between flushes. Bounded, whatever arrives."""

    def __init__(self, node: int, *, by_request: bool = False) -> None:
        self._node = node
        self._by_request = by_request
        self._duplicates = Duplicates(_FEW) if by_request else Duplicates()
        self._join = Join()
        self._tries = Tries()
        self.offset = Offset()

    def sift(self, entries: Entries, places: Places, now: float) -> list[Requests | Felt | Dropped]:
        """What the entries have come to by now, and those that were held. Reads `entries`, does not clear it."""
        dropped: Counter[str] = Counter(malformed=entries.malformed, flood=entries.flooded)
        out: list[Requests | Felt | Dropped] = []
        self.offset.flushed(now)
        unexplained = explained = NO_ATTEMPTS
        if entries.count:
            batch = self._understand(self._new(entries, dropped, now), places, dropped)
            tried = self._tried(batch)
            if not tried.all():
                out += self._felt(batch.take(~tried), now)
                batch = batch.take(tried)
            open_end = batch.meaning == UNEXPLAINED
            if self._by_request:
                batch.meaning[open_end] = Outcome.CANCELLED  # no other entry will explain it
            elif open_end.any():
                unexplained = _attempts(batch.take(open_end))
                batch = batch.take(~open_end)
            explained = _attempts(batch)
        settled = self._join.settle(unexplained, now)
        whole = Attempts.concat([explained, settled]) if len(settled) else explained
        if len(whole):
            out.append(whole.requests(self._node, *self._numbered(whole, now)))
        reasons = {reason: count for reason, count in dropped.items() if count}
        if reasons:
            out.append(Dropped(self._node, reasons))
        return out

    def _new(self, entries: Entries, dropped: Counter[str], now: float) -> Ints:
        """The sound entries that are neither stale nor seen before."""
        keep = checks.sound(entries, dropped)
        rows = entries.rows if keep.all() else entries.rows[:, keep]
        arrival, start, duration = rows[: _AT["duration_ns"] + 1]
        delay_s: Floats = (arrival - start - duration) * 1e-9
        fresh = self.offset.fresh(delay_s, now)
        if fresh is not None:
            dropped["stale"] += int(np.count_nonzero(~fresh))
            rows, delay_s = rows[:, fresh], delay_s[fresh]
        self.offset.observe(delay_s, now)
        identity = (rows[_AT[name]] for name in ("request", "start_ns", "duration_ns", "target", "kind"))
        once = self._duplicates.fresh(fingerprint(*identity))
        if once.all():
            return rows
        dropped["duplicate"] += int(np.count_nonzero(~once))
        return rows[:, once]

    def _understand(self, rows: Ints, places: Places, dropped: Counter[str]) -> Batch:
        """Those that teach something and belong somewhere."""
        status = rows[_AT["status"]]
        upstream = rows[_AT["kind"]] == Kind.UPSTREAM_END
        # A downstream entry that Envoy answered itself has no last upstream byte; having a status, it is whole.
        finished = (rows[_AT["last_rx_ns"]] != ABSENT) | ~upstream & (status > 0)
        line = classify(rows[_AT["flags"]].view(np.uint64), status, finished)
        batch = Batch(rows, MEANING[line], places.find(rows[_AT["target"]], rows[_AT["route"]]))
        nothing = batch.meaning == NOTHING
        if nothing.any():
            for i in np.flatnonzero(np.bincount(line[nothing], minlength=len(TABLE))):
                dropped[TABLE[i].flag] += int(np.count_nonzero(line == i))
            batch = batch.take(~nothing)
        homeless = batch.place.service < 0
        if homeless.any():
            dropped["too_many_names"] += (many := int(np.count_nonzero(homeless & (batch.column("target") < 0))))
            dropped["unknown_cluster"] += int(np.count_nonzero(homeless)) - many
            batch = batch.take(~homeless)
        return self._known_endpoints(batch, dropped)

    def _numbered(self, attempts: Attempts, now: float) -> tuple[Ints, Ints]:
        """Which try of its request each is, and when the first one began."""
        if self._by_request:
            return np.ones(len(attempts), dtype=np.int64), attempts.start_ns
        return self._tries.number(attempts, now)

    def _tried(self, batch: Batch) -> Mask:
        """Which entries stand for an attempt."""
        upstream: Mask = batch.column("kind") == Kind.UPSTREAM_END
        return (batch.place.endpoint >= 0) | upstream if self._by_request else upstream

    def _known_endpoints(self, batch: Batch, dropped: Counter[str]) -> Batch:
        """Without attempts at an address that is none of the service's, or that ended at an endpoint and name none."""
        hostless = batch.place.endpoint < 0
        if not hostless.any():
            return batch
        upstream = batch.column("kind") == Kind.UPSTREAM_END
        unknown = (upstream | self._by_request) & (batch.place.endpoint == UNKNOWN)
        nowhere = upstream & ~unknown & hostless & np.isin(batch.meaning, (Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT))
        dropped["unknown_endpoint"] += int(np.count_nonzero(unknown))
        dropped["no_endpoint"] += int(np.count_nonzero(nowhere))
        return batch.take(~(unknown | nowhere))

    def _felt(self, batch: Batch, now: float) -> Iterator[Felt]:
        """The bad ends among the downstream entries, if any; they are remembered to explain attempts."""
        batch = batch.take(batch.meaning != Outcome.OK)
        n = len(batch.meaning)
        if not n:
            return
        outcome = np.where(batch.meaning == UNEXPLAINED, np.int8(Outcome.CANCELLED), batch.meaning)
        outcome = np.where(batch.place.shed > 0, np.int8(Outcome.REJECTED), outcome)  # no flag tells
        if not self._by_request:
            self._join.ended(batch.column("request"), outcome, batch.column("duration_ns"), now)
        yield Felt.of(
            started_s=batch.column("start_ns") * 1e-9,
            duration_s=batch.column("duration_ns") * 1e-9,
            service=batch.place.service,
            node=np.full(n, self._node),
            outcome=outcome,
            status=batch.column("status"),
            arm=batch.place.arm,
            route=batch.place.route,
        )


def _attempts(batch: Batch) -> Attempts:
    """The columns of attempts. In the upstream log requests and responses trade places: the response's body is told as
    the request's and the other way round (Envoy 1.40)."""
    if not len(batch.meaning):
        return NO_ATTEMPTS
    first_rx = batch.column("first_rx_ns")
    bytes_in, bytes_out = batch.column("response_bytes"), batch.column("request_bytes")
    upstream = batch.column("kind") == Kind.UPSTREAM_END
    if not upstream.all():
        bytes_in, bytes_out = np.where(upstream, bytes_in, bytes_out), np.where(upstream, bytes_out, bytes_in)
    return Attempts.of(
        request=batch.column("request"),
        start_ns=batch.column("start_ns"),
        duration_ns=batch.column("duration_ns"),
        ttfb_s=np.where(first_rx == ABSENT, np.nan, first_rx * 1e-9),
        service=batch.place.service,
        endpoint=batch.place.endpoint,
        arm=batch.place.arm,
        route=batch.place.route,
        outcome=batch.meaning,
        status=batch.column("status"),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        method=_METHODS[np.minimum(batch.column("method").view(np.uint64), len(_METHODS) - 1)],
    )
