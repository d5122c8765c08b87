"""Hatchling's build hook: compiles what is in C where a C compiler is, and goes on where none is.

Two pieces, each into its own folder: an editable install uses it from there, a wheel carries it and is tagged for the
platform. Without the access log decoder the plain one reads (`dataplane.als.decoder`); without the pick module Envoy's
own policies pick (`dataplane.pick`). Either is told in one line, and in `weirflow status`. Nothing but the compiler is
needed: one source file, one command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # imported by tests and by people who only ask why nothing is compiled
    BuildHookInterface = object

HERE = Path(__file__).parent
DARWIN = sys.platform == "darwin"


class Piece(NamedTuple):  # no dataclass: hatchling runs this file without making a module of it
    """A source file and the library that it becomes."""

    what: str
    source: Path
    target: Path
    without: str  # what serves in its place
    flags: tuple[str, ...]
    python: bool = False  # it includes Python.h

    def missing(self) -> str:
        """What is missing to compile, and its mend; "" when nothing is."""
        if not compiler():
            return "no C compiler: install gcc or clang, or set CC"
        if self.python and not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
            return "no Python.h: install Python's development headers, as python3-dev"
        return ""

    def compile(self) -> str:
        """Compile it. Returns "", or in one line why that failed; an older build is then gone."""
        self.target.unlink(missing_ok=True)
        problem = self.missing()
        if problem:
            return problem
        # A library's open ends are filled by who loads it: Python, or Envoy.
        shared = ["-bundle", "-undefined", "dynamic_lookup"] if DARWIN else ["-shared"]
        unfinished = self.target.with_suffix(".unfinished")
        include = [f"-I{sysconfig.get_paths()['include']}"] if self.python else []
        command = [*compiler(), "-fPIC", "-Wall", "-Wextra", *self.flags, *shared, *include]
        command += [str(self.source), "-o", str(unfinished), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            unfinished.unlink(missing_ok=True)
            said = done.stderr.strip().splitlines()
            return f"{command[0]} failed: {said[0] if said else done.returncode}"
        unfinished.replace(self.target)  # whole or not at all: a running process keeps the one it has mapped
        return ""


DECODER = Piece(
    "access log decoder",
    HERE / "als" / "_decode.c",
    HERE / "als" / f"_decode{sysconfig.get_config_var('EXT_SUFFIX')}",
    "the plain one is used",
    ("-O3",),
    python=True,
)
PICK = Piece(
    "pick module",
    HERE / "pick" / "module.c",
    HERE / "pick" / "libweirflow_pick.so",
    "Envoy's own policies pick",
    ("-std=gnu11", "-O2", "-fvisibility=hidden"),
)


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Adds what was compiled to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile in place; when that worked, the wheel is no longer pure."""
        for piece in (DECODER, PICK):
            problem = piece.compile()
            if problem:
                sys.stderr.write(f"weirflow: the {piece.what} is not compiled ({problem}); {piece.without}\n")
                continue
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["artifacts"].append(f"/{piece.target.relative_to(self.root).as_posix()}")  # git ignores it


def compiler() -> list[str]:
    """The command that $CC names, or Python's own compiler, or whichever is there; empty when none is."""
    for words in (os.environ.get("CC", ""), sysconfig.get_config_var("CC") or "", "cc", "gcc", "clang"):
        command = words.split()
        if command and shutil.which(command[0]):
            return command
    return []
