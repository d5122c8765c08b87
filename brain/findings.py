"""What is found odd at a tick: one kind of trouble at one place, with what was seen and what would be usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.base import Floats, Ints


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as usual. Durations in seconds; `low` and `high` are the band that would be usual."""

    kind: str  # CamelCase, of `KINDS`
    service: str
    since_s: float
    value: float
    low: float
    high: float
    times: float  # how far from usual, as a ratio above 1: ranks among findings of a kind
    harm: float  # share of the service's requests that it touches, 0 to 1
    said: str  # for people: what, and against what
    endpoint: str = ""  # address; "": of the service as a whole
    zone: str = ""  # of that endpoint
    caller: str = ""  # of an edge, who calls; "" there: the proxies that stand beside no service
    node: str = ""  # through which proxy; "": through whichever

    @property
    def place(self) -> str:
        """Where it is, in words: an endpoint, a zone, a proxy, a caller and its callee, or a service."""
        if self.kind.startswith("Edge"):
            return f"{self.caller or 'clients'} to {self.service}"
        return self.node or self.endpoint or self.zone or self.service


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """What one kind was judged by at a tick, by slot; NaN for unknown. `low` and `high` as of a finding."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Kind:
    """What people can do about one kind of finding."""

    rank: float  # as a cause: less is nearer to the root
    advice: str


KINDS = {
    "EndpointHangs": Kind(1, "look at what the endpoint waits for; restart it if it does not come back"),
    "EndpointFailing": Kind(3, "look at the endpoint's own log; compare its version and its host with its peers'"),
    "EndpointSlow": Kind(6, "look at the endpoint's CPU, memory, disk and neighbours; restart or replace it"),
    "ZoneHangs": Kind(0, "look at the zone's network and what its endpoints wait for; drain the zone if it stays"),
    "ZoneFailing": Kind(2, "look at the zone's network and dependencies; drain the zone if it stays"),
    "ZoneSlow": Kind(5, "look at the zone's network and hosts; drain the zone if it stays"),
    "NodeFailing": Kind(6.5, "look at that proxy's host, its network and its own log; take it out of the way"),
    "NodeSlow": Kind(10.5, "look at that proxy's CPU, its host and its network; take it out of the way"),
    "EdgeFailing": Kind(7, "look at what the caller sends, its last deploy and its own proxies; the service is well"),
    "EdgeSlow": Kind(11, "look at the way from the caller to the service, its own proxies and what it asks for"),
    "ServiceShort": Kind(4, "add endpoints, or send less: what is too much is refused, by priority"),
    "ServiceFailing": Kind(8, "look at what all its endpoints share: the last deploy, a dependency, the requests"),
    "ServiceSlow": Kind(12, "look at what all its endpoints share: load, the last deploy, a dependency"),
    "TrafficDrop": Kind(13, "look at those who call it and at the way to it: DNS, the gateway, the last deploy"),
    "SaturationAhead": Kind(10, "add endpoints before traffic exceeds what they bear"),
    "RequestSize": Kind(14, "look at who calls, and with what: a client's new version, an upload, an abuse"),
    "ResponseSize": Kind(15, "look at what it answers with: the last deploy, an empty dependency, a page of an error"),
    "TrafficSurge": Kind(9, "look at who calls; add endpoints if it stays"),
}
"""By how near to the root of a trouble each is. A zone's are made of its endpoints' findings (`brain.incidents`) where
most of the zone is odd, and go before them. A proxy is found only where others of its caller are well, and goes before
what shows of it at that caller's edges; an edge only where the service is well to others, and goes before what shows of
it at the service. More traffic than is borne goes before the slowness that follows of it."""


def since_of(state: Mapping[str, Any], kinds: Sequence[str], strangers: Ints) -> dict[tuple[str, int], float]:
    """Since when each kind is found at each slot, out of the columns `since_KIND` of a state; inf is not found."""
    out: dict[tuple[str, int], float] = {}
    for kind in kinds:
        since = np.array(state[f"since_{kind}"], dtype=np.float64)
        since[strangers] = np.inf
        out |= {(kind, slot): float(since[slot]) for slot in np.flatnonzero(np.isfinite(since)).tolist()}
    return out
