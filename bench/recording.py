"""What a recording costs: the event loop, the recorder's thread, and the disk.

Attempts as a mesh of two services and 200 endpoints would tell them, in batches of 1,000, as fast as the recorder takes
them, with a decision after every 100 batches.

* `told_us`: of the event loop's time for a batch. At most 20 us. The 99th percentile beside it has no bar: at full
  speed it is the wait for the interpreter, which the recorder's thread holds for moments.
* `write_us_per_attempt`: CPU of all other threads, encoding, checksums and file system included. At most 0.3 us.
* `bytes_per_attempt`: on disk.
* `peak_growth_mb`: of the process's memory over the run, whose raw columns would be ten times that.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.result import Figure, Result, say, show
from brain.settings import Settings
from dataplane.contract import Requests
from weirflow.recording import Recorder, inspect, invented

ENDPOINTS = 200
BATCH = 1_000


def plausible(random: np.random.Generator, now: float) -> Requests:
    """A batch of attempts of a tenth of a second, timed to the microsecond as Envoy does."""
    n = BATCH
    endpoint = random.integers(0, ENDPOINTS, n)
    weight = 50 + endpoint % 97
    duration_s = np.round(random.lognormal(-4.6, 0.8, n), 6)
    failed = random.random(n) < 0.01
    return Requests.of(
        started_s=np.round(now - 0.1 * random.random(n) - duration_s, 6),
        duration_s=duration_s,
        ttfb_s=np.where(failed, np.nan, np.round(duration_s * random.uniform(0.8, 1.0, n), 6)),
        felt_s=duration_s,
        service=endpoint % 2,
        endpoint=endpoint,
        node=np.full(n, random.integers(0, 2)),
        route=endpoint % 2,
        outcome=failed,
        status=np.where(failed, 503, 200),
        bytes_in=np.zeros(n),
        bytes_out=random.integers(200, 20_000, n),
        attempt=np.ones(n),
        arm=random.random(n) < 0.95,
        plan=np.full(n, int(now) % 1000),
        weight=weight,
        probability=weight / 20_000,
    )


def main(attempts: int) -> int:
    """Measure and print. Exit status 0 when it could run."""
    random = np.random.default_rng(1)
    topology = invented.topology(endpoints=ENDPOINTS)
    batches = [plausible(random, invented.T0 + i / 10) for i in range(200)]
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="weirflow-bench-") as name:
        folder = Path(name) / "r"
        recorder = Recorder(
            folder, settings=Settings(), topology=topology, now=invented.T0, part_s=60.0, on_problem=problems.append
        )
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        told_s = []
        cpu_s = time.process_time() - time.thread_time()
        for i in range(attempts // BATCH):
            now = invented.T0 + i / 300
            start = time.perf_counter()
            recorder.told(batches[i % len(batches)], now)
            told_s.append(time.perf_counter() - start)
            if i % 100 == 99:
                recorder.decided(invented.decision(now, i, topology), now)
            while recorder.status()["backlog_bytes"] > 1 << 25:
                time.sleep(0.001)
        recorder.close()
        cpu_s = time.process_time() - time.thread_time() - cpu_s
        growth_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before_mb
        start = time.perf_counter()
        report = inspect.inspect(folder)
        inspect_s = time.perf_counter() - start
    if problems or report.rows["attempts"] != attempts:
        say(f"the recording is not whole: {problems}")
        return 1
    show(
        Result(
            "recording",
            [
                Figure("told_us", float(np.mean(told_s)) * 1e6, "us a batch", bar=20.0),
                Figure("told_p99_us", float(np.quantile(told_s, 0.99)) * 1e6, "us a batch"),
                Figure("write_us_per_attempt", cpu_s / attempts * 1e6, "us", bar=0.3),
                Figure("bytes_per_attempt", report.bytes_per_attempt or float("nan"), "bytes"),
                Figure("peak_growth_mb", growth_mb, "MB"),
                Figure("inspect_us_per_attempt", inspect_s / attempts * 1e6, "us"),
            ],
            detail={"attempts": attempts, "parts": report.parts, "bytes": report.bytes},
        )
    )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=3_000_000)
    sys.exit(main(parser.parse_args().attempts // BATCH * BATCH))
