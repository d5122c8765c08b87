"""The shape of the tree: a file is one idea, and the notes of one machine stay on it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 400
MACHINE = re.compile(r"(?<![A-Za-z0-9._-])/(?:work|root|home)/[A-Za-z]")


def tracked(*patterns: str) -> list[Path]:
    """Files under version control; all files that are there where there is none."""
    told = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    names = told.stdout.split() or [str(p.relative_to(ROOT)) for pattern in patterns for p in ROOT.rglob(pattern)]
    return [ROOT / n for n in names if not n.startswith((".venv", "build")) and (ROOT / n).is_file()]


SOURCES = [p for p in tracked("*.py", "*.c", "*.h") if "tests" not in p.relative_to(ROOT).parts]


def test_a_source_file_holds_one_idea() -> None:
    assert not {str(p): n for p in SOURCES if (n := p.read_text().count("\n")) > LONGEST}


def test_a_source_file_opens_with_its_idea() -> None:
    assert not [p for p in SOURCES if not p.read_text().startswith(('"""', "/*", "# %% [markdown]"))]


def test_no_path_of_one_machine_is_in_a_file() -> None:
    assert not [p for p in tracked("*.py", "*.md", "*.toml", "*.yaml", "Makefile") if MACHINE.search(p.read_text())]
