"""What cannot be imported at all; a line that cannot is no error but a reject (see `rejects`)."""

from __future__ import annotations


class ImportingError(Exception):
    """A file or a folder that cannot be used: which, why, and the mend."""


class WrongUseError(ImportingError):
    """An option that makes no sense: which, why, and the mend."""
