"""The whole of an import: every file read once, rows sorted and settled, a recording written.

Nothing is written when nothing can be: a folder that is not empty, no attempts, or `strict` and a line that is bad.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataplane.mesh import Mesh
from weirflow.importing import sniff, times
from weirflow.importing.attempts import Rows, Understanding
from weirflow.importing.clocks import Order, Skews
from weirflow.importing.errors import ImportingError, WrongUseError
from weirflow.importing.formats import AUTO, FORMATS, Forms, reader
from weirflow.importing.names import Names
from weirflow.importing.opening import Bounds, Source
from weirflow.importing.rejects import Rejects
from weirflow.importing.report import FileReport, Report, SilentNode, clock
from weirflow.importing.routes import Routes
from weirflow.importing.runs import RUN, Runs
from weirflow.importing.services import Services
from weirflow.importing.settle import Settling
from weirflow.importing.tell import Told, tell

MANY_ALIKE = 0.2
MANY = 20


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. `keys`: canonical column to key (`mapping`)."""

    format: str = AUTO
    envoy_format: str = ""
    nginx_format: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    cluster_from: str = AUTO
    route_from: str = AUTO
    routes: int = 100
    node: str = ""
    timezone: str = "UTC"
    strict: bool = False
    mesh: Mesh | None = None  # the static rules that were in force, which no log tells
    bounds: Bounds = field(default_factory=Bounds)
    run_rows: int = RUN  # held before they go to the disk


Heard = Callable[[str, float, float | None], None]
"""For who shows progress: what is being done, how much of it is, and of how much, None when that is not known."""


def run(files: Sequence[str], folder: Path, options: Options, heard: Heard = lambda *_: None) -> Report:
    """Import files into a new or empty folder. ImportingError when one is of no use, WrongUseError for bad options."""
    work = _Work(options, heard)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ImportingError(f"{folder}: is not empty; a recording needs a folder of its own")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-importing-", dir=folder.parent) as spill:
            work.runs = Runs(Path(spill), options.run_rows)
            work.sizes = [_size(file) for file in files]
            for file, node in zip(files, _nodes_of(files), strict=True):
                work.read(file, options.node or node)
            return work.written(folder)
    except OSError as error:
        raise ImportingError(f"{error.filename or folder}: {error.strerror or error}") from error


