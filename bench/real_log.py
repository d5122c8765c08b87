"""A million lines of a real Envoy's access log, from the proxy to an answer of what-if; no line is copied.

wrk asks one Envoy worker as fast as answers come, three ports of nginx answer, and Envoy writes a line a request. The
first `LINES` are imported, looked through and, from start to end, asked about, each by its own command in a process of
its own. (`weirflow replay` takes no import, for it holds no decision to compare.) `weirflow whatif` is told `--force`,
so that it answers whether or not it trusts the answer, and the detail says which it was.

* `write_s`: of the clock, to have the lines.
* `import_lines_per_s`, `whatif_s`: of the CPU of each process, its start included; `..._peak_mb`: of its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from bench import plain
from bench.load_tools import free_ports, nginx, wrk
from bench.replay import PROGRAM
from bench.result import CannotRunError, Figure, Result, say, show
from dataplane.envoy.process import EnvoyError, EnvoyProcess
from dataplane.mesh import EndpointSpec, ListenerSpec, Mesh, NodeSpec, RouteSpec, ServiceSpec

LINES = 1_000_000
ENDPOINTS = 3
TURN_S = 5.0
MOST_TURNS = 60
SERVICE, NODE = "shop", "edge"
FORMAT = (
    "%START_TIME(%s.%6f)% %COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)% %RESPONSE_CODE% %RESPONSE_FLAGS% "
    "%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %REQ(:METHOD)% %REQ(:PATH)% %REQ(X-REQUEST-ID)%\n"
)
"""As the how-to says, for who answers within a few milliseconds."""
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


def bootstrap(addresses: Sequence[str], port: int, log: Path) -> dict[str, Any]:
    """An Envoy of static rules that logs to a file."""
    mesh = Mesh(
        nodes=(NodeSpec(NODE),),
        listeners=(ListenerSpec("web", "127.0.0.1", port),),
        routes=(RouteSpec("all", SERVICE, prefix="/"),),
        services=(ServiceSpec(SERVICE, tuple(EndpointSpec(a) for a in addresses)),),
    )
    out = plain.bootstrap(mesh)
    manager = out["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    form = {"text_format_source": {"inline_string": FORMAT}}
    manager["access_log"] = [
        {"name": "file", "typed_config": {"@type": FILE_LOG, "path": str(log), "log_format": form}}
    ]
    return out


async def written(folder: Path, log: Path, lines: int) -> int:
    """Load Envoy until it has logged so many requests; how many answers were bad."""
    *backends, port = free_ports(ENDPOINTS + 1)
    envoy = EnvoyProcess(bootstrap([f"127.0.0.1:{p}" for p in backends], port, log))
    asked = bad = 0
    async with nginx(folder, backends):
        try:
            await envoy.start()
            await envoy.ready()
            for _ in range(MOST_TURNS):
                run = await wrk(port, TURN_S, "/orders/17")
                asked, bad = asked + run.requests, bad + run.bad
                if asked >= lines:
                    return bad
        finally:
            await envoy.stop(grace_s=10.0)  # it writes what it holds of its log when it is asked to leave
    raise CannotRunError(f"{asked} requests in {MOST_TURNS * TURN_S:.0f} s, and {lines} were wanted")


def cut(log: Path, file: Path, lines: int) -> None:
    """The first lines of a log. CannotRunError when there are fewer."""
    with log.open("rb") as given, file.open("wb") as out:
        many = 0
        for line in islice(given, lines):
            out.write(line)
            many += 1
    if many < lines:
        raise CannotRunError(f"Envoy logged {many} lines, and {lines} were wanted")


def command(*words: str) -> tuple[Any, float, float]:
    """What a command tells, the CPU seconds it took, and the peak of its memory in MB."""
    run = subprocess.run([sys.executable, "-c", PROGRAM, *words, "-o", "json"], capture_output=True, check=False)
    if run.returncode != 0:
        raise CannotRunError(f"weirflow {' '.join(words)} ended with {run.returncode}: {run.stderr.decode()[-900:]}")
    cpu_s, peak_kb = run.stderr.split()[-2:]
    return json.loads(run.stdout), float(cpu_s), float(peak_kb) / 1024


def measured(lines: int, folder: Path) -> Result:
    """All of it."""
    log, file, to = folder / "envoy.log", folder / "access.log", str(folder / "imported")
    say(f"real_log: Envoy writes {lines} lines")
    start = perf_counter()
    bad = asyncio.run(written(folder, log, lines))
    write_s = perf_counter() - start
    cut(log, file, lines)
    log.unlink()
    say("real_log: import")
    told, import_s, import_mb = command("import", str(file), "--to", to, "--envoy-format", FORMAT)
    seen, *_ = command("record", "inspect", to)
    say("real_log: what-if")
    answer, whatif_s, whatif_mb = command("whatif", to, "--policy", "full_scan", "--seeds", "1", "--force")
    of_file = told["files"][0]
    left_out, rejected = (
        of_file["left_out"],
        of_file["rejected"],
    )  # clients that left before anybody was picked; odd lines
    missed = sum(left_out.values()) + sum(rejected.values()) + told["duplicates"]
    if told["attempts"] + missed != lines or seen["rows"]["attempts"] != told["attempts"]:
        raise CannotRunError(f"{lines} lines became {told['attempts']} attempts, and {missed} were passed over")
    figures = [
        Figure("write_s", write_s, "s"),
        Figure("import_lines_per_s", lines / import_s, "1/s", 100_000.0, at_most=False),
        Figure("import_peak_mb", import_mb, "MB"),
        Figure("whatif_s", whatif_s, "s"),
        Figure("whatif_peak_mb", whatif_mb, "MB"),
    ]
    (one,) = answer["answers"]
    detail = {
        "lines": lines,
        "attempts": told["attempts"],
        "left_out": left_out,
        "rejected": rejected,
        "shown": of_file["shown"],
        "told_twice": told["duplicates"],
        "bad_answers": bad,
        "outcomes": told["outcomes"],
        "covered_s": seen["ended"] - seen["started"],
        "engine": one["engine"],
        "concluded": answer["concluded"],
        "check": answer["check"],
        "simulation": one["simulation"],
        "doubts": answer["doubts"],
    }
    return Result("real_log", figures, detail=detail)


def main(argv: Sequence[str]) -> int:
    """Measure and print. Exit status 0 when it could run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=LINES)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-", ignore_cleanup_errors=True) as name:
        try:
            show(measured(given.lines, Path(name)))
        except (CannotRunError, EnvoyError) as error:
            say(f"bench.real_log cannot run: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
