"""All checks, in their groups and their order, over a mesh file and a brain, of which either may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import weirflow
from weirflow.addresses import is_loopback
from weirflow.checkup import brain, certificates, gaps, machine, ports
from weirflow.checkup.found import Check, Group, failure, first, not_made, ok, warning, within
from weirflow.clock import Clock
from weirflow.config.check import Checked
from weirflow.config.problems import Problem

Json = dict[str, Any]

GROUPS = ("this machine", "mesh file", "the brain", "proxies", "alerts", "recording")


@dataclass(frozen=True, slots=True)
class Asked:
    """What there is to look at."""

    file: Path | None  # None: no mesh file was named, and none is here
    checked: Checked | None  # None: it was not accepted
    problems: tuple[Problem, ...]  # why not, or what it warns of
    admin: str
    token_file: Path | None  # that it was asked with
    answer: Json | None  # of `/status`
    silent: str = ""  # why there is no answer
    wanted: bool = False  # a brain was asked for: that there is none is a failure
    refused: bool = False  # it answered, and said no
    mend: str = ""  # what it said to do then

    @property
    def here(self) -> bool:
        """Whether the brain is on this machine."""
        split = urlsplit(self.admin if "://" in self.admin else f"http://{self.admin}")
        return is_loopback(split.hostname or "")


def run(asked: Asked) -> tuple[Group, ...]:
    """Look at everything. Never raises: a look that fails is a finding."""
    return tuple(Group(name, tuple(look)) for name, look in zip(GROUPS, _looks(asked), strict=True))


def _looks(asked: Asked) -> Iterator[Iterable[Check]]:
    yield _machine(asked)
    yield within("valid", lambda: _mesh_file(asked))
    answer = asked.answer
    if answer is None:
        yield [_no_brain(asked)]
        for _ in range(3):
            yield [not_made("all", "they are told by a brain that answers")]
        return
    yield _brain(answer, asked)
    yield within("nodes", lambda: brain.proxies(answer, _minor()))
    yield within("receivers", lambda: brain.alerts(answer))
    yield _recording(answer, asked)


def _machine(asked: Asked) -> Iterator[Check]:
    document = asked.checked.document if asked.checked is not None else None
    yield from within("python", machine.python)
    yield from within("envoy", lambda: machine.envoy(document))
    if document is None or asked.file is None:
        yield not_made("disk, ports, secrets", "they are told by a mesh file that is accepted")
        return
    folder = asked.file.parent
    process = (asked.answer or {}).get("process") or {}
    yield from within("disk", lambda: machine.disks(document, folder))
    runs = asked.answer is not None
    yield from within("ports", lambda: ports.ports(document, ports.ours(process, asked.admin, runs=runs), runs=runs))
    yield from within("secrets", lambda: machine.secrets(document, folder))
    yield from within("certificates", lambda: certificates.files(document, folder, Clock().now()))


def _mesh_file(asked: Asked) -> Iterator[Check]:
    if asked.file is None:
        yield not_made("valid", "no mesh file was named, and there is no mesh.yaml here")
        return
    hint, link = "weirflow validate tells all of it", "reference/mesh-yaml.md"
    said = failure if asked.checked is None else warning
    found = [said("valid", str(problem), hint, link) for problem in asked.problems]
    yield from first(found, ok("valid", f"{asked.file} is accepted"))


def _no_brain(asked: Asked) -> Check:
    if asked.refused:
        hint = asked.mend or "see its log"
        return failure("answers", f"{asked.admin}: {asked.silent}", hint, "how-to.md#check-a-mesh")
    if asked.wanted:
        hint = "start one with 'weirflow run mesh.yaml', or name its address with --admin"
        return failure("answers", asked.silent, hint, "runbook.md#down")
    return not_made("all", f"{asked.silent}; --admin says that there has to be one")


def _brain(answer: Json, asked: Asked) -> Iterator[Check]:
    yield from within("answers", lambda: brain.answering(answer, asked.admin, weirflow.__version__))
    yield from within("ticks", lambda: brain.ticking(answer))
    yield from within("checkpoint", lambda: brain.keeping(answer))
    yield from within("certificates", lambda: certificates.in_use(answer))


def _recording(answer: Json, asked: Asked) -> Iterator[Check]:
    yield from within("running", lambda: brain.recording(answer))
    if (answer.get("process") or {}).get("recording") is not None:
        yield from within("gaps", lambda: _gaps(answer["process"]["recording"], asked))


def _gaps(held: Json, asked: Asked) -> Iterator[Check]:
    if not asked.here:
        yield not_made("gaps", "the recording is on another machine")
        return
    folder = Path(str(held.get("folder")))
    if not folder.is_absolute() and asked.checked is not None and asked.file is not None:
        told = asked.checked.document.recording.folder  # relative to where the brain was started: found by the file
        folder = asked.file.parent / told / folder.name if told is not None else folder
    yield from gaps.gaps(folder)


def _minor() -> str:
    from dataplane.envoy.process import VERSION

    return VERSION
