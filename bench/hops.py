"""A dependency two hops down on real Envoy: is its trouble one incident, and is it blamed and not those who call it.

    python -m bench.hops --seeds 2 --first-seed 0     # JSON, a line for each fault and seed, then one over all
    python -m bench.hops --fault slow                 # the faults whose name has that in it

`shop` calls `cart`, and that calls `store`, each call through the Envoy beside the endpoint that makes it: a sidecar
for every endpoint of `shop` and `cart`, and an edge to which an open-loop client sends `RATE_PER_S` requests a second.
Each service does its own work, then calls; those in front have more endpoints. No worker waits for a call, so callers
show the trouble of `store` as latency and as 502. The brain steers all three services, and is asked twice a second
which incidents are open. After `CALM_S`, and up to 5 s more by the seed, `store` gets its fault for `FAULT_S`; then it
is well, and the run goes on for `AFTER_S` at least and until no incident is open, `LAST_S` at most. Of each run:

* `incidents` that were told from the fault on, and `before` of calm; more than one, and any of calm, is one too many;
* `detect_s`: from the fault to the first incident; a tick is a second;
* `cause`: 1 when the first cause, as the fault ends, is `store` or an endpoint of it;
* `exact`: 1 when it is of the right kind as well, and names the endpoint where one is bad or else the service;
* `cause_at_opening`: as `cause`, but of the first that was told; `cause_share`: of all that was told, to the end;
* `named`: 1 when the labels, which an incident keeps whatever is found later, name `store`;
* `ended_s`: from the mend to the end of the last incident; below 0 when it ended while the fault was there.

`detail` has each change of what was told, in seconds from the fault, and what the client saw. `noisy` warns that the
client was itself late: the machine was too busy.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import numpy as np

from bench.result import CannotRunError, Figure, Result, say, show
from dataplane.envoy.process import EnvoyError
from weirflow.demo import mesh
from weirflow.demo.answers import figures
from weirflow.demo.backends import Backend, Backends, BackendSpec
from weirflow.demo.load import Load, Stream
from weirflow.demo.processes import Brain, NeverHappenedError, Running, running_on

CHAIN = ("shop", "cart", "store")
ROOT, EDGE = CHAIN[-1], "edge"
ENDPOINTS, WORK_MS = {"shop": 5, "cart": 4, "store": 3}, {"shop": 10.0, "cart": 10.0, "store": 20.0}
RATE_PER_S = 60.0
CALM_S, FAULT_S, AFTER_S, LAST_S = 70.0, 30.0, 20.0, 60.0
ASK_EVERY_S = 0.5
LATE_MS = 20.0
"""p99 of the client's own lateness from which a run is noisy."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong with the first `bad` endpoints of `store`, in a backend's own words."""

    name: str
    bad: int
    faults: Mapping[str, float]
    kind: str = ""  # right as the first cause


ALL = ENDPOINTS[ROOT]
TROUBLES = (
    Trouble("all_slow_5", ALL, {"slow": 5.0}, "ServiceSlow"),
    Trouble("one_slow_10", 1, {"slow": 10.0}, "EndpointSlow"),
    Trouble("all_fail_20", ALL, {"error_share": 0.2}, "ServiceFailing"),
    Trouble("one_fails_half", 1, {"error_share": 0.5}, "EndpointFailing"),
    Trouble("none", 0, {}),
)
WELL = {"slow": 1.0, "error_share": 0.0}


@dataclass(frozen=True, slots=True)
class Open:
    """An incident as it was told at a moment."""

    id: str
    cause: str  # the first: kind and place
    service: str  # of its labels


Log = Sequence[tuple[float, tuple[Open, ...]]]
"""What was open at each time that the brain was asked, seconds from the fault."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one run. Times in seconds, NaN for never; shares NaN when nothing was told."""

    incidents: int
    before: int
    detect_s: float
    cause: float
    exact: float
    cause_at_opening: float
    cause_share: float
    named: float
    ended_s: float


