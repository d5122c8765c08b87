"""GoReplay's `.gor` files: requests and their responses, each a record of its own, paired by id.

A record is a header line, `type id time [latency]` in nanoseconds, then the HTTP message; records end in a line of
three monkeys. Type 1 is a request, 2 its response, 3 the response of a replay. They are often out of order
(goreplay#680): pairs are found within `OPEN` records. No endpoint is told, so the host stands for it. Bodies and
headers are passed over but for Host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from weirflow.importing.attempts import Read
from weirflow.importing.opening import Source
from weirflow.importing.rejects import Rejects

END = "\n🐵🙈🙉\n".encode()
LONGEST = 1 << 24
OPEN = 1 << 16
ROWS = 1 << 14
_HEAD = re.compile(rb"([123]) ([0-9a-zA-Z-]{1,128}) (\d{1,20})(?: (-?\d{1,20}))?\r?\n")
_REQUEST = re.compile(rb"([A-Z]{1,20}) (\S+) HTTP/[\d.]+\r?\n")
_STATUS = re.compile(rb"HTTP/[\d.]+ (\d{3})\b")
_HOST = re.compile(rb"\r?\nhost:[ \t]*([^\r\n]*)", re.IGNORECASE)
_COLUMNS = ("started_ns", "duration_ns", "host", "endpoint", "path", "method", "status", "bytes_in", "bytes_out")
_Request = tuple[int, int, str, str, str, int]


class GorReader:
    """Reads pairs. The line of a row is the number of its response's record."""

    retries_hidden = False

    def read(self, source: Source, rejects: Rejects) -> Iterator[Read]:
        """As `text.Reader.read`."""
        requests: dict[bytes, _Request] = {}
        responses: dict[bytes, tuple[int, int, int, int, int]] = {}
        numbers: list[int] = []
        rows: list[tuple[Any, ...]] = []
        asked = paired = 0
        for number, record in _records(source, rejects):
            rejects.records += 1
            head = _HEAD.match(record)
            if head is None:
                rejects.reject(number, "is no record: its first line is not `type id time`")
                continue
            kind, name, told = head[1], head[2], int(head[3])
            body = record[head.end() :]
            if kind == b"1":
                request = _request(number, told, body)
                if request is None:
                    rejects.reject(number, "holds no HTTP request")
                    continue
                asked += 1
                _put(requests, name, request)
            else:
                status = _STATUS.match(body)
                if status is None:
                    rejects.reject(number, "holds no HTTP response")
                    continue
                _put(responses, name, (number, told, int(head[4] or -1), int(status[1]), _body_bytes(body)))
            if name in requests and name in responses:
                paired += 1
                response = responses.pop(name)
                numbers.append(response[0])
                rows.append(_row(requests.pop(name), response))
            if len(rows) >= ROWS:
                yield Read(numbers, dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)))
                numbers, rows = [], []
        rejects.leave_out("a request without its response", asked - paired)
        if rows:
            yield Read(numbers, dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)))


def _records(source: Source, rejects: Rejects) -> Iterator[tuple[int, bytes]]:
    """The records of a file with their numbers; one beyond `LONGEST` is rejected and not held."""
    number, held, skipping = 1, b"", False
    for block in source.blocks():
        *whole, held = (held + block).split(END)
        for record in whole:
            if skipping:
                rejects.reject(number, f"a record longer than {LONGEST} bytes")
                skipping = False
            elif record.strip():
                yield number, record
            number += 1
        if len(held) > LONGEST:
            skipping, held = True, held[-len(END) :]
    if held.strip() and not skipping:
        yield number, held


def _request(number: int, told: int, body: bytes) -> _Request | None:
    line = _REQUEST.match(body)
    if line is None:
        return None
    host = _HOST.search(body[: 1 << 16])
    name = host[1].decode("latin-1").strip() if host else ""
    return number, told, name, line[2].decode("latin-1"), line[1].decode("ascii"), _body_bytes(body)


def _row(request: _Request, response: tuple[int, int, int, int, int]) -> tuple[Any, ...]:
    _, started, host, path, method, sent = request
    _, ended, latency, status, received = response
    return started, latency if latency > 0 else ended - started, host, host, path, method, status, sent, received


def _body_bytes(message: bytes) -> int:
    return len(message.partition(b"\r\n\r\n")[2])


def _put(held: dict[bytes, Any], name: bytes, value: Any) -> None:
    """Remember; beyond `OPEN` the oldest goes."""
    if len(held) >= OPEN:
        del held[next(iter(held))]
    held[name] = value
