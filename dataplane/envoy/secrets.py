"""A node's end of TLS: how its Envoy knows the brain, and shows who it is. Plain data, ready for JSON.

Envoy reads certificates anew without a restart only where they come by SDS, which can be a file: so there are two
beside the bootstrap. The folder of the certificates that they name is watched by itself, their own where we say so. A
file must be replaced by a rename, as `mv` and Kubernetes do it: what is written over in place is not seen.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from dataplane.identity import is_uri

CERT_FILE, KEY_FILE, CA_FILE = "tls.crt", "tls.key", "ca.crt"
"""In the folder of a node's certificate; they are called so in a secret of Kubernetes."""
CERTIFICATE, CA = "certificate", "ca"
"""The names of the two secrets, and with `.json` of their files."""

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


@dataclass(frozen=True, slots=True)
class NodeTls:
    """Folders as the node's machine has them: of the SDS files and of the certificate. `brain`: the name that the
    brain's certificate must bear, a URI, DNS name or IP address."""

    sds: PurePath
    files: PurePath
    brain: str


def transport_socket(tls: NodeTls) -> dict[str, Any]:
    """Of the cluster of the brain."""
    common = {
        # Envoy's own most is 1.2 for a client, which shows its certificate in the clear.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificate_sds_secret_configs": [_sds(CERTIFICATE, tls.sds)],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": san_type(tls.brain), "matcher": {"exact": tls.brain}}]
            },
            "validation_context_sds_secret_config": _sds(CA, tls.sds),
        },
    }
    config: dict[str, Any] = {"@type": f"{_TLS}.UpstreamTlsContext", "common_tls_context": common}
    if san_type(tls.brain) == "DNS":
        config["sni"] = tls.brain
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def sds_files(tls: NodeTls) -> dict[str, dict[str, Any]]:
    """What the folder `tls.sds` must hold, by file name."""
    cert, key, ca = ({"filename": str(tls.files / name)} for name in (CERT_FILE, KEY_FILE, CA_FILE))
    return {
        f"{CERTIFICATE}.json": _secret(
            CERTIFICATE, {"tls_certificate": {"certificate_chain": cert, "private_key": key}}
        ),
        f"{CA}.json": _secret(CA, {"validation_context": {"trusted_ca": ca}}),
    }


def san_type(name: str) -> str:
    """Envoy's word for the kind of name."""
    if is_uri(name):
        return "URI"
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "DNS"
    return "IP_ADDRESS"


def _sds(name: str, folder: PurePath) -> dict[str, Any]:
    source = {"path": str(folder / f"{name}.json"), "watched_directory": {"path": str(folder)}}
    return {"name": name, "sds_config": {"path_config_source": source, "resource_api_version": "V3"}}


def _secret(name: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"resources": [{"@type": f"{_TLS}.Secret", "name": name} | content]}
