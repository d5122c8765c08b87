"""Three methods on one gRPC server, each stream fenced off from the others.

Messages pass as bytes: what to make of them, and what a bad one means, is the handler's to say. A handler that raises
ends its own stream with a status that the peer can read; it is counted by reason and logged, and the server goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

Handler = Callable[[AsyncIterator[bytes], Any], Coroutine[Any, Any, None]]

OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second brain on the same port must fail, not share it
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 256),  # of one connection: a log stream per worker and log, and two more
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),  # nodes ping us, to notice a hang
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 10_000),  # and we ping them, to notice one that is half gone
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.server_handshake_timeout_ms", 10_000),  # who connects and says nothing is not waited for
)
OVER_TLS = (("grpc.max_connection_age_ms", 30_000), ("grpc.max_connection_age_grace_ms", 3_600_000))
"""A connection so old takes no further stream: one whose certificate was the wrong one would ask again on the same
connection for ever, with a right one at hand. Streams that are open go on, and end an hour later: who comes back shows
the certificate that it has by then, and a certificate that has ended does not live on in an old stream."""
MAX_RPCS = 4096

log = structlog.get_logger(__name__)


class RefusedError(Exception):
    """The peer cannot be served: `code` and the message are what it is told, `reason` what is counted."""

    def __init__(self, code: grpc.StatusCode, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Handlers by method path. `faults` counts streams that ended by a fault, by reason."""

    def __init__(self, handlers: Mapping[str, Handler], faults: Counter[str]) -> None:
        self._faults = faults
        self._handlers = {
            path: grpc.stream_stream_rpc_method_handler(self._fenced(path.rpartition("/")[2], handler))
            for path, handler in handlers.items()
        }

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call, None (unimplemented) when there is none."""
        return self._handlers.get(handler_call_details.method)

    def _fenced(self, method: str, handler: Handler) -> Handler:
        async def serve(messages: AsyncIterator[bytes], context: Any) -> None:
            try:
                await handler(messages, context)
            except asyncio.CancelledError:
                raise  # the peer left, or the server stops
            except RefusedError as e:
                self._faults[e.reason] += 1
                log.warning("stream ended", method=method, peer=context.peer(), reason=e.reason, detail=str(e))
                await context.abort(e.code, str(e))
            except DecodeError:
                self._faults["malformed message"] += 1
                log.warning("stream ended", method=method, peer=context.peer(), reason="malformed message")
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{method}: a message that cannot be decoded")
            except Exception:
                self._faults["internal error"] += 1
                log.exception("stream ended", method=method, peer=context.peer(), reason="internal error")
                await context.abort(grpc.StatusCode.INTERNAL, f"{method}: internal error")

        return serve


def server(handlers: Mapping[str, Handler], faults: Counter[str], options: Sequence[tuple[str, int]] = ()) -> Any:
    """A grpc.aio server with these methods, its limits set; not started."""
    out = grpc.aio.server(options=(*OPTIONS, *options), maximum_concurrent_rpcs=MAX_RPCS)
    out.add_generic_rpc_handlers((Methods(handlers, faults),))
    return out
