"""What others would have told of the same worlds: outlier detection, static alerts, burn rates and a robust z-score.

They look at the same fleet and the same requests, behind Envoy's own least request with nobody to steer (which leaves
them more to see: who is slow keeps its traffic). Each is as its users write it, and gives, by second, whether it would
be firing, and at whom:

* `outliers`: Envoy's outlier detection as it ships: five failures in a row, and success rate (five hosts of a hundred
  requests in ten seconds, 1.9 standard deviations); a host is out for 30 s times how often it was.
* `5xx_1`, `5xx_5`: more than 1 or 5 % of the last minute's requests failed, for a minute, looked at each 15 s.
* `p99_1m`, `p99_5m`: the p99 of the last minute is above twice that of the last hour, for one or for five minutes.
* `burn`: the multi-window burn rates of Google's SRE workbook for 99.9 %: 14.4 over an hour and five minutes, or 6 over
  six hours and thirty minutes.
* `z_3.5`, `z_6`: of a second's mean latency or failures of an endpoint against its own last five minutes, by median and
  MAD, three seconds in a row.

Time before the world began counts as an hour, or as many as are asked for, without failures at the usual rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.watched import NODES, STRETCH_S, Floats, World
from dataplane.contract import Outcome, Requests, Telemetry
from dataplane.simulated.fleet_mesh import FleetMesh, Rhythm
from dataplane.simulated.logs import Wire

Bools = NDArray[np.bool_]

IN_A_ROW, EJECTED_S, LOOK_S = 5, 30.0, 10
FEWEST_HOSTS, FEWEST_REQUESTS, DEVIATIONS, MOST_EJECTED = 5, 100, 1.9, 0.1
EVERY_S = 15
EDGES = np.geomspace(1e-3, 60.0, 240)
OBJECTIVE = 0.999
Z_OVER_S, Z_FOR_S, MAD = 300, 3, 1.4826


@dataclass(frozen=True, slots=True)
class Seconds:
    """What a world showed, by second T and endpoint E."""

    count: Floats  # (T, E)
    failed: Floats  # (T, E)
    took_s: Floats  # (T, E) sum over what ended well
    spread: Floats  # (T, B) latencies of the service by `EDGES`
    ejected: Bools  # (T, E) by failures in a row


@dataclass(frozen=True, slots=True)
class Told:
    """When a rival fires, and at whom; no one where it speaks of the service."""

    fires: Bools  # (T,)
    at: Bools | None = None  # (T, E)


def watched(world: World, until_s: float) -> Seconds:
    """Live it behind least request, with nobody to steer."""
    seconds, many = int(until_s), len(world.behaviours)
    count, failed, took = np.zeros((3, seconds, many))
    spread, row = np.zeros((seconds, EDGES.size + 1)), np.zeros((NODES, many), np.int64)
    ejected, times = np.zeros((seconds, many), dtype=np.bool_), np.zeros(many)
    out_until = np.full(many, -np.inf)

    def heard(batch: Telemetry, now: float) -> None:
        if not isinstance(batch, Requests):
            return
        at = min(int(now), seconds - 1)
        bad = batch.outcome != Outcome.OK
        count[at] += np.bincount(batch.endpoint, minlength=many)
        failed[at] += np.bincount(batch.endpoint, bad, many)
        took[at] += np.bincount(batch.endpoint, np.where(bad, 0.0, batch.duration_s), many)
        spread[at] += np.bincount(np.searchsorted(EDGES, batch.duration_s), minlength=spread.shape[1])
        if not bad.any() and not row.any():
            return
        for node, e, worse in zip(batch.node.tolist(), batch.endpoint.tolist(), bad.tolist(), strict=True):
            row[node, e] = row[node, e] + 1 if worse else 0
            if row[node, e] == IN_A_ROW and out_until[e] <= now:
                times[e] += 1
                out_until[e] = now + EJECTED_S * times[e]
                ejected[at : int(out_until[e]) + 1, e] = True

    for number, begin_s in enumerate(np.arange(0.0, until_s, STRETCH_S).tolist()):
        end_s = min(begin_s + STRETCH_S, until_s)
        mesh = FleetMesh(
            world.topology,
            world.fleet(begin_s, end_s),
            world.trace(begin_s, end_s),
            np.random.default_rng((world.seed, number, 8)),
            lambda batch, begin_s=begin_s: heard(batch, begin_s + mesh.now),  # type: ignore[misc]  # noqa: B023
            wire=Wire(skew_s=(begin_s,)),
            rhythm=Rhythm(flush_s=world.flush_s, report_s=np.inf),
        )
        mesh.run(end_s - begin_s)
    return Seconds(count, failed, took, spread, ejected)


def told(seen: Seconds) -> dict[str, Told]:
    """What each rival says."""
    return {
        "outliers": _outliers(seen),
        "5xx_1": Told(_share_above(seen, 0.01)),
        "5xx_5": Told(_share_above(seen, 0.05)),
        "p99_1m": Told(_p99_doubled(seen, 60)),
        "p99_5m": Told(_p99_doubled(seen, 300)),
        "burn": Told(_burns(seen)),
        "z_3.5": _robust(seen, 3.5),
        "z_6": _robust(seen, 6.0),
    }


def _outliers(seen: Seconds) -> Told:
    out = seen.ejected.copy()
    for t in range(LOOK_S, len(out), LOOK_S):
        n, bad = seen.count[t - LOOK_S : t].sum(axis=0), seen.failed[t - LOOK_S : t].sum(axis=0)
        enough = n >= FEWEST_REQUESTS
        if enough.sum() < FEWEST_HOSTS:
            continue
        share = 1.0 - bad / np.maximum(n, 1.0)
        worst = share < share[enough].mean() - DEVIATIONS * share[enough].std()
        who = np.flatnonzero(enough & worst & ~out[t])
        room = max(1, int(MOST_EJECTED * len(n))) - int(out[t].sum())
        out[t : t + int(EJECTED_S), who[: max(room, 0)]] = True
    return Told(out.any(axis=1), out)


def _last(values: Floats, seconds: int) -> Floats:
    """The sum over so many seconds up to each. Shape as given."""
    total = np.cumsum(values, axis=0)
    out = total.copy()
    out[seconds:] -= total[:-seconds] if seconds < len(total) else total[:0]
    return np.asarray(out)


def _held(odd: Bools, seconds: int) -> Bools:
    """True for so long when looked at each `EVERY_S`, and until it is not."""
    looked = odd[::EVERY_S]
    need = seconds // EVERY_S
    run, out = 0, np.zeros(len(odd), dtype=np.bool_)
    for k, now in enumerate(looked.tolist()):
        run = run + 1 if now else 0
        out[k * EVERY_S : (k + 1) * EVERY_S] = run > need
    return out


def _share_above(seen: Seconds, share: float) -> Bools:
    count, failed = _last(seen.count.sum(axis=1), 60), _last(seen.failed.sum(axis=1), 60)
    return _held(failed > share * np.maximum(count, 1.0), 60)


def _p99_doubled(seen: Seconds, lasts_s: int) -> Bools:
    before = np.maximum(3600 - np.arange(1, len(seen.spread) + 1), 0)[:, None] * seen.spread[:60].mean(axis=0)
    lately, hour = _p99(_last(seen.spread, 60)), _p99(_last(seen.spread, 3600) + before)
    odd = lately > 2.0 * hour
    odd[:60] = False
    return _held(odd, lasts_s)


def _p99(spread: Floats) -> Floats:
    share = np.cumsum(spread, axis=1) / np.maximum(spread.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(EDGES[np.minimum((share < 0.99).sum(axis=1), EDGES.size - 1)])


def _burns(seen: Seconds) -> Bools:
    count, failed = seen.count.sum(axis=1), seen.failed.sum(axis=1)
    usual, now = count.mean(), np.arange(1, len(count) + 1)

    def rate(seconds: int) -> Floats:
        before = usual * np.maximum(seconds - now, 0)
        return np.asarray(_last(failed, seconds) / np.maximum(_last(count, seconds) + before, 1.0) / (1.0 - OBJECTIVE))

    fast = (rate(3600) > 14.4) & (rate(300) > 14.4)
    slow = (rate(21600) > 6.0) & (rate(1800) > 6.0)
    return _held(fast | slow, 0)


def _robust(seen: Seconds, limit: float) -> Told:
    with np.errstate(divide="ignore", invalid="ignore"):
        took = np.log(seen.took_s / (seen.count - seen.failed))
        share = seen.failed / seen.count
    odd = _z(took, 0.05) > limit
    odd |= _z(share, 0.005) > limit
    run = np.stack([odd[Z_FOR_S - 1 - k : len(odd) - k] for k in range(Z_FOR_S)]).all(axis=0)
    out = np.vstack([np.zeros((Z_FOR_S - 1, odd.shape[1]), dtype=np.bool_), run])
    return Told(out.any(axis=1), out)


def _z(values: Floats, least: float) -> Floats:
    """Distance from the median of the last minutes over the MAD, at least so much; both anew each ten seconds."""
    out = np.full(values.shape, np.nan)
    for begin in range(60, len(values), 10):
        past = values[max(0, begin - Z_OVER_S) : begin]
        known = np.isfinite(past).any(axis=0)
        middle, mad = np.full((2, values.shape[1]), np.nan)
        middle[known] = np.nanmedian(past[:, known], axis=0)
        mad[known] = np.nanmedian(np.abs(past - middle)[:, known], axis=0)
        out[begin : begin + 10] = (values[begin : begin + 10] - middle) / np.maximum(MAD * mad, least)
    return out
