"""NGINX access logs: any `log_format` compiled to a pattern, and the upstream lists of a line unfolded to attempts.

Several upstreams in one line ("10.0.0.1:80, 10.0.0.2:80 : 10.0.1.1:80") are tries one after the other: a comma where
NGINX went to the next server, a colon where an internal redirect went to another group (ngx_http_upstream_module). Time
in NGINX's log is the end of the request; `$request_time` before it, it began, and the tries began when those before
them had ended. An entry without a port is the name of a group none of whose servers was live.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataplane.contract import Floats, Ints, Outcome
from weirflow.importing import times, values
from weirflow.importing.attempts import Read
from weirflow.importing.errors import WrongUseError
from weirflow.importing.pattern import LIST, NUMBER, Pattern, Piece
from weirflow.importing.text import Columns

DEFAULT = (
    '$msec $request_time $status "$request_method $request_uri" "$host" "$proxy_host" "$request_id" $request_length '
    '$body_bytes_sent "$upstream_addr" "$upstream_status" "$upstream_connect_time" "$upstream_header_time" '
    '"$upstream_response_time"'
)
"""The format that the how-to recommends; it tells all that can be told."""
INGRESS = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" '
    "$request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr "
    "$upstream_response_length $upstream_response_time $upstream_status $req_id"
)

_VARIABLE = re.compile(r"\$\{?(?P<name>[a-z0-9_]+)\}?", re.IGNORECASE)
_TABLE = {
    "msec": ("ended", NUMBER),
    "time_iso8601": ("ended", ""),
    "time_local": ("ended", ""),
    "request_time": ("lasted", NUMBER),
    "status": ("status", NUMBER),
    "request": ("request_line", ""),
    "request_method": ("method", ""),
    "request_uri": ("path", ""),
    "uri": ("path", ""),
    "host": ("host", ""),
    "http_host": ("host", ""),
    "server_name": ("host", ""),
    "proxy_host": ("cluster", ""),
    "proxy_upstream_name": ("cluster", ""),
    "request_id": ("request", ""),
    "req_id": ("request", ""),
    "http_x_request_id": ("request", ""),
    "hostname": ("node", ""),
    "request_length": ("bytes_in", NUMBER),
    "body_bytes_sent": ("bytes_out", NUMBER),
    "bytes_sent": ("bytes_out", NUMBER),
    "upstream_addr": ("addresses", LIST),
    "upstream_status": ("statuses", LIST),
    "upstream_response_time": ("times", LIST),
    "upstream_header_time": ("firsts", LIST),
    "upstream_connect_time": ("connects", LIST),
    "grpc_status": ("grpc_status", NUMBER),
    "sent_http_grpc_status": ("grpc_status", NUMBER),
}
_RANK = (
    "msec",
    "time_iso8601",
    "time_local",
    "request_id",
    "req_id",
    "host",
    "http_host",
    "proxy_host",
    "body_bytes_sent",
)
_LISTS = ("addresses", "statuses", "times", "firsts", "connects")
_NEXT = re.compile(r"\s*,\s*|\s+:\s+")
T = TypeVar("T")


def compiled(form: str) -> Pattern:
    """A log_format's string. WrongUseError, with the variable, when it tells too little."""
    variables = list(_VARIABLE.finditer(form))
    chosen: dict[str, tuple[int, int]] = {}
    for i, m in enumerate(variables):
        if m["name"] in _TABLE:
            rank = _RANK.index(m["name"]) if m["name"] in _RANK else len(_RANK)
            base = _TABLE[m["name"]][0]
            chosen[base] = min(chosen.get(base, (rank, i)), (rank, i))
    if "addresses" not in chosen or not {"times", "lasted"} & set(chosen) or "ended" not in chosen:
        raise WrongUseError(
            f"the log_format {form!r} tells of no attempt at an upstream: it needs $upstream_addr, "
            "$upstream_response_time (or $request_time) and $msec (or $time_iso8601, $time_local); "
            f"a good one is {DEFAULT!r}"
        )
    used = {i for _, i in chosen.values()}
    pieces, at = [], 0
    for i, m in enumerate(variables):
        column, expression = _TABLE.get(m["name"], ("", ""))
        if expression == LIST and form[m.end() : m.end() + 1] == '"':
            expression = ""  # in quotes a list ends where they do
        pieces.append(Piece(literal=form[at : m.start()]))
        pieces.append(Piece(name=m[0], column=column if i in used else "", form=expression))
        at = m.end()
    return Pattern([*pieces, Piece(literal=form[at:])])


