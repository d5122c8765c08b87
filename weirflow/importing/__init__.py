"""Logs that people already have, made into a recording.

    opening (safe, unpacked, bounded) -> a reader (one per format: lines to canonical columns, rejects counted)
    -> attempts (canonical columns to numbers and codes) -> runs (sorted, spilled, merged) -> settle (duplicates, tries)
    -> a recording, as if a brain had been told them in time

`sniff` takes a file for what it is, `run` drives it all, `report` says what was found and what was lost.
"""

from weirflow.importing.errors import ImportingError, WrongUseError
from weirflow.importing.run import Options, run

__all__ = ["ImportingError", "Options", "WrongUseError", "run"]
