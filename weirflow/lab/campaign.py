"""What somebody wants to have run, checked before anything starts, and the running of it on either engine.

A campaign is scenarios x numbers of nodes x seeds x policies. What was made before something failed is not lost: it is
handed back with the reason.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from brain.settings import Mode, Settings
from dataplane.envoy.process import EnvoyError
from weirflow.config.problems import ConfigError, Problem, mend_of, shown
from weirflow.demo.processes import NeverHappenedError
from weirflow.lab import files
from weirflow.lab.child import ChildError
from weirflow.lab.figures import told
from weirflow.lab.run import BREAKERS, LIMITING, PICKS, POLICIES, SHARE_PERCENT, SIMULATED, WEIRFLOW, Run
from weirflow.lab.runner import jobs, run_all
from weirflow.lab.scenario import Scenario

MOST_PROXIES_A_CORE = 8
"""Each carries little and waits for the others: more would measure the kernel's scheduler."""
INTERRUPTION = "interrupted"
Engine = Literal["envoy", "simulated"]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Campaign:
    """What to run. `worlds` are scenarios with a number of nodes each."""

    worlds: tuple[tuple[Scenario, int], ...]
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    engine: Engine = "envoy"
    parallel: int = 1
    time_scale: float = 1.0
    share_percent: float = SHARE_PERCENT
    record: Path | None = None  # where to keep recordings of runs on real Envoy

    @classmethod
    def of(
        cls,
        scenarios: Sequence[str],
        policies: Sequence[str],
        nodes: Sequence[int],
        seeds: Sequence[int],
        *,
        engine: Engine,
        **more: Any,
    ) -> Self:
        """From words. No policies: those that differ by what the scenarios are about, their picks or, where each has a
        latency goal, what they refuse. No nodes: each scenario's own. ConfigError with the mend."""
        known = POLICIES if engine == "envoy" else PICKS | SIMULATED | BREAKERS
        for policy in policies:
            if policy not in known:
                raise _refused(f"no policy is named {shown(policy)}", _mend(policy, known, engine))
        loaded = [files.load(name) for name in dict.fromkeys(scenarios)]
        worlds = tuple((s, n) for s in loaded for n in (dict.fromkeys(nodes) or (s.nodes,)))
        most = MOST_PROXIES_A_CORE * (os.cpu_count() or 1)
        for scenario, n in worlds:
            if engine == "envoy" and n > most:
                message = f"{scenario.name} with {n} proxies is more than this machine can run: at most {most}"
                raise _refused(message, "set --nodes, or run it with --engine simulated")
        limits = all(s.latency_goal_s is not None for s in loaded)
        limiting, picks = (LIMITING, PICKS) if engine == "envoy" else (BREAKERS, PICKS | SIMULATED)
        usual = limiting | WEIRFLOW if limits else picks
        for scenario in loaded:
            if scenario.latency_goal_s is None and "breakers_true" in policies:
                message = f"{scenario.name} has no latency goal that breakers_true could keep"
                raise _refused(message, "leave breakers_true out")
        chosen = tuple(dict.fromkeys(policies)) or tuple(usual)
        return cls(worlds, chosen, tuple(seeds), engine, **more)

    @property
    def runs(self) -> int:
        """How many there will be."""
        return len(self.worlds) * len(self.policies) * len(self.seeds)


def conduct(campaign: Campaign, tell: Tell) -> tuple[list[Run], str]:
    """Make all runs. Returns those made, and why it stopped before the end: "" when it did not.

    `tell` is given a line for each run that is made.
    """
    made: list[Run] = []

    def note(run: Run) -> None:
        made.append(run)
        tell(f"[{len(made)}/{campaign.runs}] {_line(run)}")

    try:
        if campaign.engine == "envoy":
            asyncio.run(_on_envoy(campaign, note))
        else:
            for run in _simulated(campaign):
                note(run)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return made, INTERRUPTION
    except (ChildError, EnvoyError, NeverHappenedError, RuntimeError, OSError) as error:
        return made, str(error) or type(error).__name__
    return made, ""


async def _on_envoy(campaign: Campaign, note: Callable[[Run], None]) -> None:
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    for scenario, nodes in campaign.worlds:
        todo = [
            job
            for seed in campaign.seeds
            for job in jobs(
                scenario,
                campaign.policies,
                nodes,
                seed,
                time_scale=campaign.time_scale,
                share_percent=campaign.share_percent,
                record=campaign.record,
            )
        ]
        await run_all(todo, parallel=campaign.parallel, on_run=note)


def _simulated(campaign: Campaign) -> Iterator[Run]:
    from weirflow.lab.simulate import simulate  # numba: only who simulates waits for it

    settings = Settings(mode=Mode.ADAPTIVE, share_percent=campaign.share_percent)
    for scenario, nodes in campaign.worlds:
        for seed in campaign.seeds:
            for job in jobs(scenario, campaign.policies, nodes, seed, time_scale=campaign.time_scale):
                random = np.random.default_rng((seed, 1))  # noqa: TID251 - a driver; (seed,) drew the world
                yield simulate(
                    scenario,
                    job.policy,
                    job.fleet,
                    job.trace,
                    random,
                    nodes=nodes,
                    seed=seed,
                    place=job.place,
                    settings=settings,
                )


def _line(run: Run) -> str:
    """A run in a line: how it goes, while it goes on. What it tells is the report's."""
    felt = told(run.scenario, run.policy, run.seed, run.fleet, run.trace, run.fate, run.weights).judged
    words = f"{run.scenario.name}, {run.nodes} nodes, seed {run.seed}, {run.policy}: p99 {felt.p99_s * 1000:.0f} ms"
    return f"{words}; refused: {run.refused}" if run.refused else words


def _refused(message: str, mend: str) -> ConfigError:
    return ConfigError([Problem("weirflow lab", 0, 0, "", message, mend)])


def _mend(policy: str, known: dict[str, str], engine: str) -> str:
    if engine == "envoy" and policy in SIMULATED:
        return "it runs in the simulated mesh only: --engine simulated"
    if engine == "simulated" and policy in LIMITING:
        return "it runs on real Envoy only: --engine envoy"
    return mend_of(policy, known, kind="policies")
