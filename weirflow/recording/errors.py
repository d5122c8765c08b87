"""The one error of recordings."""

from __future__ import annotations


class RecordingError(Exception):
    """A recording, or a part of one, that cannot be used: which file, which part (None: not a part's fault), why."""

    def __init__(self, file: str, reason: str, *, part: int | None = None) -> None:
        super().__init__(f"{file}{'' if part is None else f' (part {part})'}: {reason}")
        self.file = file
        self.part = part
        self.reason = reason
