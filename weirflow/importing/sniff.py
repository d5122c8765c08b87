"""Takes a file for what it is, by its content and never by its name, and says why.

A magic number or a structure that nothing else has decides at once. Text is tried against the pattern of every known
format: the share of its first lines that fit is the format's score. When none fits half of them, or two fit alike, no
guess is made: the candidates are listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from weirflow.importing import envoy, haproxy, nginx
from weirflow.importing.als import varint
from weirflow.importing.errors import ImportingError, WrongUseError
from weirflow.importing.fields import column
from weirflow.importing.formats import Forms
from weirflow.importing.goreplay import END
from weirflow.importing.lines import unwrapped
from weirflow.importing.pattern import Pattern

HEAD = 1 << 18
LINES = 200
LEAST = 0.5
_COMBINED = re.compile(r'\S+ \S+ \S+ \[[^\]\n]{20,30}\] "[^"\n]*" \d{3} (?:\d+|-)(?: |$)')  # and CLF
_GOR = re.compile(rb"[12] [0-9a-f]{16,64} \d{10,20}(?: -?\d+)?\r?\n")
NEAR = 0.9


@dataclass(frozen=True, slots=True)
class Taken:
    """What a file is taken for, and why."""

    format: str
    why: str


def sniff(path: str, head: bytes, forms: Forms) -> Taken:
    """What a file is, by its first bytes. WrongUseError with the candidates when that cannot be told."""
    if head.startswith(b"PAR1"):
        return Taken("parquet", "it begins with PAR1")
    if not head.strip():
        raise ImportingError(f"{path}: is empty")
    if END in head or _GOR.match(head):
        return Taken(
            "goreplay", "its records end in the three monkeys" if END in head else "it begins as a record does"
        )
    text = unwrapped(head.decode("utf-8", "replace").removeprefix("\ufeff"))
    if text.lstrip().startswith("{") and '"entries"' in text and '"log"' in text[:200]:
        return Taken("har", "it is one JSON document with a log of entries")
    lines = [line for line in (text.split("\n")[:-1] or [text]) if line.strip()][:LINES]
    if not lines:
        raise ImportingError(f"{path}: holds nothing but empty lines")
    objects = [o for o in map(_object, lines) if o is not None]
    if len(objects) > LEAST * len(lines):
        return _of_json(path, objects, forms)
    found = sorted(_scores(lines, forms), key=lambda f: -f[0])
    best = [(share, name) for share, name in found if share > 0]
    if best and best[0][0] >= LEAST and (len(best) == 1 or best[1][0] < NEAR * best[0][0]):
        share, name = best[0]
        return Taken(name, f"{share * len(lines):.0f} of its first {len(lines)} lines fit")
    if _is_dump(head):
        return Taken("als", "it is cut in length-delimited messages")
    if sum(1 for line in lines if _COMBINED.match(line)) >= LEAST * len(lines):
        raise WrongUseError(
            f"{path}: is NGINX's log without upstreams, which tells of no endpoint; log with {nginx.DEFAULT!r}, or "
            "name your own with --nginx-format"
        )
    raise _unsure(path, best, len(lines))


def _scores(lines: list[str], forms: Forms) -> Iterator[tuple[float, str]]:
    """The share of the lines that fits each text format."""
    if forms.envoy:
        yield _fit(envoy.compiled(forms.envoy).pattern, lines), "envoy"
    else:
        yield _fit(envoy.compiled(envoy.DEFAULT).pattern, lines), "envoy"
        yield _fit(envoy.compiled(envoy.ISTIO).pattern, lines), "istio"
    yield _fit(nginx.compiled(forms.nginx or nginx.DEFAULT), lines), "nginx"
    yield _fit(nginx.compiled(nginx.INGRESS), lines), "ingress-nginx"
    yield _fit(haproxy.pattern(), lines), "haproxy"
    header = [name.strip() for name in lines[0].replace(";", ",").replace("\t", ",").split(",")]
    named = sum(1 for name in header if column(name) is not None or name in forms.keys.values())
    yield named / len(header) if named >= 3 or (named and forms.keys) else 0.0, "csv"


def _fit(pattern: Pattern, lines: list[str]) -> float:
    return sum(1 for line in lines if pattern.match(line) is not None) / len(lines)


def _object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _of_json(path: str, objects: list[dict[str, Any]], forms: Forms) -> Taken:
    if any("resourceSpans" in o for o in objects):
        return Taken("otlp", "its lines hold resourceSpans")
    if forms.keys:
        return Taken("json", "its lines are JSON objects, and --map says their keys")
    keys = {key for o in objects for key in o}
    presets = {"istio-json": envoy.ISTIO_JSON, "gateway-json": envoy.GATEWAY_JSON, "contour-json": envoy.CONTOUR_JSON}
    # Each by the share of its keys that are there; Contour's has the fewest, so that the fullest wins a tie.
    scores = sorted(
        (
            (sum(k in keys for k in preset.values()) / len(preset), len(preset), name)
            for name, preset in presets.items()
        ),
        reverse=True,
    )
    share, _, name = scores[0]
    if share >= NEAR or (share >= 0.7 and share > scores[1][0]):
        return Taken(name, f"its lines are JSON objects with {share:.0%} of the keys of that format")
    raise WrongUseError(
        f"{path}: holds JSON objects with keys of no format that is known ({', '.join(sorted(keys)[:30])}); say which "
        "they are, as --map started=ts --map duration_ms=elapsed --map endpoint=upstream"
    )


def _is_dump(head: bytes) -> bool:
    """Whether two messages in a row have a length that fits, and begin with the tag of a field 1 or 2."""
    at = 0
    for _ in range(2):
        length, start = varint(head, at)
        if length <= 0 or start >= len(head) or head[start] not in (0x0A, 0x12):
            return False
        at = start + length
        if at == len(head):
            return True
        if at > len(head):
            return _ == 1 or length > HEAD // 2
    return True


def _unsure(path: str, best: list[tuple[float, str]], many: int) -> WrongUseError:
    if not best:
        return WrongUseError(
            f"{path}: is like nothing that is known; name its --format, give its --envoy-format or --nginx-format, or "
            "say which columns are which with --map"
        )
    told = ", ".join(f"{name} ({share:.0%} of its first {many} lines)" for share, name in best[:5])
    return WrongUseError(f"{path}: may be {told}; say which with --format")
