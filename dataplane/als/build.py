"""Hatchling's build hook: compiles the decoder where a C compiler and Python's headers are, and goes on where not.

Into this folder either way: an editable install imports it from here, a wheel carries it and is tagged for the
platform. Without it the wheel is pure and `decoder` takes the plain reader, which is told in one line and in
`weirflow status`. Nothing but the compiler is needed: one source file, one command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # imported by tests and by people who only ask why there is no compiled decoder
    BuildHookInterface = object

HERE = Path(__file__).parent
SOURCE = HERE / "_decode.c"
TARGET = HERE / f"_decode{sysconfig.get_config_var('EXT_SUFFIX')}"


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Adds the compiled decoder to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile in place; when that worked, the wheel is no longer pure."""
        problem = compile_decoder()
        if problem:
            sys.stderr.write(f"weirflow: the access log decoder is not compiled ({problem}); the plain one is used\n")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(f"/{TARGET.relative_to(self.root).as_posix()}")  # git ignores it


def missing() -> str:
    """What is missing to compile, and its mend; "" when nothing is."""
    if not _compiler():
        return "no C compiler: install gcc or clang, or set CC"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "no Python.h: install Python's development headers, as python3-dev"
    return ""


def compile_decoder() -> str:
    """Compile `_decode.c` beside itself. Returns "", or in one line why it did not; an older build is then gone."""
    TARGET.unlink(missing_ok=True)
    problem = missing()
    if problem:
        return problem
    shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    include = f"-I{sysconfig.get_paths()['include']}"
    unfinished = TARGET.with_suffix(".unfinished")
    command = [*_compiler(), "-O3", "-fPIC", "-Wall", "-Wextra", *shared, include, str(SOURCE), "-o", str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        unfinished.unlink(missing_ok=True)
        return f"{command[0]} failed: {done.stderr.strip().splitlines()[0] if done.stderr.strip() else done.returncode}"
    unfinished.replace(TARGET)  # whole or not at all: a running process keeps the one it has mapped
    return ""


def _compiler() -> list[str]:
    """The command that $CC names, or Python's own compiler, or whichever is there; empty when none is."""
    for words in (os.environ.get("CC", ""), sysconfig.get_config_var("CC") or "", "cc", "gcc", "clang"):
        command = words.split()
        if command and shutil.which(command[0]):
            return command
    return []
