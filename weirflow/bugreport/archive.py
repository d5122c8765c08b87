"""One packed file of members: made anew or not at all, for its owner alone, the same bytes for the same members."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

FOLDER = "weirflow-bug-report"


@contextlib.contextmanager
def fresh(path: Path) -> Iterator[IO[bytes]]:
    """A new file, gone again when what is to be in it fails. FileExistsError when there is one, OSError otherwise."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def write(file: IO[bytes], members: Mapping[str, bytes]) -> None:
    """Pack the members, in the order of their names, without owner and time."""
    with (
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted(members):
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size, entry.mode = len(members[name]), 0o600
            tar.addfile(entry, io.BytesIO(members[name]))
