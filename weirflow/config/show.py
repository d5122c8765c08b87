"""The whole effective configuration: what the file says and, marked as such, every default that it leaves."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from weirflow.config.check import Checked

DEFAULT_MARK = "# default"


def as_dict(checked: Checked) -> dict[str, Any]:
    """Plain data: `effective` with all defaults filled in, and `defaults`, the keys that the file does not say."""
    return {
        "file": str(checked.file),
        "effective": checked.document.model_dump(mode="json"),
        "defaults": _defaults(checked.document, ""),
    }


def as_yaml(checked: Checked) -> str:
    """A mesh file that says everything; what is not in the original carries `# default`."""
    return "".join(line + "\n" for line in _mapping(checked.document, 0, written=True))


def _defaults(section: BaseModel, prefix: str) -> list[str]:
    out: list[str] = []
    for key, value in section:
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, BaseModel):
            out += _defaults(value, path)
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            for i, item in enumerate(value):
                out += _defaults(item, f"{path}[{i}]")
        elif isinstance(value, dict) and _of_sections(value):
            for name, item in value.items():
                out += _defaults(item, f"{path}.{name}")
        elif key not in section.model_fields_set:
            out.append(path)
    return out


def _mapping(section: BaseModel, indent: int, *, written: bool) -> list[str]:
    """Lines of a section; `written` says whether the file has it at all."""
    lines = []
    plain = section.model_dump(mode="json")
    for key, value in section:
        mine = written and key in section.model_fields_set
        head = " " * indent + key + ":"
        if isinstance(value, BaseModel):
            lines += [head, *_mapping(value, indent + 2, written=mine)]
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            lines.append(head)
            for item in value:
                body = _mapping(item, indent + 4, written=mine)
                lines += [" " * (indent + 2) + "- " + body[0].lstrip(), *body[1:]]
        elif isinstance(value, dict) and _of_sections(value):
            lines.append(head)
            for name, item in value.items():
                lines += [" " * (indent + 2) + json.dumps(name) + ":", *_mapping(item, indent + 4, written=mine)]
        else:
            # JSON is YAML: text in double quotes, lists in brackets, null for what is left out.
            line = f"{head} {json.dumps(plain[key])}"
            lines.append(line if mine else f"{line}  {DEFAULT_MARK}")
    return lines


def _of_sections(value: dict[str, Any]) -> bool:
    """Whether it is a mapping of names to sections, and not of names to text."""
    return any(isinstance(item, BaseModel) for item in value.values())
