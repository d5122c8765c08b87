"""Blocks of bytes cut into chunks of whole lines, each with the number of its first line.

A line longer than `LONGEST` is rejected, and is never held whole. A NUL and bytes that are no UTF-8 are no reason to
stop: they become the replacement character, and the line stands or falls by what it says. What a container runtime puts
around each line (Kubernetes' CRI prefix, Docker's JSON) is taken off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from weirflow.importing.rejects import Rejects

LONGEST = 1 << 18
CHUNK = 1 << 20
PIECE = 1 << 16
"""Characters: the objects that so many lines are taken apart into fit a processor's cache; those of a chunk do not."""
BOM = b"\xef\xbb\xbf"
_CRI = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d) std(?:out|err) [FP] ", re.MULTILINE)
_DOCKER = '{"log":"'


class Chunk(NamedTuple):
    """Whole lines. `first`: number of the first one in the file, from 1. `text` ends without a newline."""

    first: int
    text: str

    def lines(self) -> list[str]:
        """The lines, without their ends."""
        return [line.removesuffix("\r") for line in self.text.split("\n")]

    def pieces(self) -> Iterator[Chunk]:
        """The same lines in chunks of `PIECE` characters or so."""
        first, at, text = self.first, 0, self.text
        while at <= len(text):
            end = text.find("\n", at + PIECE)
            piece = text[at : end if end >= 0 else len(text)]
            yield Chunk(first, piece)
            first += piece.count("\n") + 1
            at += len(piece) + 1


def chunks(blocks: Iterable[bytes], rejects: Rejects) -> Iterator[Chunk]:
    """The lines of a file in chunks of `CHUNK` bytes or so."""
    number, rest, skipping = 1, b"", False
    for i, block in enumerate(blocks):
        held = rest + (block.removeprefix(BOM) if i == 0 else block)
        cut = held.rfind(b"\n")
        if cut < 0:
            if len(held) > LONGEST:
                skipping, held = True, b""  # the number of the line is said when its end has come
            rest = held
            continue
        whole, rest = held[:cut], held[cut + 1 :]
        if skipping:
            end = whole.find(b"\n")
            rejects.reject(number, f"a line longer than {LONGEST} bytes")
            number += 1
            skipping = False
            if end < 0:
                continue
            whole = whole[end + 1 :]
        yield from _chunk(number, whole, rejects)
        number += whole.count(b"\n") + 1
    if skipping:
        rejects.reject(number, f"a line longer than {LONGEST} bytes")
    elif rest:
        yield from _chunk(number, rest, rejects)


def _chunk(number: int, whole: bytes, rejects: Rejects) -> Iterator[Chunk]:
    text = whole.decode("utf-8", "replace")
    if len(text) > LONGEST and max(map(len, text.split("\n"))) > LONGEST:
        lines = text.split("\n")
        for i, line in enumerate(lines):
            if len(line) > LONGEST:
                rejects.reject(number + i, f"a line longer than {LONGEST} bytes")
                lines[i] = ""
        text = "\n".join(lines)
    yield Chunk(number, unwrapped(text))


def unwrapped(text: str) -> str:
    """Lines without what a container runtime put around them, by the look of the first one."""
    if _CRI.match(text):
        return _CRI.sub("", text)
    if text.startswith(_DOCKER):
        return "\n".join(map(_undocked, text.split("\n")))
    return text


def _undocked(line: str) -> str:
    try:
        said = json.loads(line)["log"] if line.startswith(_DOCKER) else line
    except (ValueError, KeyError, TypeError, RecursionError):
        return line
    return said.rstrip("\r\n").replace("\n", " ") if isinstance(said, str) else line
