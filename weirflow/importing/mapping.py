"""`--map our=theirs` and mapping files: which key of a log fills which canonical column."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from weirflow.files import read_bounded
from weirflow.importing.errors import WrongUseError
from weirflow.importing.fields import BY_NAME, column, names

MOST_BYTES = 1 << 20


def mapping(given: Iterable[str], file: Path | None = None) -> dict[str, str]:
    """Canonical column to key; what is given overrides the file. WrongUseError, with the nearest name."""
    out: dict[str, str] = {}
    if file is not None:
        for our, their in _document(file).items():
            out[_known(str(our), f"{file}")] = str(their)
    for said in given:
        our, equals, their = said.partition("=")
        if not equals or not their:
            raise WrongUseError(f"--map {said}: write our=theirs, as --map duration_ms=elapsed")
        out[_known(our.strip(), f"--map {said}")] = their
    return out


def _known(our: str, where: str) -> str:
    if column(our) is not None:
        return our
    if our in BY_NAME:
        raise WrongUseError(f"{where}: {our} needs its unit, as {our}_ms or {our}_s")
    near = get_close_matches(our, names(), n=1)
    raise WrongUseError(
        f"{where}: there is no canonical column {our!r}" + (f"; did you mean {near[0]}?" if near else "")
    )


def _document(file: Path) -> dict[object, object]:
    try:
        document = YAML(typ="safe", pure=True).load(read_bounded(file, MOST_BYTES).decode())
    except OSError as error:
        raise WrongUseError(f"{file}: {error.strerror or error}") from error
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise WrongUseError(f"{file}: is no YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(document, dict) or not all(isinstance(v, str) for v in document.values()):
        raise WrongUseError(f"{file}: write a line for each column, as duration_ms: elapsed")
    return document
