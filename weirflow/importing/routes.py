"""Paths to route templates: what is redacted, and how many there may be.

A segment stays when it is made of words and versions (`orders`, `v1beta2`, `grpc.health.v1.Health`); a number, an id, a
hash, a long token, anything escaped or odd becomes `{}`; a query is dropped. What is a name by its looks and an id by
its number is found at the end: where one place of a template has more than `CHILDREN` words, they become `{}` too. Then
the busiest keep their names, and the rest is "other".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from dataplane.contract import Ints
from weirflow.importing.errors import WrongUseError
from weirflow.importing.names import NO, Codes

OTHER = "other"
SLOT = "{}"
DEEPEST = 10
CHILDREN = 30
TEMPLATES = 1 << 15
CACHED = 1 << 15
_WORD = re.compile(r"[A-Za-z]{1,20}|v\d{1,3}(?:(?:alpha|beta|rc)\d{0,2})?")
_PARTS = re.compile(r"[._~-]")
_HEX = re.compile(r"[0-9a-fA-F]{8,}")
_QUERY = re.compile(r"[?#][^\n]*")
_ID = re.compile(r"/(?=[0-9a-fA-F-]*\d)[0-9a-fA-F-]++(?=[/\n]|\Z)")
_TURNS = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")


def template(path: str) -> str:
    """The template of one path. What is not a path (`*`, the host of a CONNECT) is the template `*`."""
    path = path.partition("?")[0].partition("#")[0]
    if "://" in path[:12]:
        path = "/" + path.partition("://")[2].partition("/")[2]
    if not path.startswith("/"):
        return "*"
    parts = path[1:].split("/", DEEPEST)
    kept = [_kept(part) for part in parts[:DEEPEST]]
    return "/" + "/".join([*kept, "*"] if len(parts) > DEEPEST else kept)


def _kept(segment: str) -> str:
    if not segment or segment == SLOT:
        return segment
    if len(segment) > 48 or _HEX.fullmatch(segment) or len(_TURNS.findall(segment)) > 4:
        return SLOT
    return segment if all(_WORD.fullmatch(p) for p in _PARTS.split(segment)) else SLOT


def _alike(paths: list[str]) -> list[str]:
    """Paths without their queries and with their plainest ids (digits, hex) out, all at once: few are then unlike."""
    text = "\n".join(paths)
    out = _ID.sub("/{}", _QUERY.sub("", text)).split("\n")
    return out if len(out) == len(paths) else paths


class _Reduced(dict[str, int]):
    """Codes by text with the plainest ids out: few, so that reading one may take its time."""

    def __init__(self, read: Callable[[str], str], codes: Codes) -> None:
        super().__init__()
        self._read, self._codes = read, codes

    def __missing__(self, text: str) -> int:
        self[text] = code = self._codes[self._read(text) or OTHER] if text else NO
        return code


class Routes:
    """The routes of an import. `of` while reading; `settled` once all is read."""

    def __init__(self, by: str = "auto", most: int = 100) -> None:
        """`by`: auto, path, host, cluster, route or regex:EXPRESSION. WrongUseError when it is none of them."""
        self.by, expression = (by, "") if not by.startswith("regex:") else ("regex", by[6:])
        if self.by not in ("auto", "path", "host", "cluster", "route", "regex"):
            raise WrongUseError(f"--route-from {by}: write path, host, cluster, route or regex:EXPRESSION")
        if most < 1:
            raise WrongUseError(f"--routes {most}: at least 1, which is then {OTHER!r}")
        self._most = most
        self._codes = Codes(TEMPLATES)
        self._known: dict[str, int] = {}  # by text as the log has it
        self._count = np.zeros(0, np.int64)
        self._service = np.zeros(0, np.int64)
        self._read: Callable[[str], str] = _matching(expression) if self.by == "regex" else template
        self._reduced = _Reduced(self._read, self._codes)

    def of(self, texts: Sequence[str], *, path: bool) -> Ints:
        """The code of each path (`path`) or name; NO where there is none, and beyond the bound on templates."""
        known = self._known
        new = [t for t in dict.fromkeys(texts) if t not in known]
        if len(known) + len(new) > CACHED:
            known.clear()
            self._reduced.clear()
            new = list(dict.fromkeys(texts))
        if path:
            alike = _alike(new) if self._read is template else new
            known.update(zip(new, map(self._reduced.__getitem__, alike), strict=True))
        else:
            known.update((text, self._codes[text] if text else NO) for text in new)
        return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts))

    def count(self, route: Ints, service: Ints) -> None:
        """Count what was taken, and of which service a route is: -2 when of several."""
        grown = len(self._codes.names) - len(self._count)
        if grown > 0:
            self._count = np.concatenate([self._count, np.zeros(grown, np.int64)])
            self._service = np.concatenate([self._service, np.full(grown, NO)])
        known = route >= 0
        self._count += np.bincount(route[known], minlength=len(self._count))
        for pair in np.unique(route[known] << 32 | service[known]).tolist():
            at, of = pair >> 32, pair & 0xFFFFFFFF
            self._service[at] = of if self._service[at] in (NO, of) else -2

    def settled(self) -> tuple[list[str], list[int], Ints]:
        """The names of the routes, the service of each (-1: of several), and the route by code, one more for NO."""
        names = _collapsed(self._codes.names) if self.by in ("auto", "path") else list(self._codes.names)
        counts: defaultdict[str, int] = defaultdict(int)
        for name, count in zip(names, self._count.tolist(), strict=False):
            counts[name] += count
        busiest = sorted(counts, key=lambda n: (-counts[n], n))
        crowded = len(busiest) > self._most
        kept = [n for n in busiest if n != OTHER][: self._most - 1 if crowded or OTHER in counts else self._most]
        at = {name: i for i, name in enumerate(kept)}
        by_code = np.array([at.get(n, len(kept)) for n in names] + [NO], dtype=np.int64)
        if crowded or OTHER in counts:
            kept.append(OTHER)
        services = [NO] * len(kept)
        for code, route in enumerate(by_code[:-1].tolist()):
            if code < len(self._service) and self._count[code]:
                of = int(self._service[code])
                services[route] = of if services[route] in (NO, of) else -2
        return kept, [max(s, NO) for s in services], by_code


def _matching(expression: str) -> Callable[[str], str]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise WrongUseError(f"--route-from regex:{expression}: {error}") from error

    def read(text: str) -> str:
        m = pattern.search(text)
        return OTHER if m is None else (m[1] or OTHER) if pattern.groups else m[0]

    return read


def _collapsed(names: list[str]) -> list[str]:
    """The templates with `{}` where a place has too many words."""
    out = [n.split("/") for n in names]
    for depth in range(1, DEEPEST + 1):
        children: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for parts in out:
            if len(parts) > depth:
                children[tuple(parts[:depth])].add(parts[depth])
        many = {before for before, words in children.items() if len(words - {SLOT, "*"}) > CHILDREN}
        for parts in out:
            if len(parts) > depth and parts[depth] != "*" and tuple(parts[:depth]) in many:
                parts[depth] = SLOT
    return ["/".join(parts) for parts in out]
