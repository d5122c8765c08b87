"""Runs every bench in turn; a JSON object a line on standard output, progress on standard error.

Exit status 0 when all could run, whatever they measured: read `held`. 1 when one could not run; the others still do.
"""

from __future__ import annotations

import subprocess
import sys

from bench.result import say

BENCHES = ("ingest", "features", "tick", "recording", "dataplane", "fallback", "latency", "split", "simulated", "pick")


def main(wanted: list[str]) -> int:
    """Run the benches named, or all. Each is a process of its own, so none inherits another's memory or threads."""
    unknown = sorted(set(wanted) - set(BENCHES))
    if unknown:
        say(f"no bench called {', '.join(unknown)}; there are {', '.join(BENCHES)}")
        return 2
    broken = []
    for name in wanted or BENCHES:
        say(f"--- bench.{name}")
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0:
            broken.append(name)
    if broken:
        say(f"could not run: {', '.join(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
