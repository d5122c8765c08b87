"""The JSON Schema of a mesh file, for editors and for other people's checks. Shipped as `mesh.schema.json`; the lab's
scenario files have one of their own, made by the same hand.

It is made from the models, so it cannot say anything else than they do. What it cannot express (durations in range,
names that must exist) is left to `weirflow validate`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from weirflow.config import units
from weirflow.config.model import Document

FILE = Path(__file__).with_name("mesh.schema.json")
TITLE = "Weirflow mesh file"


def schema(model: type[BaseModel] = Document, title: str = TITLE) -> dict[str, Any]:
    """The schema of what a model describes, as JSON Schema draft 2020-12."""
    made = model.model_json_schema()
    _tidy(made)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": title}


def text(model: type[BaseModel] = Document, title: str = TITLE) -> str:
    """The schema as its shipped file has it."""
    return json.dumps(schema(model, title), indent=2) + "\n"


def _tidy(node: Any) -> None:
    """Default durations as text, an empty section for its defaults, and no titles that repeat keys."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
        return
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    if node.get("pattern") == units.DURATION_PATTERN and isinstance(node.get("default"), (int, float)):
        node["default"] = units.format_duration(node["default"])
    if node.get("type") == "object" and "properties" in node and not node.get("required"):
        node["type"] = ["object", "null"]
    for item in node.values():
        _tidy(item)
