"""How well arrivals are foretold, by us and by the plain ways: `python -m bench.demand --data FILE...`.

The protocol is that of `bench.demand_score`: every model learns online, one set of settings for all series. Files are
CSV (`timestamp,value`), or archives of one count a second, which are summed by each `--step`. Series of one step width
are learned side by side, as services are; they know nothing of each other.

`--ablation` asks our model alone, with each expert taken out in turn; `--cost` only times the ticks of the forecaster.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.demand_data import read
from bench.demand_rivals import follow, rivals
from bench.demand_score import HORIZONS, Floats, day, geometric, origins, score
from bench.result import CannotRunError, Figure, Result, say, show
from models.demand import Demand
from models.demand_steps import EXPERTS, StepDemand
from weirflow.config.units import parse_duration
from weirflow.counts import Counts

OURS, LAST, EWMA = "demand", "last value", ("ewma 0.3", "ewma 0.1")
BARS = {"1": 0.85, "12": 0.73}
FINE_S = 60.0
"""Up to this step we must not be over 2 % worse than the better of last value and EWMA."""

COST_SERVICES, COST_TICKS = 200, 1200


def foretell(series: Sequence[Counts], experts: Sequence[str] = EXPERTS) -> list[Floats]:
    """What our model foretold of series of one step width: an array as `follow` makes for each."""
    at = [origins(len(s.values)) for s in series]
    out = [np.full((3, len(HORIZONS), len(places)), np.nan) for places in at]
    place = [{int(step): k for k, step in enumerate(places)} for places in at]
    longest = max(len(s.values) for s in series)
    table = np.full((longest, len(series)), np.nan)
    for row, s in enumerate(series):
        table[: len(s.values), row] = s.values
    model = StepDemand(len(series), series[0].step_s, HORIZONS, experts=experts)
    for i, counts in enumerate(table):
        model.learn(counts, i)
        asked = [row for row in range(len(series)) if i in place[row]]
        if asked:
            said = model.predict()
            for row in asked:
                out[row][:, :, place[row][i]] = said.value[row], said.p90[row], said.p99[row]
    return out


def ours(series: dict[str, Counts], experts: Sequence[str] = EXPERTS) -> dict[str, Any]:
    """Our scores by series."""
    by_step: dict[float, list[str]] = defaultdict(list)
    for name, counts in series.items():
        by_step[counts.step_s].append(name)
    out = {}
    for names in by_step.values():
        for name, said in zip(names, foretell([series[n] for n in names], experts), strict=True):
            out[name] = score(series[name].values, series[name].step_s, said)
    return out


def measure(series: dict[str, Counts], river: bool = True) -> dict[str, Any]:
    """All models on all series: scores by series, then model. Without `river` the plain ways alone beside ours."""
    table: dict[str, Any] = {name: {OURS: scored} for name, scored in ours(series).items()}
    for name, counts in series.items():
        for rival, make in rivals(day(counts.step_s)).items():
            if not river and rival.startswith("river"):
                continue
            said = follow(make(), counts.values, origins(len(counts.values)))
            table[name][rival] = score(counts.values, counts.step_s, said)
        for model, scored in table[name].items():
            say(f"{name:32} {model:22}" + "".join(f" {scored[h]['mase']:9.3f}" for h in scored))
    return table


def relative(table: dict[str, Any]) -> dict[str, Any]:
    """Geometric means over series of each model's losses over those of the last value; coverage as a plain mean."""
    out: dict[str, Any] = {}
    for model in next(iter(table.values())):
        out[model] = {}
        for h in map(str, HORIZONS):
            rows = [(scored[model][h], scored[LAST][h]) for scored in table.values()]
            out[model][h] = {
                key: float(np.mean([mine[key] for mine, _ in rows]))
                if key.startswith("below")
                else geometric([mine[key] / last[key] for mine, last in rows if last[key] > 0])
                for key in rows[0][0]
                if key != "origins"
            }
    return out


def cost() -> Figure:
    """CPU of a tick of the whole forecaster, with the forecast of a tick: learn, then foretell at six horizons."""
    rng = np.random.default_rng(5)
    demand, ahead = Demand(COST_SERVICES), np.array([1.0, 5.0, 30.0, 120.0, 600.0, 1800.0])
    arrivals = rng.poisson(50.0, (COST_TICKS, COST_SERVICES)).astype(np.float64)
    began = time.process_time()
    for second, counts in enumerate(arrivals):
        demand.learn_many(counts, float(second))
        demand.predict_many(ahead)
    took = time.process_time() - began
    return Figure("us_a_service_a_tick", took / COST_TICKS / COST_SERVICES * 1e6, "us", bar=50.0)


def figures(table: dict[str, Any], series: dict[str, Counts]) -> list[Figure]:
    """Our means beside the bars, and at fine steps how we stand to the better of the plain ways."""
    mine = relative(table)[OURS]
    out = [Figure(f"mase_{h}_over_last_value", mine[h]["mase"], bar=BARS[h]) for h in mine]
    for name, scored in table.items():
        if series[name].step_s <= FINE_S:
            for h in mine:
                best = min(scored[rival][h]["mase"] for rival in (LAST, *EWMA))
                out.append(Figure(f"{name}: mase_{h}_over_plain", scored[OURS][h]["mase"] / best, bar=1.02))
    return out


def ablate(series: dict[str, Counts]) -> dict[str, Any]:
    """Our model whole and without each expert: MASE by series."""
    out = {}
    for left_out in (None, *EXPERTS):
        name = f"without {left_out}" if left_out else OURS
        scored = ours(series, [e for e in EXPERTS if e != left_out])
        out[name] = {s: {h: row["mase"] for h, row in by.items()} for s, by in scored.items()}
        means = [geometric([by[str(h)] for by in out[name].values()]) for h in HORIZONS]
        say(f"{name:24}" + "".join(f" {mean:.4f}" for mean in means))
    return out


def main(arguments: Sequence[str]) -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(prog="python -m bench.demand", description="How well arrivals are foretold.")
    parser.add_argument("--data", type=Path, nargs="+", metavar="FILE", help="CSV files, or .tbz2 of counts a second")
    parser.add_argument("--step", nargs="+", default=["5m"], metavar="STEP", help="of .tbz2 files: 10s, 1m, 5m")
    parser.add_argument("--ablation", action="store_true", help="our model alone, without each expert in turn")
    parser.add_argument("--no-river", action="store_true", help="leave river's out: they take long at fine steps")
    parser.add_argument("--cost", action="store_true", help="only time the ticks; needs no data")
    asked = parser.parse_args(arguments)
    result = Result("demand")
    try:
        if not asked.cost and not asked.data:
            raise CannotRunError("no series: name files with --data, or time the ticks alone with --cost")
        series = read(asked.data or [], [parse_duration(s) for s in asked.step])
        short = [name for name, counts in series.items() if len(counts.values) < 4 * HORIZONS[-1]]
        if short:
            raise CannotRunError(f"too short to score: {', '.join(short)}")
    except (CannotRunError, ValueError) as error:
        say(str(error))
        return 1
    if series and asked.ablation:
        result.detail["without"] = ablate(series)
    elif series:
        table = measure(series, river=not asked.no_river)
        result.figures += figures(table, series)
        result.detail |= {"over_last_value": relative(table), "series": table}
    if not asked.ablation:
        result.figures.append(cost())
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
