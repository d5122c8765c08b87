"""The module as Envoy's configuration names it, where it lies, and which nodes have it.

A node says in its bootstrap's metadata that it has the module (`METADATA`), and in every first request which Envoy it
is. Only one whose minor version is the module's own is sent clusters that pick by it: the interface is young, and Envoy
does no more than warn of another version. The module is told the version again and refuses any other itself.

Envoy looks for `libweirflow_pick.so` in the folder that ENVOY_DYNAMIC_MODULES_SEARCH_PATH names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.dynamic_modules.v3 import dynamic_modules_pb2
from google.protobuf import any_pb2, wrappers_pb2

FOLDER = Path(__file__).parent
NAME = "weirflow_pick"
LIBRARY = FOLDER / f"lib{NAME}.so"
SEARCH_PATH = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH"
ENVOY_VERSION = "1.40"
"""As `abi.h` has it."""
METADATA = "weirflow.pick"
"""The key, in the metadata of a node that has the module, of the Envoy version that it was built for."""
NAMESPACE = "weirflow"
"""Of what an endpoint's metadata tells the module, by the names of `ServicePlan`: `lanes`, `workers`,
`believed_ms`, `capacity`."""
MOST_EJECTED_PERCENT = 50
"""Through the module's interface only healthy hosts can be picked, so there can be no panic: outlier detection must
leave enough of them. Envoy's panic threshold is half as well, so with more ejected its own policies would ignore it."""
_TYPE = (
    "type.googleapis.com/envoy.extensions.load_balancing_policies.dynamic_modules.v3.DynamicModulesLoadBalancerConfig"
)
_LOGGER = "type.googleapis.com/envoy.extensions.access_loggers.dynamic_modules.v3.DynamicModuleAccessLog"


def policy() -> Any:
    """The policy as a config.core.v3.TypedExtensionConfig."""
    out = extension_pb2.TypedExtensionConfig(name="envoy.load_balancing_policies.dynamic_modules")
    _configure(out.typed_config, _TYPE)
    return out


def logger() -> Any:
    """The access logger as a config.accesslog.v3.AccessLog: it hears what endpoints say in their answers."""
    out = accesslog_pb2.AccessLog(name="envoy.access_loggers.dynamic_modules")
    _configure(out.typed_config, _LOGGER)
    return out


def _configure(out: Any, type_url: str) -> None:
    """One of the module's parts. xds-protos 1.85 lacks both messages, which are alike: module, name, configuration."""
    module = dynamic_modules_pb2.DynamicModuleConfig(name=NAME)
    told = any_pb2.Any()
    told.Pack(wrappers_pb2.StringValue(value=ENVOY_VERSION))
    parts = (module.SerializeToString(), NAME.encode(), told.SerializeToString())
    out.type_url, out.value = type_url, b"".join(_field(n, part) for n, part in enumerate(parts, start=1))


def written() -> dict[str, Any]:
    """The same in the words of a configuration file."""
    return {
        "name": "envoy.load_balancing_policies.dynamic_modules",
        "typed_config": {
            "@type": _TYPE,
            "dynamic_module_config": {"name": NAME},
            "lb_policy_name": NAME,
            "lb_policy_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": ENVOY_VERSION},
        },
    }


def built() -> bool:
    """Is the module there for Envoys of this machine."""
    return LIBRARY.exists()


def metadata() -> dict[str, str]:
    """What a node that has the module says of itself."""
    return {METADATA: ENVOY_VERSION}


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """An Envoy's environment in which it finds the module, beside those of its operator where there are any."""
    return {**inherited, SEARCH_PATH: inherited.get(SEARCH_PATH, str(FOLDER))}


def has_module(node: Any) -> bool:
    """Whether a node (config.core.v3.Node) says that it has the module, and is an Envoy that it was built for."""
    said = node.user_agent_build_version.version
    version = f"{said.major_number}.{said.minor_number}"
    return version == ENVOY_VERSION and node.metadata.fields[METADATA].string_value == ENVOY_VERSION


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of protobuf's wire format, of fewer than 16 numbers and 2^14 bytes."""
    size = len(value)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + value
