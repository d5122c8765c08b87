"""The past that the console looks back on: what is kept in memory, and all that was recorded out of its files.

Memory (`weirflow.console.memory`) has the last minutes, or the last hour of a small mesh; what is older comes from the
recording's closed parts. Reading and unpacking is work for another thread (`asyncio.to_thread`), which is given copies.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirflow.console.memory import Kept, Memory
from weirflow.console.state import state_of
from weirflow.flat import endpoint_row, service_row
from weirflow.recording import RecordingError
from weirflow.recording.closed import ClosedPart, read_part

if TYPE_CHECKING:
    from brain.decision import Decision

Json = dict[str, Any]

MOST_POINTS = 1000
"""Of a chart; more are not seen."""
MOST_NEWS, MOST_MOVED = 200, 2

SERVICE_FIGURES = (
    *("share_percent", "capacity_per_s", "asked_per_s", "limit", "refused_per_s", "shed_percent"),
    *(
        f"{arm}_{figure}"
        for arm in ("static", "adaptive")
        for figure in ("requests_per_s", "p50_s", "p99_s", "failed_share")
    ),
    *("gain", "gain_low", "gain_high"),
)
ENDPOINT_FIGURES = (
    *("weight", "share", "capacity_per_s", "rate_per_s", "error_share"),
    *("latency_s", "p50_s", "p99_s", "in_flight"),
)
"""As `weirflow.flat` names them."""


class NothingError(LookupError):
    """There is nothing of that moment, service or endpoint; the message says what there is."""


class Past:
    """Looks into `memory`, and into the recordings that `folders` gives, oldest first."""

    def __init__(self, folders: Callable[[], Sequence[Path]] = tuple, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self._folders = folders
        self._manifests = Manifests()

    def told(self, decision: Decision) -> None:
        """A tick ended. Returns at once."""
        self.memory.told(decision)

    def looked(self) -> Looked:
        """What there is now, for another thread to read."""
        return Looked(self.memory.kept(), lambda: self._manifests.of(self._folders()))


class Manifests:
    """What recordings say of their closed parts, each read once. Used by one thread at a time."""

    def __init__(self) -> None:
        self._read: dict[Path, ClosedPart | None] = {}
        self._lock = threading.Lock()

    def of(self, folders: Sequence[Path]) -> list[ClosedPart]:
        """All parts there are, in the order of time. What cannot be read is passed over."""
        with self._lock:
            there = {path: folder for folder in folders for path in sorted(folder.glob("part-*.json"))}
            self._read = {path: part for path, part in self._read.items() if path in there}
            for path, folder in there.items():
                if path not in self._read:
                    self._read[path] = _manifest(folder, path)
            return sorted((p for p in self._read.values() if p is not None), key=lambda p: p.started)


class Looked:
    """The past as it was at a moment."""

    def __init__(self, kept: Sequence[Kept], parts: Callable[[], list[ClosedPart]]) -> None:
        self._kept = kept
        self._at = [k.at for k in kept]
        self._find = parts

    @cached_property
    def _parts(self) -> list[ClosedPart]:
        return self._find()

    def span(self) -> tuple[float, float]:
        """The first and the last moment of which there is something. NothingError when there is none."""
        if not self._kept and not self._parts:
            raise NothingError("nothing has been decided yet")
        firsts = [p.started for p in self._parts[:1]] + self._at[:1]
        lasts = [p.ended for p in self._parts[-1:]] + self._at[-1:]
        return min(firsts), max(lasts)

    def at(self, moment: float) -> Json:
        """The state document of the last decision at or before a moment. NothingError before the first."""
        first, _ = self.span()
        best: Json | None = None
        row = bisect_right(self._at, moment) - 1
        if row >= 0:
            best = self._kept[row].read()
        for part in reversed(self._parts):
            if part.started > moment:
                continue
            if best is not None and part.ended <= best["now"]:
                break
            found = _last_of(part, moment)
            if found is not None:
                best = found if best is None or found["now"] > best["now"] else best
                break
        if best is None:
            raise NothingError(f"nothing is remembered of that moment; the first is {first:.0f}")
        return state_of(best)

    def history(self, service: str, endpoint: str | None, since: float, until: float) -> Json:
        """Figures over time as columns, about `MOST_POINTS` long: `at`, and `SERVICE_FIGURES` or `ENDPOINT_FIGURES`.

        NothingError when no decision of that time knows it.
        """
        made: dict[str, list[Any]] = {}
        for decision in self._between(since, until):
            view = next((s for s in decision["services"] if s["name"] == service), None)
            row = None if view is None else _row(view, endpoint)
            for name, value in ({"at": decision["now"]} | row).items() if row is not None else ():
                made.setdefault(name, []).append(value)
        if not made:
            raise NothingError(f"nothing is remembered of {endpoint or service} in that time")
        return made

    def news(self, since: float, until: float) -> list[Json]:
        """What was decided and told in that time, the newest first, `MOST_NEWS` at most.

        Each has `at`, `tick`, `kind`, `service` and `words`. `kind` is "pushed" (its weights changed), "alert", "over"
        (an alert ended) or "note"; `service` None for all.
        """
        found: list[Json] = []
        for decision in reversed(list(self._between(since, until, every=True))):
            stamp = {"at": decision["now"], "tick": decision["tick"]}
            found += [stamp | told for told in _news(decision)]
            if len(found) >= MOST_NEWS:
                break
        return found[:MOST_NEWS]

    def _between(self, since: float, until: float, *, every: bool = False) -> Iterator[Json]:
        """Decisions of that time in order; no more than a chart can show, but for `every`."""
        kept = [k for k in self._kept if since <= k.at <= until]
        begins = kept[0].at if kept else until
        parts = [p for p in self._parts if p.started < begins and p.ended >= since]
        rows = sum(p.files["decisions"].rows for p in parts if "decisions" in p.files)
        step = 1 if every else max(1, -(-rows // MOST_POINTS))
        for part in parts:
            texts = _decisions(part, since, begins)
            yield from (json.loads(text) for _, text in texts[::step])
        step = 1 if every else max(1, -(-len(kept) // MOST_POINTS))
        yield from (k.read() for k in kept[::step])


def _manifest(folder: Path, path: Path) -> ClosedPart | None:
    try:
        return read_part(folder, int(path.stem.removeprefix("part-")))
    except (RecordingError, ValueError):
        return None


def _decisions(part: ClosedPart, since: float, until: float) -> list[tuple[float, str]]:
    """When, and the JSON, of a part's decisions from `since` up to but not at `until`."""
    try:
        table = part.table("decisions", ["now", "decision"])
    except RecordingError:
        return []  # damaged since: the rest of the past stands
    now, texts = table.column("now").to_pylist(), table.column("decision").to_pylist()
    return [(at, text) for at, text in zip(now, texts, strict=True) if since <= at < until]


