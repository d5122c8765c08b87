"""The score of one model's quantiles, over the last half of the requests.

* `pinball`: mean pinball loss over mean latency. It alone is a score: coverage can be right of a forecast that is not.
* `coverage`: the share of latencies at or below the quantile; `coverage_worst_tenth`: what a tenth of the endpoints
  fall short of.
* `median_error_percent`: of the median.
* `unsaid`: the share of requests that a model said nothing of; the fleet's last 500 are scored there instead.
* `diverged`: a quantile was infinite, or a hundred times the longest latency that anybody had seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.latency_data import Calls, Floats

LEVELS = (0.5, 0.9, 0.95, 0.99)

_FEW = 20
"""Requests of an endpoint below which its coverage says nothing."""


def score(calls: Calls, foretold: Floats, instead: Floats) -> dict[str, Any]:
    """Of quantiles (levels, requests), with NaN where the model said nothing and `instead` is scored."""
    half, levels = len(calls) // 2, np.array(LEVELS)[:, None]
    took, endpoint, said = calls.took_s[half:], calls.endpoint[half:], foretold[:, half:]
    silent = np.isnan(said).any(axis=0)
    longest = np.maximum.accumulate(calls.took_s)[half:]
    diverged = bool((said[:, ~silent] > 100 * longest[~silent]).any())
    over = took - np.where(silent, instead[:, half:], said)
    loss = np.where(over >= 0, levels * over, (levels - 1) * over)
    rows = np.bincount(endpoint)
    enough = rows >= _FEW
    by_endpoint = [np.bincount(endpoint, hit)[enough] / rows[enough] for hit in over <= 0]
    return {
        "pinball": _named(loss.mean(axis=1) / took.mean()),
        "coverage": _named((over <= 0).mean(axis=1)),
        "coverage_worst_tenth": _named([np.quantile(s, 0.1) if s.size else np.nan for s in by_endpoint]),
        "median_error_percent": float(np.median(100 * np.abs(over[0][took > 0]) / took[took > 0])),
        "unsaid": float(silent.mean()),
        "diverged": diverged,
    }


def line(row: dict[str, Any]) -> str:
    """A score for people: pinball at each level, coverage at each level, error of the median."""
    parts = [" ".join(f"{value:.4f}" for value in row[name].values()) for name in ("pinball", "coverage")]
    return f"{parts[0]} | {parts[1]} | {row['median_error_percent']:5.1f} %" + (" DIVERGED" if row["diverged"] else "")


def _named(values: Any) -> dict[str, float]:
    return {f"p{100 * level:g}": float(value) for level, value in zip(LEVELS, values, strict=True)}
