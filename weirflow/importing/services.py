"""Which service a row is of: what `--cluster-from` says, or the best that the log tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from dataplane.contract import ADAPTIVE_SUFFIX, Arm, Ints
from weirflow.importing.errors import WrongUseError
from weirflow.importing.names import NO, Codes, service_of_cluster, service_of_host

Column = Callable[[str], Sequence[str] | None]
CACHED = 1 << 16
_COLUMNS = {  # where a service is looked for: the first column that a row has, for regex the first that the log has
    "auto": ("service", "cluster", "host"),
    "authority": ("host",),
    "upstream_cluster": ("cluster",),
    "regex": ("endpoint", "cluster", "host"),
}


class Services:
    """Names services. Weirflow's own clusters `NAME~adaptive` are the service NAME on the adaptive arm."""

    def __init__(self, by: str = "auto") -> None:
        """`by`: auto, authority, upstream_cluster, const:NAME or regex:EXPRESSION. WrongUseError when none of them."""
        self._by, _, rest = by.partition(":")
        if self._by not in ("auto", "authority", "upstream_cluster", "const", "regex") or (
            bool(rest) != (self._by in ("const", "regex"))
        ):
            raise WrongUseError(
                f"--cluster-from {by}: write authority, upstream_cluster, const:NAME or regex:EXPRESSION"
            )
        self._name = rest
        self._pattern = None
        if self._by == "regex":
            try:
                self._pattern = re.compile(rest)
            except re.error as error:
                raise WrongUseError(f"--cluster-from {by}: {error}") from error
        self._known: dict[str, dict[str, int]] = {}

    def of(self, column: Column, n: int, codes: Codes) -> tuple[Ints, Ints]:
        """The service of each row by its code, NO where nothing names one, and its arm. Shapes (n,)."""
        if self._by == "const":
            return np.full(n, codes[self._name]), np.zeros(n, np.int64)
        out = np.full(n, NO << 1)
        for kind in _COLUMNS[self._by]:
            given = column(kind)
            if given is None:
                continue
            found = self._named(kind, given, codes)
            out = np.where(out >> 1 == NO, found, out)
            if self._by == "regex" or not (out >> 1 == NO).any():
                break
        return out >> 1, out & 1

    def _named(self, kind: str, texts: Sequence[str], codes: Codes) -> Ints:
        """By text, the service's code twice, and one more for the adaptive arm."""
        known = self._known.setdefault(kind, {})
        if len(known) > CACHED:
            known.clear()
        for text in dict.fromkeys(texts):
            if text not in known:
                name, arm = self._read(kind, text)
                known[text] = codes[name] << 1 | arm
        return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts))

    def _read(self, kind: str, text: str) -> tuple[str, int]:
        if self._pattern is not None:
            m = self._pattern.search(text)
            return ("" if m is None else (m[1] or "") if self._pattern.groups else m[0]), Arm.STATIC
        if kind == "host":
            return service_of_host(text), Arm.STATIC
        base = text.removesuffix(ADAPTIVE_SUFFIX)
        arm = Arm.STATIC if base == text else Arm.ADAPTIVE
        return (service_of_cluster(base) if kind == "cluster" else base), arm
