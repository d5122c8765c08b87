"""What the server knows of one node of the mesh, and who speaks for it.

Mostly that is one Envoy, by its id. Where `NodeSpec.ids` is a pattern all proxies whose ids match speak as one node:
sidecars that another control plane configures, whose pods come and go. They are a crowd, and only tell: a log of
requests, without load reports, each by its own clock. So each has a decoder, for as long as it has a stream and a
little longer, and what reports would say is told from the log instead: that a request was issued, when it has ended,
and of what is open nothing. A crowd that has no stream is not idle, it is unknown: then nothing is told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import grpc

from dataplane import rpc
from dataplane.als.decoder import Decoder
from dataplane.contract import REPORTED, InFlight, Outcome, Requests, Topology
from dataplane.peer import Peer

MOST = 2000
"""Proxies of a crowd at once: each has a decoder, of half a megabyte while its log is busy, that is emptied ten times a
second, for 8 us if nothing came."""
LINGERS_S = 5.0
"""A decoder outlives its last stream: what it holds is settled by then, and a stream that is opened anew finds it."""
ANY, LONGEST = "*", 512
"""An id of more characters is nobody's: it is kept while its proxy has a stream."""
MOST_AGENT = 100
"""Characters kept of what a peer calls itself."""


@dataclass(slots=True)
class KnownNode:
    """One node, whether it is connected or not. Of a crowd `decoder` is nobody's."""

    id: int
    name: str
    decoder: Decoder
    crowd: Crowd | None = None
    peer: Peer | None = None
    nacks: int = 0
    agent: str = ""  # what it says that it is: "envoy 1.40.0"
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def ids(self) -> str:
        """The pattern of those who speak as it; "" of one that is itself."""
        return "" if self.crowd is None else self.crowd.ids

    def decoders(self, now: float) -> list[Decoder]:
        """Whose logs are read."""
        return [self.decoder] if self.crowd is None else self.crowd.decoders(now)

    def moved(self, topology: Topology, others: Mapping[str, str]) -> None:
        """The membership changed."""
        self.decoder.moved(topology, others)
        if self.crowd is not None:
            self.crowd.moved(topology, others)

    def status(self) -> dict[str, Any]:
        """As `Server.status` has it."""
        peer, crowd = self.peer, self.crowd
        return {
            "connected": peer is not None or (crowd is not None and crowd.proxies > 0),
            "proxies": None if crowd is None else crowd.proxies,
            "agent": self.agent,
            "kinds": peer.stream.status() if peer is not None else {},
            "nacks": self.nacks,
            "clock_offset_s": self.decoder.offset_s,
            "decoder": "compiled" if self.decoder.compiled else "plain",
            "module": peer is not None and peer.stream.has_module,
            "module_refused": peer.stream.module_refused if peer is not None else "",
            "skewed": self.decoder.skewed,
            "dropped": dict(self.dropped),
        }


class Crowd:
    """The proxies whose ids match a pattern: `*` is any text, of which it has one at least, everything else itself."""

    def __init__(self, node: int, ids: str, topology: Topology, others: Mapping[str, str]) -> None:
        self._node, self.ids = node, ids
        self._first, *self._between, self._last = ids.split(ANY)
        self._topology, self._others = topology, others
        self._members: dict[str, _Member] = {}
        self._ended = Counter[tuple[int, int, bool]]()  # requests by service, endpoint and whether they ended well
        self._told_at: float | None = None

    @property
    def proxies(self) -> int:
        """How many have a stream open."""
        return sum(m.streams > 0 for m in self._members.values())

    def matches(self, proxy: str) -> bool:
        """Whether it is one of these. Anybody may have sent the id: it is gone through once, if it is not too long."""
        at, end = len(self._first), len(proxy) - len(self._last)
        if len(proxy) > LONGEST or at > end or not proxy.startswith(self._first) or not proxy.endswith(self._last):
            return False
        for piece in self._between:  # the leftmost place leaves most room for those after it
            at = proxy.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    def begin(self, proxy: str) -> Decoder:
        """It has opened a stream; Envoy opens one for each worker. RefusedError when there are too many already."""
        member = self._members.get(proxy)
        if member is None:
            if len(self._members) >= MOST:
                raise rpc.RefusedError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{MOST} proxies speak as one node already: divide them by a narrower pattern in `nodes[].ids`",
                    reason="crowd",
                )
            decoder = Decoder(self._node, self._topology, self._others, by_request=True)
            member = self._members[proxy] = _Member(decoder)
        member.streams += 1
        member.left_at = None
        return member.decoder

    def end(self, proxy: str, now: float) -> None:
        """One of its streams is over."""
        member = self._members[proxy]
        member.streams -= 1
        member.left_at = None if member.streams else now

    def decoders(self, now: float) -> list[Decoder]:
        """Those there are. Who left long enough ago is forgotten."""
        gone = [p for p, m in self._members.items() if m.left_at is not None and now - m.left_at > LINGERS_S]
        for proxy in gone:
            del self._members[proxy]
        return [m.decoder for m in self._members.values()]

    def moved(self, topology: Topology, others: Mapping[str, str]) -> None:
        """The membership changed."""
        self._topology, self._others = topology, others
        for member in self._members.values():
            member.decoder.moved(topology, others)

    def heard(self, batch: Requests, by: Decoder) -> tuple[Requests, float]:
        """Count what has ended, for the next report. Returns the rows by our clock, and what that is behind ours: 0.

        A node has one clock, and these are one node.
        """
        sent = REPORTED[batch.outcome] & (batch.endpoint >= 0)
        ended = zip(batch.service[sent].tolist(), batch.endpoint[sent].tolist(), strict=True)
        well = (batch.outcome[sent] == Outcome.OK).tolist()
        self._ended.update((service, endpoint, good) for (service, endpoint), good in zip(ended, well, strict=True))
        offset_s = 0.0 if math.isnan(by.offset_s) else by.offset_s
        return replace(batch, started_s=batch.started_s + offset_s), 0.0

    def report(self, now: float, every_s: float) -> Iterator[InFlight]:
        """What ended since the last one, once in `every_s`; nothing while nobody has a stream."""
        if not self.proxies:
            self._told_at = None
            self._ended.clear()
        elif self._told_at is None:
            self._told_at = now
        elif now - self._told_at >= every_s:
            since_s, self._told_at = now - self._told_at, now
            places = sorted({(service, endpoint) for service, endpoint, _ in self._ended})
            good, bad = ([self._ended[*place, well] for place in places] for well in (True, False))
            self._ended.clear()
            yield InFlight.report(
                self._node,
                since_s,
                service=[service for service, _ in places],
                endpoint=[endpoint for _, endpoint in places],
                arm=[0] * len(places),
                in_flight=[0] * len(places),
                issued=[g + b for g, b in zip(good, bad, strict=True)],
                succeeded=good,
                failed=bad,
            )


@dataclass(slots=True)
class _Member:
    decoder: Decoder
    streams: int = 0
    left_at: float | None = None


def agent_of(node: Any) -> str:
    """Name and version of what calls, as it says in its first request; only the name where it numbers no version."""
    said = node.user_agent_build_version.version
    number = f"{said.major_number}.{said.minor_number}.{said.patch}"
    version = node.user_agent_version if number == "0.0.0" else number
    return f"{node.user_agent_name} {version}".strip()[:MOST_AGENT]
