"""Why, in an operator's words and with the numbers: one text for the command line, the recording and the metrics.

A reason has two halves: what was seen ("p50 210 ms against peers' 21 ms over 34 attempts") and what was done about it
("weight 100 -> 10, held by step_down; without the guard: 4"). Of all that was seen it names the one thing that weighs
most: requests that hang before failures, failures before latency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from brain.decision import ArmView, EndpointView, ServiceView

if TYPE_CHECKING:
    from brain.course import Course
    from brain.decision import GainView
    from brain.guard import Guarded
    from brain.quantiles import Quantiles
    from dataplane.contract import Service
    from features.columns import EndpointFeatures, ServiceFeatures
    from models.base import Floats, Ints, Prediction

HANGING_S = 1.0
"""Requests open for longer than this with none finishing are named before all else."""


@dataclass(frozen=True, slots=True)
class Move:
    """What was done with one service's weights at a tick."""

    before: Ints
    after: Ints
    guarded: Guarded
    tiers: Ints  # in force
    held: str = ""  # why the step that the guard allows was not taken; "" when it was, or when there was none
    overdue_s: Floats | None = None  # how much longer than usual each has to work off what is open (`brain.drain`)
    young: Floats | None = None  # the part of its share that each is believed to bear at its age, beside its peers


class Row(NamedTuple):
    """One endpoint's figures; None for unknown."""

    capacity: float | None
    capacity_low: float | None
    capacity_high: float | None
    rate_per_s: float | None
    error_share: float | None
    latency_s: float | None
    p50_s: float | None
    p99_s: float | None
    in_flight: float | None
    samples: float | None
    stuck_s: float | None


def rows_of(endpoints: EndpointFeatures, prediction: Prediction) -> list[Row]:
    """Every endpoint slot's row: arrays become plain numbers once a tick, and all who explain read them."""
    names = ("rate_per_s", "error_share", "latency_s", "p50_s", "p99_s", "in_flight", "samples", "stuck_s")
    columns = (prediction.value, prediction.low, prediction.high, *(getattr(endpoints, name) for name in names))
    return list(map(Row, *map(plain, columns)))


def plain(values: Floats) -> list[float | None]:
    """A list with None where a value is not finite."""
    return [x if x - x == 0 else None for x in values.tolist()]


def service_view(
    course: Course,
    move: Move,
    endpoints: tuple[EndpointView, ...],
    arms: tuple[ArmView, ArmView],
    gain: GainView,
    **more: Any,
) -> ServiceView:
    """Where a service's course stands, its endpoints, its arms (static, adaptive), its gain, and what `more` says."""
    return ServiceView(
        id=course.service.id,
        name=course.service.name,
        mode=str(course.mode),
        state=course.state,
        share_percent=course.share,
        commanded_share_percent=course.commanded,
        reason=move.guarded.trouble or course.reason,
        endpoints=endpoints,
        static=arms[0],
        adaptive=arms[1],
        gain=gain,
        limit=course.limit.total if course.limit is not None else None,
        limited=course.limited,
        latency_goal_s=course.limit.goal_s if course.limit is not None else None,
        retries_answered=course.retries.answered,
        retry_budget_percent=course.retries.percent if course.share > 0.0 else None,
        shed_percent=course.shed_percent,
        **more,
    )


def endpoint_views(
    service: Service, move: Move, rows: list[Row], quantiles: Quantiles | None = None
) -> tuple[EndpointView, ...]:
    """All endpoints of one service as the operator sees them. `rows` by endpoint id."""
    guarded, total = move.guarded, float(move.after.sum())
    mine = [rows[e.id] for e in service.endpoints]
    peers = peers_middle([row.p50_s for row in mine])
    befores, afters, steps, alones, tiers = (
        a.tolist() for a in (move.before, move.after, guarded.weights, guarded.unguarded, move.tiers)
    )
    overdue = [0.0] * len(mine) if move.overdue_s is None else move.overdue_s.tolist()
    young = [1.0] * len(mine) if move.young is None else move.young.tolist()
    views = []
    for i, (e, row) in enumerate(zip(service.endpoints, mine, strict=True)):
        after, alone, rail = afters[i], alones[i], guarded.rails[i]
        done = action(befores[i], after, steps[i], alone, rail, move.held)
        views.append(
            EndpointView(
                id=e.id,
                address=e.address,
                zone=e.zone,
                static_weight=e.weight,
                weight=after,
                proposed=alone,
                share=after / total,
                capacity=row.capacity,
                capacity_low=row.capacity_low,
                capacity_high=row.capacity_high,
                rate_per_s=row.rate_per_s or 0.0,
                error_share=row.error_share,
                latency_s=row.latency_s,
                p50_s=row.p50_s,
                p99_s=row.p99_s,
                in_flight=row.in_flight,
                samples=row.samples or 0.0,
                reason=f"{seen(row, peers[i])}{queue(overdue[i])}{youth(young[i])}; {done}",
                guard=rail,
                tier=tiers[i],
                quantiles=None if quantiles is None else quantiles.of(e.id),
                route_quantiles={} if quantiles is None else quantiles.by_route(e.id),
            )
        )
    return tuple(views)


