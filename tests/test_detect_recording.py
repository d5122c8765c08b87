"""`weirflow detect RECORDING`: the incidents of a recording, found by the watch that runs live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from brain.brain import Brain
from brain.settings import Mode, Models, Settings
from dataplane.contract import Endpoint, InFlight, Node, Outcome, Requests, Service, Topology
from weirflow.cli import app
from weirflow.commands.detected import notes
from weirflow.detected_run import LEAD_S, Ticked, Watching
from weirflow.recording import Call, Recorder, Recording, read

START, END, UNTIL = 70.0, 100.0, 140.0
ENDPOINTS, EACH = 5, 20
STATIC = Settings(mode=Mode.STATIC)
MESH = Topology(
    1,
    (Service(0, "shop", tuple(Endpoint(i, f"10.0.0.{i}:80") for i in range(ENDPOINTS))),),
    (Node(0, "edge"),),
)


def second(random: np.random.Generator, now: float, times: float) -> Requests:
    """What ended in the second before: so many attempts of each endpoint, the first one's so many times as long."""
    endpoint = np.repeat(np.arange(ENDPOINTS), EACH)
    took = 0.02 * random.lognormal(0.0, 0.3, endpoint.size) * np.where(endpoint == 0, times, 1.0)
    told: dict[str, Any] = dict.fromkeys(Requests.dtypes(), np.zeros(endpoint.size))
    told |= {"started_s": now - 0.5 - took, "duration_s": took, "felt_s": took, "ttfb_s": took, "endpoint": endpoint}
    told |= {"attempt": np.ones(endpoint.size), "status": np.full(endpoint.size, 200), "weight": told["attempt"]}
    return Requests.of(**(told | {"outcome": np.full(endpoint.size, Outcome.OK), "probability": told["weight"] / 5}))


def lived(
    folder: Path, times: float = 5.0, *, settings: Settings = STATIC, until: float = UNTIL, **form: Any
) -> Recording:
    """A service in virtual time whose first endpoint takes so many times as long for half a minute."""
    recorder = Recorder(folder, settings=settings, topology=MESH, now=0.0, on_problem=pytest.fail, **form)
    brain, random = Brain(MESH, settings), np.random.default_rng(7)
    for now in np.arange(1.0, until + 1.0).tolist():
        batch = second(random, now, times if START < now <= END else 1.0)
        none, all_of_them = np.zeros(ENDPOINTS), np.full(ENDPOINTS, EACH)
        counts = {"in_flight": none, "issued": all_of_them, "succeeded": all_of_them, "failed": none}
        report = InFlight.report(0, 1.0, service=none, endpoint=np.arange(ENDPOINTS), arm=none, **counts)
        for told in (batch, report):
            recorder.told(told, now - 0.5)
            brain.told(told, now - 0.5)
        recorder.decided(brain.tick(now), now)
    recorder.close()
    return read(folder)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return lived(tmp_path_factory.mktemp("detect") / "slow")


@pytest.fixture(scope="module")
def unheard(tmp_path_factory: pytest.TempPathFactory, slow: Recording) -> Path:
    """The same attempts and nothing else, as imported ones are."""
    folder = tmp_path_factory.mktemp("detect") / "unheard"
    first = slow.parts[0]
    recorder = Recorder(folder, settings=Settings(), topology=first.topology, now=slow.started, on_problem=pytest.fail)
    for call in slow.calls():
        if call.verb == "told" and type(call.argument).__name__ == "Requests":
            recorder.told(call.argument, call.now)
    recorder.close()
    return folder


def asked(*words: Any) -> Result:
    return CliRunner().invoke(app, ["detect", *map(str, words)])


def test_a_slow_endpoint_is_one_incident_that_names_it_and_is_exit_1(slow: Recording) -> None:
    told = asked(slow.folder, "-o", "json")
    assert told.exit_code == 1, told.output
    found = json.loads(told.stdout)
    (incident,) = found["incidents"]
    assert incident["kind"] == "EndpointSlow"
    assert incident["labels"]["endpoint"] == "10.0.0.0:80"
    assert START < incident["since"] < START + 15.0
    assert END < incident["ended"] < UNTIL
    assert incident["timeline"][0]["what"] == "first found"
    assert incident["timeline"][-1]["what"].startswith("over")
    assert found["as_recorded"] is True


def test_its_figures_are_usual_before_and_outside_the_band_during(slow: Recording) -> None:
    (incident,) = json.loads(asked(slow.folder, "-o", "json").stdout)["incidents"]
    figure = incident["figures"][0]
    assert (figure["kind"], figure["place"]) == ("EndpointSlow", incident["labels"]["endpoint"])
    at, value, low, high = (np.array(figure[name], dtype=float) for name in ("at", "value", "low", "high"))
    assert at[0] >= incident["since"] - LEAD_S - 10.0
    assert at[0] < START < END < at[-1]
    calm = (at > START - 10.0) & (at < START)
    assert ((low < value) & (value < high))[calm].all()
    during = (at > END - 10.0) & (at < END)  # a change is found before the level shows all of it
    assert (value > high)[during].all()


def test_people_get_a_table_and_each_incidents_story(slow: Recording) -> None:
    told = asked(slow.folder)
    assert told.exit_code == 1
    lines = told.stdout.splitlines()
    assert "140 ticks, 140s of the mesh" in lines[0]
    assert any(line.startswith("I-1") and "EndpointSlow" in line for line in lines)
    assert "timeline (UTC)" in told.stdout
    assert "settings as recorded: mode shadow → static" in told.stdout
    assert "hold the same incidents" in told.stdout


