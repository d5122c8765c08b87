"""The composition: `weirflow run` from a file to a mesh, in one readable order, and back down again.

Read `Running.start` to see what Weirflow is made of. No part finds another by itself: each is made here and handed what
it needs. The order matters twice. Going up, the brain is there before anything can tell it a thing. Coming down is the
same in reverse: the ticks end, the lease is withdrawn, so that traffic is on the static rules before a proxy goes away;
then our proxies, the ports, and last the files, which hold the last word of all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import structlog

import weirflow
from brain.brain import Brain
from brain.champion import Roster
from brain.commands import Command
from brain.decision import Decision
from brain.hindsight import ForetoldView
from brain.ranking import ModelView
from dataplane.contract import OnTelemetry, Plan, Topology
from dataplane.mesh import Mesh, Registry
from dataplane.server import Server
from weirflow import discovery
from weirflow.addresses import join
from weirflow.admin import Admin
from weirflow.clock import Clock
from weirflow.config import ConfigError, Problem, load
from weirflow.config.build import Config
from weirflow.config.differs import Change, changes, digest
from weirflow.config.source import parse
from weirflow.console.feed import Feed
from weirflow.console.past import Past
from weirflow.fleet import Fleet
from weirflow.keda import Scaler
from weirflow.live import Driver
from weirflow.log import configure as configure_log
from weirflow.notify import Notifier
from weirflow.own import OwnError, Stopwatch, roster
from weirflow.plain import plain
from weirflow.recording import Recorder, runs

if TYPE_CHECKING:
    from dataplane.credentials import Credentials

log = structlog.get_logger("weirflow")

Between = Callable[[OnTelemetry], OnTelemetry]
WITHDRAW_DEADLINE_S = 1.0  # how long a stop waits for the nodes to say that they are on the static rules


class Running:
    """A mesh that runs: `start`, `reload` as often as you like, `stop`. Also what the admin API operates on."""

    def __init__(self, path: Path, config: Config, clock: Clock, between: Between = lambda hear: hear) -> None:
        self.path = path
        self._config = config
        self.clock = clock
        self._between = between
        # Of this process: the plan versions of two runs never look alike on the wire.
        self.epoch = f"{int(clock.now() * 1000):x}"
        self.registry = Registry()
        self.mesh = config.mesh
        self.reload_error: str | None = None
        self._rereading = asyncio.Lock()
        self.notifier = Notifier(config.alerts, clock, self.epoch)
        self.feed, self.past = Feed(), Past(self._recordings)
        self._down = AsyncExitStack()

    async def start(self) -> None:
        """Bring everything up. OSError when a port is taken, EnvoyError when an Envoy of ours does not come up."""
        config, clock, down = self._config, self.clock, self._down
        self.resolver = discovery.Resolver(self._resolve_problem)
        self.mesh = await self.resolver.resolve(config.mesh)
        topology = self.registry.topology(self.mesh)

        await _prepare(config)
        stopwatch = Stopwatch(clock.now)
        brain = Brain(topology, config.settings, self._own_models(stopwatch))
        self.recorder = self._recorder(config.recording.folder, topology) if config.recording.folder else None
        if self.recorder is not None:
            down.push_async_callback(asyncio.to_thread, self.recorder.close)
        self.driver = Driver(
            brain,
            clock,
            tick_s=config.settings.tick_s,
            recorder=self.recorder,
            checkpoint_path=config.checkpoint.file,
            checkpoint_every_s=config.checkpoint.every_s,
            stopwatch=stopwatch,
        )
        log.info("checkpoint", result=self.driver.restore())
        down.callback(self.driver.save)

        await self.notifier.start()
        down.push_async_callback(self.notifier.stop)
        self.driver.on_decision = self._decided

        self.server = Server(
            self.mesh,
            topology,
            self._between(self.driver.on_telemetry),
            self.driver.on_event,
            clock.now,
            ttl_s=config.xds.ttl_s,
            epoch=self.epoch,
            credentials=self._credentials(),
        )
        self.driver.dataplane = self.server
        # Envoys of ours need no certificate: they call by a socket in a folder that only this user can open.
        own = f"unix:{down.enter_context(TemporaryDirectory(prefix='weirflow-'))}/xds" if config.xds.tls else ""
        xds_port = await self.server.start(join(config.xds.address, config.xds.port), own)
        self.xds_address = join(config.xds.address, xds_port)
        down.push_async_callback(self.server.stop)
        self.admin = Admin(self, config.admin)
        self.admin_address = await self.admin.start()
        down.push_async_callback(self.admin.stop)
        self.keda_address: str | None = None
        if config.keda is not None:
            scaler = Scaler(self, config.keda, stale_after_s=max(config.xds.ttl_s, 3 * config.settings.tick_s))
            self.keda_address = await scaler.start()
            down.push_async_callback(scaler.stop)
        self.fleet = Fleet(own or self.xds_address)
        down.push_async_callback(self.fleet.stop)
        await self.fleet.match(self.mesh.nodes)
        down.push_async_callback(self._withdraw)
        for loop in (self.driver.run(), self._rediscover(), self.past.memory.packing()):
            task = asyncio.create_task(loop)
            down.push_async_callback(ended, task)
        log.info(
            "running",
            xds=self.xds_address,
            admin=self.admin_address,
            keda=self.keda_address,
            recording=str(self.recorder.folder) if self.recorder else None,
            nodes={name: envoy.admin_address for name, envoy in self.fleet.envoys.items()},
            waiting_for=[n.name for n in self.mesh.nodes if not n.spawn],
        )

    async def stop(self) -> None:
        """Take down whatever came up. A part that fails to stop does not keep the others from it."""
        await self._down.aclose()
        log.info("stopped")

    async def reload(self, seen: str | None = None) -> list[Change]:
        """Read the file again, and say what changed. `seen`: the digest of what the file must still say.

        ConfigError, and the old one stays whole, for a mistake in it or a part that cannot change at run time.
        """
        async with self._rereading:
            try:
                config = await asyncio.to_thread(load, self.path)
            except ConfigError as error:
                raise self._refused(error) from None
            if seen not in (None, digest(config.text)):  # no fault of the file
                raise self._wrong("has changed since you looked at it", "look again at what would change")
            found = changes(self._config.document, config.document)
            if fixed := [c.key for c in found if not c.live]:
                raise self._refused(self._wrong(f"{', '.join(fixed)} cannot change while running", "restart to apply"))
            if config.logging != self._config.logging:
                configure_log(config.logging.level, config.logging.format)
            self._config, self.reload_error = config, None
            await self._become(await self.resolver.resolve(config.mesh))
            await _prepare(config)
            self.driver.configured(config.settings)
            await self.fleet.match(self.mesh.nodes)
            log.info("reloaded", services=len(self.mesh.services), nodes=len(self.mesh.nodes), changed=len(found))
            return found

    def _wrong(self, what: str, mend: str) -> ConfigError:
        return ConfigError([Problem(str(self.path), 0, 0, "", what, mend)])

    def _refused(self, error: ConfigError) -> ConfigError:
        """The same, told to the log, the status and the metrics until a reload is accepted."""
        self.reload_error = str(error)
        log.error("reload refused; the old configuration stays", problems=[str(p) for p in error.problems])
        return error

    # What the admin API asks for.

    def now(self) -> float:
        """The brain's time."""
        return self.clock.now()

    def config(self) -> Config:
        """The mesh file as it is in force."""
        return self._config

    def decision(self) -> Decision | None:
        """The last one."""
        return self.driver.brain.decision

    def models(self) -> tuple[ModelView, ...]:
        """How the brain's models stand."""
        return self.driver.brain.models(self.clock.now())

    def foretold(self) -> tuple[ForetoldView, ...]:
        """How well demand was foretold."""
        return self.driver.brain.foretold()

    def status(self) -> dict[str, Any]:
        """The process and its wires; what the brain thinks is in `decision`."""
        counters, kept = asdict(self.driver.counters), self._config.checkpoint
        return {
            "version": weirflow.__version__,
            "epoch": self.epoch,
            "now": self.clock.now(),
            "config": {"file": str(self.path), "reload_error": self.reload_error},
            "xds": {"address": self.xds_address, "ttl_s": self._config.xds.ttl_s},
            "tick_s": self.driver.tick_s,
            "checkpoint": None if kept.file is None else {"file": str(kept.file), "every_s": kept.every_s},
            "keda": None if self.keda_address is None else {"address": self.keda_address},
            "driver": counters,
            "wires": self.server.status(),
            "envoys": self.fleet.status(),
            "recording": self.recorder.status() if self.recorder is not None else None,
            "alerts": {"receivers": plain(self.notifier.health())},
        }

    def command(self, command: Command, who: str) -> None:
        """An operator's word, to the brain."""
        self.driver.command(command, who)

    # What goes on by itself.

    def _recordings(self) -> list[Path]:
        """Those to look back into: of this run and of those before it in the same folder."""
        return runs(self._config.recording.folder) if self._config.recording.folder else []

    def _decided(self, decision: Decision) -> None:
        self.notifier.told(decision)
        # When the tick is over: its plan goes out first, and what people look at is made after that.
        asyncio.get_running_loop().call_soon(self._show, decision)

    def _show(self, decision: Decision) -> None:
        self.feed.told(decision)
        self.past.told(decision)

    async def _rediscover(self) -> None:
        """Resolve names again and again. Membership is discovery's: the brain only hears of it."""
        while True:
            await asyncio.sleep(self.clock.real(self._config.discovery_interval_s))
            await self._become(await self.resolver.resolve(self._config.mesh))

    async def _become(self, mesh: Mesh) -> None:
        if mesh == self.mesh:
            return
        self.mesh = mesh
        topology = self.registry.topology(mesh)
        # The brain first: from then on its plans have a weight for every endpoint that the wires will name.
        self.driver.moved(topology)
        self.server.replace(mesh, topology)

    async def _withdraw(self) -> None:
        """Take every service off the adaptive arm, and wait for the nodes to say so; the lease would do it, later."""
        decision = self.decision()
        if decision is None or decision.plan is None:
            return
        services = {
            s: replace(
                p, share_percent=0.0, limits={}, node_limits={}, shed_percent=0.0, reason="Weirflow stops", reasons={}
            )
            for s, p in decision.plan.services.items()
        }
        self.server.publish(Plan(decision.plan.version + 1, services))
        await until(self.server.withdrawn, WITHDRAW_DEADLINE_S)

    def _own_models(self, stopwatch: Stopwatch) -> Roster:
        """The operator's own models. ConfigError when one cannot be made."""
        try:
            return roster(self._config.settings.models.own, stopwatch)
        except OwnError as error:
            problem = Problem(str(self.path), 0, 0, "adaptive.models.own", str(error))
            raise ConfigError([problem]) from error

    def _credentials(self) -> Credentials | None:
        """Of the port of the nodes; None: in the clear. ConfigError when the files cannot be used."""
        if self._config.xds.tls is None:
            return None
        from dataplane.credentials import Credentials, CredentialsError  # brings cryptography

        try:
            return Credentials(self._config.xds.tls)
        except CredentialsError as error:
            source = parse(self._config.text, str(self.path))
            raise ConfigError([source.problem(("xds", "tls", error.key), error.message, error.mend)]) from error

    def _recorder(self, folder: Path, topology: Topology) -> Recorder:
        config = self._config
        run = datetime.fromtimestamp(self.clock.now(), UTC).strftime("%Y%m%dT%H%M%S") + f"-{self.epoch[-4:]}"
        return Recorder(
            folder / run,
            settings=config.settings,
            topology=topology,
            now=self.clock.now(),
            part_s=config.recording.part_s,
            keep_bytes=config.recording.keep_bytes,
            older=runs(folder),
            on_problem=self._recording_problem,
            run=self.epoch,
            mesh=self.mesh,
        )

    def _recording_problem(self, message: str) -> None:
        log.error("recording stopped", problem=message)

    def _resolve_problem(self, message: str) -> None:
        log.warning("discovery", problem=message)


