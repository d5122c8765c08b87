"""The pages say what is so: commands and options that exist, targets that are there, links that lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from weirflow.cli import app

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "notebooks").glob("*.md")]
)
CONSOLE = re.compile(r"^\$ (.*?)(?:\s+#.*)?$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def commands_of(page: Path, program: str) -> list[list[str]]:
    """What a program is given in each command that a page shows at a prompt, in order."""
    found = []
    for line in CONSOLE.findall(page.read_text()):
        for part in re.split(r"\s*(?:[|;&>]|\$\()\s*", line):
            words = shlex.split(part) if part.count('"') % 2 == 0 else []
            if words and Path(words[0]).name == program:
                found.append(words[1:])
    return found


def commands(program: str) -> list[pytest.param]:
    """Those of all pages."""
    return [
        pytest.param(words, id=f"{page.name}: {program} {' '.join(words)}")
        for page in PAGES
        for words in commands_of(page, program)
    ]


@pytest.mark.parametrize("words", commands("weirflow"))
def test_a_command_that_a_page_shows_is_one_that_weirflow_takes(words: list[str]) -> None:
    command: click.Command = typer.main.get_command(app)
    context = click.Context(command, info_name="weirflow")
    while hasattr(command, "commands"):
        if command.invoke_without_command and not set(words[:1]) & set(command.commands):
            break
        if words[0] in ("--install-completion", "--show-completion"):  # to be looked at, not to be obeyed
            assert words[0] in {option for parameter in command.params for option in parameter.opts}
            return
        name, *words = words
        assert name in command.commands, f"there is no `weirflow {name}`"
        command = command.commands[name]
        context = click.Context(command, info_name=name, parent=context)
    command.parse_args(context, list(words))


@pytest.mark.parametrize("words", commands("make"))
def test_a_target_that_a_page_shows_is_in_the_makefile(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(words) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_link_of_a_page_leads_to_a_file(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target
