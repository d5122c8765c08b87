"""Addresses as operators write them: `10.0.0.7:8080`, `[2001:db8::7]:8080` or `name.example:8080`."""

from __future__ import annotations

import ipaddress
import re

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def split(address: str) -> tuple[str, int]:
    """Host and port, an IPv6 host without its brackets. ValueError, with the form wanted, for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon or not host:
        raise ValueError("has no port; write ip:port or name:port")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError("has a bad port; ports are 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not is_ip(host) or ":" not in host:
            raise ValueError("has brackets around something that is not an IPv6 address")
        return host, int(port)
    if ":" in host:
        raise ValueError("is not ip:port or name:port; an IPv6 address needs brackets, as in [::1]:8080")
    if not is_ip(host) and not is_name(host):
        raise ValueError("is neither ip:port nor name:port")
    return host, int(port)


def join(host: str, port: int) -> str:
    """The reverse of `split`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_ip(host: str) -> bool:
    """Whether it is an IPv4 or IPv6 address. One with a zone (`fe80::1%eth0`) is not: Envoy dials no such thing."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def is_name(host: str) -> bool:
    """Whether it can be a DNS name. The last label is not all digits, so `300.1.1.1` and `10.0.0` are not names."""
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach it: 127/8, ::1 or `localhost`."""
    return host == "localhost" or (is_ip(host) and ipaddress.ip_address(host).is_loopback)


def is_wildcard(host: str) -> bool:
    """Whether it means every address of this machine: 0.0.0.0 or ::."""
    return is_ip(host) and ipaddress.ip_address(host).is_unspecified
