"""The other side of the admin API, in the standard library: a command should not wait for an HTTP stack to import."""

from __future__ import annotations

import getpass
import http.client
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import typer

DEFAULT_ADMIN = "http://127.0.0.1:9901"
DEADLINE_S = 5.0
MAX_ANSWER_BYTES = 64 << 20

AdminOption = Annotated[
    str, typer.Option("--admin", envvar="WEIRFLOW_ADMIN", metavar="URL", help="Where the brain's admin API is.")
]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file", envvar="WEIRFLOW_TOKEN_FILE", help="Its token, where `admin.token_file` asks for one."
    ),
]


class UnreachableError(Exception):
    """No brain answered: exit 3."""


class AnsweredError(Exception):
    """The brain said no, and why. `status` is HTTP's."""

    def __init__(self, status: int, error: str, mend: str) -> None:
        super().__init__(error)
        self.status, self.error, self.mend = status, error, mend


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one admin API. UnreachableError when nobody answers, AnsweredError when the answer is no."""

    admin: str
    token_file: Path | None = None

    def get(self, *parts: str) -> dict[str, Any]:
        """What is at this path; each part is one segment of it, whatever it holds."""
        return self._ask("GET", parts, None)

    def text(self, *parts: str) -> str:
        """The same where the answer is text."""
        status, raw = self._raw("GET", parts, None)
        if status != 200:
            _understood(self.admin, status, raw)
        return raw.decode("utf-8", "replace")

    def post(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """Change something."""
        return self._ask("POST", (verb,), body)

    def _ask(self, method: str, parts: tuple[str, ...], body: dict[str, Any] | None) -> dict[str, Any]:
        return _understood(self.admin, *self._raw(method, parts, body))

    def _raw(self, method: str, parts: tuple[str, ...], body: dict[str, Any] | None) -> tuple[int, bytes]:
        host, port = self._address()
        headers = {"X-Weirflow-Who": _who(), "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.token_file is not None:
            headers["Authorization"] = "Bearer " + self._token(self.token_file)
        path = "/" + "/".join(quote(part, safe="") for part in parts)
        connection = http.client.HTTPConnection(host, port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            status, raw = answer.status, answer.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise UnreachableError(f"no brain answers at {self.admin} ({reason})") from error
        finally:
            connection.close()
        return status, raw

    def _address(self) -> tuple[str, int]:
        url = self.admin if "://" in self.admin else f"http://{self.admin}"
        try:
            split = urlsplit(url)
            host, port = split.hostname, split.port or 80
        except ValueError:
            host, port = None, 0
        if not host or split.scheme != "http" or split.path.strip("/"):
            raise typer.BadParameter(f"{self.admin!r} is not an admin address; as in {DEFAULT_ADMIN}")
        return host, port

    @staticmethod
    def _token(file: Path) -> str:
        try:
            return file.read_text(encoding="ascii").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"the token file {file} cannot be read: {error}") from error


def _understood(admin: str, status: int, raw: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise UnreachableError(f"what answers at {admin} is not Weirflow (HTTP {status})")
    if status != 200:
        raise AnsweredError(status, str(answer.get("error", f"HTTP {status}")), str(answer.get("mend", "")))
    return answer


def _who() -> str:
    """The operator, as this machine knows them: for the audit trail."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}".encode("ascii", "replace").decode()
