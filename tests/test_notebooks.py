"""The notebooks: each runs from its source over recordings made here, proves what it claims, and is written down."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jupytext
import nbformat
import pytest

HERE = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted(HERE.glob("[0-9][0-9]-*.py"))
MOST_BYTES = 300_000

pytestmark = pytest.mark.xdist_group("notebooks")  # one after another: they share recordings


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"notebooks_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def _recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Made once for all, in a folder of their own: what `make notebooks` left behind proves nothing."""
    patch = pytest.MonkeyPatch()
    patch.setenv("WEIRFLOW_NOTEBOOKS", str(tmp_path_factory.mktemp("notebooks")))
    patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]))
    yield
    patch.undo()


def test_there_are_six_and_the_list_names_each() -> None:
    assert [f.name[:2] for f in SOURCES] == ["01", "02", "03", "04", "05", "06"]
    listed = (HERE / "README.md").read_text()
    assert all(f"({f.stem}.ipynb)" in listed for f in SOURCES)


@pytest.mark.usefixtures("_recordings")
@pytest.mark.parametrize("source", SOURCES, ids=lambda f: f.stem)
def test_a_notebook_runs_and_its_claim_holds(source: Path) -> None:
    notebook = module("execute").executed(source)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.parametrize("source", SOURCES, ids=lambda f: f.stem)
def test_a_notebook_ends_with_its_claim_as_an_assertion(source: Path) -> None:
    cells = jupytext.read(source).cells
    assert cells[0].source.startswith("# ")
    assert "**Question.**" in cells[0].source
    assert "## Conclusion" in cells[-2].source
    statements = ast.parse(cells[-1].source).body
    assert sum(isinstance(s, ast.Assert) for s in statements) >= 2


@pytest.mark.parametrize("source", SOURCES, ids=lambda f: f.stem)
def test_what_is_written_down_is_of_this_source_is_small_and_tells_of_no_machine(source: Path) -> None:
    written = source.with_suffix(".ipynb")
    ours, theirs = jupytext.read(source), nbformat.read(written, as_version=4)
    assert [(c.cell_type, c.source) for c in theirs.cells] == [(c.cell_type, c.source) for c in ours.cells], (
        f"{written.name} is of another {source.name}: run 'make notebooks'"
    )
    assert all(c.execution_count for c in theirs.cells if c.cell_type == "code")
    text = written.read_text()
    assert len(text) < MOST_BYTES
    outputs = [o for c in theirs.cells if c.cell_type == "code" for o in c.outputs]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert not [o for o in outputs if o.output_type in ("error", "stream")], "a warning is no result"
    for o in outputs:
        for kind, said in o.get("data", {}).items():
            if kind.startswith("text/"):
                assert not re.search(r"(/work|/home|/root|/tmp|/Users|site-packages)\b", said)
