"""How well latencies are foretold, by us and by the plain ways: `python -m bench.latency [--data DIR]`.

Each request is foretold at its start by what had ended before, and taught when it ends; the last half of the requests
is scored (`bench.latency_score`). `DIR` holds CSV files with columns start, duration (both in seconds), endpoint,
service and class. Without it requests are made up (`bench.latency_traces`), from seeds that no setting was chosen by.

`--ablation` asks our model alone, with each expert taken out in turn.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from bench.latency_data import Calls, Floats, Ints, read_folder
from bench.latency_rivals import FLEET, Rival, rivals
from bench.latency_score import LEVELS, line, score
from bench.latency_traces import faults, steady
from bench.result import CannotRunError, Figure, Result, say, show
from models.latency import LatencyQuantiles
from models.latency_streams import EXPERTS

OURS = "LatencyQuantiles"
SEEDS = (31, 32, 33)
"""Of the made-up requests reported. Settings were chosen on 1 to 3, 11 to 16 and 21 to 23."""

ONE_BY_ONE = 5000
"""Requests that are put to the one-row verbs, to time them."""


def events(calls: Calls) -> tuple[Ints, Floats]:
    """Starts (`i`) and ends (`n + i`) in order, an end before a start at the same moment; and what was in flight."""
    n = len(calls)
    order = np.lexsort((np.arange(2 * n) < n, np.concatenate([calls.start_s, calls.start_s + calls.took_s])))
    in_flight, opened = np.zeros(n), np.zeros(calls.endpoint.max() + 1)
    for event in order.tolist():
        endpoint = calls.endpoint[event % n]
        if event < n:
            in_flight[event] = opened[endpoint]
        opened[endpoint] += 1 if event < n else -1
    return order, in_flight


def follow(rival: Rival, calls: Calls, order: Ints, in_flight: Floats) -> tuple[Floats, float]:
    """What a rival foretold, (levels, requests), NaN where it said nothing; and its microseconds of CPU a request."""
    n, out = len(calls), np.full((len(LEVELS), len(calls)), np.nan)
    keys = list(zip(calls.service.tolist(), calls.endpoint.tolist(), calls.klass.tolist(), strict=True))
    took, opened = calls.took_s.tolist(), in_flight.tolist()
    began = time.process_time()
    for event in order.tolist():
        i = event % n
        if event < n:
            said = rival.ask(keys[i], opened[i])
            if said is not None:
                out[:, i] = said
        else:
            rival.tell(keys[i], opened[i], took[i])
    return out, (time.process_time() - began) / n * 1e6


def ours(calls: Calls, experts: Sequence[str] = EXPERTS) -> tuple[Floats, float]:
    """The same of our model, replayed in one call."""
    model = LatencyQuantiles(4 * len(calls.streams), levels=LEVELS, experts=experts)
    began = time.process_time()
    said = model.replay(calls.ids, calls.start_s, calls.took_s)
    return said.value, (time.process_time() - began) / len(calls) * 1e6


def one_by_one_us(calls: Calls, order: Ints, in_flight: Floats) -> float:
    """Microseconds of CPU of a `predict_one` and a `learn_one`, over the first requests."""
    n, model = len(calls), LatencyQuantiles(4 * len(calls.streams), levels=LEVELS)
    columns = {name: column.tolist() for name, column in (calls.ids | {"in_flight": in_flight}).items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    taken = order[: 2 * ONE_BY_ONE].tolist()
    began = time.process_time()
    for event in taken:
        if event < n:
            model.predict_one(rows[event])
        else:
            model.learn_one(rows[event - n], calls.took_s[event - n])
    return 2 * (time.process_time() - began) / len(taken) * 1e6


def measure(calls: Calls) -> dict[str, Any]:
    """All models on one set of requests, with the mean latency that losses are divided by."""
    order, in_flight = events(calls)
    foretold = {name: follow(make(), calls, order, in_flight) for name, make in rivals(LEVELS).items()}
    one_by_one = one_by_one_us(calls, order, in_flight)  # first: it has what follows compiled
    one_by_one = min(one_by_one, one_by_one_us(calls, order, in_flight))
    ours(calls.take(slice(0, 50)))
    foretold[OURS] = ours(calls)
    table = {name: score(calls, said, foretold[FLEET][0]) | {"us": us} for name, (said, us) in foretold.items()}
    table[OURS]["us_one_by_one"] = one_by_one
    for name, row in table.items():
        say(f"{calls.name:12} {name:42} {line(row)} {row['us']:6.1f} us")
    return {"requests": len(calls), "mean_s": float(calls.took_s[len(calls) // 2 :].mean()), "models": table}


def ablate(calls: Calls) -> dict[str, Any]:
    """Our model whole, and without each expert."""
    instead = follow(rivals(LEVELS)[FLEET](), calls, *events(calls))[0]
    table = {}
    for out in (None, *EXPERTS):
        name = f"without {out}" if out else OURS
        table[name] = score(calls, ours(calls, [e for e in EXPERTS if e != out])[0], instead)
        say(f"{calls.name:12} {name:42} {line(table[name])}")
    return {"requests": len(calls), "models": table}


def figures(tables: Sequence[dict[str, Any]], kind: str) -> list[Figure]:
    """Means over sets of requests: our losses, and each beside that of the set's best rival at that level."""
    out, mine = [], [table["models"][OURS] for table in tables]
    for level in mine[0]["pinball"]:
        best = [min(m["pinball"][level] for name, m in t["models"].items() if name != OURS) for t in tables]
        ratios = [m["pinball"][level] / least for m, least in zip(mine, best, strict=True)]
        out.append(Figure(f"{kind}{level}_pinball_over_mean", fmean(m["pinball"][level] for m in mine)))
        out.append(Figure(f"{kind}{level}_over_best_rival", fmean(ratios), bar=1.0))
        out.append(Figure(f"{kind}{level}_coverage", fmean(m["coverage"][level] for m in mine)))
    out.append(Figure(f"{kind}us_a_prediction", fmean(m["us"] for m in mine), "us", bar=10.0))
    out.append(Figure(f"{kind}us_one_by_one", fmean(m["us_one_by_one"] for m in mine), "us", bar=50.0))
    return out


def main(arguments: Sequence[str]) -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description="How well latencies are foretold.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of CSV files instead of made-up requests")
    parser.add_argument("--ablation", action="store_true", help="our model alone, without each expert in turn")
    asked = parser.parse_args(arguments)
    try:
        if asked.data is None:
            kinds = {"steady_": [steady(s) for s in SEEDS], "faults_": [faults(s) for s in SEEDS]}
        else:
            kinds = {"": read_folder(asked.data)}
    except CannotRunError as error:
        say(str(error))
        return 1
    result = Result("latency")
    for kind, sets in kinds.items():
        tables = {calls.name: ablate(calls) if asked.ablation else measure(calls) for calls in sets}
        result.figures += [] if asked.ablation else figures(list(tables.values()), kind)
        result.detail |= tables
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