def told(log: Log, mend_s: float, right: str, places: set[str]) -> Told:
    """`right`: the first cause, kind and place, that is exactly right; `places`: those that are of the root."""
    before = {i.id for at, some in log if at <= 0.0 for i in some}
    mine = [(at, [i for i in some if i.id not in before]) for at, some in log if at > 0.0]
    known = {i.id: i for _, some in reversed(mine) for i in some}  # as each was first told
    during = [i for at, some in mine if at <= mend_s for i in some]
    last = max((at for at, some in mine if some), default=math.nan)
    ended = min((at for at, _ in mine if at > last), default=math.nan)
    hits = [float(_of(i, places)) for i in during]
    every = [float(_of(i, places)) for _, some in mine for i in some]
    first = next(iter(during), None)
    return Told(
        incidents=len(known),
        before=len(before),
        detect_s=next((at for at, some in mine if some), math.nan),
        cause=hits[-1] if hits else math.nan,
        exact=float(during[-1].cause == right) if during else math.nan,
        cause_at_opening=hits[0] if hits else math.nan,
        cause_share=sum(every) / len(every) if every else math.nan,
        named=float(first.service == ROOT) if first else math.nan,
        ended_s=ended - mend_s,
    )


def _of(incident: Open, places: set[str]) -> bool:
    return incident.cause.partition(" ")[2] in places


def result(trouble: Trouble, seed: int, run: Told, detail: Mapping[str, Any], late_ms: float) -> Result:
    """A line. Where nothing went wrong, only what was told for nothing has a bar."""
    found = [Figure("before", float(run.before), bar=0.0)]
    if not trouble.bad:
        found.append(Figure("incidents", float(run.incidents), bar=0.0))
    else:
        found += [
            Figure("incidents", float(run.incidents), bar=1.0),
            Figure("detect_s", run.detect_s, "s", bar=3.0),
            Figure("cause", run.cause, bar=1.0, at_most=False),
            Figure("exact", run.exact),
            Figure("cause_at_opening", run.cause_at_opening),
            Figure("cause_share", run.cause_share),
            Figure("named", run.named),
            Figure("ended_s", run.ended_s, "s"),
        ]
    return Result("hops", found, late_ms > LATE_MS, {"fault": trouble.name, "seed": seed} | dict(detail))


def over_all(runs: Sequence[tuple[Trouble, Told]]) -> Result:
    """The bars of the whole: the right cause first in nine of ten, one incident each."""
    ill = [run for trouble, run in runs if trouble.bad]
    n = max(len(ill), 1)
    detected = [run.detect_s for run in ill if math.isfinite(run.detect_s)]
    return Result(
        "hops",
        [
            Figure("found", len(detected) / n, bar=1.0, at_most=False),
            Figure("cause", sum(run.cause == 1.0 for run in ill) / n, bar=0.9, at_most=False),
            Figure("exact", sum(run.exact == 1.0 for run in ill) / n),
            Figure("named", sum(run.named == 1.0 for run in ill) / n),
            Figure("incidents", float(max((run.incidents for run in ill), default=0)), "at most in a run", bar=1.0),
            Figure("detect_s", median(detected) if detected else math.nan, "s", bar=3.0),
            Figure(
                "false",
                float(sum(run.before + (0 if trouble.bad else run.incidents) for trouble, run in runs)),
                "incidents of calm",
                bar=0.0,
            ),
        ],
        detail={"faults": [f"{trouble.name}: {run.incidents}, {run.detect_s:.1f} s" for trouble, run in runs]},
    )


async def suffer(trouble: Trouble, seed: int) -> tuple[Told, Result]:
    """One run, on proxies of its own."""
    specs = [
        BackendSpec(f"{service}-{e}", workers=8, service_ms=WORK_MS[service], seed=100 * seed + 10 * k + e)
        for k, service in enumerate(CHAIN)
        for e in range(ENDPOINTS[service])
    ]
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-", ignore_cleanup_errors=True) as name:
        async with Backends(specs) as backends:
            of = {s: [b for b in backends if b.name.startswith(f"{s}-")] for s in CHAIN}
            callers = [b.name for s in CHAIN[:-1] for b in of[s]]
            nodes = dict.fromkeys((EDGE, *callers), 1)

            def document(xds_port: int, admin_port: int) -> dict[str, Any]:
                addresses = {s: [b.address for b in some] for s, some in of.items()}
                out = mesh.document(addresses, nodes, xds_port, admin_port, adaptive={"mode": "adaptive"})
                for node in out["nodes"]:
                    if node["name"] != EDGE:
                        node["service"] = node["name"].partition("-")[0]
                return out

            async with running_on(Path(name), document, nodes) as parts:
                return await lived(trouble, seed, of, parts)


