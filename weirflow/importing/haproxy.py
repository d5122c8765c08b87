"""HAProxy's HTTP log (`option httplog`), with or without a syslog header before it.

The endpoint is the server's name (`%b/%s`), for the line tells no address. An attempt begins when the request has come
and has left the queue (TR and Tw after the time in brackets) and lasts until Ta. What ended it the termination state
says (HAProxy configuration manual, 8.5); it is read before the status. Times are in the zone of the machine that
wrote them: `--timezone`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any

import numpy as np

from dataplane.contract import Outcome
from weirflow.importing import times
from weirflow.importing.attempts import Read
from weirflow.importing.pattern import Pattern, Piece
from weirflow.importing.text import Columns

TIMER = r"-1|\d{1,15}"
_FIELDS = (
    Piece(name="header", form=r"(?:<\d+>)?(?:[^\n\[\"]{0,200}?\[\d+\]: )?"),
    Piece(name="%ci:%cp", form=r"(?:[0-9a-fA-F:.]+|unix):\d+"),
    Piece(literal=" ["),
    Piece(name="%tr", column="began", form=r"\d\d/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d\.\d{3}"),
    Piece(literal="] "),
    Piece(name="%ft", form=r"[^\s]++"),
    Piece(literal=" "),
    Piece(name="%b", column="cluster", form=r"[^\s/]++"),
    Piece(literal="/"),
    Piece(name="%s", column="server", form=r"[^\s]++"),
    Piece(literal=" "),
    Piece(name="%TR", column="tr", form=TIMER),
    Piece(literal="/"),
    Piece(name="%Tw", column="tw", form=TIMER),
    Piece(literal="/"),
    Piece(name="%Tc", column="tc", form=TIMER),
    Piece(literal="/"),
    Piece(name="%Tr", column="first", form=TIMER),
    Piece(literal="/"),
    Piece(name="%Ta", column="ta", form=rf"\+?(?:{TIMER})"),
    Piece(literal=" "),
    Piece(name="%ST", column="status", form=r"-1|\d{1,3}"),
    Piece(literal=" "),
    Piece(name="%B", column="bytes_out", form=r"\+?\d{1,18}"),
    Piece(literal=" "),
    Piece(name="%CC", form=r"[^\s]++"),
    Piece(literal=" "),
    Piece(name="%CS", form=r"[^\s]++"),
    Piece(literal=" "),
    Piece(name="%tsc", column="state", form=r"[A-Za-z-]{2,4}"),
    Piece(literal=" "),
    Piece(name="%ac/%fc/%bc/%sc", form=r"\d+/\d+/\d+/\d+"),
    Piece(literal="/"),
    Piece(name="%rc", column="retries", form=r"\+?\d{1,6}"),
    Piece(literal=" "),
    Piece(name="%sq/%bq", form=r"\d+/\d+"),
    Piece(literal=" "),
    Piece(name="captured headers", form=r"(?:\{[^}\n]*+\} ){0,2}"),
    Piece(literal='"'),
    Piece(name="%r", column="request_line", form=r"[^\n]*(?=\"\r?$)"),
    Piece(literal='"'),
)
_ENDED_BY = {
    "C": Outcome.CANCELLED,  # the client closed
    "c": Outcome.CANCELLED,  # or was waited for too long
    "s": Outcome.TIMEOUT,  # the server was waited for too long
    "S": Outcome.ERROR,  # the server closed or refused
}
_BEFORE_SERVER = {"Q": Outcome.REJECTED, "C": Outcome.UNREACHED}  # while in the queue; while connecting


def pattern() -> Pattern:
    """The pattern of a line."""
    return Pattern(_FIELDS)


class Shaping:
    """Turns HAProxy's columns into canonical ones."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone

    def __call__(self, lines: Sequence[int], columns: Columns) -> Read:
        """A row per line: the last attempt of its request."""
        began = times.seconds([t[:-4] for t in columns["began"]], "", self._zone)
        began += np.array([int(t[-3:]) for t in columns["began"]]) * 1e-3
        tr, tw, tc, first, ta = (_ms(columns[name]) for name in ("tr", "tw", "tc", "first", "ta"))
        before = np.maximum(tr, 0) + np.maximum(tw, 0)
        duration = np.maximum(ta - before, 0)
        out: dict[str, Any] = {
            "started_s": began + before * 1e-3,
            "duration_s": duration * 1e-3,
            "ttfb_s": np.where(first >= 0, np.maximum(tc, 0) + first, np.nan) * 1e-3,
            "cluster": columns["cluster"],
            "endpoint": [s if not s.startswith("<") else "" for s in columns["server"]],
            "status": ["-" if s == "-1" else s for s in columns["status"]],
            "bytes_out": [b.lstrip("+") for b in columns["bytes_out"]],
            "resent": [r.lstrip("+") for r in columns["retries"]],
            "request_line": columns["request_line"],
            "outcome": [_outcome(s) for s in columns["state"]],
        }
        return Read(lines, out)


def _ms(column: Sequence[str]) -> Any:
    return np.array([int(t) for t in column], dtype=np.float64)


def _outcome(state: str) -> str:
    """By the termination state, "" where the status says it. `state` has its first event, and where the session was."""
    by, where = state[0], state[1]
    if by in "sS" and where in _BEFORE_SERVER:
        return _BEFORE_SERVER[where].name
    if by == "P" and where == "C":
        return Outcome.REJECTED.name  # no source port or socket was left
    found = _ENDED_BY.get(by)
    return "" if found is None else found.name
