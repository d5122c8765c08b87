"""The demo as a newcomer starts it: what it claims happened, and it leaves nothing behind, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from weirflow.demo import story
from weirflow.demo.processes import NeverHappenedError
from weirflow.demo.stage import Stage

pytestmark = pytest.mark.envoy

TAG = "WEIRFLOW_TEST_TAG"  # inherited by every process that the demo starts, whoever its parent is by then


def tagged(tag: str) -> list[psutil.Process]:
    """Every living process that carries the tag."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TAG) == tag and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def a_demo(tag: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "weirflow", "demo", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {TAG: tag},
        # Tests that were started in the background ignore SIGINT, and so would all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


async def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.1)


async def told(demo: asyncio.subprocess.Process, words: bytes) -> None:
    """Read the story until these words."""
    assert demo.stdout is not None
    async with asyncio.timeout(60):
        while words not in (line := await demo.stdout.readline()):
            assert line, f"the demo ended before it told of {words!r}"


@pytest.mark.timeout(240)
async def test_the_demo_does_what_it_claims_and_leaves_nothing_behind(tmp_path: Path) -> None:
    tag, figures = uuid.uuid4().hex, tmp_path / "figures.json"
    demo = await a_demo(tag, "--brisk", "--json", str(figures))
    shown, _ = await demo.communicate()
    assert demo.returncode == 0, shown.decode()
    report = json.loads(figures.read_text())
    assert report["held"] is True
    assert [c["sentence"] for c in report["claims"] if not c["held"]] == []
    assert len(report["claims"]) == 10
    assert {t["name"]: t["seconds"] is not None for t in report["timings"]} == {
        "time to switch": True,
        "time to divert": True,
        "time to cut": True,
        "time to recover": True,
        "time to fall back": True,
        "time to return": True,
    }
    phases = list(dict.fromkeys(row["phase"] for row in report["rows"]))
    assert phases == ["shadow", "adaptive", "gray", "recovery", "brain dead", "brain back"]
    assert report["failed"] == 0
    for row in report["rows"]:
        assert (row["adaptive"]["requests"] > 0) is (row["phase"] != "shadow")
    for claim in report["claims"]:
        assert claim["sentence"].split(":")[0] in " ".join(shown.decode().split())
    assert tagged(tag) == []


def test_one_claim_that_fails_or_a_story_that_breaks_off_is_named_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def claims_too_much(stage: Stage) -> None:
        stage.claim("the moon is made of cheese", False, "0 of 1 moons")

    async def breaks_off(stage: Stage) -> None:
        raise NeverHappenedError("the sun rises: not within 1 s")

    monkeypatch.setattr(story, "PHASES", (claims_too_much, breaks_off))
    figures = tmp_path / "figures.json"
    assert story.main(figures, brisk=True) == 1
    broken = [c for c in json.loads(figures.read_text())["claims"] if not c["held"]]
    assert [c["figure"] for c in broken] == ["0 of 1 moons", "the sun rises: not within 1 s"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_a_demo_that_is_ended_takes_every_process_with_it(how: signal.Signals) -> None:
    tag = uuid.uuid4().hex
    demo = await a_demo(tag, "--brisk")
    try:
        await told(demo, b"all up")
        names = [" ".join(p.cmdline()) for p in tagged(tag)]
        assert sum("weirflow.demo.backend" in n for n in names) == 7
        assert sum("envoy" in n and "--config-path" in n for n in names) == 2
        assert sum("weirflow run" in n for n in names) == 1
        demo.send_signal(how)
        await demo.communicate()
        await until(lambda: tagged(tag) == [])
        assert demo.returncode != 0
    finally:
        for process in tagged(tag):
            process.kill()
