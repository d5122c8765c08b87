"""Whether Envoy's picks follow the weights that the brain commands, at 2, 30 and 300 requests/s, within 2 points.

Every push restarts Envoy's schedule in every worker, and an endpoint of low weight is then picked late: without a gate
a service of few requests never picks it at all. So the brain is the real one, its gate and all, and its weights move:
one endpoint turns three times slower and back, again and again. Then the brain is frozen, so that nothing is pushed:
the control.

One Envoy of two workers, four endpoints of unlike speed. Which weights were in force at each pick is in the recording.
The commanded share of an endpoint is the mean, over the picks, of its share by the weights in force; the realised one
is its part of the picks. The figure is the largest difference of the two, over endpoints, in points (percent of picks).

At 2 requests/s one service has too few picks to tell, so sixteen alike run side by side and their picks are pooled.
Were each pick an independent draw, the standard error of a share of one half among N picks would be 50 / sqrt(N)
points; it is printed (`draw_error_points`) and below the bar, and a weighted schedule is more even than draws are.
Backends answer in milliseconds, so that few requests are in flight: LEAST_REQUEST bends the weights by what is in
flight, and means to.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.result import CannotRunError, Figure, Result, say, show
from dataplane.contract import Arm, Requests
from dataplane.envoy.process import EnvoyError
from weirflow.demo.backends import Backends, BackendSpec
from weirflow.demo.load import Load, Stream
from weirflow.demo.processes import NeverHappenedError, Running, running, until
from weirflow.recording import Recording, read

BAR_POINTS = 2.0
SERVICES = {2.0: 16, 30.0: 2, 300.0: 1}  # requests a second: how many services of that rate
SERVICE_MS = (1.0, 2.0, 4.0, 8.0)
NODE = "bench"
SWING_S = 20.0  # one endpoint slow for this long, then not for as long
SWING_FACTOR = 3.0


@dataclass(slots=True)
class Tally:
    """The picks of one rate in one stretch: realised and commanded, by endpoint position."""

    picks: int = 0
    pushes: int = 0
    realised: np.ndarray = field(default_factory=lambda: np.zeros(len(SERVICE_MS)))
    commanded: np.ndarray = field(default_factory=lambda: np.zeros(len(SERVICE_MS)))

    def off_points(self) -> float:
        """The largest difference of the two, in points; NaN without picks."""
        return float(np.abs(self.realised - self.commanded).max() / self.picks * 100) if self.picks else float("nan")

    def draw_error_points(self) -> float:
        """What chance alone would do if picks were independent draws."""
        return 50 / self.picks**0.5 if self.picks else float("nan")


async def measure(live_s: float, frozen_s: float) -> Result:
    """Run both stretches, then read the recording."""
    names = {f"r{rate:g}-{i:02d}": rate for rate, count in SERVICES.items() for i in range(count)}
    specs = [BackendSpec(f"b{i}", workers=200, service_ms=ms, sigma=0.3, seed=i) for i, ms in enumerate(SERVICE_MS)]
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with Backends(specs) as backends:
            services = {service: [b.address for b in backends] for service in names}
            more = {"adaptive": {"mode": "adaptive"}, "recording": "recording"}
            async with running(folder, services, {NODE: 2}, **more) as parts:
                port = parts.ports[NODE]
                streams = [Stream(s, NODE, port, rate, path=f"/{s}") for s, rate in names.items()]
                async with Load(streams, np.random.default_rng(3), ready=32) as load:
                    marks = await stretches(parts, backends, load, live_s, frozen_s)
                    failed = int(load.answers().failed.sum())
        found = tallies(read(next((folder / "recording").iterdir())), marks)
    return result(found, failed, live_s, frozen_s)


async def stretches(
    parts: Running, backends: Backends, load: Load, live_s: float, frozen_s: float
) -> tuple[float, float, float]:
    """The weights swing for `live_s`, then hold for `frozen_s`. Returns the brain's times of start, freeze and end."""

    async def all_adaptive() -> bool:
        decision = await parts.brain.decision()
        return decision is not None and all(s["state"] == "adaptive" for s in decision["services"])

    say("waiting until every service is adaptive")
    await until(all_adaptive, 90.0, "every service is adaptive")
    say(f"weights moving, {live_s:g} s")
    start, end = (await parts.brain.status())["now"], load.now() + live_s
    slow = False
    while load.now() < end:
        slow = not slow
        await backends[0].slow(SWING_FACTOR if slow else 1.0)
        await asyncio.sleep(min(SWING_S, max(0.0, end - load.now())))
    await parts.brain.freeze()
    frozen = (await parts.brain.status())["now"]
    say(f"weights held, {frozen_s:g} s")
    await asyncio.sleep(frozen_s)
    return start, frozen, (await parts.brain.status())["now"]