async def lived(
    trouble: Trouble, seed: int, of: Mapping[str, Sequence[Backend]], parts: Running
) -> tuple[Told, Result]:
    """Calm, fault and what comes after, on what runs."""
    for caller, callee in pairwise(CHAIN):
        for backend in of[caller]:
            await backend.calls(parts.ports[backend.name], f"/{callee}")
    random = np.random.default_rng((seed, 17))
    calm_s = CALM_S + float(random.uniform(0.0, 5.0))
    bad = of[ROOT][: trouble.bad]
    log: list[tuple[float, tuple[Open, ...]]] = []
    async with Load([Stream(CHAIN[0], EDGE, parts.ports[EDGE], RATE_PER_S, path=f"/{CHAIN[0]}")], random) as load:
        begin = load.now()
        await watch(parts.brain, load, log, begin + calm_s)
        fault = load.now()
        for b in bad:
            await b.turn(**trouble.faults)
        await watch(parts.brain, load, log, fault + FAULT_S)
        mend = load.now()
        for b in bad:
            await b.turn(**WELL)
        await watch(parts.brain, load, log, mend + AFTER_S)
        while log and log[-1][1] and load.now() < mend + LAST_S:
            await watch(parts.brain, load, log, load.now() + ASK_EVERY_S)
        end = load.horizon()
        seen = load.answers()
    since = [(at - fault, some) for at, some in log]
    places = {ROOT, *(b.address for b in of[ROOT])}
    right = f"{trouble.kind} {bad[0].address if len(bad) == 1 else ROOT}"
    run = told(since, mend - fault, right, places)
    late_ms = 1000.0 * float(np.nanquantile(seen.late_s, 0.99))
    names = {b.address: b.name for some in of.values() for b in some}
    detail = {
        "told": changes(since, names),
        "mend_s": round(mend - fault, 1),
        "calm": figures(seen.between(begin + CALM_S / 2, fault)).p50_ms,
        "fault": figures(seen.between(fault, mend)).p50_ms,
        "failed": {
            "calm": share_failed(seen.between(begin, fault).failed),
            "fault": share_failed(seen.between(fault, mend).failed),
            "after": share_failed(seen.between(mend, end).failed),
        },
        "requests": len(seen),
        "sent_late_p99_ms": round(late_ms, 2),
    }
    detail["p50_ms"] = {"calm": detail.pop("calm"), "fault": detail.pop("fault")}
    return run, result(trouble, seed, run, detail, late_ms)


def share_failed(failed: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Of these; 0 of none."""
    return round(float(failed.mean()), 4) if failed.size else 0.0


async def watch(brain: Brain, load: Load, log: list[tuple[float, tuple[Open, ...]]], until: float) -> None:
    """Ask which incidents are open, time and again until then. A brain that does not answer in time is asked again."""
    while (left := until - load.now()) > 0.0:
        await asyncio.sleep(min(ASK_EVERY_S, left))
        try:
            decision = await brain.decision() or {}
        except (TimeoutError, aiohttp.ClientError):
            continue
        some = decision.get("incidents", ())
        log.append((load.now(), tuple(Open(i["id"], i["causes"][0], i["labels"].get("service", "")) for i in some)))


def changes(log: Log, names: Mapping[str, str]) -> list[str]:
    """A line each time that something else is told: when, and each incident's id, labelled service and cause."""
    out, last = [], ""
    for at, some in log:
        words = [(i.id, i.service, *i.cause.split(" ", 1)) for i in some]
        said = "; ".join(f"{n} of {service}: {kind} {names.get(place, place)}" for n, service, kind, place in words)
        if said != last:
            out.append(f"{at:.1f} s: {said or 'nothing'}")
        last = said
    return out


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--fault", default="", help="only those whose name has this in it")
    asked = parser.parse_args()
    runs = []
    try:
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            for trouble in (t for t in TROUBLES if asked.fault in t.name):
                run, line = asyncio.run(suffer(trouble, seed))
                say(f"hops: {trouble.name}, seed {seed}: {run}")
                show(line)
                runs.append((trouble, run))
    except (CannotRunError, EnvoyError, NeverHappenedError, RuntimeError) as error:
        say(f"bench.hops cannot run: {error}")
        return 1
    if len(runs) > 1:
        show(over_all(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
