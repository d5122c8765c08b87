"""A test double: an ADS client that writes a test of the stream as a dialogue.

`>>` is what the node (or our own driver) does, `<<` what the stream must answer, in order; the dialogue is true when
nothing was left unsaid. A mismatch raises with the whole dialogue so far. After mitmproxy's Playbook.

    assert Playbook(stream) >> Ask("CDS") << Sends("CDS", "e.1", "web") >> Ack("CDS") << Says("CDS", "e.1")
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import symbol_database

from dataplane.contract import Verdict
from dataplane.xds.kinds import KIND_OF, TYPE_URL, TYPES, Kind
from dataplane.xds.snapshot import Snapshot
from dataplane.xds.stream import Output, Stream


@dataclass(frozen=True)
class Ask:
    """The node's first request of a kind on a stream, with the version that it brings along."""

    kind: str
    names: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True)
class Ack:
    """The node answers the newest response of a kind; `names` when it asks for others from now on."""

    kind: str
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Nack:
    """The node refuses the newest response of a kind, in these words."""

    kind: str
    detail: str


@dataclass(frozen=True)
class Late:
    """A request with an old nonce: the node had not seen the newest response yet."""

    kind: str
    nonce: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Push:
    """We publish a snapshot."""

    snapshot: Snapshot = field(repr=False)


@dataclass(frozen=True)
class Renew:
    """The driver renews the lease."""


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: float


@dataclass(frozen=True)
class Sends:
    """A response with these resources; `ttl_s` when it is leased, rounded to a millisecond."""

    kind: str
    version: str
    names: frozenset[str]
    ttl_s: float | None

    def __init__(self, kind: str, version: str, *names: str, ttl_s: float | None = None) -> None:
        for name, value in (("kind", kind), ("version", version), ("names", frozenset(names)), ("ttl_s", ttl_s)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Says:
    """A verdict; of acceptance unless `detail` has the node's words."""

    kind: str
    version: str
    detail: str = ""


Line = Ask | Ack | Nack | Late | Push | Renew | Wait | Sends | Says


class Playbook:
    """The node's side of one stream, and the time. `bodies` has what it was sent last, by kind and name."""

    def __init__(self, stream: Stream, now: float = 0.0) -> None:
        self.stream = stream
        self.now = now
        self.bodies: dict[str, dict[str, Any]] = {}
        self._newest: dict[str, Any] = {}
        self._accepted: dict[str, str] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._unsaid: list[Sends | Says] = []
        self._lines: list[str] = []

    def __rshift__(self, line: Line) -> Playbook:
        """Do it. Everything that the stream has answered before must have been expected."""
        self._check_silent()
        self._lines.append(f">> {line}")
        self._unsaid += self.carry_out(line)
        return self

    def __lshift__(self, line: Sends | Says) -> Playbook:
        """Expect it next."""
        said = self._unsaid.pop(0) if self._unsaid else None
        self._lines.append(f"<< {said or 'nothing'}")
        if said != line:
            raise AssertionError("\n".join([*self._lines, f"   instead of {line}"]))
        return self

    def __bool__(self) -> bool:
        """True; raises when something was left unsaid."""
        self._check_silent()
        return True

    def carry_out(self, line: Line) -> list[Sends | Says]:
        """Do it, outside any dialogue: what the stream answers."""
        return [self._read(output) for output in self._do(line)]

    def _check_silent(self) -> None:
        if self._unsaid:
            raise AssertionError("\n".join([*self._lines, *(f"<< {u}   which nobody expected" for u in self._unsaid)]))

    def _do(self, line: Line) -> list[Output]:
        match line:
            case Wait(seconds):
                self.now += seconds
                return []
            case Renew():
                return self.stream.renew(self.now)
            case Push(snapshot):
                return self.stream.on_snapshot(snapshot, self.now)
            case Ask() | Ack() | Nack() | Late():
                return self.stream.on_request(self._request(line), self.now)
            case _:
                raise TypeError(f"{line} is not something to do")

    def _request(self, line: Ask | Ack | Nack | Late) -> Any:
        kind = line.kind
        request = discovery_pb2.DiscoveryRequest(type_url=TYPE_URL[Kind(kind)])
        if not isinstance(line, Nack) and line.names is not None:
            self._names[kind] = line.names
        request.resource_names.extend(self._names.get(kind, ()))
        if isinstance(line, Ask):
            self._accepted[kind] = line.version
        elif isinstance(line, Late):
            request.response_nonce = line.nonce
        else:
            request.response_nonce = self._newest[kind].nonce
            if isinstance(line, Nack):
                request.error_detail.message = line.detail
            else:
                self._accepted[kind] = self._newest[kind].version_info
        request.version_info = self._accepted.get(kind, "")
        return request

    def _read(self, output: Output) -> Sends | Says:
        if isinstance(output, Verdict):
            return Says(output.kind, output.version, output.detail)
        kind = KIND_OF[output.type_url].value
        self._newest[kind] = output
        ttl_s = None
        bodies = {}
        for body in output.resources:
            if body.Is(discovery_pb2.Resource.DESCRIPTOR):
                wrapper = discovery_pb2.Resource()
                body.Unpack(wrapper)
                body, ttl_s = wrapper.resource, round(wrapper.ttl.ToMicroseconds() / 1e6, 3)
            message = symbol_database.Default().GetSymbol(body.type_url.removeprefix(TYPES)).FromString(body.value)
            bodies[message.cluster_name if kind == Kind.EDS else message.name] = message
        self.bodies[kind] = bodies
        return Sends(kind, output.version_info, *bodies, ttl_s=ttl_s)
