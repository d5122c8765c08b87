"""Who is blamed for the issues of a shop: `python -m bench.petshop --data FOLDER` (see `bench.petshop_data`).

The ranking is `models.blame`, as shipped: the three rows from an issue's beginning on. The days without an issue are of
other months, so a stream must have left both the band of those and the row just before the issue. Whose trouble was
seen is known, and stands above all others as if it called them; who else calls whom is not (but for functions and what
they run for), so traffic, which speaks against callers, is left out. Nodes that end in `_remote` or `_client` are calls
as their caller sees them and are nobody's to blame; they are no candidates, in no row.

Beside it: an order at random, and the largest shift of a mean in standard deviations of the two days, from their mean
and from the row before the issue.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.petshop_data import Floats, Issue, read_folder
from bench.result import CannotRunError, Figure, Result, say, show
from models.blame import Blame, mean, shifts
from models.streams import Kind

AT = (1, 3, 5)
WINDOW, LEVEL = 3, 1
SEEDS = 200
VIEWS = ("_remote", "_client")
RUNS = "::Function"
"""A node of this name runs what the node without it was called for."""

Ranker = Callable[[Issue], list[str]]


def by_blame(issue: Issue) -> list[str]:
    """Our ranking."""
    values = issue.values[: issue.began + WINDOW]
    moved = shifts(values, issue.streams, issue.began, WINDOW, baseline=issue.began, level=LEVEL)
    moved[issue.streams == Kind.RATE] = np.nan
    nodes = issue.nodes
    calls = [(issue.seen_at, n) for n in range(len(nodes)) if issue.seen_at >= 0 and n != issue.seen_at]
    calls += [(nodes.index(n.removesuffix(RUNS)), i) for i, n in enumerate(nodes) if n.removesuffix(RUNS) in nodes[:i]]
    model = Blame(issue.owner, issue.streams, len(issue.nodes), np.array(calls, dtype=np.int64).reshape(-1, 2))
    return [issue.nodes[c.service] for c in model.rank(moved, least=0.0)]


def by_mean_shift(issue: Issue) -> list[str]:
    """By the largest shift from the days without an issue."""
    return _by_shift(issue, issue.values[: issue.base])


def by_change(issue: Issue) -> list[str]:
    """The same from the row just before the issue."""
    return _by_shift(issue, issue.values[issue.began - LEVEL : issue.began])


def _by_shift(issue: Issue, before: Floats) -> list[str]:
    past = issue.values[: issue.base]
    moved = np.abs(mean(issue.values[issue.began : issue.began + WINDOW]) - mean(before))
    spread = np.sqrt(mean(np.square(past - mean(past))))
    score = np.zeros(len(issue.nodes))
    with np.errstate(divide="ignore", invalid="ignore"):
        np.maximum.at(score, issue.owner, np.nan_to_num(np.where(spread > 0, moved / spread, 0.0)))
    return [issue.nodes[n] for n in sorted(range(score.size), key=lambda n: (-score[n], n))]


def places(issues: Sequence[Issue]) -> dict[str, list[Floats]]:
    """By way of ranking, the places of each issue's cause: 1 is right, infinite when it is not recorded at all."""
    rng = np.random.default_rng(11)
    out: dict[str, list[Floats]] = {"blame": [], "mean shift over std": [], "change over std": [], "random": []}
    for issue in issues:
        candidates = [n for n in issue.nodes if not n.endswith(VIEWS)]
        for name, rank in (("blame", by_blame), ("mean shift over std", by_mean_shift), ("change over std", by_change)):
            out[name].append(_place([n for n in rank(issue) if n in candidates], issue.cause))
        shuffled = [list(rng.permutation(candidates)) for _ in range(SEEDS)]
        out["random"].append(np.concatenate([_place(order, issue.cause) for order in shuffled]))
    return out


def _place(order: Sequence[str], cause: str) -> Floats:
    return np.array([order.index(cause) + 1.0 if cause in order else np.inf])


def recall(some: Sequence[Floats]) -> dict[str, float]:
    """Of these issues, the share whose cause is among the first so many."""
    return {f"recall@{k}": round(float(np.mean([(p <= k).mean() for p in some])), 3) for k in AT}


def main(arguments: Sequence[str]) -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(prog="python -m bench.petshop", description="Blame over the issues of PetShop.")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="<split>/<scenario>/<issue> below it"
    )
    asked = parser.parse_args(arguments)
    try:
        issues = read_folder(asked.data)
    except CannotRunError as error:
        say(str(error))
        return 1
    result = Result("petshop", detail={"issues": len(issues)})
    table: dict[str, Any] = {}
    groups: dict[str, list[int]] = defaultdict(list)
    for i, issue in enumerate(issues):
        for group in ("all", issue.scenario, f"{issue.scenario}, {issue.kind}"):
            groups[group].append(i)
    for name, each in places(issues).items():
        table[name] = {g: recall([each[i] for i in of]) | {"issues": len(of)} for g, of in groups.items()}
        for group, row in table[name].items():
            say(f"{name:22} {group:32} {row}")
    result.detail["recall"] = table
    result.figures += [Figure(f"recall@{k}", table["blame"]["all"][f"recall@{k}"]) for k in AT]
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
