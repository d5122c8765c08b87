"""`mesh.yaml`: read, checked as a whole, and turned into what the program is made with.

`text -> source (plain data with places) -> structure and check (every mistake at once) -> build (Config)`. All or
nothing: `load` returns a complete `Config` or raises a `ConfigError`, so a reload can never be half applied.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weirflow.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from weirflow.config.build import Config

__all__ = ["ConfigError", "Problem", "load"]


def load(path: Path) -> Config:
    """Read a mesh file. ConfigError, with every mistake in it, when it is not accepted."""
    # Imported here because it brings NumPy, through the contract, and `validate` has to be quick.
    from weirflow.config.build import build
    from weirflow.config.check import check

    return build(check(path))
