"""How well the brain foretells live, by the second, beside plain ways: `python -m bench.demand_live`.

Services of `bench.demand_seconds` are told second by second to whoever foretells in the brain and to the plain
forecasters, and all are asked every half minute at the horizons that the brain tells. The truth is the mean of the step
that ends so far ahead: a second up to half a minute, ten to five minutes, a minute beyond; `--of-seconds` holds them
against single seconds everywhere, which only one of the plain ways means. Scored apart: who has been seen for some
minutes, for two hours and for six.

Errors and pinball losses are over those of a plain way, a geometric mean over kinds of traffic; coverage of the 90 %
interval is a plain mean, and stands beside pinball because wide intervals give it for nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.demand_data import read
from bench.demand_plain import PlainDemand, PlainOfSteps
from bench.demand_score import Floats, geometric
from bench.demand_seconds import HOUR_S, invented, stretches
from bench.result import CannotRunError, Figure, Result, say, show
from brain.demand import AHEAD_S, Foretells
from models.forecast import Forecaster

OURS, PLAIN, OF_STEPS = "ours", "plain", "plain of steps"
PHASES = {"10 min": (600, 2 * HOUR_S), "2 h": (2 * HOUR_S, 4 * HOUR_S), "6 h": (6 * HOUR_S, 8 * HOUR_S)}
"""What was seen before, and which seconds are foretold from."""
ASK_EVERY_S = 30
LEAST_COVERED = 0.8
LEVELS = (0.05, 0.5, 0.95)
COST_SERVICES, COST_TICKS = (1, 20, 200), 600
START_S = 1_800_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What was foretold at some seconds: shape (asked, services, 3 levels, horizons)."""

    at: list[int]
    said: Floats


def ask(forecaster: Forecaster, counts: Floats) -> Asked:
    """Tell all of it, second by second, and ask now and then."""
    forecaster.resize(counts.shape[1])
    at, said = [], []
    for second, came in enumerate(counts):
        forecaster.learn_many(came, float(START_S + second))
        if (second + 1) % ASK_EVERY_S == 0:
            told = forecaster.predict_many(np.array(AHEAD_S))
            at.append(second)
            said.append(np.stack([told.low, told.value, told.high], axis=1))
    return Asked(at, np.stack(said))


def truth(counts: Floats, at: Sequence[int], of_seconds: bool) -> Floats:
    """What came so far ahead of each second, shape (asked, services, horizons); NaN beyond the end."""
    total = np.concatenate([np.zeros((1, counts.shape[1])), np.cumsum(counts, axis=0)])
    out = np.full((len(at), counts.shape[1], len(AHEAD_S)), np.nan)
    for k, ahead in enumerate(AHEAD_S):
        width = 1 if of_seconds or ahead <= 30 else 10 if ahead <= 300 else 60
        end = np.array(at) + 1 + int(ahead)
        inside = end < len(total)
        out[inside, :, k] = (total[end[inside]] - total[end[inside] - width]) / width
    return out


def losses(said: Floats, came: Floats) -> dict[str, Floats]:
    """Means over what was asked, by service and horizon. An interval that is not told yet covers nothing."""
    known = np.isfinite(came)

    def mean(x: Floats) -> Floats:
        return np.asarray(np.where(known, x, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))

    low, value, high = np.moveaxis(said, 2, 0)
    out = {"error": mean(np.abs(came - value)), "coverage": mean((low <= came) & (came <= high))}
    for level, q in zip(LEVELS, (low, value, high), strict=True):
        missed = came - q
        out[f"pinball_p{round(100 * level)}"] = mean(np.maximum(level * missed, (level - 1) * missed))
    return out


def score(names: Sequence[str], asked: dict[str, Asked], came: Floats) -> dict[str, Any]:
    """Losses by phase, horizon, way and kind of traffic."""
    kinds, mine = list(dict.fromkeys(names)), np.array(names)
    at = np.array(asked[OURS].at)
    out: dict[str, Any] = {}
    for phase, (first, last) in PHASES.items():
        inside = (at >= first) & (at < last)
        lost = {way: losses(a.said[inside], came[inside]) for way, a in asked.items()}
        out[phase] = {
            f"{ahead:g} s": {
                way: {kind: {n: float(x[mine == kind, k].mean()) for n, x in by.items()} for kind in kinds}
                for way, by in lost.items()
            }
            for k, ahead in enumerate(AHEAD_S)
        }
    return out


