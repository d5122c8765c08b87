"""Certificates for tests: an authority that issues what it is asked for, into folders that can be rotated.

A folder is as Kubernetes mounts a secret: `tls.crt`, `tls.key` and `ca.crt` are links through `..data`, and a rotation
swaps that one link, so that all three change at once.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dataplane.credentials import Credentials
from dataplane.envoy.secrets import NodeTls, sds_files
from dataplane.mesh import TlsSpec

HOUR_S = 3600.0
FILES = ("tls.crt", "tls.key", "ca.crt")
_numbers = itertools.count(1)


class Authority:
    """A CA. `pem` is its certificate."""

    def __init__(self, name: str = "mesh", start_s: float = -HOUR_S, end_s: float = 100 * HOUR_S) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = _builder(self._name, self._name, self._key.public_key(), start_s, end_s)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(
        self, *names: str, start_s: float = -HOUR_S, end_s: float = 24 * HOUR_S, usage: str = ""
    ) -> tuple[bytes, bytes]:
        """A certificate with these names, URIs, IP addresses or of DNS, and its key; times are from now on."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _builder(x509.Name([]), self._name, key.public_key(), start_s, end_s)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName([_san(n) for n in names]), critical=True)
        if usage:
            uses = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
            made = made.add_extension(x509.ExtendedKeyUsage([uses[usage]]), critical=False)
        signed = made.sign(self._key, hashes.SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return signed.public_bytes(Encoding.PEM), pem


def put(folder: Path, pair: tuple[bytes, bytes], trusted: bytes) -> Path:
    """Put a certificate, its key and whom it trusts into a folder, all at once, in place of what is there."""
    data = f"..{next(_numbers)}"
    (folder / data).mkdir(parents=True)
    for name, content in zip(FILES, (*pair, trusted), strict=True):
        (folder / data / name).write_bytes(content)
        (folder / data / name).chmod(0o600)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(data)
    os.replace(folder / "..new", folder / "..data")
    return folder


def spec(folder: Path, client_identity: str = "{node}") -> TlsSpec:
    """Of a brain whose files are in that folder."""
    return TlsSpec(*(folder / name for name in FILES), client_identity)


class Secured:
    """The files of a brain and of its nodes, below one folder, all issued by `authority` unless told otherwise."""

    BRAIN, NODES = "spiffe://mesh/weirflow", "spiffe://mesh/node/{node}"

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, Authority()
        self.brain = put(folder / "brain", self.authority.issue(self.BRAIN), self.authority.pem)

    def credentials(self) -> Credentials:
        """Of the brain."""
        return Credentials(spec(self.brain, self.NODES))

    def give(self, node: str, pair: tuple[bytes, bytes] | None = None, trusts: bytes = b"") -> Path:
        """Give a node a certificate, its own if none is told."""
        own = pair or self.authority.issue(self.NODES.format(node=node))
        return put(self.folder / node / "tls", own, trusts or self.authority.pem)

    def node(self, name: str) -> NodeTls:
        """How that node calls."""
        files = self.folder / name / "tls"
        if not files.exists():
            self.give(name)
        tls = NodeTls(self.folder / name, files, self.BRAIN)
        for file, content in sds_files(tls).items():
            (self.folder / name / file).write_text(json.dumps(content))
        return tls


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start_s: float, end_s: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer, subject, key, x509.random_serial_number(),
        now + timedelta(seconds=start_s), now + timedelta(seconds=end_s),
    )  # fmt: skip


def _san(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