class _Work:
    """One import on its way."""

    def __init__(self, options: Options, heard: Heard) -> None:
        self._heard = heard
        zone = times.zone(options.timezone)
        self._options = options
        self._forms = Forms(options.envoy_format, options.nginx_format, options.keys, zone)
        if options.format != AUTO:
            reader(options.format, self._forms)  # what is wrong with it is said before anything is read
        if options.envoy_format and options.format not in (AUTO, "envoy"):
            raise WrongUseError(f"--envoy-format is for --format envoy, not {options.format}")
        if options.nginx_format and options.format not in (AUTO, "nginx"):
            raise WrongUseError(f"--nginx-format is for --format nginx, not {options.format}")
        self._understanding = Understanding(
            Names(), Routes(options.route_from, options.routes), Services(options.cluster_from), zone
        )
        self.runs: Runs
        self.sizes: list[int] = []  # of all files; 0 where that is not known
        self._files: list[FileReport] = []
        self._seen: dict[tuple[int, int], str] = {}
        self._skews = Skews()
        self._hidden = 0
        self._rows, self._first, self._last = (Counter[int](), dict[int, float](), dict[int, float]())
        self._notes: list[str] = []

    def read(self, path: str, node: str) -> None:
        """Read one file. ImportingError when it is none to read, or was read already."""
        source = Source(path, self._options.bounds)
        try:
            if source.identity in self._seen and any(source.identity):
                raise WrongUseError(f"{path}: is the same file as {self._seen[source.identity]}; name it once")
            self._seen[source.identity] = path
            name, why = self._format(source)
            self._read(source, node, name, why)
        finally:
            source.close()

    def _format(self, source: Source) -> tuple[str, str]:
        if self._options.format != AUTO:
            return self._options.format, "as told"
        if self._options.envoy_format and not self._options.nginx_format:
            return "envoy", "by --envoy-format"
        if self._options.nginx_format and not self._options.envoy_format:
            return "nginx", "by --nginx-format"
        taken = sniff.sniff(source.path, source.head(sniff.HEAD), self._forms)
        return taken.format, f"taken for {FORMATS[taken.format].words}: {taken.why}"

    def _read(self, source: Source, node: str, name: str, why: str) -> None:
        by = reader(name, self._forms)
        rejects, order, taken, coarse = Rejects(), Order(), 0, True
        for read in by.read(source, rejects):
            rows = self._understanding.rows(read, node, rejects)
            order.look(rows)
            if by.retries_hidden:
                self._hidden += int(np.count_nonzero(rows["attempt"] > 1))
            self._skews.look(rows)
            self._count(rows)
            taken += len(rows)
            coarse = coarse and bool((rows["ended"] % 1 == 0).all())
            self.runs.add(rows)
            before = sum(self.sizes[: len(self._files)])
            self._heard("reading", before + source.passed, sum(self.sizes) if all(self.sizes) else None)
        if coarse and taken >= MANY:
            self._notes.append(
                f"{source.name} tells times to the second: which of two came first within one is a guess"
            )
        self._files.append(
            FileReport(
                file=source.path,
                format=name,
                why=why,
                node=node,
                records=rejects.records,
                attempts=taken,
                rejected=dict(rejects.rejected),
                left_out=dict(rejects.left_out),
                shown=tuple(rejects.shown),
                out_of_order=order.late,
                worst_s=order.worst_s,
            )
        )

    def _count(self, rows: Rows) -> None:
        self._understanding.routes.count(rows["route"].astype(np.int64), rows["service"].astype(np.int64))
        for node in np.unique(rows["node"]).tolist():
            ended = rows["ended"][rows["node"] == node]
            self._rows[node] += len(ended)
            self._first[node] = min(self._first.get(node, np.inf), float(ended.min()))
            self._last[node] = max(self._last.get(node, -np.inf), float(ended.max()))

    def written(self, folder: Path) -> Report:
        """Write the recording, unless there is a reason not to, and say what was found."""
        rejected = sum(sum(f.rejected.values()) for f in self._files)
        names = self._understanding.names
        nodes = range(len(names.nodes.names))
        settling = Settling(np.array([self._spacing(n) for n in nodes], dtype=np.float64))
        routes, route_services, by_code = self._understanding.routes.settled()
        told, where = Told(), ""
        if self.runs.rows and not (self._options.strict and rejected):
            where = str(folder)
            topology = names.topology(routes, route_services, self._options.mesh)
            files = ", ".join(Path(f.file).name for f in self._files)
            blocks = self._settled(settling)
            run_ = f"import of {files}"[:200]
            told = tell(folder, topology, blocks, by_code, run=run_, mesh=self._options.mesh)
        self._note(told, settling)
        return Report(
            folder=where,
            files=tuple(self._files),
            attempts=told.attempts,
            started=min(self._first.values(), default=0.0),
            ended=max(self._last.values(), default=0.0),
            services={s.name: len(s.endpoints) for s in names.topology().services},
            nodes={names.nodes.names[n]: told.nodes[n] for n in nodes if told.nodes[n]},
            routes={name: told.routes[i] for i, name in enumerate(routes)},
            outcomes=dict(told.outcomes),
            duplicates=settling.duplicates,
            alike=settling.alike,
            retries=settling.retries,
            hidden_retries=self._hidden,
            without_endpoint=told.without_endpoint,
            with_probability=told.with_probability,
            gaps=tuple(SilentNode(names.nodes.names[g.node], g.start, g.end) for g in settling.gaps),
            clocks=tuple(clock(s, names.nodes.names) for s in self._skews.found()),
            notes=tuple(self._notes),
        )

    def _settled(self, settling: Settling) -> Iterator[Rows]:
        done = 0
        for block in self.runs.merged():
            yield settling.settled(block)
            done += len(block)
            self._heard("writing", done, self.runs.rows)

    def _spacing(self, node: int) -> float:
        many = self._rows[node]
        return (self._last[node] - self._first[node]) / many if many else 0.0

    def _note(self, told: Told, settling: Settling) -> None:
        if self._hidden:
            self._notes.append(
                f"{self._hidden} requests had tries before the one that their line tells; the time of those is in its "
                "duration. A log of upstream attempts (Envoy: upstream_log of the router) tells each"
            )
        if told.attempts and settling.alike > MANY_ALIKE * told.attempts:
            self._notes.append("many rows are alike and have no id: was a file given twice?")
        if told.attempts and not told.with_probability:
            self._notes.append("no row tells the chance of its pick: what-if can simulate, and not estimate off policy")
        if self._options.mesh is not None:
            known = {s.name for s in self._options.mesh.services}
            strange = [n for n in self._understanding.names.services.names if n not in known]
            if strange:
                self._notes.append(f"the mesh file has no service {', '.join(strange[:5])}: its rules are not known")
        if self._options.strict and any(f.rejected for f in self._files):
            self._notes.append("--strict: nothing was written, for lines were rejected")


_BEHIND = re.compile(r"(?:\.(?:gz|bz2|zst|\d{1,3})|[.-]\d{8}(?:[-T]?\d{4,6})?)+$")


def _size(file: str) -> int:
    """Bytes of a file, as it lies there; 0 of what is none."""
    try:
        return Path(file).stat().st_size if Path(file).is_file() else 0
    except OSError:
        return 0


def _nodes_of(files: Sequence[str]) -> list[str]:
    """A node's name for each file: its own without what rotation and packing put behind it, and the folder's before it
    where files of several folders are called alike."""
    out = []
    for file in files:
        base = "stdin" if file == "-" else _BEHIND.sub("", Path(file).name)
        out.append(base.rsplit(".", 1)[0] if "." in base[1:] else base or Path(file).name)
    folders = {name: {Path(f).parent for f, n in zip(files, out, strict=True) if n == name} for name in out}
    return [
        name if len(folders[name]) == 1 else f"{Path(file).absolute().parent.name}/{name}"
        for file, name in zip(files, out, strict=True)
    ]
