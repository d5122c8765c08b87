"""What a policy sees: one service at one tick, as arrays aligned with the service's members.

A policy never sees the whole mesh, a clock or a setting that it does not need. What it cannot know is NaN here, never a
made-up number: a policy has to say what it does about the unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from brain.warm import Warm
    from dataplane.contract import Service
    from features.columns import EndpointFeatures
    from models.base import Prediction

Floats = NDArray[np.float64]
SLACK = 1.25
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One service's endpoints now. Every array has shape (n,), in the order of the topology's members."""

    service: Service
    members: Ints  # endpoint ids
    prior: Floats  # the operator's weights, mean 1: the capacity ratio to believe in until something is learned
    promised: Floats  # the same, less what is too much for who is young (`brain.warm`)
    in_force: Ints  # weights by the plan in force
    capacity: Floats  # attempts a second each is believed to bear; NaN when not ready
    capacity_low: Floats  # of a 90 % interval
    capacity_high: Floats
    count: Floats  # samples behind the capacity
    error_share: Floats  # NaN without samples
    service_s: Floats  # latency of an average request at an idle endpoint; NaN when not known
    service_low_s: Floats  # of a 90 % interval
    service_high_s: Floats
    latency_s: Floats  # mean latency lately, queueing included; NaN without samples
    good: Floats  # decayed count of the attempts behind that
    tick_good: Floats  # attempts since the last tick whose latency was believed
    tick_log_work: Floats  # sum of the logarithms of the seconds that those worked, waiting left out
    rate_per_s: Floats  # attempts that finished lately
    ok_per_s: Floats  # of those, well
    in_flight: Floats  # open now by the load reports; NaN when no node is fresh
    quiet_s: Floats  # since the last attempt that ended there; inf when there was none
    lanes: float  # requests an endpoint of this service works on at once; NaN while nothing shows a queue
    lanes_high: float  # upper end of its interval; NaN while no number is told
    ready: bool  # enough samples and time at this service for its figures to be acted on
    crossing_share: Floats | float = 0.0  # of the traffic that would cross a zone to get there
    newcomer: float = 1.0  # what one that joined now would bear, of what it will
    most_per_s: float = 0.0  # what may be asked of it in a second soon (`brain.swells`); 0: no more than is
    disputed: bool = False  # its nodes contradict each other and nobody can say who is right: move nothing


def columns(endpoints: EndpointFeatures, capacities: Prediction, service_times: Prediction, warm: Warm) -> Floats:
    """What `look` cuts from, of all endpoints: a row a figure.

    No claim is above what `witnessed` allows; whoever was young when it was seen is taken to have grown since.
    """
    most = witnessed(endpoints.ok_per_s, endpoints.latency_s, endpoints.lanes)
    over = np.maximum(1.0, np.nan_to_num(capacities.value / most, nan=1.0)) / warm.grown
    return np.stack(
        (
            capacities.value / over,
            capacities.low / over,
            capacities.high / over,
            capacities.count,
            # The settled one knows at once of a change, the decayed one is never far off for long: the worse counts.
            np.fmax(endpoints.error_share, endpoints.settled_error_share),
            service_times.value * over,
            service_times.low * over,
            service_times.high * over,
            endpoints.latency_s,
            endpoints.samples * (1.0 - endpoints.error_share),
            endpoints.rate_per_s,
            endpoints.ok_per_s,
            endpoints.in_flight,
            endpoints.quiet_s,
            endpoints.disputed,
            warm.part,
            endpoints.tick_good,
            endpoints.tick_log_work,
        )
    )


def look(
    service: Service,
    members: Ints,
    in_force: Ints,
    prior: Floats,
    figures: Floats,
    *,
    lanes: float,
    lanes_high: float,
    ready: bool,
    crossing_share: Floats | float = 0.0,
    most_per_s: float = 0.0,
    newcomer: float = 1.0,
) -> View:
    """Cut one service out of the `columns` of all endpoints. `prior` as of `prior_of`."""
    (
        capacity,
        low,
        high,
        count,
        errors,
        work,
        work_low,
        work_high,
        latency,
        good,
        rate,
        ok,
        inflight,
        quiet,
        disputed,
        part,
        tick_good,
        tick_log_work,
    ) = figures[:, members]
    return View(
        service=service,
        members=members,
        prior=prior,
        promised=prior * part,
        in_force=in_force,
        capacity=capacity,
        capacity_low=low,
        capacity_high=high,
        count=count,
        error_share=errors,
        service_s=work,
        service_low_s=work_low,
        service_high_s=work_high,
        latency_s=latency,
        good=good,
        tick_good=tick_good,
        tick_log_work=tick_log_work,
        rate_per_s=rate,
        ok_per_s=ok,
        in_flight=inflight,
        quiet_s=quiet,
        lanes=lanes,
        lanes_high=lanes_high,
        ready=ready,
        crossing_share=crossing_share,
        most_per_s=most_per_s,
        newcomer=newcomer,
        disputed=bool(disputed.any()),
    )


def witnessed(ok_per_s: Floats, latency_s: Floats, lanes: Floats) -> Floats:
    """The most that each endpoint can bear, by what it did lately and how long that took. Shape (n,); inf when unknown.

    By the arrival theorem a request that finds `L` before it in a queue of rate `mu` stays `(L + 1) / mu`, and by
    Little's law `L` is rate times stay: so `mu` is the rate plus one over the stay, or `lanes` over it where as many
    queues stand side by side (`lanes` as the capacity itself was reckoned with). At an idle endpoint that is too much
    by what it does; in saturation it is exact, and there a model that tells waiting from work may be far off. `SLACK`
    is for the luck in both figures.
    """
    with np.errstate(all="ignore"):
        most = SLACK * (ok_per_s + lanes / latency_s)
    return np.where(np.isfinite(most) & (most > 0), most, np.inf)


def prior_of(service: Service) -> Floats:
    """The operator's weights scaled to a mean of 1. Shape (n,); weights below 1 count as 1, as Envoy has it."""
    weights = np.array([max(1, e.weight) for e in service.endpoints], dtype=np.float64)
    return weights / weights.mean() if len(weights) else weights


def known_sum(values: Floats) -> float:
    """The sum of what is known (`np.nansum`, which costs five times this on a handful of rows)."""
    return float(values[values == values].sum())


def middle(values: Floats) -> float:
    """The median (NaN of nothing). `np.median` costs ten times this on a handful of rows."""
    if not len(values):
        return float("nan")
    ordered = np.sort(values)
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else float(0.5 * (ordered[half - 1] + ordered[half]))
