"""How far to trust an answer: what was held against the recording, and what the recording cannot know.

Before anything is answered, what was in force is simulated over the calibrated world and held against what was
recorded. A `Doubt` says why a question is not concluded and which recording would help. With any doubt nothing is
concluded, unless somebody insists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from dataplane.simulated.fleet import Floats, Ints
from weirflow.whatif.change import Question, Span
from weirflow.whatif.coverage import SEEN_WINDOW_S, Coverage
from weirflow.whatif.fidelity import WORST
from weirflow.whatif.tally import Interval, Tally
from weirflow.whatif.world import World

BOUNDS = {"p50_s": WORST.p50, "p90_s": WORST.p90, "p99_s": WORST.p99, "failed": WORST.failed}
"""How far the simulation of what was in force may be off: of times in parts of them, of failures in points."""
FEWEST_REQUESTS = 1_000
FEWEST_JUDGED = 100
FEWEST_ATTEMPTS = 100
SOME_SHARE = 0.01
"""Of the attempts, that an endpoint has to get in an answer for its past to matter."""
ANY_WAITED = 0.005
"""Of attempts: with fewer that had to wait, how many an endpoint can work on at once is a guess."""
FINER = (
    "record with times in microseconds: by Weirflow's own access log service, or in a text log by "
    "%START_TIME(%s.%6f)% and %COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"
)
MORE_LOAD = 1.05
MOST_LOST = 0.02


@dataclass(frozen=True, slots=True)
class Check:
    """What was in force, simulated, against what was recorded. `off` as in `BOUNDS`; None where one is unknown."""

    policy: str
    recorded: Mapping[str, float]
    simulated: Mapping[str, Interval]
    off: Mapping[str, float | None]

    @property
    def passed(self) -> bool:
        """Whether all that is known is within bounds."""
        return not self.beyond

    @property
    def beyond(self) -> tuple[str, ...]:
        """What is out of bounds."""
        return tuple(name for name, bound in BOUNDS.items() if abs(self.off[name] or 0.0) > bound)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why nothing is concluded, and which recording would help."""

    why: str
    mend: str


def check(world: World, policy: str, simulated: Mapping[str, Interval]) -> Check:
    """Hold a simulation of the whole recording against what its users felt."""
    seen = world.seen
    recorded = {"p50_s": seen.p50_s, "p90_s": seen.p90_s, "p99_s": seen.p99_s, "failed": seen.failed_share}
    off: dict[str, float | None] = {}
    for name, value in recorded.items():
        told = simulated[name].value
        if told is None or not np.isfinite(value) or (name.endswith("_s") and value <= 0.0):
            off[name] = None
        else:
            off[name] = told / value - 1.0 if name.endswith("_s") else told - value
    return Check(policy, recorded, {name: simulated[name] for name in recorded}, off)


def of_recording(found: Check, coverage: Coverage, world: World) -> tuple[Doubt, ...]:
    """What speaks against every answer from this recording."""
    out = []
    if found.beyond:
        told = ", ".join(f"{label(n)} {_off(n, found.off[n])} (bound {_off(n, BOUNDS[n])})" for n in found.beyond)
        out.append(
            Doubt(
                f"the simulation of what was in force is too far from what was recorded: {told}",
                "record a stretch in which endpoints are alike throughout (no deploys, no neighbours), with all "
                "nodes' logs; a longer one shows more of how each endpoint answers",
            )
        )
    if world.seen.requests < FEWEST_REQUESTS:
        many = max(2, round(FEWEST_REQUESTS / max(world.seen.requests, 1)))
        out.append(Doubt(f"the recording holds {world.seen.requests} requests of {world.service}: too few for a p99",
                         f"record {many} times as long"))  # fmt: skip
    if coverage.lost_share > MOST_LOST:
        out.append(
            Doubt(
                f"telemetry was lost: {coverage.lost_share:.1%} of what was sent to endpoints is not in the log",
                "record again with the access log's buffer flushed more often or made larger, until load reports and "
                "log agree",
            )
        )
    if coverage.dropped > MOST_LOST * max(coverage.attempts, 1):
        out.append(Doubt(f"{coverage.dropped} log entries could not be read",
                         "see 'weirflow record inspect' for the reasons, mend them and record again"))  # fmt: skip
    if coverage.damaged:
        out.append(Doubt(f"parts of the recording are damaged: {coverage.damaged[0]}", "use an undamaged copy"))
    return tuple(out)