def means(table: dict[str, Any]) -> dict[str, Any]:
    """Over all kinds: what we lose over each plain way, and what each way covers in the mean and at the least."""
    out: dict[str, Any] = {}
    for phase, by_horizon in table.items():
        out[phase] = {}
        for ahead, by_way in by_horizon.items():
            row: dict[str, Any] = {}
            for way, by_kind in by_way.items():
                covered = [lost["coverage"] for lost in by_kind.values()]
                row[way] = {"coverage": float(np.mean(covered)), "least": min(covered)}
                if way != OURS:
                    pairs = [(by_way[OURS][kind], lost) for kind, lost in by_kind.items()]
                    row[way] |= {n: geometric([o[n] / p[n] for o, p in pairs]) for n in pairs[0][0] if n != "coverage"}
            out[phase][ahead] = row
            say(
                f"{phase:7}{ahead:7}"
                + "".join(f" {w}: {' '.join(f'{x:.3f}' for x in r.values())};" for w, r in row.items())
            )
    return out


def figures(mean: dict[str, Any]) -> list[Figure]:
    """No worse than the plain ways at any horizon, and with an interval that holds."""
    out = []
    for phase, by_horizon in mean.items():
        for ahead, row in by_horizon.items():
            name = f"{phase}, {ahead} ahead: "
            out.append(Figure(name + "coverage", row[OURS]["coverage"], bar=LEAST_COVERED, at_most=False))
            for way in (PLAIN, OF_STEPS):
                lost = {n: x for n, x in row[way].items() if n not in ("coverage", "least")}
                out += [Figure(f"{name}{n} over {way}", x, bar=1.0) for n, x in lost.items()]
    return out


def cost(services: int, forecaster: Forecaster) -> float:
    """CPU of a tick a service, us: learn, then foretell at the brain's horizons."""
    forecaster.resize(services)
    arrivals = np.random.default_rng(5).poisson(50.0, (COST_TICKS, services)).astype(np.float64)
    began = time.process_time()
    for second, came in enumerate(arrivals):
        forecaster.learn_many(came, float(START_S + second))
        forecaster.predict_many(np.array(AHEAD_S))
    return (time.process_time() - began) / COST_TICKS / services * 1e6


def main(arguments: Sequence[str]) -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(prog="python -m bench.demand_live", description="How well the brain foretells.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103, 104], metavar="N")
    parser.add_argument(
        "--data", type=Path, nargs="*", metavar="FILE", help=".tbz2 of counts a second: stretches of it"
    )
    parser.add_argument("--of-seconds", action="store_true", help="hold forecasts against single seconds")
    asked = parser.parse_args(arguments)
    result, seconds = Result("demand_live"), PHASES["6 h"][1] + int(AHEAD_S[-1])
    try:
        names, counts = invented(seconds, asked.seeds)
        for name, series in read(asked.data or [], [1.0]).items():
            counts = np.concatenate([counts, stretches(series.values, seconds, asked.seeds)], axis=1)
            names += [name] * len(asked.seeds)
    except CannotRunError as error:
        say(str(error))
        return 1
    ways: dict[str, Forecaster] = {OURS: Foretells(0), PLAIN: PlainDemand(), OF_STEPS: PlainOfSteps()}
    told = {way: ask(forecaster, counts) for way, forecaster in ways.items()}
    table = score(names, told, truth(counts, told[OURS].at, asked.of_seconds))
    result.detail = {"seeds": asked.seeds, "mean": means(table), "kinds": table}
    result.figures = figures(result.detail["mean"])
    for services in COST_SERVICES:
        result.figures.append(
            Figure(f"us_a_service_a_tick_of_{services}", cost(services, Foretells(0)), "us", bar=50.0)
        )
        result.figures.append(Figure(f"us_a_service_a_tick_of_{services}_plain", cost(services, PlainDemand()), "us"))
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
