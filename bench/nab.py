"""How surprising values are told: `python -m bench.nab --data FOLDER`, over files of the Numenta Anomaly Benchmark.

`Surprise` goes over every file row by row, one set of settings for all; files of one season are learned side by side,
as streams are, and know nothing of each other. Each score is told twice: with the threshold that is best for the very
files it is judged by (a peek, as the benchmark's own leader board has it), and with the threshold of each half of the
files taken from the other half. Beside it are the rule of five lines and river's detectors.

`--ablation` asks our model alone, whole and with each part taken out.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.nab_data import File, profiles, read
from bench.nab_rivals import QUIET, RIVALS, quietly, said
from bench.nab_score import Floats, Profile, best, curve, honest, in_turn, peeked, splits
from bench.result import CannotRunError, Figure, Result, say, show
from models.surprise import ALARM, LAGS, MANNERS, PARTS, Surprise

OURS = "surprise"
BAR = 60.0
SPLITS = 40


def ours(files: Sequence[File], parts: Sequence[str] = PARTS) -> list[Floats]:
    """Our score of every row of every file."""
    by_season: dict[int | None, list[int]] = defaultdict(list)
    for k, file in enumerate(files):
        by_season[file.steps_per_day].append(k)
    out = [np.zeros(len(file.values)) for file in files]
    for steps_per_day, own in by_season.items():
        model = Surprise(len(own), steps_per_day, parts=parts)
        table = np.full((max(len(files[k].values) for k in own), len(own)), np.nan)
        for column, k in enumerate(own):
            table[: len(files[k].values), column] = files[k].values
        for i, row in enumerate(table):
            score = model.learn_many(row).score
            for column, k in enumerate(own):
                if i < len(out[k]):
                    out[k][i] = score[column]
    return out


def judge(files: Sequence[File], scores: Sequence[Floats], costs: dict[str, Profile]) -> dict[str, Any]:
    """A detector's row: by profile with a peek, honest, and honest over random halves."""
    row: dict[str, Any] = {}
    halves = splits(len(files), SPLITS, np.random.default_rng(7))
    for name, profile in costs.items():
        curves = [curve(score, file.windows, profile) for file, score in zip(files, scores, strict=True)]
        many = [honest(curves, profile, half) for half in halves]
        row[name] = {
            "peek": peeked(curves, profile),
            "peek_threshold": best(curves)[0],
            "honest": honest(curves, profile, in_turn(len(files))),
            "honest_over_random_halves": float(np.mean(many)),
            "worst_of_random_halves": float(np.min(many)),
        }
    first = next(iter(costs.values()))
    row["as_shipped"] = as_shipped(files, scores, first)
    return row


def as_shipped(files: Sequence[File], scores: Sequence[Floats], profile: Profile) -> float:
    """The score of the first profile with the threshold that `weirflow detect` has."""
    curves = [curve(score, file.windows, profile) for file, score in zip(files, scores, strict=True)]
    gain = sum(c.at(ALARM) for c in curves)
    return 100.0 * gain / ((profile.found + profile.missed) * max(sum(c.windows for c in curves), 1))


def tell(name: str, row: dict[str, Any]) -> None:
    """A line of progress."""
    said_of = (r for r in row.values() if isinstance(r, dict))
    say(f"{name:36}" + "".join(f"  {r['peek']:6.2f} {r['honest']:6.2f}" for r in said_of))


def compare(files: Sequence[File], costs: dict[str, Profile]) -> dict[str, Any]:
    """Us and the rivals."""
    table = {OURS: judge(files, ours(files), costs)}
    tell(OURS, table[OURS])
    for name, rival in RIVALS.items():
        scores = [said(rival, file.values) for file in files]
        for words, own in ((name, scores), (f"{name}, quiet {QUIET}", [quietly(s) for s in scores])):
            table[words] = judge(files, own, costs)
            table[words].pop("as_shipped")
            tell(words, table[words])
    return table


def ablate(files: Sequence[File], costs: dict[str, Profile]) -> dict[str, Any]:
    """Ours whole, without each part, and with one look at the last values alone."""
    sets = {OURS: PARTS} | {f"without {p}": tuple(q for q in PARTS if q != p) for p in PARTS}
    sets |= {f"{p} alone": (p, *MANNERS) for p in LAGS}
    table = {}
    for name, parts in sets.items():
        table[name] = judge(files, ours(files, parts), costs)
        tell(name, table[name])
    return table


def figures(row: dict[str, Any]) -> list[Figure]:
    """Ours beside the bar, which is on the honest standard score."""
    out = []
    for name in (n for n, r in row.items() if isinstance(r, dict)):
        bar = BAR if name == next(iter(row)) else None
        out.append(Figure(f"{name}_honest", row[name]["honest"], "NAB", bar=bar, at_most=False))
        out.append(Figure(f"{name}_peek", row[name]["peek"], "NAB, threshold chosen on the same files"))
    return out


def main(arguments: Sequence[str]) -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(prog="python -m bench.nab", description="How surprising values are told.")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with data/*/*.csv and labels/")
    parser.add_argument("--ablation", action="store_true", help="our model alone, without each part in turn")
    asked = parser.parse_args(arguments)
    try:
        files, costs = read(asked.data), profiles(asked.data)
    except CannotRunError as error:
        say(str(error))
        return 1
    result = Result("nab")
    table = ablate(files, costs) if asked.ablation else compare(files, costs)
    result.figures += figures(table[OURS])
    windows, rows = sum(len(f.windows) for f in files), sum(len(f.values) for f in files)
    result.detail |= {"files": len(files), "rows": rows, "windows": windows, "detectors": table}
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
