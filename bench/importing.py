"""What it costs to import a log: lines to a recording on the disk, each format in a process of its own.

The lines are made up (ids, times and paths of their own), half a million a format by default, and written before the
clock runs. Measured is the CPU time of the process while it imports, all threads included, so that other processes on
the machine count little; the starting of Python and its libraries is told beside it.

* `NAME_lines_per_s` for the text and JSON formats: at least 100,000 a core.
* `NAME_peak_mb`: of the process's memory.
* `growth`: of that with twice the lines, runs being a sixteenth of the smaller log: at most 1.1.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.result import CannotRunError, Figure, Result, say, show
from weirflow.importing import Options, run
from weirflow.importing.envoy import ISTIO_JSON
from weirflow.importing.runs import RUN

LINES_BAR, GROWTH_BAR = 100_000.0, 1.1
START_S = 1_790_000_000.0
RATE_PER_S = 2_000.0


def _iso(at: float, form: str = "%Y-%m-%dT%H:%M:%S") -> str:
    return datetime.fromtimestamp(at, UTC).strftime(form) + f".{int(at * 1000) % 1000:03d}"


def _envoy(at: float, ms: int, path: str, host: str, status: int, name: str) -> str:
    return (
        f'[{_iso(at)}Z] "GET {path} HTTP/1.1" {status} - 0 1234 {ms} {ms} "10.1.2.3" "Mozilla/5.0 (X11; Linux x86_64)" '
        f'"{name}" "shop.example" "{host}"\n'
    )


def _istio_json(at: float, ms: int, path: str, host: str, status: int, name: str) -> str:
    said = {
        "started": _iso(at) + "Z",
        "method": "GET",
        "path": path,
        "status": status,
        "flags": "-",
        "bytes_in": 0,
        "bytes_out": 1234,
        "duration_ms": ms,
        "ttfb_ms": str(ms),
        "request": name,
        "host": "shop.example",
        "endpoint": host,
        "cluster": "outbound|9080||shop.prod.svc.cluster.local",
        "route": "default",
    }
    return json.dumps({ISTIO_JSON[our]: value for our, value in said.items()} | {"user_agent": "Mozilla/5.0"}) + "\n"


def _nginx(at: float, ms: int, path: str, host: str, status: int, name: str) -> str:
    spent = f"{ms / 1000:.3f}"
    tried = status != 200  # a failed try before
    hosts, statuses = (f"10.0.0.99:80, {host}", "503, 200") if tried else (host, "200")
    times = f"0.001, {spent}" if tried else spent
    return (
        f'{at:.3f} {spent} 200 "GET {path}" "shop.example" "shop" "{name.replace("-", "")}" 200 1234 "{hosts}" '
        f'"{statuses}" "{times}" "{times}" "{times}"\n'
    )


def _haproxy(at: float, ms: int, path: str, host: str, status: int, name: str) -> str:
    return (
        f"10.1.2.3:40000 [{_iso(at, '%d/%b/%Y:%H:%M:%S')}] front shop/{host} 0/0/0/{ms}/{ms} {status} 1234 - - ---- "
        f'9/9/1/1/0 0/0 "GET {path} HTTP/1.1"\n'
    )


FORMATS: dict[str, Callable[[float, int, str, str, int, str], str]] = {
    "envoy": _envoy,
    "istio-json": _istio_json,
    "nginx": _nginx,
    "haproxy": _haproxy,
}


def write(file: Path, form: str, lines: int) -> None:
    """Make a log of that many lines."""
    draw = random.Random(1)
    at = START_S
    with file.open("w") as out:
        for i in range(lines):
            at += draw.expovariate(RATE_PER_S)
            path = draw.choice((f"/orders/{i}", f"/cart?user={i}", f"/api/v1/items/{draw.getrandbits(32):08x}"))
            name = f"{i:08x}-0000-4000-8000-{draw.getrandbits(48):012x}"
            host = f"10.0.0.{draw.randrange(20)}:8080"
            out.write(FORMATS[form](at, int(draw.expovariate(0.05)), path, host, 503 if i % 100 == 0 else 200, name))


def child(file: Path, form: str, run_rows: int) -> None:
    """Import one file; its figures as JSON. Exit by exception when it was not all read."""
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-") as folder:
        start_s, start = time.process_time(), time.perf_counter()
        report = run([str(file)], Path(folder) / "r", Options(format=form, run_rows=run_rows))
        cpu_s, wall_s = time.process_time() - start_s, time.perf_counter() - start
    if report.rejected:
        raise CannotRunError(f"{report.rejected} lines of {file} were rejected")
    records = report.files[0].records
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"records": records, "start_s": start_s, "cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": peak_mb}))


def measure(form: str, lines: int, folder: Path, run_rows: int = RUN) -> dict[str, float]:
    """One format at one size."""
    file = folder / f"{form}.log"
    say(f"{form}: {lines} lines")
    write(file, form, lines)
    done = subprocess.run(
        [sys.executable, "-m", "bench.importing", "--child", form, str(file), str(run_rows)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotRunError(done.stderr[-1000:])
    file.unlink()
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(lines: int) -> int:
    """Measure and print. Exit status 0 when it could run."""
    figures, detail = [], {}
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-") as folder:
        for form in FORMATS:
            found = measure(form, lines, Path(folder))
            figures.append(
                Figure(f"{form}_lines_per_s", found["records"] / found["cpu_s"], "of CPU", bar=LINES_BAR, at_most=False)
            )
            figures.append(Figure(f"{form}_peak_mb", found["peak_mb"], "MB"))
            detail[form] = found
        once, twice = (measure("envoy", n, Path(folder), lines // 16) for n in (lines, 2 * lines))
    figures.append(Figure("growth", twice["peak_mb"] / once["peak_mb"], bar=GROWTH_BAR))
    show(Result("importing", figures, detail={"lines": lines, **detail}))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=500_000)
    parser.add_argument("--child", nargs=3, metavar=("FORMAT", "FILE", "ROWS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(Path(given.child[1]), given.child[0], int(given.child[2]))
        sys.exit(0)
    sys.exit(main(given.lines))
