"""A server of ours, its real Envoys and their backends, and all that was told: for tests of the wires.

Every wait is for a condition, with a deadline. Time here is the real one, for so is Envoy's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from dataclasses import replace

import aiohttp
import pytest

from dataplane.contract import Plan, ServicePlan, Verdict
from dataplane.envoy.bootstrap import bootstrap
from dataplane.envoy.process import EnvoyProcess
from dataplane.mesh import EndpointSpec, ListenerSpec, Mesh, NodeSpec, Registry, RouteSpec, ServiceSpec
from dataplane.server import Server
from dataplane.xds.kinds import Kind

TTL_S = 2.0
DEADLINE_S = 8.0


def near(split):
    """Envoy's schedule is exact but for where it begins."""
    return pytest.approx(split, abs=2)


class Backend:
    """Answers every request with its own name; `status`, and `gate` (closed: it hangs), can be turned.

    A request to a path that ends in /hold waits for `release` as well; `held` counts those. With `says` it says in each
    answer that it has so many in progress.
    """

    def __init__(self, name):
        self.name, self.status, self.served, self.hanging, self.empty = name, 200, 0, 0, False
        self.gate, self.release, self.held = asyncio.Event(), asyncio.Event(), 0
        self.gate.set()
        self.address = ""
        self.says = None

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"/hold " in head:
                    self.held += 1
                    await self.release.wait()
                    self.held -= 1
                self.hanging += 1
                await self.gate.wait()
                self.hanging -= 1
                self.served += 1
                body = b"" if self.empty else self.name.encode()
                said = f"endpoint-load-metrics: {self.says}\r\n".encode() if self.says is not None else b""
                head = b"HTTP/1.1 %d .\r\ncontent-length: %d\r\n%s\r\n" % (self.status, len(body), said)
                writer.write(head + body)
        writer.close()

    def stop(self):
        self.gate.set()
        self.release.set()
        self._server.close()


