"""The build hook: a compiled decoder where a compiler is, a pure wheel and a clear line where none is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from dataplane.als import build

pytest.importorskip("hatchling")
can_compile = pytest.mark.skipif(bool(build.missing()), reason=build.missing())


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place to compile into that is not the one in use."""
    path = tmp_path / build.TARGET.name
    monkeypatch.setattr(build, "TARGET", path)
    return path


def hook(root: Path) -> Any:
    """The hook as hatchling makes it."""
    return build.CustomBuildHook(str(root), {}, None, None, str(root / "dist"), "wheel")


@can_compile
def test_with_a_compiler_the_wheel_carries_the_decoder_and_is_of_this_platform(target: Path) -> None:
    data: dict[str, Any] = {"artifacts": [], "pure_python": True}
    hook(target.parent).initialize("standard", data)
    assert data == {"artifacts": [f"/{target.name}"], "pure_python": False, "infer_tag": True}
    spec = importlib.util.spec_from_file_location("_decode", target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Reader(8, 8).targets(0) == []


@pytest.mark.parametrize(
    ("compiler", "line"),
    [("false", "false failed: 1"), ("sh -c 'echo cannot >&2; exit 3'", "sh failed")],
)
def test_with_a_compiler_that_fails_the_wheel_is_pure_and_one_line_says_why(
    target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], compiler: str, line: str
) -> None:
    target.write_text("an older build")
    monkeypatch.setenv("CC", compiler)
    data: dict[str, Any] = {"artifacts": [], "pure_python": True}
    hook(target.parent).initialize("standard", data)
    assert data == {"artifacts": [], "pure_python": True}
    assert list(target.parent.iterdir()) == []
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_without_a_compiler_the_line_names_the_mend(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "install gcc or clang" in build.compile_decoder()


def test_without_pythons_headers_the_line_names_the_mend(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "true")
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    assert "python3-dev" in build.compile_decoder()
