"""Invented services by the second, for whoever foretells live: seven kinds of traffic, each seed with its own size.

What arrives is Poisson around a rate, so a service of few requests scatters as real ones do. Stretches of an archive of
counts a second can stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.demand_score import Floats

HOUR_S = 3600


def steady(at_s: Floats, rng: np.random.Generator) -> Floats:
    """The same all the time."""
    return np.full(at_s.size, _size(rng))


def few(at_s: Floats, rng: np.random.Generator) -> Floats:
    """One request in some seconds."""
    return np.full(at_s.size, rng.uniform(0.2, 2.0))


def ramps(at_s: Floats, rng: np.random.Generator) -> Floats:
    """From one level straight to the next, in ten minutes to fifty."""
    ends = np.cumsum(rng.uniform(600, 3000, at_s.size // 600 + 2))
    levels = _size(rng) * rng.uniform(0.3, 2.0, ends.size)
    return np.interp(at_s, ends - ends[0], levels)


def hourly(at_s: Floats, rng: np.random.Generator) -> Floats:
    """A season of an hour."""
    swing = rng.uniform(0.3, 0.8)
    return _size(rng) * (1 + swing * np.sin(2 * np.pi * (at_s / HOUR_S + rng.random())))


def steps(at_s: Floats, rng: np.random.Generator) -> Floats:
    """Another level at once, every quarter of an hour or so."""
    changes = np.cumsum(rng.exponential(900, at_s.size // 300 + 2))
    levels = _size(rng) * rng.uniform(0.4, 2.0, changes.size + 1)
    return levels[np.searchsorted(changes, at_s)]


def walk(at_s: Floats, rng: np.random.Generator) -> Floats:
    """A random walk of the logarithm, turned back at a fifth and at five times."""
    path = np.cumsum(rng.normal(0.0, rng.uniform(0.002, 0.006), at_s.size))
    most = np.log(5.0)
    return _size(rng) * np.exp(np.abs((path + most) % (4 * most) - 2 * most) - most)


def bursts(at_s: Floats, rng: np.random.Generator) -> Floats:
    """Some seconds of several times as much, every few minutes."""
    out = np.full(at_s.size, _size(rng))
    for begins in np.cumsum(rng.exponential(rng.uniform(120, 300), at_s.size // 60)):
        out[(at_s >= begins) & (at_s < begins + rng.uniform(5, 40))] *= rng.uniform(2, 5)
    return out


KINDS: tuple[Callable[[Floats, np.random.Generator], Floats], ...] = (steady, few, ramps, hourly, steps, walk, bursts)


def invented(seconds: int, seeds: list[int]) -> tuple[list[str], Floats]:
    """The kind of each service, and counts of shape (seconds, services): every kind by every seed."""
    at_s, names, columns = np.arange(seconds, dtype=np.float64), [], []
    for seed in seeds:
        for k, kind in enumerate(KINDS):
            rng = np.random.default_rng([seed, k])
            columns.append(rng.poisson(kind(at_s, rng)))
            names.append(kind.__name__)
    return names, np.stack(columns, axis=1).astype(np.float64)


def stretches(counts: Floats, seconds: int, seeds: list[int]) -> Floats:
    """A stretch of counts a second for each seed, shape (seconds, seeds)."""
    first = [int(np.random.default_rng(seed).integers(0, len(counts) - seconds)) for seed in seeds]
    return np.stack([counts[at : at + seconds] for at in first], axis=1)


def _size(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(15), np.log(500))))
