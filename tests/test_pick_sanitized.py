"""The module in a made-up Envoy, under sanitizers: hosts that come, go and fall sick in any order break nothing.

A bug there takes a proxy down, so what a real Envoy would show once in a year is provoked here: see pick_world.c.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from dataplane.build import PICK
from tests.compiled import library_or_program

HERE = Path(__file__).parent
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module and the made-up Envoy, compiled without a warning."""
    out = tmp_path_factory.mktemp("pick") / "world"
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Werror", *SANITIZERS]
    return library_or_program(HERE / "pick_world.c", out, flags)


@pytest.mark.parametrize("seed", range(6))
def test_churn_of_every_kind_is_borne_and_each_answer_is_one_that_envoy_can_use(program: Path, seed: int) -> None:
    done = subprocess.run([program, str(seed), "20000"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_module_compiles_without_a_warning_that_could_be_had(tmp_path: Path) -> None:
    flags = [*PICK.flags, "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror", "-fPIC", "-shared"]
    library_or_program(PICK.source, tmp_path / "pick.so", flags)


def test_it_stays_small_enough_to_be_read_line_by_line() -> None:
    ours = [f for f in PICK.source.parent.glob("*.[ch]") if f.name != "abi.h"]  # which declares what Envoy publishes
    text = "".join(f.read_text() for f in ours)
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert sum(bool(line.strip()) for line in code.splitlines()) < 500, "lines of code"
