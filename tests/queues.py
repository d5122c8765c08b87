"""Queues in plain Python, to hold against whoever takes them out again."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dataplane.contract import Floats
from models.unqueue import GAVE_UP, NO_WORK, WORKED, Visits

NEVER = float("inf")


class Served(NamedTuple):
    """What became of each attempt at one endpoint."""

    visits: Visits
    begin_s: Floats  # NaN: it never began
    waited: list[bool]


def serve(
    arrival_s: Sequence[float] | Floats,
    work_s: Sequence[float] | Floats,
    workers: int,
    *,
    patience_s: float = NEVER,
    extra_s: float = 0.0,
    hang: tuple[float, float] = (NEVER, NEVER),
    fails: Sequence[bool] = (),
) -> Served:
    """One queue, in the order of arrival. A client that gives up takes its work away unless it has begun."""
    free = [-NEVER] * workers
    end, kind, begun, waited = [], [], [], []
    for i, (came, work) in enumerate(zip(arrival_s, work_s, strict=True)):
        if fails and fails[i]:
            end.append(came + 0.001)
            kind.append(NO_WORK)
            begun.append(np.nan)
            waited.append(False)
            continue
        begin = max(came, free[0])
        begin = hang[1] if hang[0] <= begin < hang[1] else begin
        if begin >= came + patience_s:
            end.append(came + patience_s)
            kind.append(GAVE_UP)
            begun.append(np.nan)
            waited.append(True)
            continue
        done = begin + work
        if begin < hang[0] < done:
            done += hang[1] - hang[0]
        heapq.heapreplace(free, done)
        late = done + extra_s > came + patience_s
        end.append(came + patience_s if late else done + extra_s)
        kind.append(GAVE_UP if late else WORKED)
        begun.append(begin)
        waited.append(begin > came)
    offsets = np.array([0, len(end)])
    visits = Visits(offsets, np.array(arrival_s, float), np.array(end), np.array(kind, np.int8))
    return Served(visits, np.array(begun), waited)


def several(*some: Visits) -> Visits:
    """Endpoints side by side."""
    counts = np.cumsum([0, *(len(v.arrival_s) for v in some)])
    columns = ("arrival_s", "end_s", "kind")
    return Visits(counts, *(np.concatenate([getattr(v, c) for v in some]) for c in columns))


def poisson(rng: np.random.Generator, many: int, rate: float) -> Floats:
    """Times of arrival."""
    return np.asarray(np.cumsum(rng.exponential(1 / rate, many)))


def gamma(rng: np.random.Generator, many: int, mean_s: float, variation: float) -> Floats:
    """Work of this mean; without variation the mean itself."""
    if variation == 0:
        return np.full(many, mean_s)
    return np.asarray(rng.gamma(variation**-2, mean_s * variation**2, many))
