"""What is found of faults injected into a real mesh, and who is blamed: `python -m bench.nezha --data FOLDER`.

`FOLDER` holds days in the layout of `bench.nezha_data`; the protocol of alarms is that of `bench.nezha_score`. The calm
end of a day, recorded after its faults, is played first. All alarms see the same streams, a row a minute.

Settings are told apart by how they were chosen: `cross-validated`, each quarter of a day by what did best on the other
three; `in sample`, the best of all in hindsight, which proves nothing; and `as shipped`, the ones in the code, which
were chosen on Nezha's 2022-08-22. On another day the last is the figure that counts, on that one it is in sample too.

Services are ranked with the time of injection given. `--host` adds CPU and network, which a mesh does not see.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench.nezha_data import STEP_S, Bools, Day, Fault, read_folder
from bench.nezha_rivals import SIGMAS, at_random, by_mean_shift, largest_sigma
from bench.nezha_score import FOLDS, Told, best, crossed, folds, told
from bench.result import CannotRunError, Figure, Result, say, show
from models.alarm import AlarmSettings, MeshAlarm, Oddness
from models.blame import BASELINE, NEAR, WINDOW, Blame, shifts

AT = (1, 3, 5)
BARS = {1: 0.781, 3: 0.938, 5: 0.969}
F1_BAR, FALSE_BAR = 0.68, 0.44

Ranker = Callable[[Day, Fault], list[int]]


def alarm_grid() -> Iterator[AlarmSettings]:
    """All settings of the alarm that are tried."""
    for length, top in product((240, 480), (1, 2, 3)):
        for bound, evidence, most in product((2.0, 3.0, 4.0), (1.0, 1.5, 2.0, 3.0), (1.0, 1.5, 3.0)):
            yield AlarmSettings(length=length, top=top, bound=bound, evidence=evidence, most=most)


def oddness(day: Day, settings: AlarmSettings) -> Any:
    """How odd each service is, by row: the part of the alarm that is dear, and shared by many settings."""
    model = Oddness(day.owner, day.kind, len(day.services), settings)
    return np.array([model.learn_many(row) for row in day.values])


def alarms(day: Day, settings: AlarmSettings, odd: Any) -> Bools:
    """By row, whether the alarm is raised."""
    model, requests = MeshAlarm(day.owner, day.kind, len(day.services), STEP_S, settings), day.requests
    return np.array([model.judge(*row) for row in zip(odd, day.values, requests, strict=True)])


def detect(days: Sequence[Day]) -> tuple[dict[str, Told], dict[str, Any]]:
    """The table of alarms, and the settings that were chosen."""
    grid, runs, known = list(alarm_grid()), [], {}
    for settings in grid:
        key = (settings.length, settings.width, settings.top)
        if key not in known:
            say(f"nezha: band of {settings.length} minutes, top {settings.top}")
            known[key] = [oddness(day, settings) for day in days]
        runs.append([alarms(day, settings, odd) for day, odd in zip(days, known[key], strict=True)])
    largest = [largest_sigma(day) for day in days]
    rival = [[row > sigma for row in largest] for sigma in SIGMAS]
    ours, chosen = crossed(days, runs)
    theirs, sigmas = crossed(days, rival)
    scores, sigma_scores = [_all(days, run) for run in runs], [_all(days, run) for run in rival]
    shipped = AlarmSettings()
    plain = [alarms(day, shipped, oddness(day, shipped)) for day in days]
    table = {
        "ours, as shipped": _all(days, plain),
        "ours, cross-validated": ours,
        "ours, in sample": scores[best(scores)],
        "3 sigma of 120 min, largest": sigma_scores[0],
        "the same, threshold cross-validated": theirs,
        "the same, threshold in sample": sigma_scores[best(sigma_scores)],
        "control: always": _all(days, [np.ones(day.time_s.size, dtype=np.bool_) for day in days]),
    }
    for share in (0.05, 0.2):
        each = [_all(days, list(run)) for run in zip(*(at_random(day, share) for day in days), strict=True)]
        table[f"control: random {share:.0%}"] = sum(each[1:], start=each[0])
    return table, {
        "tried": len(grid),
        "chosen_by_fold": [str(grid[i]) for i in chosen],
        "best_in_sample": str(grid[best(scores)]),
        "sigmas_by_fold": [SIGMAS[i] for i in sigmas],
        "f1_of_all_tried": [round(float(q), 3) for q in np.quantile([s.f1 for s in scores], (0, 0.25, 0.5, 0.75, 1))],
    }


def _all(days: Sequence[Day], run: Sequence[Bools]) -> Told:
    each = [told(day, alarm) for day, alarm in zip(days, run, strict=True)]
    return sum(each[1:], start=each[0])


def by_blame(window: int = WINDOW, baseline: int = BASELINE, near: float = NEAR) -> Ranker:
    """Our ranking with these settings: sees nothing after its window."""

    def rank(day: Day, fault: Fault) -> list[int]:
        began = day.began(fault)
        moved = shifts(day.values[: began + window], day.kind, began, window, baseline)
        model = Blame(day.owner, day.kind, len(day.services), day.calls, near)
        return [c.service for c in model.rank(moved, least=0.0)]

    return rank


def localise(days: Sequence[Day]) -> dict[str, Any]:
    """By way of ranking the place of each faulty service: 1 is right."""
    faults = [(day, fault) for day in days for fault in day.faults]
    fold = np.concatenate([folds(day)[1] + FOLDS * i for i, day in enumerate(days)])
    grid = list(product((3, 4, 5), (240, 480), (0.7, 0.8, 0.9, 1.0)))
    tried = np.array([[_place(by_blame(*s), *f) for f in faults] for s in grid])
    crossed_places = np.zeros(len(faults), dtype=np.int64)
    for k in np.unique(fold):
        crossed_places[fold == k] = tried[_best_ranker(tried[:, fold != k]), fold == k]
    return {
        "ours, as shipped": np.array([_place(by_blame(), *f) for f in faults]),
        "ours, cross-validated": crossed_places,
        "ours, in sample": tried[_best_ranker(tried)],
        "mean shift over std": np.array([_place(by_mean_shift, *f) for f in faults]),
    }


def _place(rank: Ranker, day: Day, fault: Fault) -> int:
    return rank(day, fault).index(fault.service) + 1


def _best_ranker(places: Any) -> int:
    return max(range(len(places)), key=lambda i: (*((places[i] <= k).sum() for k in AT), -i))


def _line(name: str, t: Told) -> str:
    rates = f"P {t.precision:.2f} R {t.recall:.2f} F1 {t.f1:.3f}, {t.an_hour:.2f} false blocks/h, {t.minutes:.1f} min"
    return f"{name:38} {rates} {t.by_kind()}"


def _row(t: Told) -> dict[str, Any]:
    numbers = {"precision": t.precision, "recall": t.recall, "f1": t.f1, "false_blocks_an_hour": t.an_hour}
    rounded = {k: round(v, 3) for k, v in numbers.items()}
    return rounded | {"median_minutes": round(t.minutes, 2), "found_by_kind": t.by_kind()}


def main(arguments: Sequence[str]) -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(prog="python -m bench.nezha", description="Alarms and blame over injected faults.")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="days in Nezha's layout")
    parser.add_argument("--host", action="store_true", help="with CPU and network of each pod")
    asked = parser.parse_args(arguments)
    try:
        days = read_folder(asked.data, asked.host)
    except CannotRunError as error:
        say(str(error))
        return 1
    result = Result("nezha", detail={"days": [day.name for day in days]})
    table, result.detail["settings"] = detect(days)
    result.detail["alarms"] = {name: _row(t) for name, t in table.items()}
    for name, t in table.items():
        say(_line(name, t))
    for how in ("as shipped", "cross-validated"):
        t = table[f"ours, {how}"]
        result.figures.append(Figure(f"f1 ({how})", t.f1, bar=F1_BAR, at_most=False))
        result.figures.append(Figure(f"false_blocks_an_hour ({how})", t.an_hour, bar=FALSE_BAR))
    places, kinds = localise(days), np.array([fault.kind for day in days for fault in day.faults])
    result.detail["blame"] = {}
    for name, place in places.items():
        share = {f"as@{k}": round(float((place <= k).mean()), 3) for k in AT}
        kind = {str(k): f"{(place[kinds == k] <= 1).sum()}/{(kinds == k).sum()}" for k in np.unique(kinds)}
        result.detail["blame"][name] = share | {"first_by_kind": kind}
        say(f"{name:38} {share} {kind}")
        if name.startswith("ours") and "in sample" not in name:
            how = name.removeprefix("ours, ")
            result.figures += [
                Figure(f"as@{k} ({how})", float((place <= k).mean()), bar=BARS[k], at_most=False) for k in AT
            ]
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
