"""The Envoys that Weirflow starts itself: brought up to match the mesh file, and started again when they die.

A foreign Envoy, `spawn: false`, is not here: it has an owner. One that dies of itself comes back after a pause that
doubles with each death, for an Envoy that cannot live is better seen dead than blinking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from dataplane.envoy.bootstrap import bootstrap
from dataplane.envoy.process import EnvoyError, EnvoyProcess
from dataplane.mesh import NodeSpec
from dataplane.pick import policy

log = structlog.get_logger("weirflow.fleet")

READY_DEADLINE_S = 30.0
DRAIN_S = 5.0  # how long open requests get to end when an Envoy of ours is taken down
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


@dataclass(slots=True)
class _Post:
    """One node's place: the process that stands there now, and the task that keeps it standing."""

    spec: NodeSpec
    envoy: EnvoyProcess
    keeper: asyncio.Task[None]
    deaths: int = 0


class Fleet:
    """All Envoys of ours. `xds_address` is where they call: `ip:port` or `unix:PATH`."""

    def __init__(self, xds_address: str) -> None:
        self._xds_address = xds_address
        self._posts: dict[str, _Post] = {}

    @property
    def envoys(self) -> dict[str, EnvoyProcess]:
        """The processes by node name."""
        return {name: post.envoy for name, post in self._posts.items()}

    async def match(self, nodes: Iterable[NodeSpec]) -> None:
        """Start what is missing, stop what is not wanted, restart what has changed. EnvoyError when one will not."""
        wanted = {n.name: n for n in nodes if n.spawn}
        for name in [n for n, post in self._posts.items() if wanted.get(n) != post.spec]:
            await self._remove(name)
        missing = [spec for name, spec in wanted.items() if name not in self._posts]
        for spec in missing:
            envoy = self._envoy(spec)
            await envoy.start()
            keeper = asyncio.create_task(self._keep(spec.name))
            self._posts[spec.name] = _Post(spec, envoy, keeper)
        for spec in missing:
            await self._posts[spec.name].envoy.ready(READY_DEADLINE_S)

    async def stop(self) -> None:
        """Stop them all, each gracefully, all at once."""
        await asyncio.gather(*(self._remove(name) for name in list(self._posts)))

    def status(self) -> dict[str, Any]:
        """By node: its pid, its admin address, and how often it died."""
        return {
            name: {"pid": post.envoy.pid, "admin": post.envoy.admin_address, "deaths": post.deaths}
            for name, post in self._posts.items()
        }

    async def _remove(self, name: str) -> None:
        post = self._posts.pop(name)
        post.keeper.cancel()
        await asyncio.gather(post.keeper, return_exceptions=True)
        await post.envoy.stop(drain_s=DRAIN_S)

    def _envoy(self, spec: NodeSpec) -> EnvoyProcess:
        file = bootstrap(spec, self._xds_address, admin_port=spec.admin_port, has_module=policy.built())
        return EnvoyProcess(file, concurrency=spec.concurrency, log_level=spec.log_level)

    async def _keep(self, name: str) -> None:
        pause = FIRST_PAUSE_S
        while True:
            post = self._posts[name]
            code = await post.envoy.wait()
            post.deaths += 1
            log.error("envoy died", node=name, exit_code=code, again_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            await post.envoy.stop()
            post.envoy = self._envoy(post.spec)
            try:
                await post.envoy.start()
                await post.envoy.ready(READY_DEADLINE_S)
            except EnvoyError as error:
                log.error("envoy did not come back", node=name, problem=str(error))
