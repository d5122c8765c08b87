"""A mesh file read into plain data, with the line and column of every key and value.

ruamel.yaml composes the text into nodes, which carry their place; the plain data is built from those here, and not by a
constructor that could run code or expand without bound. YAML is read as 1.2, so `n`, `no` and `on` are text. Anything
hostile (aliases that multiply, deep nesting, a huge file, bytes that are not UTF-8) ends as a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from weirflow.config.problems import ConfigError, Path, Problem, key_text, shown

MAX_BYTES = 1 << 20
"""A mesh of ten thousand endpoints takes half of this, and about two seconds to read."""
MAX_VALUES = 200_000
"""Keys and values after aliases are expanded: what a file of `MAX_BYTES` could hold without any."""
MAX_DEPTH = 32

_TAG = "tag:yaml.org,2002:"
_TRUE = {"true", "True", "TRUE"}
_YAML_1_1 = re.compile(r"^%YAML[ \t]+1\.[01]\b", re.MULTILINE)

Mark = tuple[int, int]  # line and column, from 1


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is for, as messages say it."""

    name: str
    smallest: str
    begin: str


MESH = Kind("mesh", "the smallest mesh has nodes, and services with endpoints", "begin with 'nodes:'")


@dataclass
class Source:
    """Plain data and where each piece of it stands. Repeated keys keep their first value and are in `problems`."""

    file: str
    text: str
    kind: Kind = MESH
    data: Any = None
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def mark(self, path: Path, *, key: bool = False) -> Mark:
        """Where the value (or its key) is written; of its nearest parent when it is not written at all."""
        for end in range(len(path), -1, -1):
            part = path[:end]
            if key and part in self.keys:
                return self.keys[part]
            if part in self.values:
                return self.values[part]
        return (1, 1)

    def problem(
        self, path: Path, message: str, mend: str = "", *, key: bool = False, severity: str = "error"
    ) -> Problem:
        """A problem with the value at this path, or with its key."""
        line, column = self.mark(path, key=key)
        return Problem(self.file, line, column, key_text(path), message, mend, severity)

    def entries(self, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Position and plain data of each entry of a list of mappings, whatever else is wrong with it."""
        entries = self.data.get(key)
        for i, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict):
                yield i, entry


def read(file: FilePath, kind: Kind = MESH) -> str:
    """The text of a file. ConfigError when it cannot be opened, is too large, or is not UTF-8."""
    name = str(file)
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        _refuse(name, "no such file", f"name the {kind.name} file to read")
    except IsADirectoryError:
        _refuse(name, "is a directory", f"name a file in it, such as {file / f'{kind.name}.yaml'}")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        _refuse(name, f"cannot be read: {reason}")
    if len(raw) > MAX_BYTES:
        _refuse(name, f"is larger than {MAX_BYTES >> 20} MiB", f"a {kind.name} file is text that a person can read")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        _refuse(name, f"byte 0x{raw[error.start]:02x} is not UTF-8", "save the file as UTF-8", line, column)


def parse(text: str, file: str, kind: Kind = MESH) -> Source:
    """Read YAML text. ConfigError for a syntax error, which is told alone: nothing after it can be trusted."""
    directive = _YAML_1_1.search(text)
    if directive is not None:
        line = text.count("\n", 0, directive.start()) + 1
        _refuse(file, f"{kind.name} files are YAML 1.2", "take the %YAML line out", line, 1)
    yaml = YAML(typ="rt", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        _refuse(file, f"not YAML: {_syntax(error)}", "", line, column)
    except RecursionError:
        _refuse(file, f"nested deeper than {MAX_DEPTH} levels", f"a {kind.name} file needs six")
    except (YAMLError, ValueError, KeyError, IndexError, AttributeError, TypeError, AssertionError) as error:
        # ruamel.yaml lets a few of its own mistakes out on malformed text; they are the text's fault all the same.
        _refuse(file, f"not YAML: {' '.join(str(error).split())[:200]}")
    if root is None:
        _refuse(file, "is empty", kind.smallest)
    source = Source(file, text, kind)
    source.data = _Builder(source).build(root, (), 0)
    return source


def _syntax(error: MarkedYAMLError) -> str:
    words = " ".join(str(part) for part in (error.context, error.problem) if part)
    return " ".join(words.split())[:200]


def _refuse(file: str, message: str, mend: str = "", line: int = 0, column: int = 0) -> NoReturn:
    raise ConfigError([Problem(file, line, column, "", message, mend)]) from None


class _Builder:
    """Turns composed nodes into plain data, noting places and counting what aliases expand to."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._built = 0

    def build(self, node: Any, path: Path, depth: int) -> Any:
        mark = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._built += 1
        if self._built > MAX_VALUES:
            _refuse(self._source.file, f"holds more than {MAX_VALUES} values", "aliases (*name) multiply", *mark)
        if depth > MAX_DEPTH:
            mend = f"a {self._source.kind.name} file needs six"
            _refuse(self._source.file, f"nested deeper than {MAX_DEPTH} levels", mend, *mark)
        self._source.values[path] = mark
        if isinstance(node, MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, ScalarNode):
                self._tell(path, mark, "a key must be text, not a list or mapping")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key_node.tag == _TAG + "merge":
                self._tell(here, mark, "merge keys are not part of YAML 1.2", "write the keys out, or alias a value")
            elif key in out:
                self._tell(here, mark, f"is written twice, first on line {self._source.keys[here][0]}", "keep one")
            else:
                self._source.keys[here] = mark
                out[key] = self.build(value_node, here, depth + 1)
        return out

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        text, tag = str(node.value), str(node.tag or "").removeprefix(_TAG)
        if node.style == ">":
            text = text.replace("\a", "")  # ruamel.yaml's own marks, of where a folded text was folded
        try:
            match tag:
                case "null":
                    return None
                case "bool":
                    return text in _TRUE
                case "int":
                    return _integer(text)
                case "float":
                    return _float(text)
                case "str" | "timestamp" | "value" | "merge":
                    return text
        except ValueError:
            self._tell(path, self._source.values[path], f"{shown(text)} is not a number")
            return None
        self._tell(path, self._source.values[path], f"the tag {shown(tag)} is not read here", "take it out")
        return text

    def _tell(self, path: Path, mark: Mark, message: str, mend: str = "") -> None:
        self._source.problems.append(Problem(self._source.file, *mark, key_text(path), message, mend))


def _integer(text: str) -> int:
    plain = text.replace("_", "")
    if len(plain) > 100:
        raise ValueError(text)
    based = plain.lstrip("+-")[:2].lower() in ("0x", "0o", "0b")
    return int(plain, 0 if based else 10)


def _float(text: str) -> float:
    special = {".inf": "inf", "-.inf": "-inf", "+.inf": "inf", ".nan": "nan"}
    return float(special.get(text.lower(), text.replace("_", "")))