async def until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Wait for a condition, looking every 20 ms. False when the deadline came first."""
    for _ in range(int(deadline_s / 0.02)):
        if condition():
            return True
        await asyncio.sleep(0.02)
    return condition()


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a loop and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def serve(
    path: Path,
    clock: Clock,
    on_ready: Callable[[Running], Awaitable[None] | None] | None = None,
    *,
    between: Between = lambda hear: hear,
) -> int:
    """Run the mesh of a file until SIGTERM or SIGINT; SIGHUP reads the file again. ConfigError when it is refused.

    `between` stands between the wires' telemetry and who hears it: the lab breaks it there.
    """
    config = load(path)
    configure_log(config.logging.level, config.logging.format)
    running = Running(path, config, clock, between)
    stopping, reloading = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, reloading.set)
    try:
        await running.start()
        if on_ready is not None and (wait := on_ready(running)) is not None:
            await wait
        stop = asyncio.create_task(stopping.wait())
        while not stop.done():
            reload = asyncio.create_task(reloading.wait())
            await asyncio.wait({stop, reload}, return_when=asyncio.FIRST_COMPLETED)
            reload.cancel()
            if reloading.is_set():
                reloading.clear()
                with contextlib.suppress(ConfigError):  # told to the log, the status and the metrics
                    await running.reload()
    finally:
        await running.stop()
    return 0


async def _prepare(config: Config) -> None:
    """Have ready what would take a brain that ticks too long to make."""
    if config.settings.models.quantiles:
        from brain.quantiles import warm_up  # with a compiler behind it, which nobody else needs

        await asyncio.to_thread(warm_up)
