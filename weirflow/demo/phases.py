"""The story in six phases. Each waits for what it needs, measures, tells, and claims; none sleeps for luck.

Times count from the fault to the end of the first second of traffic in which the condition holds.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import numpy as np

from dataplane.contract import Arm
from weirflow.demo.processes import until
from weirflow.demo.stage import Stage
from weirflow.demo.table import diff, moves, seconds, share

SHARE_PERCENT = 95.0
SERVES = 0.8  # of a second's traffic: an arm that has this much is taken to be in force
SLOW_FACTOR = 10.0
BACK = 0.8  # of what is its own (`Stage.own_share`): an endpoint with this much is taken to be recovered


async def shadow(stage: Stage) -> None:
    """Everything is decided, nothing is applied: what would change, as a diff with reasons."""
    stage.tell.heading(1, "Shadow: everything is decided, nothing is applied.")
    with stage.tell.waiting("learning what each endpoint bears"):
        await until(lambda: _decided(stage), stage.pace.learn_deadline_s, "every service is past learning")
    seen = await stage.window("shadow", stage.pace.window_s)
    with stage.tell.waiting("until differences are sure enough to act on"):
        # Equal until shown otherwise: on a busy machine that takes a moment longer.
        await until(lambda: _would(stage), stage.pace.settle_deadline_s, "", must=False)
    services = await _decided(stage)
    stage.tell.show(diff(services, {b.address: b.name for b in stage.backends}))
    would = [e for s in services for e in s["endpoints"] if moves(s, e)]
    stage.claim(
        "shadow says what it would change, with a reason for each endpoint",
        bool(would) and all(e["reason"] for e in would),
        f"{len(would)} of {sum(len(s['endpoints']) for s in services)} endpoints would get another share",
    )
    off_static = int((seen.arm != Arm.STATIC).sum())
    stage.claim("shadow applies nothing", off_static == 0, f"{off_static} of {len(seen)} requests off the static arm")


async def adaptive(stage: Stage) -> None:
    """The learned weights serve 95 % of the traffic; the holdout stays on the static rules."""
    stage.tell.heading(2, f"Adaptive: {SHARE_PERCENT:g} % of the traffic; the rest is the holdout.")
    start = stage.load.now()
    for service in stage.load.services:
        stage.tell.line(f"$ weirflow mode {service} adaptive --share {SHARE_PERCENT:g}", "bold")
        await stage.brain.mode(service, "adaptive", SHARE_PERCENT)
    with stage.tell.waiting("waiting for the proxies, and for the weights to settle"):
        took = await stage.adaptive_share_passes(start, stage.pace.switch_deadline_s, above=SERVES)
        # The weights start from the operator's and move in steps. Measure once they are near what is proposed.
        await until(lambda: _near(stage), stage.pace.settle_deadline_s, "", must=False)
    seen = await stage.window("adaptive", stage.pace.window_s)
    stage.share_before = stage.share_of_gray(seen)
    stage.slow_s = float(np.quantile(seen.where(service=0).latency_s, 0.99))
    stage.time("time to switch", took, "from the command until the adaptive arm serves 80 % of a second's traffic")
    told = int((seen.arm >= 0).sum())
    share = 100 * len(seen.where(arm=Arm.ADAPTIVE)) / max(1, told)
    # Each request tosses a coin: five standard deviations of a share of 95 % among this many.
    slack = 5 * (SHARE_PERCENT * (100 - SHARE_PERCENT) / max(1, told)) ** 0.5
    stage.claim(
        f"the adaptive arm serves its {SHARE_PERCENT:g} % and the holdout the rest",
        abs(share - SHARE_PERCENT) < slack,
        f"{share:.1f} % of {told} requests",
    )


async def gray(stage: Stage) -> None:
    """One endpoint turns ten times slower and still answers 200: no health check would see it."""
    name, service, before = stage.gray.name, stage.load.services[0], stage.share_before
    stage.tell.heading(3, f"Gray failure: {name} turns {SLOW_FACTOR:g} times slower and still answers 200.")
    stage.tell.line(f"until now {name} had {before:.1%} of {service}'s adaptive traffic")
    fault = stage.load.now()
    await stage.gray.slow(SLOW_FACTOR)
    bound = stage.pace.divert_deadline_s
    with stage.tell.waiting("waiting for its traffic to be diverted"):
        took, cut = await asyncio.gather(
            stage.gray_share_passes(fault, bound, below=before / 2), stage.gray_weight_halves(fault, bound)
        )
    stage.time("time to divert", took, f"from the fault until {name} has less than half of the share it had")
    stage.time(
        "time to cut", cut, f"from the fault until the brain's weights give {name} less than half of what they did"
    )
    stage.claim(f"traffic is diverted from {name} within {bound:g} s", took is not None, seconds(took))
    with stage.tell.waiting("letting the cut go on: it comes in steps"):
        await stage.gray_share_passes(fault, stage.pace.divert_deadline_s, below=before / 3)
    seen = await stage.window("gray", stage.pace.gray_window_s)
    why = next(e for e in (await stage.brain.service(service))["endpoints"] if e["address"] == stage.gray.address)
    stage.tell.line(f"$ weirflow explain {service} {stage.gray.address}", "bold")
    stage.tell.line(why["reason"])
    of_static, of_adaptive = (stage.share_of_gray(seen, arm) for arm in (Arm.STATIC, Arm.ADAPTIVE))
    stage.tell.line(f"{name} now has {of_adaptive:.1%} of the adaptive arm, and {of_static:.1%} of the static one")
    late_static, late_adaptive = (stage.slow_share(seen, arm) for arm in (Arm.STATIC, Arm.ADAPTIVE))
    stage.claim(
        f"while {name} is slow, fewer of {service}'s requests are slow on the adaptive arm than on the static one",
        late_adaptive < late_static,
        f"{late_adaptive:.1%} against {late_static:.1%} took over {1000 * stage.slow_s:.0f} ms, as 1 % did before",
    )


async def recovery(stage: Stage) -> None:
    """The endpoint is healed; its traffic comes back by itself, in bounded steps."""
    name, bound = stage.gray.name, stage.pace.recover_deadline_s
    stage.tell.heading(4, f"Recovery: {name} is healed.")
    healed = stage.load.now()
    await stage.gray.slow(1)
    with stage.tell.waiting("waiting for its traffic to come back"):
        took = await stage.gray_share_passes(healed, bound, above=BACK * stage.own_share)
    await stage.measure("recovery", healed, stage.load.now())
    stage.time(
        "time to recover", took, f"from the mend until {name} has {BACK:.0%} of its own: what it had, or bears if less"
    )
    stage.claim(f"{name}'s traffic comes back by itself within {bound:g} s", took is not None, seconds(took))


async def killed(stage: Stage) -> None:
    """SIGKILL for the brain: the lease ends, and the operator's own rules are what is left."""
    stage.tell.heading(5, "The brain is killed, under load.")
    start = stage.load.now()
    stage.brain.signal(signal.SIGKILL)
    stage.tell.line(f"$ kill -KILL {stage.brain.pid}", "bold")
    with stage.tell.waiting("waiting for the lease to end"):
        gone = await stage.adaptive_share_passes(start, stage.pace.ttl_s + 5, below=1e-9)
    seen = await stage.measure("brain dead", start, stage.load.now() + stage.pace.window_s)
    last = seen.where(arm=Arm.ADAPTIVE)
    took = float((last.intended_s + last.late_s).max()) - start if len(last) else 0.0
    stage.time("time to fall back", took if gone else None, "from SIGKILL to the last request on the adaptive arm")
    stage.claim(
        f"the static rules take over within the lease of {stage.pace.ttl_s:g} s and one second more",
        gone is not None and took <= stage.pace.ttl_s + 1,
        seconds(took if gone else None),
    )
    failed = int(seen.failed.sum())
    stage.claim("no request fails because the brain is dead", failed == 0, f"{failed} of {len(seen)} failed")


