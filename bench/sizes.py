"""What finds that a service's bodies are of another size: the watch that runs live against others, over drawn ticks.

    python -m bench.sizes                  # as JSON lines
    python -m bench.sizes --streams 40 --first-seed 1000

Each stream is a service's mean size by second. Of each world (`WORLDS`) a calm of `CALM_S` is told, in which all that
is found is false, and each of `CHANGES`, which begins after `KNOWN_S` and is told until `LASTS_S` later. Figures are
of all worlds together, but for the false alarms, which are an hour and by world: recall, and the median of seconds.

* `live`: `brain.size_watch.Sizes`, as it runs;
* `surprise`: `models.surprise`, as over the public benchmarks, of the logarithm of the mean size;
* `surprise_floor`: the same, when the mean of `HELD` seconds is twice or half the usual within a minute of an alarm;
* `ratio`: the mean of `HELD` seconds is twice or half a fading mean;
* `z`: three seconds in a row beyond four fading deviations of the logarithm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.result import Figure, Result, show
from brain.size_watch import LEAST_BYTES, Sizes
from models.surprise import ALARM, Surprise

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CALM_S, KNOWN_S, LASTS_S = 1800, 600, 120
HELD, HALF_LIFE_S = 8, 300.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """Ticks of some streams, shape (ticks, n): how many bodies ended, and their bytes."""

    count: Floats
    total: Floats


def lognormal(rate: float, sigma: float) -> Callable[[np.random.Generator, int, int], Drawn]:
    """Bodies of a median of some kilobytes, with so heavy a tail."""
    return lambda rng, ticks, n: _summed(rng.poisson(rate, (ticks, n)), lambda many, _: rng.lognormal(8.0, sigma, many))


def pareto(rng: np.random.Generator, ticks: int, n: int) -> Drawn:
    """Files of the web: a tail of exponent 1.3, cut at a gigabyte (Crovella and Bestavros, 1997)."""
    count = rng.poisson(100.0, (ticks, n))
    return _summed(count, lambda many, _: np.minimum(1000.0 * (1.0 + rng.pareto(1.3, many)), 1e9))


def mixed(rng: np.random.Generator, ticks: int, n: int) -> Drawn:
    """One request in five is for a page a hundred times as large; that share sways by a fifth over minutes."""
    sway = np.zeros((ticks, n))
    for t in range(1, ticks):
        sway[t] = 0.99 * sway[t - 1] + rng.normal(0.0, 0.2 * np.sqrt(1 - 0.99**2), n)
    share = np.clip(0.2 * np.exp(sway), 0.0, 1.0)

    def bodies(many: int, tick: NDArray[np.int64]) -> Floats:
        large = rng.random(many) < share.ravel()[tick]
        return np.where(large, 50_000.0, 500.0) * rng.lognormal(0.0, 0.3, many)

    return _summed(rng.poisson(100.0, (ticks, n)), bodies)


WORLDS: dict[str, Callable[[np.random.Generator, int, int], Drawn]] = {
    "even": lognormal(100.0, 0.5),
    "heavy": lognormal(100.0, 2.0),
    "thin": lognormal(2.0, 1.0),
    "pareto": pareto,
    "mixed": mixed,
}


def times(factor: float) -> Callable[[Drawn, slice], None]:
    """All bytes are so many times as many."""

    def change(drawn: Drawn, ticks: slice) -> None:
        drawn.total[ticks] *= factor

    return change


def alike(drawn: Drawn, ticks: slice) -> None:
    """Every body is of the mean size."""
    drawn.total[ticks] = drawn.count[ticks] * (drawn.total.sum() / drawn.count.sum())


CHANGES: dict[str, Callable[[Drawn, slice], None]] = {
    **{f"x{f:g}": times(f) for f in (0.0, 0.1, 0.25, 0.4, 0.7, 1.5, 2.5, 4.0, 10.0)},
    "alike": alike,
}
"""What becomes of the bytes of some ticks. `alike`: every body is of the mean size, as of a cache that always gives one
page."""


def _summed(count: NDArray[np.int64], bodies: Callable[[int, NDArray[np.int64]], Floats]) -> Drawn:
    tick = np.repeat(np.arange(count.size), count.ravel())
    total: Floats = np.bincount(tick, bodies(tick.size, tick), count.size).astype(np.float64)
    return Drawn(count.astype(np.float64), total.reshape(count.shape))


def live(drawn: Drawn) -> Iterator[Bools]:
    """The watch's own."""
    sizes = Sizes(drawn.count.shape[1])
    for t, (count, total) in enumerate(zip(drawn.count, drawn.total, strict=True)):
        sizes.learn_many(count, total, float(t))
        yield sizes.odd


