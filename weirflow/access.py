"""Who may speak to the admin API. It listens on loopback, where the danger is a web page in the operator's browser.

* DNS rebinding: a page's name is made to resolve to 127.0.0.1. The Host header still carries that name, so a request by
  any name but this machine's own or a configured one is refused.
* Cross-site requests: a page posts a form here. Forms cannot send JSON without a preflight, which is never granted, and
  browsers say where a request comes from; both are asked for.
* Off loopback (which `validate` allows only with a token file) every request must show the token, but for `/healthz`
  and the files of the console, which ask for it.

Errors are JSON, `{"error": ..., "mend": ...}`, and never a traceback.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from multidict import CIMultiDictProxy

from weirflow.addresses import is_ip, is_loopback, is_wildcard
from weirflow.config.problems import mend_of

MAX_BODY_BYTES = 16 * 1024
BODY_DEADLINE_S = 5.0

WHO_HEADER = "X-Weirflow-Who"
"""What the caller says of itself. A claim: the audit keeps the peer's address beside it."""

log = structlog.get_logger("weirflow.admin")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusedError(Exception):
    """A request that is not obeyed: an HTTP status, what is wrong, and the mend."""

    def __init__(self, status: int, error: str, mend: str = "") -> None:
        super().__init__(error)
        self.status, self.error, self.mend = status, error, mend


@dataclass(frozen=True, slots=True)
class Access:
    """The rules. `address` is the one bound, `hosts` further names for it, `token` None where none is asked for.

    With `read_without_token` it is asked for where something changes, and not of those who only look.
    """

    address: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    token: str | None = None
    read_without_token: bool = False

    def refuse(self, method: str, path: str, headers: CIMultiDictProxy[str]) -> RefusedError | None:
        """Why this request is not let in; None when it is."""
        host = hostname(headers.get("Host", ""))
        if not self._is_ours(host):
            return RefusedError(403, f"this is not {host[:100]!r}", "use its address, or add the name to admin.hosts")
        looks = method in ("GET", "HEAD")
        if not (holds_nothing(path) or (looks and self.read_without_token) or self.knows(headers)):
            return RefusedError(401, "a token is needed", "send Authorization: Bearer, from admin.token_file")
        return None if looks else self._refuse_change(headers)

    def knows(self, headers: CIMultiDictProxy[str]) -> bool:
        """Whether the token is shown; so it is where there is none."""
        if self.token is None:
            return True
        shown = headers.get("Authorization", "").removeprefix("Bearer ").encode()
        return hmac.compare_digest(shown, self.token.encode())

    def _is_ours(self, host: str) -> bool:
        if host in {name.casefold() for name in self.hosts} or host == self.address:
            return True
        # An address is nobody's name: no page can make a browser send one that it was not opened by.
        return is_ip(host) if is_wildcard(self.address) else is_loopback(host)

    def _refuse_change(self, headers: CIMultiDictProxy[str]) -> RefusedError | None:
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.casefold() != headers.get("Host", "").casefold():
            return RefusedError(403, "a page of another site may not change anything here")
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return RefusedError(403, "a page of another site may not change anything here")
        if headers.get("Content-Type", "").partition(";")[0].strip().casefold() != "application/json":
            return RefusedError(415, "the body must be JSON", "send Content-Type: application/json")
        return None


def holds_nothing(path: str) -> bool:
    """Whether there is nothing of the mesh behind this path: that it answers, and the files of the console."""
    return path in ("/", "/healthz", "/console") or (
        path.startswith("/console/") and not path.startswith("/console/api/")
    )


def hostname(header: str) -> str:
    """The host of a Host header, without port and brackets, in lower case. "" when there is none."""
    try:
        return (urlsplit("//" + header).hostname or "").rstrip(".")
    except ValueError:
        return ""


def reply(body: Any, status: int = 200) -> web.Response:
    """A JSON answer that no browser keeps or guesses the type of."""
    text = json.dumps(body, allow_nan=False)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(text=text + "\n", status=status, content_type="application/json", headers=headers)


def gate(access: Access) -> Any:
    """The middleware: let in or refuse, and turn whatever goes wrong into JSON."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            refusal = access.refuse(request.method, request.path, request.headers)
            if refusal is not None:
                raise refusal
            return await handler(request)
        except RefusedError as refusal:
            return reply({"error": refusal.error, "mend": refusal.mend}, refusal.status)
        except web.HTTPException as error:
            return reply({"error": error.reason, "mend": "see docs/reference/cli.md"}, error.status)
        except Exception:
            log.exception("admin request failed", path=request.path)
            return reply({"error": "internal error", "mend": "the log has the details"}, 500)

    return guarded


async def body_of(request: web.Request, known: Collection[str]) -> dict[str, Any]:
    """The JSON object that was sent, {} for an empty body. RefusedError when it is anything else, or too slow.

    So it is when a key is none of `known`.
    """
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            raw = await request.read()
    except TimeoutError:
        raise RefusedError(408, "the body did not come in time") from None
    try:
        body = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "the body must be a JSON object")
    for key in body:
        if key not in known:
            raise RefusedError(400, f"unknown key {key[:60]!r}", mend_of(key, sorted(known)))
    return body


def who_of(request: web.Request) -> str:
    """Who asks, as they say, and from where."""
    claimed = re.sub(r"[^\w@.+-]", "?", request.headers.get(WHO_HEADER, "unknown"))[:64]
    return f"{claimed} from {request.remote}"