def _last_of(part: ClosedPart, moment: float) -> Json | None:
    before = _decisions(part, float("-inf"), moment + 1e-6)
    return json.loads(before[-1][1]) if before else None


def _news(decision: Json) -> Iterator[Json]:
    for alert in decision.get("alerts", ()):
        about = alert["labels"].get("service")
        yield {
            "kind": "alert" if alert["opened"] else "over",
            "service": about,
            "words": f"{alert['kind']}: {alert['summary']}",
        }
    for view in decision["services"]:
        if view["pushed"]:
            yield {"kind": "pushed", "service": view["name"], "words": _moved(view)}
    for note in decision.get("notes", ()):
        yield {"kind": "note", "service": None, "words": note}


def _moved(view: Json) -> str:
    """What a push moved: the reasons of two endpoints whose weight is another, and how many more there are."""
    told = [f"{e['address']}: {e['reason']}" for e in view["endpoints"] if " -> " in e["reason"]]
    more = f"; and {len(told) - MOST_MOVED} more" if len(told) > MOST_MOVED else ""
    return "; ".join(told[:MOST_MOVED]) + more or view["reason"] or "weights moved"


def _row(view: Json, address: str | None) -> Json | None:
    """The figures of a service, or of one of its endpoints; None when it has none of that address."""
    if address is None:
        whole, wanted = service_row(view), SERVICE_FIGURES
    else:
        endpoint = next((e for e in view["endpoints"] if e["address"] == address), None)
        if endpoint is None:
            return None
        whole, wanted = endpoint_row(endpoint), ENDPOINT_FIGURES
    return {name: whole[name] for name in wanted}
