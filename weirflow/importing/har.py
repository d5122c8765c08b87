"""HAR 1.2: a browser's or a client's own log, one JSON document.

It tells what the client felt, DNS and connecting included, and at best the address that it spoke to
(`serverIPAddress`, optional); without one the host stands for the endpoint, and a what-if of endpoints is a guess.
The document is read whole, so its size is bounded. Headers, cookies and bodies are not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from dataplane.contract import Outcome
from dataplane.mesh import host_port
from weirflow.importing.attempts import Read
from weirflow.importing.errors import ImportingError
from weirflow.importing.opening import Source
from weirflow.importing.rejects import Rejects

MOST_BYTES = 1 << 28
_COLUMNS = (
    "started",
    "duration_ms",
    "ttfb_ms",
    "host",
    "endpoint",
    "path",
    "method",
    "status",
    "bytes_in",
    "bytes_out",
    "outcome",
)


class HarReader:
    """Reads the entries of a document. The line of a row is the number of its entry."""

    retries_hidden = False

    def read(self, source: Source, rejects: Rejects) -> Iterator[Read]:
        """As `text.Reader.read`. ImportingError when the document is too big, or no HAR."""
        numbers, rows = [], []
        for number, entry in enumerate(_entries(source), 1):
            rejects.records += 1
            try:
                rows.append(_row(entry))
                numbers.append(number)
            except (AttributeError, TypeError, KeyError, ValueError, RecursionError) as error:
                rejects.reject(number, "is no HAR entry", str(error)[:80])
        if rows:
            yield Read(numbers, dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)))


def _entries(source: Source) -> list[Any]:
    held = bytearray()
    for block in source.blocks():
        held += block
        if len(held) > MOST_BYTES:
            raise ImportingError(f"{source.path}: a HAR of more than {MOST_BYTES} bytes is not read; split it")
    try:
        document = json.loads(held.decode("utf-8-sig", "replace"))
        found = document["log"]["entries"]
        if not isinstance(found, list):
            raise TypeError("log.entries is no list")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ImportingError(f"{source.path}: is no HAR: {str(error)[:80]}") from error
    return found


def _row(entry: dict[str, Any]) -> tuple[Any, ...]:
    request, response = entry["request"], entry.get("response") or {}
    url = urlsplit(str(request["url"]))
    host = url.hostname or ""
    port = url.port or (443 if url.scheme in ("https", "wss") else 80)
    address = str(entry.get("serverIPAddress") or "").strip("[]") or host
    timings = entry.get("timings") or {}
    first = [timings.get(name, -1) for name in ("blocked", "dns", "connect", "send", "wait")]
    waited = sum(t for t in first if isinstance(t, int | float) and t > 0)
    status = response.get("status", 0)
    return (
        entry["startedDateTime"],
        entry["time"],
        waited if isinstance(timings.get("wait"), int | float) and timings["wait"] >= 0 else None,
        host,
        host_port(address, port) if address else "",
        url.path or "/",
        request.get("method"),
        status,
        _size(request.get("bodySize")),
        _size(response.get("bodySize")),
        "" if status else (Outcome.UNREACHED if timings.get("connect", 0) == -1 else Outcome.CANCELLED).name,
    )


def _size(value: Any) -> Any:
    """-1 is how a HAR says that it does not know."""
    return None if value == -1 else value
