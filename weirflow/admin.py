"""The admin API: what `weirflow status` and its likes speak to, on loopback unless the mesh file says otherwise.

    GET  /status                       the last Decision, the wires, the process
    GET  /explain/SERVICE[/ENDPOINT]   why a service or an endpoint is as it is
    GET  /audit                        what operators asked, and what was so before and after
    GET  /alerts                       what is open, what ended lately, and who was told
    GET  /incidents[/ID]               what belongs together, with its timeline
    GET  /models                       which models of latency there are, how each stands, and who decides; how well
                                       demand was foretold
    GET  /metrics                      for Prometheus
    GET  /healthz                      200 while the process answers
    GET  /console/                     the same for people (`weirflow.console`)
    POST /freeze {"on": true}, /rollback {}, /mode {"service", "mode", "share_percent"}, /promote {"model"}
    POST /reload {"digest"}            read the mesh file again, as long as it is the one of that digest
    POST /silences {"kind", "labels", "for", "comment", "ack"}, kept by the Alertmanagers

Nothing here decides: reads come from the Decision, changes are commands that the brain hears at its next tick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NoReturn

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from brain.commands import Command, Freeze, PromoteModel, Rollback, SetMode
from brain.decision import Decision
from brain.settings import Mode
from weirflow import config
from weirflow.access import MAX_BODY_BYTES, Access, RefusedError, body_of, gate, reply, who_of
from weirflow.addresses import join
from weirflow.audit import Audit, Entry, standing
from weirflow.config.build import Admin as AdminSection
from weirflow.config.problems import mend_of
from weirflow.console.pages import Console
from weirflow.explanation import endpoint_of, explain_endpoint, explain_service, service_named
from weirflow.metrics import MeshCollector
from weirflow.notify.desk import AlertDesk
from weirflow.operations import Operations
from weirflow.plain import plain

__all__ = ["Admin", "Operations", "application"]

MOST_CHANGES = 100
"""Of the mesh file that the audit names."""


class Admin:
    """The API of one mesh, on a port of its own."""

    def __init__(self, operations: Operations, section: AdminSection) -> None:
        self._section = section
        self._operations = operations
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Bind, and return `ip:port`. OSError when the port is taken; ConfigError when the token cannot be read."""
        section = self._section
        access = Access(section.address, section.hosts, _token(section), section.read_without_token)
        runner = web.AppRunner(
            application(self._operations, access), access_log=None, keepalive_timeout=15, shutdown_timeout=1.0
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._section.address, self._section.port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        host, port = runner.addresses[0][:2]
        return join(host, port)

    async def stop(self) -> None:
        """Close the port. Nothing happens when it is not open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def _token(section: AdminSection) -> str | None:
    if section.token_file is None:
        return None
    name = str(section.token_file)
    try:
        first = section.token_file.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = config.Problem(name, 0, 0, "admin.token_file", f"cannot be read: {error}")
        raise config.ConfigError([problem]) from error
    if len(first) < 16:
        problem = config.Problem(name, 1, 1, "admin.token_file", "holds no token", "its first line needs 16 characters")
        raise config.ConfigError([problem])
    return first


def application(operations: Operations, access: Access) -> web.Application:
    """The aiohttp application over these operations."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MeshCollector(operations))
    audit = Audit()
    desk = _Desk(operations, registry, audit)
    app = web.Application(middlewares=[gate(access)], client_max_size=MAX_BODY_BYTES)
    app.add_routes(
        [
            web.get("/status", desk.status),
            web.get("/explain/{service}", desk.explain),
            web.get("/explain/{service}/{endpoint}", desk.explain),
            web.get("/audit", desk.audited),
            web.get("/models", desk.models),
            web.get("/metrics", desk.metrics),
            web.get("/healthz", desk.healthz),
            web.post("/freeze", desk.freeze),
            web.post("/rollback", desk.rollback),
            web.post("/mode", desk.mode),
            web.post("/promote", desk.promote),
            web.post("/reload", desk.reload),
            *AlertDesk(operations, audit).routes(),
            *Console(operations, access).routes(),
        ]
    )
    return app


class _Desk:
    """The handlers."""

    def __init__(self, operations: Operations, registry: CollectorRegistry, audit: Audit) -> None:
        self._operations = operations
        self._registry = registry
        self._audit = audit

    # What can be read.

    async def status(self, request: web.Request) -> web.Response:
        decision = self._operations.decision()
        return reply(
            {
                "now": plain(self._operations.now()),
                "decision": None if decision is None else plain(decision.to_dict()),
                "process": plain(self._operations.status()),
            }
        )

    async def explain(self, request: web.Request) -> web.Response:
        decision = self._decided()
        name, address = request.match_info["service"], request.match_info.get("endpoint")
        try:
            service = service_named(decision, name)
        except KeyError:
            _not_there("service", name, [s.name for s in decision.services])
        if address is None:
            return reply(explain_service(decision, service))
        try:
            return reply(explain_endpoint(decision, service, endpoint_of(service, address)))
        except KeyError:
            _not_there("endpoint", address, [e.address for e in service.endpoints])

    async def audited(self, request: web.Request) -> web.Response:
        return reply({"entries": plain(self._audit.entries)})

    async def models(self, request: web.Request) -> web.Response:
        models, foretold = self._operations.models(), self._operations.foretold()
        return reply({"models": plain(models), "demand": plain(foretold)})

    async def metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    # What can be changed.

    async def freeze(self, request: web.Request) -> web.Response:
        body = await body_of(request, {"on"})
        on = body.get("on", True)
        if not isinstance(on, bool):
            raise RefusedError(400, "'on' must be true or false")
        return self._obey(request, Freeze(on), {"frozen": on})

    async def rollback(self, request: web.Request) -> web.Response:
        await body_of(request, set())
        return self._obey(request, Rollback(), {"mode": Mode.SHADOW.value})

    async def mode(self, request: web.Request) -> web.Response:
        body = await body_of(request, {"service", "mode", "share_percent"})
        service, mode, share = body.get("service"), body.get("mode"), body.get("share_percent")
        if not isinstance(service, str):
            raise RefusedError(400, "'service' must be a service's name")
        modes = [m.value for m in Mode]
        if mode not in modes:
            raise RefusedError(400, f"{str(mode)[:60]!r} is not a mode", mend_of(mode, modes, kind="modes"))
        if share is not None and (isinstance(share, bool) or not isinstance(share, (int, float))):
            raise RefusedError(400, "'share_percent' must be a number")
        if share is not None and not 0 <= share <= 100:  # NaN is refused here as well
            raise RefusedError(400, "'share_percent' must be from 0 to 100")
        decision = self._operations.decision()
        if decision is not None and service not in (names := [s.name for s in decision.services]):
            _not_there("service", service, names)
        after = {"service": service, "mode": mode} | ({} if share is None else {"share_percent": share})
        return self._obey(request, SetMode(service, Mode(mode), None if share is None else float(share)), after)

    async def promote(self, request: web.Request) -> web.Response:
        body = await body_of(request, {"model"})
        if "model" not in body or not isinstance(body["model"], str | None):
            raise RefusedError(
                400, "'model' must be a model's name, or null for the one that decides when nobody orders"
            )
        name: str | None = body["model"]
        if name is not None and name not in (names := [m.name for m in self._operations.models()]):
            _not_there("model", name, names)
        return self._obey(request, PromoteModel(name), {"model": name})

    async def reload(self, request: web.Request) -> web.Response:
        body = await body_of(request, {"digest"})
        seen, who, what = body.get("digest"), who_of(request), "Reload"
        if not isinstance(seen, str | None):
            raise RefusedError(400, "'digest' must be text, as /console/api/file tells it")
        try:
            found = await self._operations.reload(seen)
        except config.ConfigError as error:
            first, *more = [p for p in error.problems if p.severity == "error"]
            self._audit.add(Entry(self._operations.now(), who, what, {}, {}, refused=str(first)))
            mend = f"and {len(more)} more; `weirflow validate` tells them all" if more else first.mend
            raise RefusedError(409, str(replace(first, mend="")), mend) from error
        told, more_told = found[:MOST_CHANGES], len(found) - MOST_CHANGES
        before, after = {c.key: c.before for c in told}, {c.key: c.after for c in told}
        if more_told > 0:
            after["further changes"] = more_told
        self._audit.add(Entry(self._operations.now(), who, what, before, after))
        return reply({"ok": True, "what": what, "who": who, "before": before, "after": after})

    def _obey(self, request: web.Request, command: Command, after: dict[str, Any]) -> web.Response:
        """Tell the brain, and write down who asked and what changed, whether or not it was obeyed."""
        who = who_of(request)
        before = standing(self._operations.decision(), self._operations.models())
        what = type(command).__name__
        try:
            self._operations.command(command, who)
        except (KeyError, ValueError) as error:
            said = str(error.args[0]) if error.args else "it cannot be done"
            self._audit.add(Entry(self._operations.now(), who, what, before, before, refused=said))
            raise RefusedError(404 if isinstance(error, KeyError) else 409, said) from error
        self._audit.add(Entry(self._operations.now(), who, what, before, after))
        return reply({"ok": True, "what": what, "who": who, "before": before, "after": after})

    def _decided(self) -> Decision:
        decision = self._operations.decision()
        if decision is None:
            raise RefusedError(409, "nothing has been decided yet", "the first tick comes within a second; ask again")
        return decision


def _not_there(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    raise RefusedError(404, f"no {kind} is named {name[:200]!r}", mend_of(name, known, kind=f"{kind}s"))