def seen(row: Row, peers_p50_s: float | None) -> str:
    """What weighs most, and what is done while it is too little to know a capacity by."""
    too_few = "" if row.capacity is not None else "; too few attempts to learn from: the operator's weight"
    return evidence(row, peers_p50_s) + too_few


def queue(overdue_s: float) -> str:
    """What is said of a queue that is let drain."""
    return f", its queue {duration(overdue_s)} too long" if overdue_s > 0 else ""


def youth(part: float) -> str:
    """What is said of who has just joined."""
    return f", new: believed to bear {percent(part)} of its share yet" if part < 0.95 else ""


def evidence(row: Row, peers_p50_s: float | None) -> str:
    """What weighs most of all that was seen."""
    stuck, errors, p50 = row.stuck_s, row.error_share, row.p50_s
    attempts = f"{row.samples or 0.0:.0f} attempts"
    if stuck is not None and stuck > HANGING_S:
        return f"{row.in_flight or 0.0:.0f} requests open and none finished for {stuck:.1f} s"
    if errors is not None and errors > 0.01:
        return f"fails {percent(errors)} of {attempts}"
    if p50 is None:
        return "nothing finished lately"
    if peers_p50_s is None:
        return f"p50 {duration(p50)} over {attempts}"
    return f"p50 {duration(p50)} against peers' {duration(peers_p50_s)} over {attempts}"


def action(before: int, after: int, step: int, alone: int, rail: str, held: str) -> str:
    """What was done with one weight, what held it, and what it would be without the guard."""
    if rail == "trouble":
        return f"weight {after} held, the service is in trouble"
    if after != before:
        text = f"weight {before} -> {after}"
    elif held and step != after:
        text = f"weight {after} kept, would go to {step}: {held}"
    else:
        text = f"weight {after} kept"
    if rail:
        text += f", held by {rail}" if rail != "cleaned" else ", the proposal was no usable number"
        text += f"; without the guard: {alone}"
    return text


def arm_views(services: ServiceFeatures) -> list[tuple[ArmView, ArmView]]:
    """Both arms of every service slot, static first."""
    rate, p50, p99, failed, total = (
        getattr(services, name).tolist() for name in ("requests_per_s", "p50_s", "p99_s", "failed_share", "total")
    )

    def arm(s: int, a: int) -> ArmView:
        return ArmView(
            _known(rate[s][a]) or 0.0, _known(p50[s][a]), _known(p99[s][a]), _known(failed[s][a]), total[s][a]
        )

    return [(arm(s, 0), arm(s, 1)) for s in range(len(rate))]


def _known(x: float) -> float | None:
    return x if x - x == 0 else None


def peers_middle(values: Sequence[float | None]) -> list[float | None]:
    """For each the lower median of the others that are known; None where there is no other."""
    ordered = sorted(x for x in values if x is not None)
    k = len(ordered)
    if k == 0:
        return [None] * len(values)
    all_of_them, i = ordered[(k - 1) // 2], (k - 2) // 2
    # Without a known value the ranks from its own on move down by one.
    return [
        all_of_them if x is None else None if k == 1 else ordered[i + 1] if x <= ordered[i] else ordered[i]
        for x in values
    ]


def duration(seconds: float) -> str:
    """Three figures at most: 340 us, 21 ms, 1.25 s."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 0.01:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2f} s"


def size(count: float) -> str:
    """Three figures at most: 340 bytes, 21 kB, 1.25 MB."""
    for unit, of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= of:
            return f"{count / of:.3g} {unit}"
    return f"{count:.0f} bytes"


def percent(share: float) -> str:
    """Whole percents from 10 up, a tenth below."""
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"
