"""Files that are written whole or not at all, and read without trust.

Writing: to a temporary name beside the file, fsync, rename, fsync of the folder. A crash at any moment leaves the old
file or the new one, and a full disk leaves the old one.

Reading: only a regular file, never through a symbolic link, never more than a bound. What is in it is judged by the
caller; that it was safe to open is settled here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path


def write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """Put the chunks into `path`, which is the old file until the new one is safely on the disk.

    OSError, and no trace but the old file, when the disk refuses.
    """
    sink = Sink(path.with_name(f".{path.name}.{os.getpid()}.new"))
    try:
        for chunk in chunks:
            sink.write(chunk)
        sink.land(path)
    except BaseException:
        sink.abandon()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, limit: int) -> bytes:
    """Everything in a regular file of at most `limit` bytes.

    OSError when it is a symbolic link, a device, a pipe, too big, or not to be read; FileNotFoundError when not there.
    """
    # O_NONBLOCK: a pipe put in the file's place must not hold us up.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a symbolic link, which is not followed", str(path)) from error
        raise
    with open(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"has {status.st_size} bytes, more than the {limit} allowed", str(path))
        return file.read(limit)


class Sink:
    """A new file under a temporary name, until it lands: what pyarrow writes to. Counts and hashes what passes.

    After `abandon` the file is gone and further writes vanish: a Parquet writer that is cleaned up late still wants to
    write its footer, and there is nothing left to write it to.
    """

    def __init__(self, path: Path) -> None:
        """Create the file, over a left-over of a killed run. OSError when the folder is gone or refuses."""
        self.path = path
        self.size = 0
        self._sha256 = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = open(os.open(path, flags, 0o644), "wb", buffering=0)  # noqa: SIM115  closed by land or abandon
        self._abandoned = False

    def write(self, data: bytes | memoryview) -> int:
        """Write all of it; OSError when the disk refuses, even after a part of it went through."""
        view = memoryview(data).cast("B")
        if self._abandoned:
            return len(view)
        done = 0
        while done < len(view):
            done += self._file.write(view[done:]) or 0
        self._sha256.update(view)
        self.size += done
        return done

    def tell(self) -> int:
        """Bytes so far."""
        return self.size

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """Left to `land` and `abandon`, which know whether the file is to be."""

    @property
    def closed(self) -> bool:
        """Whether it landed or was abandoned."""
        return self._file.closed and not self._abandoned

    @property
    def sha256(self) -> str:
        """Of everything written so far, in hex."""
        return self._sha256.hexdigest()

    def land(self, path: Path) -> None:
        """Make the file durable and give it its name. The folder is the caller's to sync."""
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self.path, path)

    def abandon(self) -> None:
        """Remove the file, if that can still be done."""
        if self._abandoned:
            return
        self._abandoned = True
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink()
