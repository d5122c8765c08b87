"""The gRPC side of the external scaler: KEDA asks, the last Decision answers.

It is served by the brain's own process on a port of its own, and reads what the admin API reads. Each call is checked
and answered by itself; nothing is kept between two.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import grpc

from dataplane import rpc
from weirflow.addresses import join
from weirflow.config.build import Keda
from weirflow.keda import messages, trigger
from weirflow.operations import Operations

T = TypeVar("T")

STOP_GRACE_S = 0.2
LOOK_EVERY_S = 1.0
"""How often a stream looks whether its service became active or idle."""
MOST_INT64 = 2**63 - 1

_CODES = {
    trigger.MetadataError: (grpc.StatusCode.INVALID_ARGUMENT, "bad metadata"),
    trigger.NoServiceError: (grpc.StatusCode.NOT_FOUND, "unknown service"),
    trigger.UnknownError: (grpc.StatusCode.UNAVAILABLE, "not known now"),
}


class Scaler:
    """The external scaler of one mesh. `stale_after_s`: a decision older than that is none."""

    def __init__(
        self, operations: Operations, section: Keda, stale_after_s: float, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._operations = operations
        self._section = section
        self._stale_after_s = stale_after_s
        self._look_every_s = look_every_s
        self.faults: Counter[str] = Counter()  # calls that were refused, by reason
        self._server: Any = None

    async def start(self) -> str:
        """Bind, and return `ip:port`. OSError when the port is taken."""
        answers = {"IsActive": self._is_active, "GetMetricSpec": self._spec, "GetMetrics": self._metrics}
        handlers: dict[str, rpc.Handler] = {f"/{messages.SERVICE}/{n}": _once(a) for n, a in answers.items()}
        handlers[f"/{messages.SERVICE}/StreamIsActive"] = self._stream
        server = rpc.server(handlers, self.faults)
        address = join(self._section.address, self._section.port)
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"{address} cannot be bound: {error}") from error
        await server.start()
        self._server = server
        return join(self._section.address, port)

    async def stop(self) -> None:
        """Close the port. Nothing happens when it is not open."""
        if self._server is not None:
            await self._server.stop(STOP_GRACE_S)
            self._server = None

    def _is_active(self, message: bytes) -> Any:
        asked = _read(messages.ScaledObjectRef.FromString(message).scalerMetadata)
        return messages.IsActiveResponse(result=self._demand(asked) > asked.activation)

    def _spec(self, message: bytes) -> Any:
        asked = _read(messages.ScaledObjectRef.FromString(message).scalerMetadata)
        decision, age_s = self._last()
        size = _known(lambda: trigger.target(asked, decision, age_s, self._stale_after_s))
        # The integer is for a KEDA from before there was the other.
        spec = messages.MetricSpec(metricName=asked.metric, targetSize=max(1, _whole(size)), targetSizeFloat=size)
        return messages.GetMetricSpecResponse(metricSpecs=[spec])

    def _metrics(self, message: bytes) -> Any:
        request = messages.GetMetricsRequest.FromString(message)
        asked = _read(request.scaledObjectRef.scalerMetadata)
        value = self._demand(asked)
        name = request.metricName or asked.metric  # an HPA from before an update asks by the name that it was told
        found = messages.MetricValue(metricName=name, metricValue=_whole(value), metricValueFloat=value)
        return messages.GetMetricsResponse(metricValues=[found])

    async def _stream(self, received: AsyncIterator[bytes], context: Any) -> None:
        """Say whether it is active, at first and whenever that changes; nothing while it is not known."""
        asked = _read(messages.ScaledObjectRef.FromString(await _first(received)).scalerMetadata)
        said: bool | None = None
        active: bool | None
        while True:
            try:
                active = self._demand(asked) > asked.activation
            except rpc.RefusedError as error:
                if error.code != grpc.StatusCode.UNAVAILABLE:
                    raise
                active = said
            if active is not None and active != said:
                said = active
                await context.write(messages.IsActiveResponse(result=active).SerializeToString())
            await asyncio.sleep(self._look_every_s)

    def _demand(self, asked: trigger.Trigger) -> float:
        decision, age_s = self._last()
        return _known(lambda: trigger.demand(asked, decision, age_s, self._stale_after_s))

    def _last(self) -> tuple[Any, float]:
        decision = self._operations.decision()
        return decision, math.inf if decision is None else self._operations.now() - decision.now


def _once(answer: Callable[[bytes], Any]) -> rpc.Handler:
    """A unary method: on the wire, a stream of one message each way."""

    async def serve(received: AsyncIterator[bytes], context: Any) -> None:
        await context.write(answer(await _first(received)).SerializeToString())

    return serve


async def _first(received: AsyncIterator[bytes]) -> bytes:
    async for message in received:
        return message
    raise rpc.RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "a call without a message", reason="no message")


def _read(metadata: Mapping[str, str]) -> trigger.Trigger:
    return _known(lambda: trigger.read(metadata))


def _known(found: Callable[[], T]) -> T:
    """What that finds; the right status for what it raises."""
    try:
        return found()
    except tuple(_CODES) as error:
        code, reason = _CODES[type(error)]
        raise rpc.RefusedError(code, str(error), reason=reason) from error


def _whole(value: float) -> int:
    """Rounded up, as replicas are."""
    return min(math.ceil(value), MOST_INT64)