def surprise(drawn: Drawn) -> Iterator[Bools]:
    """An alarm is a step."""
    model = Surprise(drawn.count.shape[1])
    for log in _logs(drawn):
        yield model.learn_many(log).score >= ALARM


def ratio(drawn: Drawn) -> Iterator[Bools]:
    """Twice or half the fading mean, of the last few seconds."""
    usual, lately = _Fading(drawn.count.shape[1]), list[Floats]()
    for t, log in enumerate(_logs(drawn)):
        lately = [*lately[1 - HELD :], log]
        yield (np.abs(np.nanmean(lately, axis=0) - usual.mean) >= np.log(2.0)) & (t > 30)
        usual.learn(log)


def surprise_floor(drawn: Drawn) -> Iterator[Bools]:
    """An alarm of the last minute that the ratio bears out."""
    last = np.full(drawn.count.shape[1], -np.inf)
    for t, (alarm, far) in enumerate(zip(surprise(drawn), ratio(drawn), strict=True)):
        last = np.where(alarm, t, last)
        yield far & (t - last <= 60)


def z(drawn: Drawn) -> Iterator[Bools]:
    """Far out by the fading deviation, three times in a row."""
    usual, row = _Fading(drawn.count.shape[1]), np.zeros(drawn.count.shape[1])
    for t, log in enumerate(_logs(drawn)):
        far = np.abs(log - usual.mean) > 4.0 * np.sqrt(usual.square)
        row = np.where(far & (t > 30), row + 1, 0)
        yield row >= 3
        usual.learn(log)


class _Fading:
    """A mean and a mean squared distance that follow with a half-life; at first they are plain."""

    def __init__(self, n: int) -> None:
        self.mean, self.square, self._seen = np.zeros(n), np.zeros(n), np.zeros(n)

    def learn(self, value: Floats) -> None:
        seen = np.isfinite(value)
        self._seen += seen
        part = np.maximum(1.0 / np.maximum(self._seen, 1.0), 1.0 - 0.5 ** (1.0 / HALF_LIFE_S))
        apart = np.where(seen, value - self.mean, 0.0)
        self.mean = self.mean + part * apart
        self.square = np.where(seen, self.square + part * (apart * apart * (1 - part) - self.square), self.square)


def _logs(drawn: Drawn) -> Iterator[Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(drawn.count > 0, drawn.total / drawn.count, np.nan)
    yield from np.log(np.maximum(mean, LEAST_BYTES))


DETECTORS: dict[str, Callable[[Drawn], Iterator[Bools]]] = {
    "live": live, "surprise": surprise, "surprise_floor": surprise_floor, "ratio": ratio, "z": z,
}  # fmt: skip


def measure(streams: int, first_seed: int) -> Result:
    """All worlds, all changes, all detectors."""
    result = Result("sizes", detail={"streams": streams, "first_seed": first_seed})
    for name, detector in DETECTORS.items():
        waits: dict[str, list[float]] = {change: [] for change in CHANGES}
        for number, (world, draw) in enumerate(WORLDS.items()):
            calm = np.array(list(detector(draw(np.random.default_rng((first_seed, number)), CALM_S, streams))))
            begun = int((calm[1:] & ~calm[:-1]).sum())
            result.figures.append(Figure(f"{name}_{world}_false_per_h", begun / streams / (CALM_S / 3600.0)))
            for change, apply in CHANGES.items():
                drawn = draw(np.random.default_rng((first_seed, number, 1)), KNOWN_S + LASTS_S, streams)
                apply(drawn, slice(KNOWN_S, None))
                odd = np.array(list(detector(drawn)))
                # What was told already when the change came tells nothing of it.
                told = odd[KNOWN_S:] & ~odd[KNOWN_S - 1]
                waits[change] += np.where(told.any(axis=0), told.argmax(axis=0) + 1.0, np.inf).tolist()
        for change, some in waits.items():
            found = [s for s in some if np.isfinite(s)]
            result.figures.append(Figure(f"{name}_{change}_recall", len(found) / len(some)))
            result.figures.append(Figure(f"{name}_{change}_s", float(np.median(found)) if found else np.nan, "s"))
    return result


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0)
    asked = parser.parse_args()
    show(measure(asked.streams, asked.first_seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
