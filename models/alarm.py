"""Is something wrong in the mesh now? One alarm over all its streams, told at each step.

A stream speaks by how far it lies above its usual band (`models.band`). What is odd of a service shows in more than one
of its streams, by its own proxy and by its callers', while most false signs are in one: a service is as odd as the mean
of its `top` oddest latencies. How far a heavy tail is exceeded is worth its logarithm (of a Pareto tail that is the log
likelihood ratio of a heavier one), so the gain of a step is log(odd / `bound`), and Page's test (`models.page`) adds it
up: two steps far out or three a good way out. Below the bound evidence is lost at the same rate.

Failures are counted: Page's test of two in a hundred or three times what is usual of the service (`models.usual`). What
lasts becomes usual there, unlike in `models.failing`: a day of many faults has no operator who mends them.

A service that turns odd is an alarm, unless there was one within `quiet` steps: what follows belongs to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.band import Band
from models.base import Floats, Ints
from models.failing import LEAST_SHARE, limit
from models.page import Page, more_fail
from models.streams import Kind, of_latency, tamed
from models.usual import Usual

Bools = NDArray[np.bool_]

_EVIDENCE, _MOST = 12.0, 8.0
_CALM = 0.05
"""No service is taken to be calmer than so many units."""


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """All counts are of steps."""

    length: int = 480  # of the band
    width: int = 3  # of the means that the band is of
    top: int = 2
    bound: float = 3.0  # units of the band above which a service is odder than usual
    evidence: float = 2.0
    most: float = 1.5  # that one step counts for
    quiet: int = 5


class Oddness:
    """How odd each service's latencies are."""

    def __init__(self, owner: Ints, kind: Ints, services: int, settings: AlarmSettings) -> None:
        self._latency = of_latency(kind)
        self._kind = kind[self._latency]
        self._band = Band(self._kind, settings.length, settings.width)
        self._top = settings.top
        mine = [np.flatnonzero(owner[self._latency] == s) for s in range(services)]
        self._none = int(self._latency.sum())
        self._members = np.full((services, max(map(len, mine), default=1) or 1), self._none)
        for s, some in enumerate(mine):
            self._members[s, : some.size] = some

    def learn_many(self, values: Floats) -> Floats:
        """Take a step of all streams in. Returns units by service; NaN for a service of which nothing is known."""
        apart = self._band.learn_many(tamed(values[self._latency], self._kind))
        spread = np.append(apart, np.nan)[self._members]
        down = -np.sort(-spread, axis=1)[:, : self._top]  # NaN last
        known = np.isfinite(down)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(known, down, 0.0).sum(axis=1) / known.sum(axis=1))


class MeshAlarm:
    """The alarm of one mesh of streams: `owner` is the service of each, `kind` what it is about."""

    def __init__(
        self, owner: Ints, kind: Ints, services: int, step_s: float, settings: AlarmSettings | None = None
    ) -> None:
        self._settings = settings or AlarmSettings()
        self._oddness = Oddness(owner, kind, services, self._settings)
        self._page = Page(services, self._settings.evidence, self._settings.most)
        self._fails = np.flatnonzero(kind == Kind.FAILS)
        self._owner = owner
        self._usual = Usual(self._fails.size, 0.0, self._settings.length * step_s / 4, first_s=60 * step_s)
        self._failing = Page(self._fails.size, _EVIDENCE, _MOST)
        self._step_s = step_s
        self._steps, self._alarmed = 0, -np.inf
        self.odd: Bools = np.zeros(services, dtype=np.bool_)

    def learn_many(self, values: Floats, requests: Floats) -> bool:
        """Take a step in: `values` by stream, `requests` of this step by service, NaN for unknown. Is this an alarm?"""
        return self.judge(self._oddness.learn_many(values), values, requests)

    def judge(self, oddness: Floats, values: Floats, requests: Floats) -> bool:
        """The same of a step whose `Oddness` is known."""
        odd = self._page.learn_many(np.log(np.maximum(oddness, _CALM) / self._settings.bound)).copy()
        if self._fails.size:
            who = self._owner[self._fails]
            np.logical_or.at(odd, who, self._failed(values[self._fails], requests[who]))
        turned = bool((odd & ~self.odd).any())
        self.odd = odd
        alarm = turned and self._steps - self._alarmed > self._settings.quiet
        if alarm:
            self._alarmed = self._steps
        self._steps += 1
        return alarm

    def _failed(self, share: Floats, requests: Floats) -> Bools:
        usual = np.clip(np.nan_to_num(self._usual.mean, nan=LEAST_SHARE), LEAST_SHARE, 0.5)
        gain = more_fail(requests, requests * share, usual, np.minimum(limit(usual), 0.9))
        odd = self._failing.learn_many(np.where(requests > 0, gain, np.nan))
        lasting = self._usual.learn_many(share, odd, self._steps * self._step_s)
        self._failing.forget(lasting)
        return self._failing.odd
