"""What the admin API has of alerts: GET /alerts, GET /incidents, GET /incidents/ID and POST /silences."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from weirflow.access import RefusedError, body_of, reply, who_of
from weirflow.audit import Audit, Entry
from weirflow.config.problems import mend_of
from weirflow.notify.silence import SilenceError, read
from weirflow.operations import Operations
from weirflow.plain import plain


class AlertDesk:
    """The handlers. Silences are written down as commands are."""

    def __init__(self, operations: Operations, audit: Audit) -> None:
        self._operations = operations
        self._audit = audit

    def routes(self) -> list[web.RouteDef]:
        """Where each answers."""
        return [
            web.get("/alerts", self.alerts),
            web.get("/incidents", self.incidents),
            web.get("/incidents/{id}", self.incident),
            web.post("/silences", self.silence),
        ]

    async def alerts(self, request: web.Request) -> web.Response:
        """All that are open, and who was told."""
        return reply(plain(self._operations.notifier.to_dict()))

    async def incidents(self, request: web.Request) -> web.Response:
        """All that are known, the newest last."""
        return reply({"incidents": [plain(r.to_dict()) for r in self._operations.notifier.incidents]})

    async def incident(self, request: web.Request) -> web.Response:
        """One, with its timeline."""
        notifier, id_ = self._operations.notifier, request.match_info["id"]
        try:
            found = notifier.incident(id_)
        except KeyError:
            known = [record.view.id for record in notifier.incidents]
            raise RefusedError(
                404, f"no incident is named {id_[:60]!r}", mend_of(id_, known, kind="incidents")
            ) from None
        return reply({"now": notifier.now(), "incident": plain(found)})

    async def silence(self, request: web.Request) -> web.Response:
        """Ask the Alertmanagers for a silence, and write down who asked, whether or not there is one now."""
        body, who = await body_of(request, {"kind", "labels", "for", "comment", "ack"}), who_of(request)
        notifier = self._operations.notifier
        try:
            asked = read(body, who, notifier.constant)
        except SilenceError as error:
            raise RefusedError(error.status, error.message, error.mend) from error
        after: dict[str, Any] = asked.to_dict()
        try:
            told = await notifier.silence(asked)
        except SilenceError as error:
            self._audit.add(Entry(self._operations.now(), who, asked.what, {}, after, refused=error.message))
            raise RefusedError(error.status, error.message, error.mend) from error
        after["alertmanagers"] = told
        self._audit.add(Entry(self._operations.now(), who, asked.what, {}, after))
        return reply({"ok": all(t["id"] for t in told), "what": asked.what, "who": who, "after": plain(after)})
