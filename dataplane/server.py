"""The gRPC shell: ADS, ALS and LRS on one port, around the sans-I/O protocols.

It owns the sockets and the tasks and decides nothing: a message is handed to `xds.stream`, to the node's log decoder or
to `lrs`, and what they answer is carried out. Everything runs on one event loop, the driver's; telemetry and events are
told from it, in order.

A peer can end its own stream by what it sends, and nothing else: whatever goes wrong in one is counted, logged and over
when that stream is. Nothing here grows with what a peer sends: messages are bounded, at most one response of a kind is
unanswered, and the decoder bounds its own buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2

from dataplane import identity, lrs, rpc
from dataplane.als.decoder import Decoder, identify
from dataplane.als.traced import Traced
from dataplane.answers import Answers
from dataplane.contract import (
    Dropped,
    Event,
    Node,
    OnEvent,
    OnTelemetry,
    Plan,
    Presence,
    Requests,
    Telemetry,
    Topology,
    Verdict,
)
from dataplane.ledger import Ledger
from dataplane.mesh import Mesh, other_names
from dataplane.node import Crowd, KnownNode, agent_of
from dataplane.peer import Peer
from dataplane.pick.policy import has_module
from dataplane.xds import tracing
from dataplane.xds.kinds import Kind
from dataplane.xds.snapshot import InconsistentError, Snapshot
from dataplane.xds.stream import Output, Stream

if TYPE_CHECKING:
    from dataplane.credentials import Credentials  # brings cryptography, which only who serves over TLS needs

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
ALS = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
LRS = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"

STOP_GRACE_S = 0.5

log = structlog.get_logger(__name__)


class Server:
    """`contract.DataPlane` over real sockets. Made and used on one event loop.

    `epoch` names this run: it must differ from that of any run before. `now` is the driver's clock and is read once, to
    give our own real seconds (for node offsets and the ledger) an origin that people can read. With `credentials` nodes
    call over TLS, and each is believed to be only who its certificate says (see `identity`).
    """

    def __init__(
        self,
        mesh: Mesh,
        topology: Topology,
        on_telemetry: OnTelemetry,
        on_event: OnEvent,
        now: Callable[[], float],
        *,
        ttl_s: float = 5.0,
        epoch: str,
        flush_s: float = 0.1,
        lrs_interval_s: float = 0.5,
        credentials: Credentials | None = None,
    ) -> None:
        self._on_telemetry = on_telemetry
        self._on_event = on_event
        self._now = now
        self._ttl_s = ttl_s
        self._flush_s = flush_s
        self._lrs_interval_s = lrs_interval_s
        self._credentials = credentials
        self._snapshot = Snapshot.first(epoch, mesh, topology)
        self._topology = topology
        self._ledger = Ledger(topology)
        self._traced = Traced(topology)
        self._answers = Answers(mesh, topology)
        self._others = other_names(mesh)
        self._nodes = {n.name: self._known(n) for n in topology.nodes}
        self._faults: Counter[str] = Counter()
        self._server: Any = None
        self._flusher: asyncio.Task[None] | None = None
        self._origin = 0.0

    async def start(self, address: str = "127.0.0.1:0", own: str = "") -> int:
        """Listen; returns the bound port. OSError when the address cannot be had.

        `own` is a second address, `unix:PATH`, in the clear: for Envoys of ours, who need no certificate there. Who
        reaches it is believed, so its folder must be closed to everybody else.
        """
        self._origin = self._now() - asyncio.get_running_loop().time()
        methods = {ADS: self._ads, ALS: self._als, LRS: self._lrs}
        self._server = rpc.server(methods, self._faults, rpc.OVER_TLS if self._credentials is not None else ())
        try:
            port = self._listen(address)
            if own:
                self._server.add_insecure_port(own)
        except RuntimeError as e:
            raise OSError(f"cannot listen on {address}: is it in use, or not an address of this machine?") from e
        await self._server.start()
        self._flusher = asyncio.create_task(self._flush_for_ever())
        return port

    def _listen(self, address: str) -> int:
        if self._credentials is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, self._credentials.for_grpc()))

    async def stop(self) -> None:
        """Stop listening, end the streams, and tell the telemetry that had arrived. Idempotent."""
        if self._flusher is not None:
            self._flusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flusher
            self._flusher = None
        if self._server is not None:
            await self._server.stop(STOP_GRACE_S)
            self._server = None
            self._flush()

    def publish(self, plan: Plan) -> None:
        """Put the plan in force and renew its lease; the same version again only renews. A bad plan raises nothing."""
        if plan.version != self._snapshot.plan_version:
            self._ledger.published(plan, self._real())
            self._become(plan=plan)
        for node, peer in self._peers():
            self._carry_out(node, peer, peer.stream.renew(self._steady()))

    def moved(self, topology: Topology) -> None:
        """Serve a changed membership. It renews nothing."""
        self._topology = topology
        self._ledger.moved(topology)
        self._traced.moved(topology)
        self._answers = Answers(self._snapshot.mesh, topology)
        for node in self._nodes.values():
            node.moved(topology, self._others)
        self._become(topology=topology)

    def replace(self, mesh: Mesh, topology: Topology) -> None:
        """Take new static rules. InconsistentError, and the old rules stay whole, when they cannot be published."""
        self._become(mesh=mesh, topology=topology, strict=True)
        self._others = other_names(mesh)
        known = {n.name: n for n in topology.nodes}
        for name in [name for name in self._nodes if name not in known]:
            peer = self._nodes.pop(name).peer
            if peer is not None:
                peer.end(f"node {name!r} is no longer in the mesh")
        ids = {spec.name: spec.ids for spec in mesh.nodes}
        for name, n in known.items():
            if name not in self._nodes or self._nodes[name].ids != ids[name]:
                self._nodes[name] = self._known(n)
        self.moved(topology)

    def withdrawn(self) -> bool:
        """Whether nothing is leased, and every connected node has said that it holds it so."""
        return not self._snapshot.leased and all(peer.stream.settled(Kind.RTDS) for _, peer in self._peers())

    def status(self) -> dict[str, Any]:
        """By node: what it says it is, versions by kind, refusals, clock offset, what reads its log, has it our module,
        what of its log was far off or dropped; beside that, faults of peers, certificates and the newest traces."""
        return {
            "nodes": {name: node.status() for name, node in self._nodes.items()},
            "plan": self._snapshot.plan_version,
            "faults": dict(self._faults),
            "tls": None if self._credentials is None else self._credentials.status(),
            "exemplars": [
                {"service": service, "arm": arm, "trace_id": e.trace_id, "seconds": e.seconds, "at": e.at}
                for (service, arm), e in self._traced.newest.items()
            ],
        }

    # What a change of state sets off

    def _become(self, *, strict: bool = False, **change: Any) -> None:
        """Publish the snapshot's successor. One that is inconsistent is not published: nodes keep what they have."""
        try:
            self._snapshot = self._snapshot.then(**change)
        except (InconsistentError, ValueError) as e:
            if strict:
                raise
            self._faults["inconsistent"] += 1
            log.error("not published", change=sorted(change), error=str(e))
            return
        for node, peer in self._peers():
            self._carry_out(node, peer, peer.stream.on_snapshot(self._snapshot, self._steady()))

    def _carry_out(self, node: KnownNode, peer: Peer, outputs: list[Output]) -> None:
        """Send responses and tell verdicts; note when the node has come to hold the newest weights."""
        for output in outputs:
            if not isinstance(output, Verdict):
                peer.put(output)
                continue
            if not output.accepted:
                node.nacks += 1
                log.warning("refused", node=node.name, kind=output.kind, version=output.version, detail=output.detail)
            self._tell_event(output)
        if peer.stream.settled(Kind.EDS):
            self._ledger.accepted(node.id, self._snapshot.plan_version, self._real())

    def _peers(self) -> list[tuple[KnownNode, Peer]]:
        return [(node, node.peer) for node in self._nodes.values() if node.peer is not None]

    # The three services

    async def _ads(self, messages: AsyncIterator[bytes], context: Any) -> None:
        first = await anext(messages, None)
        if first is None:
            return
        request = discovery_pb2.DiscoveryRequest.FromString(first)
        node = self._node(request.node.id, context)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (gRPC runs each handler in a task)
        ours = has_module(request.node)
        peer = Peer(Stream(node.id, node.name, self._snapshot, ttl_s=self._ttl_s, has_module=ours), task)
        if node.peer is not None:
            # A node has one ADS stream. The older is half gone, or its node was started anew.
            node.peer.end("the node has opened a newer stream")
            self._tell_event(Presence(node.id, connected=False))
        node.peer, node.agent = peer, agent_of(request.node)
        self._tell_event(Presence(node.id, connected=True))
        writer = asyncio.create_task(peer.write(context))
        writer.add_done_callback(peer.wrote)
        try:
            self._carry_out(node, peer, peer.stream.on_request(request, self._steady()))
            async for message in messages:
                request = discovery_pb2.DiscoveryRequest.FromString(message)
                self._carry_out(node, peer, peer.stream.on_request(request, self._steady()))
        except asyncio.CancelledError:
            if not peer.replaced:
                raise
            raise rpc.RefusedError(grpc.StatusCode.ABORTED, peer.replaced, reason="replaced") from None
        finally:
            if node.peer is peer:
                node.peer = None
                self._tell_event(Presence(node.id, connected=False))
            await peer.finish(writer)

    async def _als(self, messages: AsyncIterator[bytes], context: Any) -> None:
        first = await anext(messages, None)
        if first is not None:
            name, log_name = identify(first)
            node, traced = self._node(name, context, tells=True), log_name == tracing.LOG
            with self._listening(node, name) as decoder:
                message: bytes | None = first
                while message is not None:
                    if self._nodes.get(node.name) is not node:
                        why = f"node {node.name!r} is not in the mesh as it was: call again"
                        raise rpc.RefusedError(grpc.StatusCode.ABORTED, why, reason="replaced")
                    if traced:
                        self._traced.hear(node.id, message, self._real())
                    else:
                        decoder.decode(message, self._real())
                    message = await anext(messages, None)
        await context.write(b"")  # the method's one response, empty as its message has no fields

    @contextlib.contextmanager
    def _listening(self, node: KnownNode, name: str) -> Iterator[Decoder]:
        """What reads the log of a proxy that speaks as this node, while its stream is open."""
        if node.crowd is None:
            yield node.decoder
            return
        alone = not node.crowd.proxies
        decoder = node.crowd.begin(name)
        if alone:
            self._tell_event(Presence(node.id, connected=True))
        try:
            yield decoder
        finally:
            node.crowd.end(name, self._real())
            if not node.crowd.proxies:
                self._tell_event(Presence(node.id, connected=False))

    async def _lrs(self, messages: AsyncIterator[bytes], context: Any) -> None:
        first = await anext(messages, None)
        if first is None:
            return
        node = self._node(lrs_pb2.LoadStatsRequest.FromString(first).node.id, context)
        answer = lrs_pb2.LoadStatsResponse(send_all_clusters=True, report_endpoint_granularity=True)
        answer.load_reporting_interval.FromMicroseconds(int(self._lrs_interval_s * 1e6))
        await context.write(answer.SerializeToString())
        async for message in messages:
            report = lrs_pb2.LoadStatsRequest.FromString(message)
            in_flight, rejected = lrs.read_report(report, node.id, self._topology, self._others)
            self._tell(in_flight)
            if rejected:
                node.dropped.update(rejected)
                self._tell(Dropped(node.id, rejected))

    def _known(self, n: Node) -> KnownNode:
        """A node of the mesh, of which nothing was heard."""
        ids = next((spec.ids for spec in self._snapshot.mesh.nodes if spec.name == n.name), "")
        crowd = Crowd(n.id, ids, self._topology, self._others) if ids else None
        return KnownNode(n.id, n.name, Decoder(n.id, self._topology, self._others), crowd)

    def _node(self, name: str, context: Any, *, tells: bool = False) -> KnownNode:
        """The node that one of that id speaks as. RefusedError, with the mend, when the mesh has none, or the peer may
        not speak for it, or it is one of a crowd and does not just tell (`tells`)."""
        crowds = (n for n in self._nodes.values() if n.crowd is not None and n.crowd.matches(name))
        node = self._nodes.get(name) or next(crowds, None)
        if self._credentials is not None and not context.peer().startswith("unix:"):
            self._credentials.came_through(context.peer())
            own = node.name if node is not None else name
            self._identify(name, own, identity.names_of(context.auth_context()), self._credentials.tls.client_identity)
        if node is not None and node.crowd is not None and not tells:
            raise rpc.RefusedError(
                grpc.StatusCode.PERMISSION_DENIED,
                f"node {name[:100]!r} speaks as {node.name!r}, whose `ids` it matches, and they only tell: send its "
                "access log and no load report, and have it configured elsewhere",
                reason="crowd",
            )
        if node is not None:
            return node
        raise rpc.RefusedError(
            grpc.StatusCode.PERMISSION_DENIED,
            f"node {name!r} is not in the mesh: add it to `nodes`, or start Envoy with the bootstrap of one of "
            + (", ".join(sorted(self._nodes)) or "none yet"),
            reason="unknown node",
        )

    def _identify(self, name: str, node: str, names: identity.Names, pattern: str) -> None:
        """RefusedError when a certificate of these names may not speak for one of that id, as that node."""
        own = next((n.identity for n in self._snapshot.mesh.nodes if n.name == node), "")
        asked = own or identity.asked_of(name, pattern)
        if not identity.may_speak(names, asked):
            raise rpc.RefusedError(
                grpc.StatusCode.PERMISSION_DENIED,
                f"a certificate of {names} may not speak for node {name[:100]!r}: that takes {asked[:200]!r}; give it "
                "a certificate of its own, or set `xds.tls.client_identity` or the node's `identity`",
                reason="identity",
            )

    # Telemetry

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            self._flush()

    def _flush(self) -> None:
        """Tell what has settled since the last flush, stamped."""
        now = self._real()
        for node in list(self._nodes.values()):
            for decoder in node.decoders(now):
                for batch in decoder.flush(now):
                    if isinstance(batch, Requests):
                        rows, offset_s = (
                            (batch, decoder.offset_s) if node.crowd is None else node.crowd.heard(batch, decoder)
                        )
                        for judged in self._answers.judge(self._ledger.stamp(rows, offset_s)):
                            self._tell(judged)
                        continue
                    if isinstance(batch, Dropped):
                        node.dropped.update(batch.reasons)
                    self._tell(batch)
            for report in node.crowd.report(now, self._lrs_interval_s) if node.crowd is not None else ():
                self._tell(report)

    def _tell(self, batch: Telemetry) -> None:
        """A failure of the listener is its own: the wires go on."""
        try:
            self._on_telemetry(batch)
        except Exception:
            self._faults["listener"] += 1
            log.exception("telemetry was not taken", batch=type(batch).__name__)

    def _tell_event(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:
            self._faults["listener"] += 1
            log.exception("an event was not taken", what=event)

    def _steady(self) -> float:
        """Real seconds for the lease: Envoy counts its TTL in them."""
        return asyncio.get_running_loop().time()

    def _real(self) -> float:
        """Real seconds since 1970, whatever the rate of the driver's clock."""
        return self._origin + self._steady()
