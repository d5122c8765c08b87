"""Who may speak for a node: the names that a certificate bears, held against the one that the mesh asks for. Pure.

The mesh asks one name of each node, from a pattern in which `{node}` stands for the node's: `spiffe://mesh/{node}`, or
`{node}` alone. A certificate may speak for a node when it bears that very name among its subject alternative names, a
URI among its URIs and anything else among its DNS names. Nothing is guessed: no wildcard, no part of a name, no common
name. As every node has another name, no certificate of one speaks for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

NODE = "{node}"
"""Where a pattern has the node's name; alone it is the pattern of a certificate whose DNS name is the node's."""
MOST_SHOWN = 5


class Names(NamedTuple):
    """What a certificate says that its bearer is called."""

    uris: frozenset[str]
    dns: frozenset[str]

    def __str__(self) -> str:
        """As a message shows them, cut after a few."""
        found = [*sorted(self.uris), *sorted(self.dns)]
        more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
        return ", ".join(repr(name[:100]) for name in found[:MOST_SHOWN]) + more or "no name"


def asked_of(node: str, pattern: str) -> str:
    """The name that a certificate must bear to speak for this node."""
    return pattern.replace(NODE, node)


def may_speak(names: Names, asked: str) -> bool:
    """Whether a certificate of these names bears the one that is asked for."""
    return asked in (names.uris if is_uri(asked) else names.dns)


def is_uri(name: str) -> bool:
    """Whether a name is a URI, as SPIFFE ids are; else it is a DNS name."""
    return "://" in name


def names_of(peer: Mapping[str, Iterable[bytes]]) -> Names:
    """Of the certificate that a peer has proved to own, by gRPC's `auth_context`; none of one that has shown none."""
    uris, dns = (frozenset(n.decode(errors="replace") for n in peer.get(k, ())) for k in ("peer_uri", "peer_dns"))
    return Names(uris, dns)