def of_question(
    world: World,
    question: Question,
    coverage: Coverage,
    runs: Sequence[Sequence[Tally]],
    checked: Sequence[Tally],
) -> tuple[Doubt, ...]:
    """What speaks against the answer to this one.

    `runs` of each policy, by seed; `checked`: those of what was in force, in the world as it was recorded.
    """
    out = []
    requests = round(float(np.mean([t.requests.sum() for t in runs[0]])))
    shares = [_share(tallies) for tallies in runs]
    if requests < FEWEST_JUDGED:
        out.append(Doubt(f"{requests} requests are judged: too few", "judge a longer stretch, or record more"))
    trust, names = world.trust, world.fleet.names
    wanted = {s.endpoint for s in question.slow}
    for share in shares:
        wanted |= {names[e] for e in range(len(names)) if share[e] >= SOME_SHARE}
    rare = [n for n in names if n in wanted and trust.attempts[names.index(n)] < FEWEST_ATTEMPTS]
    if rare:
        tried = ", ".join(f"{n} ({trust.attempts[names.index(n)]} attempts)" for n in rare[:5])
        more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
        out.append(
            Doubt(
                f"hardly ever tried, and asked about: {tried}{more}",
                f"record with at least {FEWEST_ATTEMPTS} attempts at each: give it weight, or explore more",
            )
        )
    crowded = _more_than_seen(world, question, coverage)
    if crowded > MORE_LOAD and trust.blurred:
        out.append(
            Doubt(
                f"an endpoint would get up to {crowded:.2f} times what was ever seen, and times are told in steps too "
                "long to see who waited: how many it can work on at once is a guess",
                FINER,
            )
        )
    elif crowded > MORE_LOAD and _waited(trust.attempts, trust.waited_share) < ANY_WAITED:
        out.append(
            Doubt(
                f"an endpoint would get up to {crowded:.2f} times what was ever seen, and no request was ever seen to "
                "wait for one: how many it can work on at once is a guess",
                "record while the service is busy enough that some requests wait: at its daily peak, or with some "
                "endpoints taken out",
            )
        )
    elif trust.workers_high == inf:
        low = trust.workers_low
        before = _met(checked, low, runs[0][0].span)
        after = max(_met(tallies, low, runs[0][0].span) for tallies in runs)
        if after > max(ANY_WAITED, MORE_LOAD * before):
            out.append(
                Doubt(
                    f"{after:.1%} of the attempts would find {low} or more others at their endpoint, where "
                    f"{before:.1%} did: that endpoints can work on {low} at once was seen, and whether on more was not",
                    FINER
                    if trust.blurred
                    else "record for some minutes under the policy that is asked about, or while the service is busy "
                    "enough that some requests wait: at its daily peak, or with some endpoints taken out",
                )
            )
    return tuple(out)


def _share(tallies: Sequence[Tally]) -> Floats:
    """Of attempts, by endpoint."""
    attempts = np.sum([t.attempts.sum(axis=0) for t in tallies], axis=0)
    return np.asarray(attempts / max(float(attempts.sum()), 1.0))


def _met(tallies: Sequence[Tally], workers: int, span: Span) -> float:
    """The share of attempts in a span that find so many or more at their endpoint."""
    met = every = 0
    for t in tallies:
        middle_s = t.span.start_s + (np.arange(len(t.requests)) + 0.5) * t.span.lasts_s / len(t.requests)
        found = t.met[(middle_s >= span.start_s) & (middle_s < span.end_s)].sum(axis=0)
        met, every = met + int(found[workers:].sum()), every + int(found.sum())
    return met / max(every, 1)


def _more_than_seen(world: World, question: Question, coverage: Coverage) -> float:
    """The busiest ten seconds that are asked for, over the busiest seen, by endpoint; slowed ones by their work."""
    first = int(question.start_s // SEEN_WINDOW_S)
    last = int(min(question.end_s, world.duration_s) // SEEN_WINDOW_S) + 1
    window = coverage.per_s[first:last]
    peak = float(window.max()) if len(window) else coverage.peak_per_s
    there = len(world.fleet) - len(question.remove)
    more = sum(a.count * a.speed for a in question.add)
    crowd = len(world.fleet) / max(there + more, 1e-9) * question.load * peak / max(coverage.peak_per_s, 1e-9)
    return max([crowd, *(crowd * s.factor for s in question.slow)])


def _waited(attempts: Ints, share: Floats) -> float:
    """Of all attempts."""
    return float(np.average(share, weights=np.maximum(attempts, 1)))


def label(name: str) -> str:
    """A figure's name for people."""
    return name.removesuffix("_s").replace("_", " ")


def _off(name: str, value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:+.0%}" if name.endswith("_s") else f"{100.0 * value:+.1f} points"
