"""How fast a recording replays, and in how much memory.

A mesh of `bench.tick` (20,000 attempts a second, four nodes) is recorded with its brain, and replayed by `weirflow
replay` in a process of its own: plainly, writing a report, and against that report.

* `times_real`: of the mesh's time, by the CPU time that the process took, its start left out. At least 1: a gate that
  is slower than the mesh is of little use.
* `attempts_per_s`: of CPU time, likewise.
* `peak_growth_mb`: of the process's memory from a recording to one of four times the length.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.result import Figure, Result, say, show
from bench.tick import RATE_PER_S, START_S, Wires, mesh
from brain.brain import Brain
from brain.settings import Mode, Settings
from weirflow.recording import Recorder

PART_S = 5.0
PROGRAM = """
import sys, time
from weirflow.cli import app
status = app(sys.argv[1:], standalone_mode=False)
peak_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time(), peak_kb, file=sys.stderr)
sys.exit(status)
"""
"""Of the process itself: what `wait4` tells of its peak memory begins with that of who started it."""


def record(folder: Path, services: int, endpoints: int, seconds: int) -> None:
    """A brain over such a mesh, with all that it was told."""
    topology, settings, problems = mesh(services, endpoints, 4), Settings(mode=Mode.ADAPTIVE), list[str]()
    recorder = Recorder(
        folder, settings=settings, topology=topology, now=START_S, part_s=PART_S, on_problem=problems.append
    )
    brain, wires = Brain(topology, settings), Wires(topology)
    for second in range(1, seconds + 1):
        now = START_S + second
        for at, batch in wires.second(now):
            recorder.told(batch, at)
            brain.told(batch, at)
        recorder.decided(brain.tick(now), now)
    recorder.close(600.0)
    if problems:
        raise OSError(problems[0])


def replay(*arguments: str) -> tuple[dict[str, Any], float, float]:
    """What it prints, the CPU seconds it took, and its peak memory in MB."""
    run = subprocess.run([sys.executable, "-c", PROGRAM, *arguments, "-o", "json"], capture_output=True, check=False)
    if run.returncode != 0:
        raise OSError(f"weirflow {' '.join(arguments)} ended with {run.returncode}: {run.stderr.decode()[-500:]}")
    cpu_s, peak_kb = run.stderr.split()[-2:]
    return json.loads(run.stdout), float(cpu_s), float(peak_kb) / 1024


def main() -> int:
    """Measure and print. Exit status 0 when it could run."""
    result = Result("replay")
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-") as name:
        folder = Path(name)
        for services, endpoints, seconds in ((1, 20, 40), (20, 10, 40), (50, 200, 8)):
            size = f"{services * endpoints}_as_{services}"
            say(f"replay: {size}")
            record(folder / size, services, endpoints, seconds)
            _, started_s, _ = replay("replay", str(folder / size), "--until", "1ms")
            report = str(folder / f"{size}.parquet")
            for how, options in (("plain", ()), ("report", ("--report", report)), ("against", ("--against", report))):
                said, cpu_s, _ = replay("replay", str(folder / size), *options)
                took_s = cpu_s - started_s
                times = said["covered_s"] / took_s
                result.figures.append(Figure(f"times_real_{size}_{how}", times, bar=1.0, at_most=False))
                result.detail[f"wall_times_real_{size}_{how}"] = round(said["times_real_time"], 2)
                if how == "plain":
                    result.figures.append(Figure(f"attempts_per_s_{size}", times * RATE_PER_S, "attempts/s"))
            result.detail[f"report_bytes_a_tick_{size}"] = round(Path(report).stat().st_size / seconds)
        say("replay: memory")
        peaks = []
        for seconds in (20, 80):
            record(folder / f"long-{seconds}", 1, 20, seconds)
            peaks.append(replay("replay", str(folder / f"long-{seconds}"))[2])
        result.figures.append(Figure("peak_growth_mb", peaks[1] - peaks[0], "MB", bar=8.0))
        result.detail["peak_mb"] = [round(p, 1) for p in peaks]
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
