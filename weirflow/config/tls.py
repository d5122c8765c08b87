"""The `xds.tls` section: what the port of the nodes shows, whom it trusts, and who may speak for whom."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from dataplane.identity import NODE, asked_of, is_uri
from weirflow.addresses import is_ip, is_name
from weirflow.config.fields import Section, refuse

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]{1,1024}")


def _known_as(value: str) -> str:
    if not (_URI.fullmatch(value) if is_uri(value) else is_name(value)):
        raise refuse("is no name of a certificate", "write a URI or a DNS name, as in spiffe://mesh.example/front-1")
    return value


def _server(value: str) -> str:
    return value if is_ip(value) else _known_as(value)


def _pattern(value: str) -> str:
    if NODE not in value:
        mend = f"write {NODE} where the node's name is; nodes that share a certificate have their own 'identity'"
        raise refuse("would let one certificate speak for every node", mend)
    _known_as(asked_of("node", value))
    return value


FileName = Annotated[str, Field(min_length=1)]
Identity = Annotated[str, AfterValidator(_known_as)]


class TlsSection(Section):
    """Mutual TLS on that port: a node shows a certificate, and speaks for itself alone.

    Files are PEM, and are read again when they change. Envoys that Weirflow starts itself need no certificate.
    """

    cert_file: FileName
    """Our certificate, and after it those that lead to its CA."""
    key_file: FileName
    """Its key, not encrypted. Nobody else should read it."""
    client_ca_file: FileName
    """Who signs the nodes' certificates; several, while one takes over from another."""
    client_identity: Annotated[str, AfterValidator(_pattern)] = NODE
    """The name that a certificate must bear to speak for a node, whose name is put in for `{node}`: one of its URIs, as
    in `spiffe://mesh.example/{node}`, or of its DNS names."""
    server_identity: Annotated[str, AfterValidator(_server)] | None = None
    """The name that nodes ask of our certificate; without it that of the host by which they call."""