class Unfolding:
    """Turns NGINX's columns, a row per request, into canonical ones, a row per attempt."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone

    def __call__(self, lines: Sequence[int], columns: Columns) -> Read:
        """The attempts of these lines, in their order: most lines hold one; those that hold more are taken apart."""
        n = len(lines)
        lists: list[Sequence[str]] = [columns.get(name) or ["-"] * n for name in _LISTS]
        whole: Sequence[str] = columns.get("status") or [""] * n
        connects = "connects" in columns
        lasted = values.numbers(columns["lasted"])[0] if "lasted" in columns else np.full(n, np.nan)
        index, number, waited = np.arange(n), np.ones(n, np.int64), np.zeros(n)
        several, tries = _several(lists[0]), dict[int, int]()
        if several:
            lists, tries, index, number, waited = _unfolded(lists, several)
            whole = _repeated(whole, tries)
        addresses, statuses, spent, first, connect = lists
        last = np.append(np.diff(index) != 0, True)
        duration = values.numbers(spent)[0]
        alone = np.ones(n, np.bool_)
        alone[several] = False
        duration = np.where(np.isnan(duration), np.where(alone[index], lasted[index], 0.0), duration)
        total = np.bincount(index, duration, minlength=n)
        began = times.seconds(columns["ended"], "", self._zone) - np.where(np.isnan(lasted), total, lasted)
        out: dict[str, Any] = {
            "started_s": began[index] + waited,
            "duration_s": duration,
            "felt_s": waited + duration,
            "attempt": number,
            "endpoint": [a if ":" in a else "" for a in addresses],
            "ttfb_s": first,
            "status": _statuses(statuses, whole, last),
            "outcome": [""] * len(index),
        }
        for k in [k for k, status in enumerate(statuses) if status != "200"]:
            out["outcome"][k] = _outcome(statuses[k], whole[k], addresses[k], first[k], connect[k], connects)
        for name, given in columns.items():
            if name in (*_LISTS, "ended", "lasted", "status"):
                continue
            out[name] = _repeated(given, tries)
            if name in ("bytes_in", "bytes_out"):
                # A size is the whole request's: it belongs to the try that was answered, the last one.
                for k in np.flatnonzero(~last).tolist():
                    out[name][k] = "-"
        return Read(_repeated(lines, tries), out)


def _several(addresses: Sequence[str]) -> list[int]:
    """The lines that tell of more than one upstream."""
    text = "".join(addresses)
    if "," not in text and " " not in text:
        return []
    return [i for i, a in enumerate(addresses) if "," in a or " " in a]


def _unfolded(
    lists: Sequence[Sequence[str]], several: Sequence[int]
) -> tuple[list[Sequence[str]], dict[int, int], Ints, Ints, Floats]:
    """The lists with a row per try. How many tries each of those lines has; by row its line, its number, and the
    seconds in the tries before."""
    split = {i: [_NEXT.split(given[i]) for given in lists] for i in several}
    tries = {i: len(parts[0]) for i, parts in split.items()}
    counts = np.ones(len(lists[0]), np.int64)
    counts[several] = list(tries.values())
    at = np.repeat(np.arange(len(counts)), counts)
    start = np.cumsum(counts) - counts
    out = [_repeated(given, tries) for given in lists]
    waited = np.zeros(len(at))
    for i, parts in split.items():
        before = 0.0
        for k in range(tries[i]):
            row = start[i] + k
            for column, items in zip(out, parts, strict=True):
                column[row] = items[k] if k < len(items) else "-"
            waited[row] = before
            before += _float(out[2][row])
    return list(out), tries, at, np.arange(len(at)) - start[at] + 1, waited


def _repeated(given: Sequence[T], times: Mapping[int, int]) -> list[T]:
    """The values, those at some places as often as is said there. Places rise.

    >>> _repeated(["a", "b", "c"], {1: 3})
    ['a', 'b', 'b', 'b', 'c']
    """
    out: list[T] = []
    done = 0
    for place, many in times.items():
        out += given[done:place]
        out += [given[place]] * many
        done = place + 1
    return out + list(given[done:])


def _statuses(statuses: Sequence[str], whole: Sequence[str], last: NDArray[np.bool_]) -> list[str]:
    """Of each try: where it has none of its own the request's, if it was the last one."""
    out = list(statuses)
    for k in [k for k, status in enumerate(statuses) if status == "-"]:
        out[k] = whole[k] if last[k] else "0"
    return out


def _outcome(status: str, whole: str, address: str, first: str, connect: str, connects: bool) -> str:
    """What NGINX's own statuses mean, "" where they say it themselves: 502 and 504 are also what it could not reach."""
    if whole == "499" and status in ("-", "0", "499", ""):
        return Outcome.CANCELLED.name
    if address in ("-", ""):
        return ""
    if ":" not in address:
        return Outcome.UNREACHED.name
    if status == "502" and connects and connect == "-":
        return Outcome.UNREACHED.name
    if status == "504" and first == "-":
        return Outcome.TIMEOUT.name
    return ""


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
