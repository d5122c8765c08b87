"""Pieces of endpoints' time as the `Fleet` of a mesh in virtual time, members that come and go included."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from dataplane.contract import Floats, Topology
from dataplane.simulated.fleet import Fleet
from weirflow.whatif.calibrate_fit import Fit, Piece

_KINDS = {"speed": "f8", "extra_s": "f8", "error_share": "f8", "status": "i8", "after_s": "f8", "hang": "?"}


@dataclass(frozen=True, slots=True)
class Member:
    """An endpoint of the service, as topologies tell of it."""

    id: int
    address: str
    zone: str
    weight: int
    joins_s: float = 0.0
    leaves_s: float = inf


def members_of(moves: list[tuple[float, Topology]], service: str) -> list[Member]:
    """Everyone who ever was a member, in the order of ids. `moves`: since when each topology holds, the first at 0."""
    known: dict[int, Member] = {}
    here: set[int] = set()
    for at_s, topology in moves:
        now = {e.id: e for s in topology.services if s.name == service for e in s.endpoints}
        for gone in here - set(now):
            old = known[gone]
            known[gone] = Member(old.id, old.address, old.zone, old.weight, old.joins_s, at_s)
        for i, e in now.items():
            joined = known[i].joins_s if i in here else at_s
            known[i] = Member(i, e.address, e.zone, e.weight, joined)
        here = set(now)
    return [known[i] for i in sorted(known)]


def fleet_of(members: list[Member], fit: Fit, way_s: float) -> Fleet:
    """The fleet. An endpoint of which nothing is known works at speed 1."""
    rows = [_told(pieces, hangs, way_s) for pieces, hangs in zip(fit.pieces, fit.hangs, strict=True)]
    longest = max((len(r) for r in rows), default=1)
    unused: dict[str, Any] = {"since_s": inf, "speed": 1.0, "extra_s": 0.0, "error_share": 0.0, "status": 503}
    unused |= {"after_s": 0.0, "hang": False}

    def column(key: str, dtype: str) -> Any:
        return np.array([[p[key] for p in r] + [unused[key]] * (longest - len(r)) for r in rows], dtype=dtype)

    zones = sorted({m.zone for m in members})
    return Fleet(
        names=tuple(m.address for m in members),
        zones=tuple(m.zone for m in members),
        group=np.array([zones.index(m.zone) for m in members], dtype=np.int64),
        weight=np.array([m.weight for m in members], dtype=np.int64),
        workers=fit.workers.count.copy(),
        joins_s=np.array([m.joins_s for m in members]),
        leaves_s=np.array([m.leaves_s for m in members]),
        since_s=column("since_s", "f8"),
        **{key: column(key, dtype) for key, dtype in _KINDS.items()},
        sharing=np.full(len(rows), fit.sharing),
    )


def _told(pieces: list[Piece], hangs: list[tuple[float, float]], way_s: float) -> list[dict[str, Any]]:
    """What holds from when, the first from 0, with the hangs laid over it."""
    speeds = _speeds(pieces)
    plain = [
        {
            "since_s": 0.0 if i == 0 else p.since_s,
            "speed": speeds[i],
            "extra_s": p.extra_s,
            "error_share": p.failed / (p.works + p.failed) if p.works + p.failed else 0.0,
            "status": p.status,
            "after_s": p.after_s,
            "hang": False,
        }
        for i, p in enumerate(pieces)
    ] or [dict.fromkeys(("since_s", "error_share"), 0.0) | _still(way_s)]
    moments = sorted({p["since_s"] for p in plain} | {t for h in hangs for t in h if 0.0 < t < inf})
    out = []
    for at_s in moments:
        under = [p for p in plain if p["since_s"] <= at_s][-1]
        out.append(under | {"since_s": at_s, "hang": any(a <= at_s < b for a, b in hangs)})
    return out


def _still(way_s: float) -> dict[str, Any]:
    return {"speed": 1.0, "extra_s": way_s, "status": 503, "after_s": 0.001, "hang": False}


def _speeds(pieces: list[Piece]) -> Floats:
    """Class means a second of work, by piece. One without work has its neighbour's before it, or after it, or 1."""
    out = np.array([p.works / max(p.work, 1e-9) if p.works else np.nan for p in pieces])
    known = np.flatnonzero(np.isfinite(out))
    if not len(known):
        return np.ones(len(pieces))
    before = np.searchsorted(known, np.arange(len(out)), side="right") - 1
    return np.asarray(out[known[np.maximum(before, 0)]])
