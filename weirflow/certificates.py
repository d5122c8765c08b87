"""Whether the certificates that a mesh file names are fit to serve with: what their files alone can tell.

Everything that is wrong is found at once. `validate` tells it with the line, `check` with the page to read, and `run`
at the start; a brain that runs is asked for the dates of what it has in use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from dataplane.credentials import CredentialsError, belong, certificates, private_key
from weirflow.config.problems import Problem
from weirflow.config.source import Source
from weirflow.config.tls import TlsSection

SOON_S = 30 * 86_400.0
SOON_PART = 1 / 3
"""An end is near in the last third of a life, of a long one in its last 30 days: what renews by itself has done so."""
MOST_NAMES = 5

RENEW = "renew it; the new file is used without a restart"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file that `xds.tls` names by `key`. `bad`: nodes are refused, or refuse us."""

    key: str
    message: str
    mend: str
    bad: bool = True


def look(section: TlsSection, folder: Path, now: float) -> list[Finding]:
    """All that is wrong with the files. `folder` is the mesh file's, `now` in seconds since 1970."""
    found: list[Finding] = []
    read: dict[str, Any] = {}
    readers = {"cert_file": certificates, "key_file": private_key, "client_ca_file": certificates}
    for name, reader in readers.items():
        file = folder / getattr(section, name)
        try:
            read[name] = reader(name, file)[1]
        except CredentialsError as error:
            ours_only = file.exists() and not os.access(file, os.R_OK)  # what runs Weirflow may be able to
            found.append(Finding(name, error.message, error.mend, bad=not ours_only))
    chain, key, client_ca = (read.get(name) for name in readers)
    cert_file, key_file = folder / section.cert_file, folder / section.key_file
    if key is not None:
        found += _modes(key_file)
        if chain is not None and not belong(chain[0], key):
            found.append(Finding("key_file", f"{key_file} is not the key of {cert_file}", "renew both together"))
    if chain is not None:
        found += _dates("cert_file", cert_file, chain, now)
        found += _names(cert_file, chain[0], section.server_identity or "")
    if client_ca is not None:
        found += _dates("client_ca_file", folder / section.client_ca_file, client_ca, now)
    return found


def placed(found: Iterable[Finding], source: Source) -> list[Problem]:
    """The same as warnings at their lines: the files may be on another machine than the one that is asked."""
    return [source.problem(("xds", "tls", f.key), f.message, f.mend, severity="warning") for f in found]


def dated(not_before: float, not_after: float, now: float) -> tuple[str, bool] | None:
    """What is to be said of such dates, and whether it is bad; None: nothing."""
    if now < not_before:
        return f"is not valid before {_span(not_before - now)} from now", True
    if now >= not_after:
        return f"ended {_span(now - not_after)} ago", True
    if not_after - now < min(SOON_S, SOON_PART * (not_after - not_before)):
        return f"ends in {_span(not_after - now)}", False
    return None


def _span(seconds: float) -> str:
    """`12 days`, `5 hours`, `20 minutes`: whole ones, rounded down."""
    for unit, size in (("days", 86_400.0), ("hours", 3600.0)):
        if seconds >= 2 * size:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds / 60)} minutes"


def _dates(key: str, file: Path, chain: Sequence[x509.Certificate], now: float) -> Iterator[Finding]:
    told = [dated(c.not_valid_before_utc.timestamp(), c.not_valid_after_utc.timestamp(), now) for c in chain]
    # Of a chain all are needed; of CAs one that has ended may stand beside the one that took over.
    needed = key == "cert_file" or all(said is not None and said[1] for said in told)
    for certificate, said in zip(chain, told, strict=True):
        if said is not None:
            whose = certificate.subject.rfc4514_string()
            message = f"{file}{f' ({whose[:100]})' if len(chain) > 1 and whose else ''} {said[0]}"
            yield Finding(key, message, RENEW if needed else "take it out", bad=said[1] and needed)


def _modes(file: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        yield Finding("key_file", f"{file}: others have access (mode {mode:03o})", f"chmod 600 {file}", bad=False)


def _names(file: Path, certificate: x509.Certificate, asked: str) -> Iterator[Finding]:
    """Whether nodes will know it, and take it for a server's."""
    try:
        names = _san(certificate)
        uses = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        uses = []
    except ValueError:
        yield Finding("cert_file", f"{file}: its extensions cannot be read", "have another one issued")
        return
    if uses and ExtendedKeyUsageOID.SERVER_AUTH not in uses:
        yield Finding("cert_file", f"{file} is not for servers", "have one issued with the usage 'server auth'")
    shown = ", ".join([*names][:MOST_NAMES]) or "none"
    if asked and asked not in names:
        message = f"{file} has not the name {asked!r} that nodes ask for; its names: {shown}"
        yield Finding("cert_file", message, "have it issued, or set xds.tls.server_identity")
    if not asked and all("://" in name for name in names):
        message = f"{file} has no DNS name or IP address by which nodes could know it; its names: {shown}"
        yield Finding("cert_file", message, "name the one that it has as xds.tls.server_identity")


def _san(certificate: x509.Certificate) -> list[str]:
    """Its subject alternative names. ValueError when they cannot be read."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    kinds = (x509.DNSName, x509.UniformResourceIdentifier, x509.IPAddress)
    return [str(name) for kind in kinds for name in san.get_values_for_type(kind)]
