"""The newest sampled trace of each arm of each service: the way from a metric to a request that is behind it.

Envoy writes a log of its own for this, of sampled requests only, and of no more of them than are needed. Of each node
one message each half second is read, in plain Python, and the others are dropped unread: the cost has a bound that
does not grow with the load. Nothing is learned from these entries: the same requests are in the other logs.

A trace id is what 32 hex digits are (W3C Trace Context, section 3.2.2.3), and not all zero: nothing else gets by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from envoy.service.accesslog.v3 import als_pb2
from google.protobuf.message import DecodeError

from dataplane.als.places import arm_of
from dataplane.contract import Topology

EVERY_S = 0.5
"""Half of what each of a node's workers takes to send one."""
MOST_BYTES = 256 * 1024
"""Of a message that is read; Envoy sends at a quarter of this."""
MOST_SECONDS = 24 * 3600.0

_SAMPLED = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f][13579bdf]")


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A request that was traced: how long it took, retries included, and when we were told (our time, in seconds)."""

    trace_id: str
    seconds: float
    at: float


class Traced:
    """What was told last, by service and arm (`static` or `adaptive`)."""

    def __init__(self, topology: Topology) -> None:
        self._services = {s.name for s in topology.services}
        self._heard: dict[int, float] = {}
        self._newest: dict[tuple[str, str], Exemplar] = {}

    def moved(self, topology: Topology) -> None:
        """The membership changed. A service that is gone is forgotten."""
        self._services = {s.name for s in topology.services}
        self._newest = {key: e for key, e in self._newest.items() if key[0] in self._services}
        nodes = {n.id for n in topology.nodes}
        self._heard = {node: at for node, at in self._heard.items() if node in nodes}

    @property
    def newest(self) -> Mapping[tuple[str, str], Exemplar]:
        """By service and arm."""
        return self._newest

    def hear(self, node: int, message: bytes, now: float) -> None:
        """A serialized StreamAccessLogsMessage of this log, from a node, at `now`. Bad bytes never raise."""
        if now - self._heard.get(node, -EVERY_S) < EVERY_S or len(message) > MOST_BYTES:
            return
        self._heard[node] = now
        try:
            entries = als_pb2.StreamAccessLogsMessage.FromString(message).http_logs.log_entry
        except DecodeError:
            return
        for entry in entries:
            common = entry.common_properties
            service, arm = arm_of(common.upstream_cluster)
            sampled = _SAMPLED.fullmatch(entry.request.request_headers.get("traceparent", ""))
            seconds = common.duration.seconds + common.duration.nanos / 1e9
            if sampled is not None and service in self._services and 0 <= seconds <= MOST_SECONDS:
                self._newest[service, arm.name.lower()] = Exemplar(sampled[1], seconds, now)
