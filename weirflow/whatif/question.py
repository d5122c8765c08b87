"""What somebody asks, read from words: of the command line, or of a file of many questions.

Each wrong word ends as a `Wrong` that says what is wrong with it and the mend: which endpoints there are, what a factor
looks like. Nothing is read from a recording here; the `Frame` says what it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import TypeVar

from weirflow.config.problems import mend_of, nearest, shown
from weirflow.recording import Recording
from weirflow.whatif.change import Added, Question, Slow
from weirflow.whatif.policies import POLICIES

LIMITS = ("max_connections", "max_pending_requests", "max_requests", "budget_percent", "min_retry_concurrency")
"""As `dataplane.simulated.rules.Rules` has them: of each node and cluster, as Envoy's circuit breakers are."""
MOST_LOAD = 100.0
MOST_ADDED = 1_000
DAY_S = 86_400.0

T = TypeVar("T")


class WrongError(ValueError):
    """Words that make no question. `message` says why, `mend` what to write."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(f"{message}; {mend}" if mend else message)
        self.message, self.mend = message, mend


@dataclass(frozen=True, slots=True)
class Frame:
    """What can be asked about: a service, its endpoints, and the time that the recording covers."""

    service: str
    endpoints: tuple[str, ...]
    started: float  # s since 1970
    duration_s: float

    @classmethod
    def of(cls, recording: Recording, service: str | None) -> Frame:
        """Of a recording's only service, or the one named. WrongError when it has none of that name, or several."""
        known: dict[str, dict[str, None]] = {}
        for part in recording.parts:
            for s in part.topology.services:
                known.setdefault(s.name, {}).update(dict.fromkeys(e.address for e in s.endpoints))
        if not known:
            raise WrongError("the recording holds nothing: none of its parts was closed", "record for a minute or more")
        if service is None and len(known) > 1:
            raise WrongError("the recording has several services", f"name one with --service: {', '.join(known)}")
        if service is not None and service not in known:
            message = f"the recording has no service {shown(service)}"
            raise WrongError(message, mend_of(service, known, kind="services"))
        name = service or next(iter(known))
        ended = max(p.ended for p in recording.parts)
        return cls(name, tuple(known[name]), recording.started, ended - recording.started)

    def endpoint(self, name: str) -> str:
        """That name, when there is such an endpoint."""
        if name not in self.endpoints:
            message = f"{self.service} has no endpoint {shown(name)}"
            raise WrongError(message, mend_of(name, self.endpoints, kind="endpoints"))
        return name

    def moment(self, text: str) -> float:
        """Seconds since the start: of a number, a time of the day in UTC, or a moment in ISO 8601."""
        seconds = _seconds(text, self.started)
        if seconds is None:
            raise WrongError(f"{shown(text)} is no moment", "write seconds from the start, HH:MM:SS or ISO 8601 (UTC)")
        if not 0.0 <= seconds <= self.duration_s:
            first, last = (_iso(self.started + s) for s in (0.0, self.duration_s))
            span = f"it has 0 to {self.duration_s:.0f} s, {first} to {last}"
            raise WrongError(f"{shown(text)} is outside of the recording", span)
        return seconds


def load(text: str) -> float:
    """`x1.5`, or `1.5`."""
    factor = _number(text.removeprefix("x"))
    if factor is None or not 0.0 < factor <= MOST_LOAD:
        raise WrongError(
            f"{shown(text)} is no load", f"write x1.5 for half as much again; above 0, at most {MOST_LOAD:g}"
        )
    return factor


def added(text: str) -> Added:
    """`3`, `3@0.5` (half as fast as the median endpoint), `3@0.5/8` (with eight workers)."""
    found = re.fullmatch(r"(\d{1,4})(?:@x?([0-9.]+))?(?:/(\d{1,4}))?", text)
    mend = "write 3, 3@0.5 for half as fast as the median endpoint, or 3@0.5/8 for eight workers each"
    if found is None:
        raise WrongError(f"{shown(text)} adds nothing", mend)
    count, speed = int(found[1]), _number(found[2] or "1")
    workers = int(found[3]) if found[3] else None
    if not 1 <= count <= MOST_ADDED or speed is None or not 0.0 < speed <= 1000.0 or workers == 0:
        raise WrongError(
            f"{shown(text)} adds nothing that can be", f"1 to {MOST_ADDED} endpoints, faster than 0; {mend}"
        )
    return Added(count, speed, workers)


