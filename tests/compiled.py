"""What tests need of a C compiler: there in CI, and on a machine without one they are skipped, with how to get it."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from dataplane.build import PICK, compiler


def library_or_program(source: Path, target: Path, flags: Sequence[str]) -> Path:
    """The source compiled. A compiler that is not there, or not whole, is a failure in CI and skips elsewhere."""
    if PICK.missing() and not os.environ.get("CI"):
        pytest.skip(PICK.missing())
    assert not PICK.missing(), PICK.missing()
    done = subprocess.run(
        [*compiler(), *flags, source, "-o", target, "-lm"], capture_output=True, text=True, check=False
    )
    if "cannot find" in done.stderr and not os.environ.get("CI"):  # the linker, of a library of the compiler's own
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0, done.stderr
    return target


def chooser(folder: Path) -> ctypes.CDLL:
    """The pick and the reports (`pick_choose.c`), compiled without a warning and loaded."""
    flags = [*PICK.flags, "-fvisibility=default", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    return ctypes.CDLL(str(library_or_program(Path(__file__).parent / "pick_choose.c", folder / "choose.so", flags)))
