"""The reference pages and the JSON Schema say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

GENERATOR = Path(__file__).parent.parent / "docs" / "reference" / "generate.py"


def pages() -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("generate_reference", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[Path, str] = module.pages()
    return made


@pytest.mark.parametrize(
    "name",
    [
        "mesh-yaml.md",
        "scenario-yaml.md",
        "whatif-yaml.md",
        "cli.md",
        "metrics.md",
        "import.md",
        "python.md",
        "mesh.schema.json",
        "scenario.schema.json",
        "matrix.schema.json",
    ],
)
def test_a_page_is_what_the_code_makes_of_it(name, monkeypatch):
    monkeypatch.setenv("WEIRFLOW_ADMIN", "http://elsewhere:1")
    monkeypatch.setenv("COLUMNS", "40")
    (file,) = [f for f in pages() if f.name == name]
    assert file.read_text() == pages()[file], "run: python docs/reference/generate.py"


def test_every_key_of_the_file_is_on_its_page():
    page = (GENERATOR.parent / "mesh-yaml.md").read_text()
    for heading in (
        "## services[].circuit_breakers",
        "## adaptive.guard",
        "## adaptive.services.NAME",
        "## routes[].retry",
    ):
        assert heading in page
    assert "| `step_down` | number, at least 0.01, below 1 | `0.01` |" in page
