"""The state machine of one node's ADS stream: requests and snapshots in, responses and verdicts out.

`Channel` knows the rules within a kind. This file knows those between kinds, and the lease:

* Make before break [Eventual consistency considerations]: kinds are sent in `ORDER`; a listener or a route waits until
  every cluster that it may name stands with its endpoints; and a cluster that is to go stays until the node has taken
  routes that no longer name it. Endpoints wait for nothing: Envoy answers clusters only when they are warm.
* The runtime layer is leased, never given: it has a TTL [TTL, SotW TTL], only `renew` sends or prolongs it, and only
  while the node holds the endpoints of every cluster that its keys turn traffic to. A new stream is first told that
  nothing is leased.
* A NACK parks that version of that kind here until the snapshot has another. Other nodes have streams of their own.
* A node that says it has our module gets clusters that pick by it; one that then refuses them is served as one without.

The titles in brackets are sections of the "xDS REST and gRPC protocol" page of Envoy's documentation. No I/O, no clock:
`now` is any clock whose seconds are real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from dataplane.contract import NO_PLAN, Verdict
from dataplane.xds.channel import LEAVING, Channel, Sent
from dataplane.xds.kinds import KIND_OF, ORDER, TYPE_URL, Kind
from dataplane.xds.resources import LAYER, Rendered
from dataplane.xds.snapshot import WITH_MODULE, Part, Snapshot

NEVER = float("-inf")
Output = Any  # a DiscoveryResponse to send, or a Verdict to tell


class Stream:
    """One node's stream, from its first request to its end. `node` is its integer, `name` its id on the wire."""

    def __init__(self, node: int, name: str, snapshot: Snapshot, *, ttl_s: float, has_module: bool = False) -> None:
        self.node = node
        self.name = name
        self.ttl_s = ttl_s
        self.has_module = has_module
        self.module_refused = ""  # the node's words, when it could not load it after all
        self.ignored = 0  # requests for types that we do not serve
        self._snapshot = snapshot
        self._channels = {kind: Channel(kind) for kind in ORDER}
        self._nonces = 0
        self._renewed_at = NEVER
        self._due = False  # a renewal that has not gone out yet
        self._parting: dict[str, Rendered] = {}  # endpoints of clusters that the snapshot has no more, but the node has

    def on_request(self, request: Any, now: float) -> list[Output]:
        """Take a DiscoveryRequest: what to send now, and the verdict when it is an answer that is news."""
        kind = KIND_OF.get(request.type_url)
        if kind is None:
            self.ignored += 1
            return []
        channel = self._channels[kind]
        if not request.response_nonce:
            version, goal = self._goal(kind)
            self._channels[kind] = Channel.begun(request, kind, version, goal)
            return self._advance(now)
        if request.response_nonce != channel.nonce:
            # [Resource updates]: no response to a stale nonce. Nothing is lost: the node will answer the newer response
            # too, with the names that it wants by then.
            return []
        answer = channel.hear(request)
        verdicts = []
        if answer is not None and answer.news:
            version, plan = answer.sent.version, answer.sent.plan
            if not answer.accepted and WITH_MODULE in version:
                self.has_module, self.module_refused = False, answer.detail
            verdicts = [Verdict(self.node, kind.value, version, answer.accepted, plan, answer.detail)]
        return verdicts + self._advance(now)

    def on_snapshot(self, snapshot: Snapshot, now: float) -> list[Output]:
        """Bring the node to this snapshot. It prolongs no lease."""
        clusters = self._channels[Kind.CDS]
        there = clusters.held.keys() | (clusters.open.resources.keys() if clusters.open is not None else ())
        before = {**self._parting, **self._snapshot.parts[Kind.EDS].resources}
        after = snapshot.parts[Kind.EDS].resources
        # A cluster on its way to the node warms until it has endpoints, even if it is to go again.
        self._parting = {name: r for name, r in before.items() if name in there and name not in after}
        self._snapshot = snapshot
        return self._advance(now)

    def renew(self, now: float) -> list[Output]:
        """Lease the snapshot's runtime layer until `now + ttl_s`, anew or for longer."""
        self._renewed_at = now
        self._due = True
        return self._advance(now)

    def settled(self, kind: Kind) -> bool:
        """Whether the node holds all that it asked for of this kind, at the snapshot's content."""
        channel = self._channels[kind]
        return channel.asked and channel.settled(self._mine(kind))

    def status(self) -> dict[str, dict[str, str]]:
        """By kind: the version sent last, the one acknowledged last, and the node's words about a parked one."""
        return {
            kind.value: {
                "sent": c.sent_version,
                "acked": c.acked_version,
                "parked": c.refused_detail,
            }
            for kind, c in self._channels.items()
        }

    def _advance(self, now: float) -> list[Output]:
        """Send what the node lacks, in order."""
        out = []
        for kind in ORDER:
            response = self._next_layer(now) if kind is Kind.RTDS else self._next(kind)
            if response is not None:
                out.append(response)
        return out

    def _next(self, kind: Kind) -> Output | None:
        channel = self._channels[kind]
        if kind in (Kind.LDS, Kind.RDS) and not self._may_route(channel):
            return None
        version, goal = self._goal(kind)
        found = channel.lacking(version, goal)
        if found is None:
            return None
        if kind is Kind.CDS:
            # [Resource warming]: a cluster that is added or changed warms until an assignment is supplied after it,
            # even though the endpoints are the same.
            changed = frozenset(name for name, r in found.items() if channel.held.get(name) != r)
            self._channels[Kind.EDS].again |= changed
        return self._send(kind, Sent(version, self._snapshot.plan_version, found))

    def _next_layer(self, now: float) -> Output | None:
        """The runtime layer: leased, bare, or not now."""
        channel, snapshot = self._channels[Kind.RTDS], self._snapshot
        part, bare, plan = snapshot.layer_of(self.name), snapshot.bare, snapshot.plan_version
        if channel.open is not None or LAYER not in channel.names:
            return None
        if not snapshot.leased:
            found = channel.lacking(part.version, part.resources)
            return self._send(Kind.RTDS, Sent(part.version, plan, found)) if found else None
        until = self._renewed_at + self.ttl_s
        endpoints = self._channels[Kind.EDS]
        stands = endpoints.open is None and snapshot.leased <= endpoints.held.keys()
        if self._due and now < until and stands and channel.refused_version != part.version:
            # [TTL]: "the management server resends the resource with a new TTL". The page also has a heartbeat, a
            # resource without a body; Envoy 1.40 acknowledges it and prolongs nothing (measured: the keys go at the
            # end of the first TTL). A layer with its body works for a lease that had ended as well.
            self._due = False
            return self._send(Kind.RTDS, Sent(part.version, plan, part.resources), until - now)
        if not channel.sent_version and channel.kept not in (part.version, bare.version):
            # A node that starts waits for a layer; one that comes back may hold another run's. What it brought of
            # ours ends by itself.
            return self._send(Kind.RTDS, Sent(bare.version, NO_PLAN, bare.resources))
        return None

    def _part(self, kind: Kind) -> Part:
        if kind in (Kind.CDS, Kind.LDS):
            return self._snapshot.part_of(kind, has_module=self.has_module)
        return self._snapshot.layer_of(self.name) if kind is Kind.RTDS else self._snapshot.parts[kind]

    def _mine(self, kind: Kind) -> Mapping[str, Rendered]:
        """The snapshot's resources of a kind that are meant for this node."""
        found = self._part(kind).resources
        if kind is Kind.EDS:
            return {**self._parting, **found} if self._parting else found
        if kind is not Kind.LDS:
            return found
        accepts = self._snapshot.accepts.get(self.name, frozenset())
        return {name: r for name, r in found.items() if name in accepts}

    def _goal(self, kind: Kind) -> tuple[str, Mapping[str, Rendered]]:
        """Version and resources that the node should come to hold next."""
        version, mine = self._part(kind).version, self._mine(kind)
        if kind is Kind.CDS:
            leaving = {name: r for name, r in self._channels[kind].held.items() if name not in mine}
            routed = all(self._channels[k].settled(self._mine(k)) for k in (Kind.LDS, Kind.RDS))
            if leaving and not routed:
                return version + LEAVING, {**mine, **leaving}
        return version, mine

    def _may_route(self, channel: Channel) -> bool:
        """Whether every cluster that a route may name stands, with endpoints.

        When the node has refused clusters or endpoints it keeps the routes that it has; one that has none gets them all
        the same, for what works should serve.
        """
        clusters, endpoints = self._channels[Kind.CDS], self._channels[Kind.EDS]
        if not clusters.asked or not clusters.wildcard:
            return True  # a client that picks its clusters by their routes
        mine = self._mine(Kind.CDS)
        if all(clusters.held.get(name) == r and r.refs <= endpoints.held.keys() for name, r in mine.items()):
            return True
        refused = bool(clusters.refused_version or endpoints.refused_version)
        return refused and not (channel.acked_version or channel.kept)

    def _send(self, kind: Kind, sent: Sent, ttl_s: float | None = None) -> Output:
        self._nonces += 1
        nonce = str(self._nonces)
        self._channels[kind].send(sent, nonce)
        response = discovery_pb2.DiscoveryResponse(version_info=sent.version, type_url=TYPE_URL[kind], nonce=nonce)
        for r in sent.resources.values():
            body = any_pb2.Any(type_url=TYPE_URL[kind], value=r.value)
            if ttl_s is not None:
                # [SotW TTL]: a resource with a TTL travels in a wrapper.
                wrapper = discovery_pb2.Resource(name=r.name, version=sent.version, resource=body)
                wrapper.ttl.FromMicroseconds(int(ttl_s * 1e6))
                body = any_pb2.Any()
                body.Pack(wrapper)
            response.resources.append(body)
        return response
