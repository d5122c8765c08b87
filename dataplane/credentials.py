"""What the TLS port shows and whom it trusts: our certificate, its key, and the CA of the nodes' certificates.

gRPC asks for them whenever a connection begins, and files that have changed are read then: who is connected stays, who
comes meets the new ones. A pair that does not belong together, as halfway through a rotation, changes nothing.

Who shows no certificate, or one that is expired, not yet valid or of another CA, is turned away by gRPC before any code
of ours hears of it. What can be counted is how many connections began and how many came as far as a stream: the rest
was turned away, or only looked whether the port is open.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dataplane.mesh import TlsSpec

MOST_BYTES = 1 << 20
MOST_PEERS = 4096
"""Connections that are remembered as having come through, the newest."""

log = structlog.get_logger(__name__)


class CredentialsError(ValueError):
    """A file that cannot be used. `key` is the field of `TlsSpec` that names it, `mend` what to do."""

    def __init__(self, key: str, message: str, mend: str) -> None:
        super().__init__(f"{message}; {mend}")
        self.key, self.message, self.mend = key, message, mend


@dataclass(frozen=True, slots=True)
class Pem:
    """What is in the three files, and fits together."""

    chain: bytes
    key: bytes
    client_ca: bytes
    ours: Sequence[x509.Certificate]  # the first is the one that we show as our own
    theirs: Sequence[x509.Certificate]

    @property
    def configuration(self) -> Any:
        """The same for gRPC."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.client_ca)


def load(tls: TlsSpec) -> Pem:
    """Read the three files. CredentialsError with the first thing that is wrong with them."""
    chain, ours = certificates("cert_file", tls.cert_file)
    raw, key = private_key("key_file", tls.key_file)
    client_ca, theirs = certificates("client_ca_file", tls.client_ca_file)
    if not belong(ours[0], key):
        raise CredentialsError("key_file", f"{tls.key_file} is not the key of {tls.cert_file}", "renew both together")
    return Pem(chain, raw, client_ca, ours, theirs)


def certificates(key: str, file: Path) -> tuple[bytes, list[x509.Certificate]]:
    """The certificates of a PEM file, at least one, with its bytes. CredentialsError, in the name of that key."""
    raw = _read(key, file)
    try:
        return raw, x509.load_pem_x509_certificates(raw)
    except ValueError:
        raise CredentialsError(key, f"{file} holds no certificate in PEM", "it begins -----BEGIN CERTIFICATE") from None


def private_key(key: str, file: Path) -> tuple[bytes, PrivateKeyTypes]:
    """The key of a PEM file, with its bytes. CredentialsError, in the name of that key of the mesh file."""
    raw = _read(key, file)
    try:
        return raw, load_pem_private_key(raw, None)
    except TypeError:
        raise CredentialsError(key, f"{file} is encrypted", "openssl pkey -in it -out another") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CredentialsError(key, f"{file} holds no private key in PEM", "it begins -----BEGIN PRIVATE KEY") from None


def belong(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    """Whether the key is that of the certificate."""
    return bool(certificate.public_key() == key.public_key())


def _read(key: str, file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except OSError as error:
        mend = "put it there" if isinstance(error, FileNotFoundError) else "it has to be read by what runs Weirflow"
        raise CredentialsError(key, f"{file}: {error.strerror or error}", mend) from None
    if len(raw) > MOST_BYTES:
        raise CredentialsError(key, f"{file} is larger than {MOST_BYTES >> 20} MiB", "name the PEM file")
    return raw


class Credentials:
    """The three files as they are now. CredentialsError when they cannot be used at the start; later they are kept."""

    def __init__(self, tls: TlsSpec) -> None:
        self.tls = tls
        self._mark = _mark(tls)
        self._pem = self._given = load(tls)
        self._problem = ""
        self._begun = 0
        self._through = 0
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()  # gRPC asks from threads of its own

    def for_grpc(self) -> Any:
        """Credentials of a server that asks every client for a certificate."""
        return grpc.dynamic_ssl_server_credentials(
            self._pem.configuration, self._begins, require_client_authentication=True
        )

    def came_through(self, peer: str) -> None:
        """A stream of that peer (`ip:port`) has begun, so its certificate is trusted."""
        with self._lock:
            self._through += peer not in self._seen
            self._seen[peer] = None
            self._seen.move_to_end(peer)
            if len(self._seen) > MOST_PEERS:
                self._seen.popitem(last=False)

    def status(self) -> dict[str, Any]:
        """When each certificate begins and ends (s since 1970), why the files as they are now are not used, and how
        many connections began and came through."""
        with self._lock:
            self._look()
            return {
                "certificates": {"server": _times(self._pem.ours), "client_ca": _times(self._pem.theirs)},
                "problem": self._problem,
                "connections": self._begun,
                "trusted": self._through,
            }

    def _begins(self) -> Any:
        """A connection begins: what is new for it, None when that is nothing."""
        with self._lock:
            self._begun += 1
            self._look()
            if self._given is self._pem:
                return None
            self._given = self._pem
            return self._pem.configuration

    def _look(self) -> None:
        """Take files that have changed, if they can be used."""
        mark = _mark(self.tls)
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._pem, self._problem = load(self.tls), ""
            log.info("certificates read", ends=_times(self._pem.ours)["not_after"])
        except CredentialsError as error:
            self._problem = str(error)
            log.error("certificates not taken; those from before serve on", problem=self._problem)


def _mark(tls: TlsSpec) -> list[tuple[int, int, int] | None]:
    """Tells one state of the files from another; follows links, which are how Kubernetes changes them."""
    out: list[tuple[int, int, int] | None] = []
    for file in (tls.cert_file, tls.key_file, tls.client_ca_file):
        try:
            found = os.stat(file)
        except OSError:
            out.append(None)
        else:
            out.append((found.st_ino, found.st_mtime_ns, found.st_size))
    return out


def _times(chain: Sequence[x509.Certificate]) -> dict[str, float]:
    """Of the one that ends first."""
    first = min(chain, key=lambda c: c.not_valid_after_utc)
    return {"not_before": first.not_valid_before_utc.timestamp(), "not_after": first.not_valid_after_utc.timestamp()}
