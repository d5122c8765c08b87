"""The build hook: what is in C is compiled where a compiler is; a pure wheel and a clear line where none is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from dataplane import build
from dataplane.pick.policy import LIBRARY

pytest.importorskip("hatchling")
can_compile = pytest.mark.skipif(bool(build.DECODER.missing()), reason=build.DECODER.missing())


@pytest.fixture
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Places to compile into that are not those in use: of the decoder, and of the pick module."""
    for name in ("DECODER", "PICK"):
        piece = getattr(build, name)
        monkeypatch.setattr(build, name, piece._replace(target=tmp_path / piece.target.name))
    return build.DECODER.target, build.PICK.target


def hook(root: Path) -> Any:
    """The hook as hatchling makes it."""
    return build.CustomBuildHook(str(root), {}, None, None, str(root / "dist"), "wheel")


@can_compile
def test_with_a_compiler_the_wheel_carries_both_pieces_and_is_of_this_platform(targets: tuple[Path, Path]) -> None:
    decoder, pick = targets
    data: dict[str, Any] = {"artifacts": [], "pure_python": True}
    hook(decoder.parent).initialize("standard", data)
    assert data == {"artifacts": [f"/{decoder.name}", f"/{pick.name}"], "pure_python": False, "infer_tag": True}
    spec = importlib.util.spec_from_file_location("_decode", decoder)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Reader(8, 8).targets(0) == []
    assert b"envoy_dynamic_module_on_lb_choose_host" in pick.read_bytes()


def test_the_module_is_built_where_envoy_is_told_to_look_for_it() -> None:
    assert build.PICK.target == LIBRARY


@pytest.mark.parametrize(
    ("compiler", "line"),
    [("false", "false failed: 1"), ("sh -c 'echo cannot >&2; exit 3'", "sh failed")],
)
def test_with_a_compiler_that_fails_the_wheel_is_pure_and_a_line_for_each_piece_says_why(
    targets: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    compiler: str,
    line: str,
) -> None:
    for target in targets:
        target.write_text("an older build")
    monkeypatch.setenv("CC", compiler)
    data: dict[str, Any] = {"artifacts": [], "pure_python": True}
    hook(targets[0].parent).initialize("standard", data)
    assert data == {"artifacts": [], "pure_python": True}
    assert list(targets[0].parent.iterdir()) == []
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert all(line in said for said in told)
    assert "the plain one is used" in told[0]
    assert "Envoy's own policies pick" in told[1]


def test_without_a_compiler_the_line_names_the_mend(
    targets: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "install gcc or clang" in build.DECODER.compile()
    assert "install gcc or clang" in build.PICK.compile()


def test_without_pythons_headers_the_line_names_the_mend(
    targets: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "true")
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    assert "python3-dev" in build.DECODER.compile()
    assert build.PICK.missing() == "", "the module includes nothing of Python's"
