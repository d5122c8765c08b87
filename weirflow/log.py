"""Weirflow's own log: structlog, for people on a terminal or as a JSON object a line. Set up once, by the driver."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str = "info", form: str = "console", stream: TextIO | None = None) -> None:
    """Log what is at least `level` (debug, info, warning, error) to `stream`, standard error by default.

    `form` is `console` or `json`. KeyError for an unknown level.
    """
    out = stream if stream is not None else sys.stderr
    renderers: dict[str, list[Processor]] = {
        "console": [_printable, structlog.dev.ConsoleRenderer(colors=out.isatty())],
        "json": [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(default=repr)],
    }
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers[form],
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Forgiving(out))),
        cache_logger_on_first_use=False,
    )


class _Forgiving:
    """A stream whose disk may be full: what cannot be written is lost, and whoever logs goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _printable(logger: Any, method: str, event: EventDict) -> EventDict:
    """Escape control characters: a name that holds a line break must not write a log line of its own."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable() and key != "exception":
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event
