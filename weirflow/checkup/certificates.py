"""Certificates: those that the mesh file names, as their files are, and those that a brain has in use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weirflow.checkup.found import Check, failure, ok, warning
from weirflow.config.model import Document

NAME = "certificates"

_LINK = "how-to.md#a-certificate-is-not-as-it-should-be"

Json = dict[str, Any]


def files(document: Document, folder: Path, now: float) -> Iterator[Check]:
    """Of a mesh file in that folder: there, readable, a pair, in time, under the right name, and the key kept close."""
    if document.xds.tls is None:
        yield ok(NAME, "the mesh file names none")
        return
    from weirflow.certificates import look  # brings gRPC and cryptography

    found = look(document.xds.tls, folder, now)
    for finding in found:
        said = failure if finding.bad else warning
        yield said(f"xds.tls.{finding.key}", finding.message, finding.mend, _LINK)
    if not found:
        yield ok(NAME, "they fit together, and none ends soon")


def in_use(answer: Json) -> Iterator[Check]:
    """Of a brain that serves over TLS, by its answer of `/status`; of another nothing is said."""
    tls = ((answer.get("process") or {}).get("wires") or {}).get("tls")
    if not tls:
        return
    from weirflow.certificates import RENEW, dated

    bad = False
    if tls.get("problem"):
        bad = True
        words = f"the files were changed and are not used: {tls['problem']}"
        yield failure(NAME, words, "mend them; those from before serve on", _LINK)
    for which, dates in (tls.get("certificates") or {}).items():
        said = dated(dates["not_before"], dates["not_after"], answer.get("now") or 0.0)
        if said is not None:
            bad = True
            whose = "that of the brain" if which == "server" else "the CA of the nodes"
            yield (failure if said[1] else warning)(NAME, f"{whose} {said[0]}", RENEW, _LINK)
    if not bad:
        yield ok(NAME, "those in use are the newest, and none ends soon")