def tallies(recording: Recording, marks: tuple[float, float, float]) -> dict[tuple[float, str], Tally]:
    """Add up a recording: by rate, and `live` or `frozen`. Picks under no plan are left out: nobody commanded them."""
    start, frozen, end = marks
    out = {(rate, stretch): Tally() for rate in SERVICES for stretch in ("live", "frozen")}
    rate_of: dict[int, float] = {}
    members: dict[int, np.ndarray] = {}
    shares: dict[int, dict[int, np.ndarray]] = {}  # by plan version, then service
    for call in recording.calls():
        stretch = "live" if call.now < frozen else "frozen"
        if call.verb == "started":  # the mesh never changes, so nothing is moved later
            topology = call.argument.topology
            rate_of = {s.id: float(s.name.removeprefix("r").partition("-")[0]) for s in topology.services}
            members = topology.members
        elif call.verb == "decided" and (plan := call.argument["plan"]) is not None:
            for service, decided in plan["services"].items():
                weights = np.array([decided["weights"][str(e)] for e in members[int(service)]], dtype=float)
                shares.setdefault(plan["version"], {})[int(service)] = weights / weights.sum()
            if start <= call.now < end:
                for view in call.argument["services"]:
                    out[rate_of[view["id"]], stretch].pushes += view["pushed"]
        elif call.verb == "told" and isinstance(call.argument, Requests) and start <= call.now < end:
            mine = call.argument.take((call.argument.arm == Arm.ADAPTIVE) & (call.argument.endpoint >= 0))
            for (service, plan), picks in Counter(zip(mine.service.tolist(), mine.plan.tolist(), strict=True)).items():
                if service not in shares.get(plan, {}):
                    continue
                rows = mine.endpoint[(mine.service == service) & (mine.plan == plan)]
                tally = out[rate_of[service], stretch]
                tally.picks += picks
                tally.commanded += picks * shares[plan][service]
                tally.realised += (rows[:, None] == members[service]).sum(axis=0)
    return out


def result(found: dict[tuple[float, str], Tally], failed: int, live_s: float, frozen_s: float) -> Result:
    """The bar is on the live stretch; the frozen one is the control beside it."""
    figures = []
    for rate in SERVICES:
        live, frozen = found[rate, "live"], found[rate, "frozen"]
        figures.append(Figure(f"off_at_{rate:g}_per_s", live.off_points(), "points, weights moving", BAR_POINTS))
        figures.append(Figure(f"off_at_{rate:g}_per_s_held", frozen.off_points(), "points, weights held"))
    return Result(
        "split",
        figures,
        noisy=any(t.draw_error_points() > BAR_POINTS for t in found.values()),
        detail={
            "live_s": live_s,
            "frozen_s": frozen_s,
            "failed_requests": failed,
            "stretches": {
                f"{rate:g}/s {stretch}": {
                    "picks": t.picks,
                    "pushes": t.pushes,
                    "services": SERVICES[rate],
                    "realised_percent": [round(x, 2) for x in (t.realised / max(1, t.picks) * 100).tolist()],
                    "commanded_percent": [round(x, 2) for x in (t.commanded / max(1, t.picks) * 100).tolist()],
                    "draw_error_points": round(t.draw_error_points(), 2),
                }
                for (rate, stretch), t in found.items()
            },
        },
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--live", type=float, default=120.0, help="seconds with the weights moving")
    parser.add_argument("--frozen", type=float, default=60.0, help="seconds with the weights held")
    told = parser.parse_args()
    try:
        show(asyncio.run(measure(told.live, told.frozen)))
    except (CannotRunError, EnvoyError, NeverHappenedError, RuntimeError) as error:
        say(f"bench.split cannot run: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