async def back(stage: Stage) -> None:
    """The brain starts again, from its checkpoint."""
    stage.tell.heading(6, "The brain is back.")
    start = stage.load.now()
    stage.tell.line("$ weirflow run mesh.yaml", "bold")
    await stage.brain.start()
    with stage.tell.waiting("waiting for the proxies to find it, and for the adaptive arm"):
        took = await stage.adaptive_share_passes(start, stage.pace.return_deadline_s, above=SERVES)
    stage.time("time to return", took, "from its start until the adaptive arm serves 80 % of a second's traffic")
    stage.claim("the adaptive arm serves again, without a command", took is not None, seconds(took))
    await stage.window("brain back", stage.pace.window_s)


PHASES = (shadow, adaptive, gray, recovery, killed, back)


async def _would(stage: Stage) -> bool:
    """Would anybody get another share."""
    return any(moves(s, e) for s in await _decided(stage) or () for e in s["endpoints"])


async def _decided(stage: Stage) -> list[dict[str, Any]]:
    """The services of the last decision, once none of them is still learning; else none."""
    services = (await stage.brain.decision() or {}).get("services", [])
    return [] if any(s["state"] == "learning" for s in services) else list(services)


async def _near(stage: Stage) -> bool:
    """Whether every share in force is within a quarter of the proposed one."""
    return all(
        abs(share(s, e, "weight") / share(s, e, "proposed") - 1) < 0.25
        for s in await _decided(stage)
        for e in s["endpoints"]
    )