def slow(text: str, frame: Frame) -> Slow:
    """`ENDPOINT=x5@T1..T2`; the window, or an end of it, may be left out."""
    name, equals, rest = text.rpartition("=")
    by, at, window = rest.partition("@")
    factor = _number(by.removeprefix("x"))
    if not equals or factor is None or not 0.0 < factor <= 1e6:
        raise WrongError(f"{shown(text)} slows nobody", "write ENDPOINT=x5@T1..T2, or ENDPOINT=x5 for all the time")
    frame.endpoint(name)
    if not at:
        return Slow(name, factor)
    first, dots, last = window.partition("..")
    if not dots:
        raise WrongError(f"{shown(window)} is no window", "write T1..T2, as in 60..120 or 09:30:00..09:31:00")
    start_s = frame.moment(first) if first else 0.0
    end_s = frame.moment(last) if last else inf
    if end_s <= start_s:
        raise WrongError(f"{shown(window)} ends before it begins", "write the earlier moment first")
    return Slow(name, factor, start_s, end_s)


def limit(text: str) -> tuple[str, int]:
    """`max_requests=64`."""
    name, _, value = text.partition("=")
    if name not in LIMITS:
        raise WrongError(f"{shown(name)} is no limit", mend_of(name, LIMITS, kind="limits"))
    if not value.isdecimal() or len(value) > 9:
        raise WrongError(f"{shown(text)} limits nothing", f"write a whole number, as in {name}=64")
    return name, int(value)


def weights(text: str, frame: Frame) -> tuple[tuple[str, int], ...]:
    """`A=2,B=1`: the operator's weights of these; the others keep theirs."""
    out: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.rpartition("=")
        if not value.isdecimal() or not 1 <= int(value[:9]) <= 128 or len(value) > 9:
            raise WrongError(f"{shown(part)} is no weight", "write ENDPOINT=2,ENDPOINT=1; a weight is 1 to 128")
        out[frame.endpoint(name)] = int(value)
    return tuple(out.items())


def share(value: float) -> float:
    """Percent on the adaptive arm."""
    if not 0.0 <= value <= 100.0:
        raise WrongError(f"{value:g} is no share", "it is percent of the traffic on the adaptive arm: 0 to 100")
    return value


def policies(texts: Sequence[str]) -> tuple[str, ...]:
    """Names, each perhaps several with commas, once each, in the order given."""
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in POLICIES:
            near = nearest(name, POLICIES)
            mend = f"did you mean {near!r}?" if near else f"policies: {', '.join(POLICIES)}"
            raise WrongError(f"no policy is named {shown(name)}", mend)
    return tuple(dict.fromkeys(names))


def window(start: str | None, end: str | None, frame: Frame) -> tuple[float, float]:
    """From and to, in seconds since the start."""
    start_s = 0.0 if start is None else frame.moment(start)
    end_s = inf if end is None else frame.moment(end)
    if end_s <= start_s:
        raise WrongError("the window ends before it begins", "give --from the earlier moment, and --to the later one")
    return start_s, end_s


def sound(question: Question, frame: Frame) -> Question:
    """The question, when it can be answered as a whole."""
    if question.remove and not question.add and set(frame.endpoints) <= set(question.remove):
        raise WrongError("nobody would be left", f"remove fewer of {', '.join(frame.endpoints)}, or add some")
    for name in [s.endpoint for s in question.slow] + [name for name, _ in question.weights]:
        if name in question.remove:
            raise WrongError(f"{name} is removed, and changed as well", "do one of them")
    return question


def each(read: Callable[[str], T], texts: Sequence[str] | None) -> tuple[T, ...]:
    """All of them."""
    return tuple(read(text) for text in texts or ())


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text) else None


def _seconds(text: str, started: float) -> float | None:
    """Since the start; None for what is no moment."""
    plain = _number(text)
    if plain is not None:
        return plain
    clock = re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?", text)
    if clock is not None:
        of_day = 3600.0 * int(clock[1]) + 60.0 * int(clock[2]) + float(clock[3] or 0.0)
        return (of_day - started) % DAY_S  # the first such time after the start
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - started


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
