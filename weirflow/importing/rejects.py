"""What of a file was not taken: counted by its reason, the first few shown with their line.

Rejected is what could not be read; left out is what was read and is no attempt at an endpoint (a redirect that the
proxy answered itself). Only the first makes `--strict` fail. No text of a log is kept but the little that a reason
quotes, which is cut short and is never the path.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SHOWN = 5
KINDS = 64  # of reasons; a file of noise must not fill memory with them


@dataclass(frozen=True, slots=True)
class Reject:
    """One line that was not taken. `line`: of the file, or the number of the record where a file has no lines."""

    line: int
    reason: str


@dataclass(slots=True)
class Rejects:
    """Of one file."""

    records: int = 0  # lines, or what a file has instead, that were looked at
    rejected: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    shown: list[Reject] = field(default_factory=list)

    def reject(self, line: int, reason: str, detail: str = "") -> None:
        """A line that cannot be read. `detail` is shown with the first few and not counted apart."""
        self._count(self.rejected, reason, 1)
        if len(self.shown) < SHOWN:
            self.shown.append(Reject(line, f"{reason}: {detail}" if detail else reason))

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Lines that are no attempts."""
        self._count(self.left_out, reason, count)

    def _count(self, counter: Counter[str], reason: str, count: int) -> None:
        if count:
            counter[reason if reason in counter or len(counter) < KINDS else "other"] += count


def quoted(text: str) -> str:
    """A piece of a line, fit to be shown."""
    return repr(text if len(text) <= 20 else text[:17] + "...")