def test_calm_is_nothing_and_exit_0(tmp_path: Path) -> None:
    recording = lived(tmp_path / "calm", 1.0)
    told = asked(recording.folder, "--html", tmp_path / "page.html")
    assert told.exit_code == 0, told.output
    assert "nothing was found" in told.stdout
    assert "hold no incident either" in told.stdout
    assert "Nothing was found." in (tmp_path / "page.html").read_text()


def test_the_page_has_each_incident_with_its_band_and_needs_nothing_else(slow: Recording, tmp_path: Path) -> None:
    assert asked(slow.folder, "--html", tmp_path / "page.html").exit_code == 1
    page = (tmp_path / "page.html").read_text()
    assert page.count("<section>") == 1
    assert 'class="band"' in page
    assert 'class="alarm"' in page
    assert "first found" in page
    assert "seconds a request" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_what_holds_no_decision_is_ticked_and_says_what_could_not_be_judged(unheard: Path) -> None:
    told = asked(unheard, "-o", "json")
    assert told.exit_code == 1, told.output
    found = json.loads(told.stdout)
    (incident,) = found["incidents"]
    assert incident["causes"][0].startswith("EndpointSlow 10.0.0.0:80")
    assert found["as_recorded"] is None
    assert "the recording holds no decision: the brain ticked each 1 s" in found["notes"]
    assert "the recording holds no load report: hangs and traffic could not be judged" in found["notes"]
    assert found["ticks"] == pytest.approx(UNTIL, abs=5)


def test_where_nothing_comes_for_long_nothing_is_ticked() -> None:
    class Sparse:
        def calls(self) -> Any:
            return iter([Call(0.0, "started", None), Call(1.5, "told", None), Call(1e6, "told", None)])

    ticks = [c.now for c in Ticked(Sparse(), 1.0).calls() if c.verb == "decided"]
    assert ticks[:2] == [1.0, 2.0]
    assert len(ticks) < 310
    assert ticks[-1] == 1e6 + 1.0


def test_a_watch_that_was_off_is_on_here(tmp_path: Path) -> None:
    off = Settings(mode=Mode.STATIC, models=Models(anomalies=False))
    recording = lived(tmp_path / "off", settings=off)
    told = asked(recording.folder)
    assert told.exit_code == 1, told.output
    assert "EndpointSlow" in told.stdout
    assert "the recorded settings have the watch off (models.anomalies); it was on here" in told.stdout
    assert "the recorded decisions" not in told.stdout


def test_incidents_that_the_recorded_brain_did_not_have_are_told_apart(slow: Recording) -> None:
    watching = Watching(slow)
    watching.go(lambda _: None)
    (number,) = watching.told
    kind, labels, since = watching.told[number]
    watching.told = {number: ("ServiceSlow", labels, since)}
    assert watching.as_recorded is False
    (said,) = [n for n in notes(watching) if "hold others" in n]
    assert "only there ServiceSlow (" in said
    assert f"only here {kind} (" in said


def test_what_cannot_be_read_is_told_with_how_far_it_came(tmp_path: Path) -> None:
    told = asked(tmp_path)
    assert told.exit_code == 1
    assert "is no recording and holds none" in told.stderr
    recording = lived(tmp_path / "r", until=60.0, part_s=20.0)
    (file,) = [p.files["attempts"].file for p in recording.parts if p.number == 3]
    with open(recording.folder / file, "r+b") as opened:
        opened.seek(100)
        opened.write(b"\x00\x01\x02")
    told = asked(tmp_path)
    assert told.exit_code == 1
    assert "39 ticks, until 1970-01-01T00:00:39.500Z: 0 incidents; then it broke" in told.stderr
    assert "(part 3): was changed after it was written" in told.stderr
    assert "see 'weirflow record inspect'" in told.stderr


def test_a_recording_that_closed_no_part_is_told(tmp_path: Path, slow: Recording) -> None:
    recorder = Recorder(
        tmp_path / "r", settings=Settings(), topology=slow.parts[0].topology, now=0.0, on_problem=pytest.fail
    )
    told = asked(tmp_path / "r")
    recorder.close()
    assert told.exit_code == 1
    assert "none of its parts was closed" in told.stderr


@pytest.mark.parametrize("option", [("--step", "5m"), ("--counter",)])
def test_an_option_for_values_is_not_taken_for_a_recording(slow: Recording, option: tuple[str, ...]) -> None:
    told = asked(slow.folder, *option)
    assert told.exit_code == 2
    assert "is for a file of values" in " ".join(told.stderr.split())


def test_the_page_that_cannot_be_written_is_told(slow: Recording, tmp_path: Path) -> None:
    told = asked(slow.folder, "--html", tmp_path / "none" / "page.html")
    assert told.exit_code == 1
    assert "page.html" in told.stderr
    assert "I-1" not in told.stdout


def test_the_recording_is_left_as_it_was(slow: Recording) -> None:
    before = {p.name: p.read_bytes() for p in slow.folder.iterdir()}
    asked(slow.folder)
    assert {p.name: p.read_bytes() for p in slow.folder.iterdir()} == before
    assert read(slow.folder).parts == slow.parts
