"""Makes the recordings anew, runs every notebook over them, and writes what came out beside its source.

    python notebooks/execute.py [NAME...]

The source is the .py file: what is reviewed is text. What is written holds no time, no path and no name of a machine.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
CELL_DEADLINE_S = 120


def sources(*names: str) -> list[Path]:
    """The notebooks' sources, in order; those whose file names begin so, when there are names."""
    found = sorted(HERE.glob("[0-9][0-9]-*.py"))
    return [f for f in found if f.name.startswith(names)] if names else found


def executed(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source, run in a fresh kernel. CellExecutionError when a cell fails."""
    notebook = jupytext.read(source)
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    client = NotebookClient(
        notebook,
        timeout=CELL_DEADLINE_S,
        resources={"metadata": {"path": str(HERE)}},
        record_timing=False,
        kernel_name="python3",
    )
    client.execute()
    notebook.metadata.pop("language_info", None)
    for k, cell in enumerate(notebook.cells):
        cell.id = f"{source.stem[:2]}-{k:02d}"  # of a random one, every run would be a change
        cell.metadata = {}
    return notebook


def main(names: list[str]) -> None:
    """Run those named, or all of them over new recordings."""
    sys.path.insert(0, str(HERE))
    import recordings

    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    if not names:
        shutil.rmtree(recordings.root(), ignore_errors=True)
    for source in sources(*names):
        print(source.name, flush=True)
        nbformat.write(executed(source), source.with_suffix(".ipynb"))


if __name__ == "__main__":
    main(sys.argv[1:])