class World:
    """A server, its Envoys and backends, and all that was told."""

    def __init__(self):
        self.telemetry, self.events = [], []
        self.backends, self.envoys = {}, {}
        self.registry = Registry()
        self.epochs = itertools.count()
        self.versions = itertools.count(1)
        self.server = None
        self.renewals = None
        self.last_renewal = 0.0
        self.port = 0
        self.tls = None  # with it nodes call over TLS: see `tests.certificates`
        self.http = None

    async def backend(self, name):
        self.backends[name] = await Backend(name).start()
        return self.backends[name]

    async def service(self, name, *backends, zones=(), **rules):
        found = [await self.backend(b) for b in backends]
        zones = zones or [""] * len(found)
        return ServiceSpec(
            name, tuple(EndpointSpec(b.address, 1, z) for b, z in zip(found, zones, strict=True)), **rules
        )

    def mesh(self, *services, nodes=("n1",), retry=None):
        return Mesh(
            nodes=tuple(NodeSpec(n) for n in nodes),
            listeners=(ListenerSpec("in", "127.0.0.1", 0),),
            routes=tuple(RouteSpec(f"to-{s.name}", s.name, prefix=f"/{s.name}", retry=retry) for s in services),
            services=services,
        )

    async def serve(self, mesh):
        """Start a server; on the same port as the last one, if there was one."""
        self.rules = mesh
        self.topology = self.registry.topology(mesh)
        epoch = f"epoch-{next(self.epochs)}"
        self.server = Server(
            mesh, self.topology, self.telemetry.append, self.events.append, time.time, ttl_s=TTL_S, epoch=epoch,
            credentials=self.tls.credentials() if self.tls else None,
        )  # fmt: skip
        self.port = await self.server.start(f"127.0.0.1:{self.port}")

    async def start(self, *services, nodes=("n1",), retry=None, routes=(), module=False, workers=1):
        """`module`: nodes say that they have our module."""
        mesh = self.mesh(*services, nodes=nodes, retry=retry)
        await self.serve(replace(mesh, routes=routes) if routes else mesh)
        for node in self.rules.nodes:
            await self.join(node, module=module, workers=workers)
        for node in self.rules.nodes:
            await self.envoys[node.name].ready()
            listeners = await self.envoys[node.name].listeners()
            setattr(self, node.name, f"http://127.0.0.1:{listeners['in']}")

    async def join(self, node, *, module=False, workers=1, log=None):
        """Start the Envoy of a node."""
        secured = self.tls.node(node.name) if self.tls else None
        told = bootstrap(node, f"127.0.0.1:{self.port}", has_module=module, tls=secured)
        self.envoys[node.name] = EnvoyProcess(told, concurrency=workers, log=log)
        await self.envoys[node.name].start()

    def plan(self, share=100.0, limits=None, tiers=(), module=None, **weights_by_service):
        """A plan with the next version: weights and tiers in the order of each service's endpoints."""
        services = {}
        for name, given in weights_by_service.items():
            service = self.topology.service(name)
            ids = [e.id for e in service.endpoints]
            told = dict(zip(ids, tiers, strict=True)) if tiers else {}
            services[service.id] = ServicePlan(
                share, dict(zip(ids, given, strict=True)), limits or {}, tiers=told, **(module or {})
            )
        return Plan(next(self.versions), services)

    async def publish(self, plan):
        """Put a plan in force: wait until every node has its weights and its lease."""
        self.hold(plan)
        for node in self.envoys:
            await self.until(lambda node=node: self.in_force(node, plan))

    def hold(self, plan):
        """Publish a plan and renew it until `let_go`."""
        self.let_go()
        self.server.publish(plan)
        self.renewals = asyncio.create_task(self.renew(plan))

    async def renew(self, plan):
        while True:
            await asyncio.sleep(TTL_S / 5)
            self.last_renewal = time.monotonic()
            self.server.publish(plan)

    def let_go(self):
        if self.renewals is not None:
            self.renewals.cancel()

    async def in_force(self, node, plan):
        keys = await self.envoys[node].runtime()
        stream = self.server._nodes[node].peer.stream
        return stream.settled(Kind.EDS) and stream.settled(Kind.RTDS) and any("adaptive" in key for key in keys)

    async def get(self, path, base=None):
        """Who served it, or the status when it failed."""
        async with self.http.get((base or self.n1) + path) as response:
            body = await response.text()
            return body if response.status == 200 else response.status

    async def split(self, path, count, base=None, at_once=1):
        left = iter(range(count))
        out = Counter()

        async def client():
            for _ in left:
                out[await self.get(path, base)] += 1

        await asyncio.gather(*(client() for _ in range(at_once)))
        return out

    async def hold_at(self, name, count):
        """That many requests held open at one backend of `web`, and none elsewhere."""
        tasks = []
        for backend in self.backends.values():
            backend.release.clear()
        while self.backends[name].held < count:
            tasks.append(asyncio.create_task(self.get("/web/hold")))
            await self.until(lambda: sum(b.held for b in self.backends.values()) == len(tasks))
        for other in self.backends.keys() - {name}:
            self.backends[other].release.set()
        await self.until(lambda: sum(not t.done() for t in tasks) == count)
        return tasks

    async def let_end(self, tasks):
        """Those requests end."""
        for backend in self.backends.values():
            backend.release.set()
        await asyncio.gather(*tasks)

    async def until(self, reached, deadline_s=DEADLINE_S):
        """Wait until `reached` is true; what it returned."""
        async with asyncio.timeout(deadline_s):
            while True:
                found = reached()
                found = await found if asyncio.iscoroutine(found) else found
                if found:
                    return found
                await asyncio.sleep(0.01)

    def told(self, kind):
        return kind.concat([b for b in self.telemetry if isinstance(b, kind)])

    def verdicts(self, kind=None, node=0):
        return [e for e in self.events if isinstance(e, Verdict) and e.node == node and kind in (None, e.kind)]

    async def stop(self):
        self.let_go()
        for envoy in self.envoys.values():
            await envoy.stop()
        if self.server is not None:
            await self.server.stop()
        for backend in self.backends.values():
            backend.stop()


@contextlib.asynccontextmanager
async def a_world():
    """One that is stopped in the end."""
    found = World()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as found.http:
        try:
            yield found
        finally:
            await found.stop()
