"""Ties a process to its parent: when the parent dies, however it dies, the kernel kills the child.

`tethered(argv)` is the command to start instead of `argv`. It runs this file in a bare interpreter (no site, no
package: about 15 ms), which asks the kernel for the signal and then becomes `argv`: PR_SET_PDEATHSIG outlives
execve(2). This needs no `preexec_fn`, so it is safe in a process that has threads.

The kernel watches the thread that forked, so start tethered processes from a thread that lasts: the main one.
Only Linux has this; elsewhere `tethered` changes nothing and a killed parent leaves its children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tethered(argv: Sequence[str | Path]) -> list[str]:
    """The same command, bound to die with this process."""
    plain = [str(a) for a in argv]
    if sys.platform != "linux":
        return plain
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *plain]


def main(parent: int, argv: list[str]) -> None:
    """Ask for the signal, then become `argv`. A parent that died before we asked is seen by its absence."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:
        os.execvp(argv[0], argv)  # noqa: S606 - the command is our caller's own


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
