"""Ports that the mesh file wants on this machine: free, or bound by us already."""

from __future__ import annotations

import errno
import http.client
import json
import socket
from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import urlsplit

from weirflow.addresses import is_loopback, join
from weirflow.checkup.found import Check, failure, first, ok, warning
from weirflow.config.model import Document

ASK_S = 1.0
MOST_ANSWER_BYTES = 8 << 20

_PORT = "how-to.md#a-port-is-taken"

Json = dict[str, Any]


def wanted(document: Document) -> list[tuple[str, str, int]]:
    """Key, address and port of all that `weirflow run` binds here; those that the kernel chooses are left out."""
    found = [("xds.port", document.xds.address, document.xds.port)]
    found.append(("admin.port", document.admin.address, document.admin.port))
    if document.keda is not None:
        found.append(("keda.port", document.keda.address, document.keda.port))
    ours = {n.name for n in document.nodes if n.spawn}
    for i, listener in enumerate(document.listeners):
        if ours & set(listener.nodes or ours):
            found.append((f"listeners[{i}].port", listener.address, listener.port))
    found += [(f"nodes[{i}].admin_port", "127.0.0.1", n.admin_port) for i, n in enumerate(document.nodes) if n.spawn]
    return [entry for entry in found if entry[2]]


def ours(process: Json, admin: str, *, runs: bool = True) -> set[int]:
    """Ports of this machine that a brain and its Envoys say are theirs. Empty for a brain that is elsewhere.

    `process` is that part of `/status`, `admin` the address at which it answered, if it did (`runs`).
    """
    here = urlsplit(admin if "://" in admin else f"http://{admin}")
    if not runs or not is_loopback(here.hostname or ""):
        return set()
    envoys = [e.get("admin") for e in (process.get("envoys") or {}).values()]
    parts = (process.get("xds") or {}, process.get("keda") or {})
    told = [here.netloc, *(part.get("address") for part in parts), *envoys]
    found = {int(p) for a in told if (p := str(a).rpartition(":")[2]).isdigit()}
    for address in envoys:
        found |= _listening(str(address))
    return found


def _listening(admin: str) -> set[int]:
    """The ports that an Envoy of ours listens on; none when it does not answer."""
    connection = http.client.HTTPConnection(admin, timeout=ASK_S)
    try:
        connection.request("GET", "/listeners?format=json")
        said = json.loads(connection.getresponse().read(MOST_ANSWER_BYTES))
        return {e["local_address"]["socket_address"]["port_value"] for e in said["listener_statuses"]}
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return set()
    finally:
        connection.close()


def ports(document: Document, taken_by_us: Collection[int], *, runs: bool) -> Iterator[Check]:
    """One check for each port that cannot be had. `runs`: a brain answers, so that some may be its."""
    bad, good = [], []
    for key, address, port in wanted(document):
        check = None if port in taken_by_us else _bound(key, address, port, runs=runs)
        if check is None:
            good.append(f"{join(address, port)} ({'ours' if port in taken_by_us else 'free'})")
        else:
            bad.append(check)
    yield from first(bad, ok("ports", ", ".join(good) or "the kernel chooses them all"))


def _bound(key: str, address: str, port: int, *, runs: bool) -> Check | None:
    """Why it cannot be bound; None when it can. Nothing listens: nobody notices."""
    where = join(address, port)
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is left of old connections is no matter
            tried.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"see who has it (ss -ltnp 'sport = :{port}'), or set {key}"
            if runs:
                return warning(key, f"{where} is taken, and nothing of ours says that it has it", hint, _PORT)
            return failure(key, f"{where} is taken by another process", hint, _PORT)
        if error.errno == errno.EADDRNOTAVAIL:
            return failure(key, f"{where} is no address of this machine", f"set the address beside {key}", _PORT)
        if error.errno in (errno.EACCES, errno.EPERM):
            words = f"{where} cannot be bound by you; what runs Weirflow has to"
            return warning(key, words, "ports below 1024 need CAP_NET_BIND_SERVICE", _PORT)
        return failure(key, f"{where}: {error.strerror or error}", f"set {key}", _PORT)
    return None
