"""Takes secrets out: those that we know, wherever they stand, and what looks like one, whether we know it or not.

Known are the values of keys that are called like secrets, the users and passwords of URLs, and what is in the files
that hold tokens. Of any URL nothing is left but its scheme, host and port: the path of a webhook is often its secret.
A mesh file is written anew from its data, so its comments are gone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from weirflow.files import read_bounded

REDACTED = "REDACTED"
LEAST = 4
"""Characters: a shorter one would stand in every other word."""
MOST_FILE_BYTES = 1 << 16
CUT = 12
LONG = 40
"""Messages show the beginning of a long value: of a longer one its first `CUT` characters and what follows them go."""

_NAMED = re.compile(
    r"secret|token|passw|passphrase|credential|api[_-]?key|private[_-]?key|authorization|cookie|(?:^|[_.-])auth(?:$|[_.-])",
    re.IGNORECASE,
)
_INLINE = ("inline_string", "inline_bytes", "inline_code", "session_ticket_keys")
"""Where Envoy's configuration holds keys and passwords."""
_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,31}://)([^\s\"'<>`]*)")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)(:\d{1,5})?(?=$|[/?#\\,;)}\]]|\.?$)")
_SHOWN = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE)
_GIVEN = re.compile(
    r"\b([\w-]*(?:secret|token|passw(?:or)?d|api[_-]?key)(?![\w-]*file)[\w-]*)(\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&}\"']+)",
    re.IGNORECASE,
)


def secret_key(key: str) -> bool:
    """Whether what stands under such a key is a secret. One that names a file holds none, if it does name one."""
    return bool(_NAMED.search(key)) or key in _INLINE


class Redaction:
    """Takes the same secrets out of everything."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, data: Any, folder: Path) -> None:
        """Learn the secrets of a mesh file from its plain data. `folder` is what its paths are relative to."""
        for secret in _secrets(data, folder, within=False):
            self.know(secret)

    def know_file(self, file: Path) -> None:
        """Learn what is in a file that holds a token, if it can be read."""
        for line in _lines(file):
            self.know(line)

    def know(self, secret: str) -> None:
        """Learn one, in all the forms in which a message may show it."""
        secret = secret.strip()
        if len(secret) < LEAST:
            return
        escaped = secret.encode("unicode_escape").decode("ascii")
        forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
        forms |= {escaped, quote(secret), quote(secret, safe=""), unquote(secret)}
        self._known |= {form for form in forms if len(form) >= LEAST}
        self._pattern = None

    def text(self, words: str) -> str:
        """The words without secrets."""
        if self._known:
            words = self._compiled().sub(REDACTED, words)
        words = _URL.sub(_bare, words)
        words = _SHOWN.sub(lambda m: f"{m[1]} {REDACTED}", words)
        return _GIVEN.sub(lambda m: f"{m[1]}{m[2]}{REDACTED}", words)

    def data(self, value: Any, folder: Path | None = None) -> Any:
        """Plain data without secrets. With a `folder` the name of a file below it is no secret."""
        match value:
            case dict():
                return {self.text(str(k)): self._under(str(k), v, folder) for k, v in value.items()}
            case list() | tuple():
                return [self.data(v, folder) for v in value]
            case str():
                return self.text(value)
            case _:
                return value

    def _under(self, key: str, value: Any, folder: Path | None) -> Any:
        if not secret_key(key) or value is None or isinstance(value, bool):
            return self.data(value, folder)
        if isinstance(value, str) and folder is not None and _names_file(key, value, folder):
            return self.text(value)
        return REDACTED

    def _compiled(self) -> re.Pattern[str]:
        if self._pattern is None:
            parts = []
            for form in sorted(self._known, key=lambda f: (-len(f), f)):
                cut = rf"|{re.escape(form[:CUT])}[^\s\"']*" if len(form) > LONG else ""
                parts.append(re.escape(form) + cut)
            self._pattern = re.compile("|".join(parts))
        return self._pattern


def _bare(match: re.Match[str]) -> str:
    """A URL with its scheme, host and port; without those where it is not sure which part is the host."""
    scheme, rest = match[1], match[2]
    if "@" in rest:
        after = rest.rpartition("@")[2]
        host = _HOST.match(after)
        return f"{scheme}{REDACTED}@{host[0] if host else REDACTED}"
    host = _HOST.match(rest)
    if host is None:
        return scheme + (REDACTED if rest else "")
    behind = rest[host.end() :]
    path = re.match(r"[^\\,;)}\]]*", behind)
    said = path[0] if path else ""
    return scheme + host[0] + (f"/{REDACTED}" if said.strip("/.") else said) + behind[len(said) :]


def _secrets(value: Any, folder: Path, *, within: bool) -> Iterator[str]:
    """Every secret in plain data; `within` a key that is called like one, every scalar is."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _secrets(str(key), folder, within=False)
                if isinstance(inner, str) and _names_file(str(key), inner, folder):
                    yield from _lines(folder / inner)
                else:
                    yield from _secrets(inner, folder, within=within or secret_key(str(key)))
        case list():
            for inner in value:
                yield from _secrets(inner, folder, within=within)
        case str():
            if within:
                yield value
            for match_ in _URL.finditer(value):
                user, at, _ = match_[2].rpartition("@")
                if at:
                    yield from (user, *user.split(":", 1))
        case int() | float() if within and not isinstance(value, bool):
            yield str(value)


def _names_file(key: str, value: str, folder: Path) -> bool:
    """Whether a key says that its value is a file, and it is one: a token may stand in its place by mistake."""
    try:
        return key.lower().endswith("file") and secret_key(key) and (folder / value).is_file()
    except (OSError, ValueError):
        return False


def _lines(file: Path) -> Iterable[str]:
    try:
        return read_bounded(file.resolve(), MOST_FILE_BYTES).decode("utf-8", "replace").splitlines()
    except (OSError, ValueError, RuntimeError):
        return ()
