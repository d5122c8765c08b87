"""Collects what a report holds. Whatever cannot be had is named, with the reason, and the rest is there."""

from __future__ import annotations

import http.client
import importlib.metadata
import io
import json
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import weirflow
from weirflow.bugreport.redact import Redaction
from weirflow.checkup.run import Asked
from weirflow.commands.client import AnsweredError, Client, UnreachableError
from weirflow.config.problems import ConfigError
from weirflow.config.source import parse, read

Json = dict[str, Any]

ASK_S = 5.0
MOST_DUMP_BYTES = 64 << 20
README = """\
Made by `weirflow bug-report`. It was sent nowhere: look through it, and send it to whom you trust.

Names of services, nodes, zones, routes and hosts, addresses and figures are in it. Taken out are what stands under keys
that are called like secrets, what is in the files with tokens, users and passwords in URLs, the path and query of
every URL, and the comments of the mesh file. No request is in it, and no recording.
"""


@dataclass(slots=True)
class Gathered:
    """Members by name, and why others are not there."""

    members: dict[str, bytes] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def gather(client: Client, asked: Asked, check: Json, *, with_envoy: bool) -> Gathered:
    """Everything. `check` is the result of the checks, `asked` what they were made over. Raises nothing."""
    out, redaction = Gathered(), Redaction()
    if client.token_file is not None:
        redaction.know_file(client.token_file)
    mesh = _mesh(out, asked.file, redaction)  # first: from it the secrets are known
    answer = asked.answer
    found: Json = {"versions.json": _versions(), "check.json": check}
    if answer is None:
        for name in ("status", "explain", "alerts", "audit", "incidents", "problems", "metrics"):
            out.missing[name] = asked.silent
    else:
        found["status.json"], found["problems.json"] = answer, _problems(answer)
        found |= _told(out, client, answer, redaction)
        metrics = _asked(out, "metrics", lambda: client.text("metrics"))
        if metrics is not None:
            out.members["metrics.txt"] = redaction.text(metrics).encode()
    if not with_envoy:
        out.missing["envoy"] = "not asked for: --with-envoy"
    elif answer is not None:
        found |= _dumps(out, answer, redaction, here=asked.here)
    for name, value in found.items():
        out.members[name] = (json.dumps(redaction.data(value), indent=1) + "\n").encode()
    if mesh is not None and asked.file is not None:
        out.members["mesh.yaml"] = _yaml(redaction.data(mesh, asked.file.parent))
    out.missing = {redaction.text(name): redaction.text(why) for name, why in out.missing.items()}
    out.members["README.txt"] = _readme(out).encode()
    return out


def _readme(out: Gathered) -> str:
    there = "".join(f"  {name}\n" for name in sorted(out.members))
    missing = "".join(f"  {name}: {why}\n" for name, why in sorted(out.missing.items()))
    return README + f"\nIn it:\n{there}" + (f"\nNot in it:\n{missing}" if missing else "")


def _mesh(out: Gathered, file: Path | None, redaction: Redaction) -> Any:
    """The plain data of the mesh file; None when it is not there or no YAML, from which no secret could be taken."""
    if file is None:
        out.missing["mesh.yaml"] = "no mesh file was named, and there is none here: --mesh"
        return None
    try:
        data = parse(read(file), str(file)).data
    except ConfigError as error:
        out.missing["mesh.yaml"] = f"{error}; what is no YAML is left out, for its secrets cannot be told"
        return None
    redaction.learn(data, file.parent)
    return data


def _yaml(data: Any) -> bytes:
    yaml, text = YAML(), io.BytesIO()
    yaml.width = 1 << 20
    yaml.dump(data, text)
    return b"# Written anew by `weirflow bug-report`: without comments and secrets.\n" + text.getvalue()


def _versions() -> Json:
    packages = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"]}
    return {
        "weirflow": weirflow.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "packages": dict(sorted(packages.items(), key=lambda p: p[0].lower())),
    }


def _problems(answer: Json) -> Json:
    """What operators have to know, and that is soon pushed out of sight."""
    process = answer.get("process") or {}
    return {
        "driver": (process.get("driver") or {}).get("problems") or [],
        "reload_error": (process.get("config") or {}).get("reload_error"),
        "recording": (process.get("recording") or {}).get("problem"),
        "receivers": [r for r in (process.get("alerts") or {}).get("receivers") or [] if r.get("error")],
        "notes": (answer.get("decision") or {}).get("notes") or [],
    }


def _told(out: Gathered, client: Client, answer: Json, redaction: Redaction) -> Json:
    """What the admin API tells beside its status."""
    found: Json = {}
    for name in ("alerts", "audit", "incidents"):
        told = _asked(out, name, lambda name=name: client.get(name))  # type: ignore[misc]
        if told is not None:
            found[f"{name}.json"] = told
    services = (answer.get("decision") or {}).get("services") or []
    for number, service in enumerate(str(s.get("name")) for s in services):
        member = f"explain/{number:04d}-{_plain(service, redaction)}.json"
        told = _asked(out, f"explain {service}", lambda service=service: client.get("explain", service))  # type: ignore[misc]
        if told is not None:
            found[member] = told
        elif number + 1 < len(services):
            out.missing["explain of the rest"] = f"not asked for after {service}"
            break
    return found


def _asked(out: Gathered, name: str, ask: Callable[[], Any]) -> Any:
    """What is answered; None, and the reason among the missing, when nothing is."""
    try:
        return ask()
    except (UnreachableError, AnsweredError) as error:
        out.missing[name] = str(error)
        return None


def _plain(name: str, redaction: Redaction) -> str:
    """A name that is a safe part of a file's name, and holds no secret either."""
    return re.sub(r"[^A-Za-z0-9._-]|\.(?=\.)|^\.", "_", redaction.text(name))[:60] or "_"


def _dumps(out: Gathered, answer: Json, redaction: Redaction, *, here: bool) -> Json:
    """The configuration that each Envoy of ours says it has."""
    envoys = (answer.get("process") or {}).get("envoys") or {}
    if not here or not envoys:
        out.missing["envoy"] = (
            "the brain has started no Envoy" if here else "its Envoys answer on their own machine alone"
        )
        return {}
    return dict(_dumped(out, envoys, redaction))


def _dumped(out: Gathered, envoys: Json, redaction: Redaction) -> Iterator[tuple[str, Any]]:
    for number, (node, envoy) in enumerate(sorted(envoys.items())):
        connection = http.client.HTTPConnection(str(envoy.get("admin")), timeout=ASK_S)
        try:
            connection.request("GET", "/config_dump?include_eds")
            yield (
                f"envoy/{number:04d}-{_plain(node, redaction)}.json",
                json.loads(connection.getresponse().read(MOST_DUMP_BYTES)),
            )
        except (OSError, http.client.HTTPException, ValueError) as error:
            out.missing[f"envoy {node}"] = str(error) or type(error).__name__
        finally:
            connection.close()
