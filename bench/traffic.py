"""A busy node's access log as bytes, fast enough to measure what reads it.

One flush's worth of messages is written once, entry by entry, as Envoy 1.40 writes them; each next flush is the same
bytes with fresh start times and request ids patched in, so that no entry is a duplicate of one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataplane.als import scribe
from dataplane.contract import Endpoint, Node, Service, Topology

ENTRIES_A_MESSAGE = 50
"""Envoy sends at 16 KiB (`buffer_size_bytes`), which fifty upstream entries fill."""

_SHARES = {"ok": 0.96, "retried": 0.01, "error": 0.01, "timeout": 0.005, "left": 0.005, "refused": 0.005, "full": 0.005}
_PATCHED_S = 1_800_000_000  # any time whose varint has five bytes, as all from 1978 to 3058
_PATCHED_NS = 500_000_000  # likewise


def mesh(services: int, endpoints: int) -> Topology:
    """`endpoints` of each of `services`, one node."""
    made, routes = [], []
    for s in range(services):
        members = (Endpoint(s * endpoints + e, f"10.{s}.{e >> 8}.{e & 255}:8080") for e in range(endpoints))
        made.append(Service(s, f"service-{s}", tuple(members)))
        routes.append(f"route-{s}")
    return Topology(1, tuple(made), (Node(0, "edge"),), tuple(routes), tuple(range(services)))


class Traffic:
    """Flushes of `attempts` attempts each, `flush_s` apart, the first at `start_s`. `entries` counts a flush's rows:
    the attempts and a downstream entry for each request that ended badly."""

    def __init__(self, topology: Topology, attempts: int, *, start_s: float, flush_s: float, seed: int = 1) -> None:
        self.attempts, self.flush_s, self._start_s = attempts, flush_s, start_s
        self._rng = np.random.default_rng(seed)
        self._topology = topology
        entries = self._written(attempts)
        self.entries = len(entries)
        self._ages_s = self._rng.uniform(0.3, 0.3 + flush_s, self.entries)  # between a start and its flush
        self._lay_out(entries)

    def flushes(self) -> Iterator[tuple[float, list[bytes]]]:
        """Time and messages of each flush, for ever."""
        number = 0
        while True:
            number += 1
            now = self._start_s + number * self.flush_s
            starts = np.floor((now - self._ages_s) * 1e6).astype(np.int64) * 1000
            self._put(self._seconds_at, starts // 10**9)
            self._put(self._nanos_at, starts % 10**9)
            stamp = np.frombuffer(f"{number:08x}".encode(), dtype=np.uint8)
            self._bytes[self._ids_at[:, None] + np.arange(8)] = stamp
            yield now, [bytes(self._bytes[a:b]) for a, b in self._cuts]

    def _written(self, attempts: int) -> list[Any]:
        """A flush's entries in the shares above. A retried request has two attempts, a bad end one entry more."""
        kinds = self._rng.choice(list(_SHARES), size=attempts, p=list(_SHARES.values()))
        out: list[Any] = []
        made = 0
        for i, kind in enumerate(kinds):
            if made >= attempts:
                break
            made += 2 if kind == "retried" else 1
            out += self._request(f"00000000-0f05-4a63-8c58-{i:012x}", str(kind))
        return out

    def _request(self, request_id: str, kind: str) -> list[Any]:
        service = self._topology.services[self._rng.integers(len(self._topology.services))]
        arm = "~adaptive" if self._rng.random() < 0.95 else ""
        host = service.endpoints[self._rng.integers(len(service.endpoints))].address
        where = (service.name + arm, host, _PATCHED_S + _PATCHED_NS * 1e-9)
        about: dict[str, Any] = {"request_id": request_id, "route": f"route-{service.id}{arm}"}
        took = 0.002 + float(self._rng.exponential(0.02))
        good = {"bytes_in": int(self._rng.integers(0, 500)), "bytes_out": int(self._rng.integers(100, 20_000))}
        if kind == "ok":
            return [scribe.attempt(*where, took, **about, **good)]
        if kind == "retried":
            return [
                scribe.attempt(*where, took, status=503, finished=False, **about),
                scribe.attempt(where[0], service.endpoints[0].address, where[2], took, **about, **good),
            ]
        status, flag, seen = {
            "error": (500, (), 500),
            "timeout": (504, ("upstream_request_timeout",), 0),
            "left": (0, ("downstream_connection_termination",), 0),
            "refused": (503, ("upstream_connection_failure",), 0),
            "full": (503, ("upstream_overflow",), 0),
        }[kind]
        shown = () if kind in ("timeout", "left") else flag  # the upstream log says nothing of these two
        return [
            scribe.attempt(*where, took, status=seen, flags=shown, **about),
            scribe.ending(*where, took, status=status, flags=flag, **about),
        ]

    def _lay_out(self, entries: list[Any]) -> None:
        """Serialize once; remember where times and ids are, and where each message begins and ends."""
        mark = scribe.attempt("", "", _PATCHED_S + _PATCHED_NS * 1e-9, 0.0).common_properties.start_time
        time_field = b"\x2a\x0c" + mark.SerializeToString()
        parts, times, ids, cuts, size = [], [], [], [], 0
        for first in range(0, len(entries), ENTRIES_A_MESSAGE):
            some = entries[first : first + ENTRIES_A_MESSAGE]
            message = scribe.message(some)
            at = 0
            for entry in some:
                at = message.index(time_field, at) + len(time_field)
                times.append(size + at)
                at = message.index(entry.request.request_id.encode(), at)
                ids.append(size + at)
                if entry.common_properties.stream_id:  # a downstream entry writes the id twice, first as stream id
                    at = message.index(entry.request.request_id.encode(), at + 1)
                    ids.append(size + at)
            parts.append(message)
            cuts.append((size, size + len(message)))
            size += len(message)
        self._bytes = np.frombuffer(bytearray(b"".join(parts)), dtype=np.uint8)
        self._cuts = cuts
        self._ids_at = np.array(ids)
        self._nanos_at = np.array(times) - 5
        self._seconds_at = self._nanos_at - 6

    def _put(self, at: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        """Varints padded to five bytes: longer than need be, and as good."""
        for i in range(5):
            self._bytes[at + i] = values >> (7 * i) & 0x7F | (0x80 if i < 4 else 0)

    @property
    def size(self) -> int:
        """Bytes of a flush."""
        return len(self._bytes)
