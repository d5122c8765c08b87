"""Opens what a user names, without trust: only a regular file, unpacked as it is read, never beyond a bound.

A symbolic link, a pipe or a device is refused unless it was asked for (`follow`; `-` is the standard input). A packed
file is one of gzip, bzip2 or zstd by its first bytes, whatever it is called. A bomb is told while it goes off: by how
much more comes out than went in, and by how much comes out at all.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from weirflow.importing.errors import ImportingError

BLOCK = 1 << 20
RATIO_FROM = 1 << 26  # bytes out from which the ratio counts: a small file may press as well as it likes
MOST_RATIO = 200.0
MOST_BYTES = 1 << 40
MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What opening allows. `ratio`: bytes out for each byte of a packed file; `size`: bytes out in all."""

    follow: bool = False
    ratio: float = MOST_RATIO
    size: int = MOST_BYTES


class Source:
    """An opened input: `blocks()` once, or `file()` for what wants to seek. Close it."""

    def __init__(self, path: str, bounds: Bounds) -> None:
        """ImportingError when it is not to be had, or is no regular file and was not asked for."""
        self.path = path
        self.name = "stdin" if path == "-" else Path(path).name
        self._bounds = bounds
        self._raw = _opened(path, bounds.follow)
        self.identity = _identity(self._raw)
        self._start = self._read_raw(8)
        self.packing = next((p for magic, p in MAGIC.items() if self._start.startswith(magic)), "")
        self._in, self._out = len(self._start), 0
        self._passed = 0
        self._ahead: list[bytes] = []
        self._content = self._checked()

    def blocks(self) -> Iterator[bytes]:
        """The content, unpacked, in blocks. ImportingError when it is a bomb, or damaged."""
        while self._ahead:
            yield self._ahead.pop(0)
        yield from self._content

    def head(self, size: int) -> bytes:
        """The first bytes of the content, which `blocks` gives again."""
        held = b""
        for block in self._content:
            held += block
            self._ahead.append(block)
            if len(held) >= size:
                break
        return held[:size]

    def file(self) -> Any:
        """The open file itself, at its start."""
        self._raw.seek(0)
        return self._raw

    @property
    def passed(self) -> int:
        """Bytes that were read of the file as it lies there; 0 of a pipe."""
        if not self._raw.closed and self._raw.seekable():  # pyarrow closes what it has unpacked to its end
            self._passed = self._raw.tell()
        return self._passed

    def close(self) -> None:
        """Close it."""
        self._raw.close()

    def read(self, size: int = -1) -> bytes:
        """For pyarrow, which unpacks: the packed bytes."""
        if self._start:
            head, self._start = self._start, b""
            return head
        found = self._read_raw(BLOCK if size < 0 else min(size, BLOCK))
        self._in += len(found)
        return found

    closed = False
    mode = "rb"

    def readable(self) -> bool:
        """For pyarrow."""
        return True

    def _checked(self) -> Iterator[bytes]:
        blocks = self._unpacked() if self.packing else self._plain()
        try:
            for block in blocks:
                self._out += len(block)
                self._check()
                yield block
        except (OSError, pa.ArrowException, EOFError) as error:
            raise ImportingError(f"{self.path}: cannot be read: {error}") from error

    def _plain(self) -> Iterator[bytes]:
        block = self._start + self._read_raw(BLOCK)
        while block:
            yield block
            block = self._read_raw(BLOCK)

    def _unpacked(self) -> Iterator[bytes]:
        with pa.CompressedInputStream(pa.PythonFile(self, mode="r"), self.packing) as stream:
            while block := stream.read(BLOCK):
                yield block

    def _read_raw(self, size: int) -> bytes:
        try:
            found: bytes = self._raw.read(size)
        except OSError as error:
            raise ImportingError(f"{self.path}: {error.strerror or error}") from error
        return found

    def _check(self) -> None:
        if self._out > self._bounds.size:
            raise ImportingError(
                f"{self.path}: holds more than {self._bounds.size} bytes; raise --most-bytes, or cut it"
            )
        if self.packing and self._out > max(RATIO_FROM, self._bounds.ratio * self._in):
            raise ImportingError(
                f"{self.path}: unpacks to more than {self._bounds.ratio:g} times its size, as a bomb does; "
                "raise --most-ratio when it is none"
            )


def _opened(path: str, follow: bool) -> Any:
    if path == "-":
        return sys.stdin.buffer
    # O_NONBLOCK: a pipe that nobody writes to must not hold us up before it is refused.
    flags = os.O_RDONLY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise ImportingError(f"{path}: is a symbolic link; name the file itself, or say --follow") from error
        raise ImportingError(f"{path}: {error.strerror or error}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        os.close(descriptor)
        raise ImportingError(f"{path}: is a folder; name the files in it")
    if not stat.S_ISREG(mode) and not follow:
        os.close(descriptor)
        raise ImportingError(f"{path}: is no regular file; say --follow to read it all the same")
    return open(descriptor, "rb")  # closed by Source.close


def _identity(file: Any) -> tuple[int, int]:
    try:
        status = os.fstat(file.fileno())
    except (OSError, ValueError):
        return 0, 0
    return status.st_dev, status.st_ino
