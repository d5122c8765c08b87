"""`weirflow.open`: what it gives of recordings and checkpoints, what it reads, and what it says if it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

import weirflow
from brain.brain import Brain
from brain.commands import Freeze, PromoteModel, SetMode
from brain.settings import Mode
from tests.recordings import Lived, lived, scenario
from weirflow import checkpoint
from weirflow.lab.scenario import Change, Group
from weirflow.opened import Opened
from weirflow.recording import Recorder, RecordingError, invented
from weirflow.recording.closed import ClosedPart
from weirflow.replay import steps

WITHOUT_PANDAS = """
import sys, weirflow
assert not {'pandas', 'matplotlib', 'pyarrow', 'numpy'} & {*sys.modules}, sorted(sys.modules)
sys.modules['pandas'] = None
weirflow.open('.')
"""


START_S, END_S = 60.0, 75.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """Five endpoints, one of which is slow for a quarter of a minute once all is known, in parts of 10 s."""
    slow = Change(START_S, END_S, speed=0.2)
    of = scenario(Group("good", 4), Group("bad", 1, changes=(slow,)), load=0.5, duration_s=95.0)
    return lived(of, tmp_path_factory.mktemp("opened") / "run", "weirflow", part_s=10.0)


@pytest.fixture
def seen(world: Lived) -> Opened:
    return weirflow.open(world.recording.folder)


def test_attempts_are_the_recorded_ones_by_time_in_utc_with_names_as_categories(world: Lived, seen: Opened) -> None:
    frame = seen.attempts
    table = world.recording.attempts(["now", "duration_s", "outcome", "started_s"])
    assert len(frame) == len(table) > 1000
    assert frame.index.name == "time"
    assert str(frame.index.tz) == "UTC"
    assert frame.index.is_monotonic_increasing
    np.testing.assert_array_equal(frame.duration_s, table["duration_s"].to_numpy())
    seconds = (frame.index - pd.Timestamp(0, tz="UTC")).total_seconds()
    np.testing.assert_allclose(seconds, table["now"].to_numpy(), atol=1e-6)
    started = (frame.started - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    np.testing.assert_allclose(started, table["started_s"].to_numpy(), atol=1e-6)
    assert all(frame[c].dtype == "category" for c in ("service", "endpoint", "node", "route", "outcome", "arm"))
    assert not [c for c in frame if c.endswith("_id")], "integers beside names are the brain's"
    assert set(frame.endpoint.cat.categories) == {"good-0", "good-1", "good-2", "good-3", "bad-0"}


def test_decisions_endpoints_and_forecasts_say_what_the_recorded_decisions_say(world: Lived, seen: Opened) -> None:
    documents = [json.loads(t) for t in world.recording.table("decisions", ["decision"])["decision"].to_pylist()]
    assert len(seen.decisions) == len(documents)
    assert len(seen.endpoints) == 5 * len(documents)
    assert len(seen.forecasts) == 6 * len(documents)
    k = len(documents) - 3
    service = documents[k]["services"][0]
    row = seen.decisions.iloc[k]
    assert (row["mode"], row["plan"], row["tick"]) == (service["mode"], documents[k]["plan"]["version"], k + 1)
    assert row["capacity_per_s"] == service["capacity"]
    assert row["adaptive_p99_s"] == service["adaptive"]["p99_s"]
    endpoint = seen.endpoints.iloc[5 * k + 4]
    assert endpoint["endpoint"] == service["endpoints"][4]["address"]
    assert endpoint["weight"] == service["endpoints"][4]["weight"]
    forecast = seen.forecasts.iloc[6 * k + 2]
    assert forecast["high_per_s"] == service["forecast"]["high"][2]
    assert forecast["at"] - seen.forecasts.index[6 * k + 2] == pd.Timedelta(seconds=60)


def test_an_incident_is_a_row_with_its_beginning_and_its_end(world: Lived, seen: Opened) -> None:
    known = seen.incidents
    documents = [json.loads(t) for t in world.recording.table("decisions", ["decision"])["decision"].to_pylist()]
    assert list(known.index) == list(dict.fromkeys(i["id"] for d in documents for i in d["incidents"]))
    assert known.iloc[0]["endpoint"] == "bad-0"
    row = known.iloc[0]
    started = pd.Timestamp(START_S, unit="s", tz="UTC")
    assert started <= row["since"] <= row["found"] < row["until"]
    assert row["found"] < pd.Timestamp(END_S, unit="s", tz="UTC")
    assert 0 < row["harm"] <= 1
    opened = seen.alerts[seen.alerts.endpoint == "bad-0"]
    assert list(opened.opened) == [True, False]


def test_commands_tell_who_said_what(tmp_path: Path) -> None:
    of = invented.topology()
    problems: list[str] = []
    start = {"settings": next(invented.run(1)).argument.settings, "topology": of, "now": invented.T0}
    recorder = Recorder(tmp_path / "r", on_problem=problems.append, **start)
    recorder.commanded(SetMode("checkout", Mode.ADAPTIVE, 90.0), invented.T0 + 1.5, "ann@desk")
    recorder.commanded(Freeze(), invented.T0 + 2.5, "bob@desk")
    recorder.commanded(PromoteModel(None), invented.T0 + 3.0, "ann@desk")
    recorder.close()
    told = weirflow.open(tmp_path / "r").commands
    assert list(told.command) == ["SetMode", "Freeze", "PromoteModel"]
    assert list(told.who) == ["ann@desk", "bob@desk", "ann@desk"]
    assert told.told.iloc[0]["share_percent"] == 90.0
    assert told.told.iloc[2] == {"name": None}
    assert told.index[0] == pd.Timestamp(invented.T0 + 1.5, unit="s", tz="UTC")
    assert len(weirflow.open(tmp_path / "r").service("checkout").commands) == 3, "what is for all is for each"
    assert len(weirflow.open(tmp_path / "r").service("search").commands) == 2
    assert weirflow.open(tmp_path / "r").decisions.empty
    assert "gain" in weirflow.open(tmp_path / "r").decisions


def test_a_window_opens_the_parts_that_reach_into_it_and_no_others(
    seen: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    whole = ClosedPart.table
    monkeypatch.setattr(ClosedPart, "table", lambda p, *a: opened.append(p.number) or whole(p, *a))
    some = seen.between("1970-01-01 00:00:12", 18.0)
    assert len(opened) == 0, "nothing is read before it is asked for"
    inside = some.attempts
    assert opened == [2]
    again = some.attempts
    assert opened == [2], "a frame is read once"
    again["duration_s"] = 0.0
    assert some.attempts.duration_s.min() > 0, "what is handed out is one's own"
    monkeypatch.undo()
    every = seen.attempts
    start, end = pd.Timestamp(12, unit="s", tz="UTC"), pd.Timestamp(18, unit="s", tz="UTC")
    pd.testing.assert_frame_equal(
        inside.astype(object), every[(every.index >= start) & (every.index < end)].astype(object)
    )
    assert len(seen.between(12, 30).between(5, 18).attempts) == len(inside), "a window of a window is in both"
    assert (some.start, some.end) == (start, end)


def test_a_service_alone_has_its_own_rows(tmp_path: Path) -> None:
    calls = list(invented.run(6))
    start = calls[0].argument
    recorder = Recorder(
        tmp_path / "r", settings=start.settings, topology=start.topology, now=calls[0].now, on_problem=pytest.fail
    )
    for call in calls[1:]:
        invented.tell(recorder, call)
    recorder.close()
    seen = weirflow.open(tmp_path)  # a folder of recordings: its newest
    assert list(seen.services.index) == ["checkout", "search"]
    whole, one = seen.attempts, seen.service("search").attempts
    assert 0 < len(one) == (whole.service == "search").sum() < len(whole)
    assert set(one.service) == {"search"}
    assert set(seen.service("search").decisions.service) == {"search"}
    assert list(seen.service("search").services.index) == ["search"]
    with pytest.raises(KeyError, match="no service 'serch'; did you mean 'search'"):
        seen.service("serch")


def test_a_column_can_be_asked_for_alone(seen: Opened) -> None:
    assert list(seen.read("attempts", ["duration_s", "status"])) == ["duration_s", "status"]
    assert len(seen.read("in_flight")) > 10
    with pytest.raises(ValueError, match="no column 'duration'; did you mean 'duration_s'"):
        seen.read("attempts", ["duration"])
    with pytest.raises(ValueError, match="no stream 'attempt'; did you mean 'attempts'"):
        seen.read("attempt")


def test_what_is_no_recording_is_refused_in_words(tmp_path: Path, seen: Opened) -> None:
    with pytest.raises(RecordingError, match="is not there: name a recording's folder"):
        weirflow.open(tmp_path / "nothing")
    with pytest.raises(RecordingError, match="is no recording and holds none"):
        weirflow.open(tmp_path)
    (tmp_path / "text").write_text("hello" * 100)
    with pytest.raises(RecordingError, match=r"text: is not a Weirflow checkpoint; name a recording's folder"):
        weirflow.open(tmp_path / "text")
    assert [p.name for p in tmp_path.iterdir()] == ["text"], "it is looked at and not set aside"
    with pytest.raises(ValueError, match="'noon' is no moment"):
        seen.between("noon")
    with pytest.raises(ValueError, match="ends before it begins"):
        seen.between(20, 10)
    with pytest.raises(RecordingError, match="is a recording: a curve is"):
        seen.latency([1.0])


def test_a_damaged_part_is_an_error_or_named_and_left_out(world: Lived, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(world.recording.folder, folder)
    with (folder / "attempts-00002.parquet").open("r+b") as file:
        file.write(b"XXXX")
    with pytest.raises(RecordingError, match=r"attempts-00002.parquet \(part 2\): was changed after it was written"):
        _ = weirflow.open(folder).attempts
    lenient = weirflow.open(folder, damaged="skip")
    whole = weirflow.open(world.recording.folder).attempts
    assert 0 < len(lenient.attempts) < len(whole)
    assert lenient.faults == [
        "attempts-00002.parquet (part 2): was changed after it was written: its checksum does not match"
    ]
    assert len(weirflow.open(folder).between(20.5, 29).attempts) > 0, "a window beside it does not need it"


def test_plots_return_axes_with_units_and_draw_what_the_frames_say(seen: Opened) -> None:
    weights = seen.plot.weights("lab")
    assert weights.get_ylabel() == "percent"
    line = next(x for x in weights.lines if x.get_label() == "bad-0")
    np.testing.assert_allclose(line.get_ydata(), 100 * seen.endpoints.query("endpoint == 'bad-0'")["share"])
    latency = seen.plot.latency("lab", every_s=2)
    assert latency.get_ylabel() == "milliseconds"
    assert latency.get_ylim()[0] == 0
    p50, p99 = (np.nanmean(np.asarray(x.get_ydata(), float)) for x in latency.lines)
    assert 50 < p50 < p99 < 5000
    assert seen.plot.latency("lab", by="endpoint").get_legend() is not None
    assert seen.plot.demand("lab", ahead_s=10).get_ylabel() == "requests a second"
    assert seen.plot.gain("lab").get_ylim()[0] < 0
    given = pyplot.figure().subplots()
    assert seen.plot.incident(seen.incidents.index[0], ax=given) is given
    pyplot.close("all")
    with pytest.raises(KeyError, match=r"nothing was foretold 7 s ahead; there are \[1.0, 10.0"):
        seen.plot.demand("lab", ahead_s=7)
    with pytest.raises(KeyError, match="there is no incident 'x'; there are"):
        seen.plot.incident("x")


def test_a_checkpoint_gives_what_the_brain_knew(world: Lived, tmp_path: Path) -> None:
    brains: list[Brain] = []
    for _ in steps(world.recording, lambda *made: brains.append(Brain(*made)) or brains[-1]):
        pass
    checkpoint.save(tmp_path / "brain.checkpoint", brains[0].state())
    kept = weirflow.open(tmp_path / "brain.checkpoint")
    last = brains[0].decision
    assert last is not None
    row = kept.endpoints.loc[("lab", "good-2")]
    assert row["capacity_per_s"] == last.services[0].endpoints[2].capacity
    assert row["capacity_low_per_s"] < row["capacity_per_s"] < row["capacity_high_per_s"]
    assert kept.services.loc["lab", "mode"] == "adaptive"
    assert kept.services.loc["lab", "adaptive_requests"] == last.services[0].gain.adaptive_requests
    assert list(kept.models.model) == ["queueing", "simple"]
    assert list(kept.models.role) == ["champion", "baseline"]
    curve = kept.latency([0, 4, 12])["lab"]["good-2"]
    assert curve[0] == pytest.approx(row["service_s"])
    assert curve[0] <= curve[4] < curve[12]
    with pytest.raises(RecordingError, match=r"brain.checkpoint: is a checkpoint: it has `endpoints`, `services` and"):
        _ = kept.attempts
    with pytest.raises(RecordingError, match="is a checkpoint"):
        kept.plot.weights("lab")


def test_models_of_a_recording_are_scored_by_service(seen: Opened) -> None:
    frame = seen.models
    assert {"latency", "demand in 1 s", "demand in 10 s"} <= set(frame.quantity)
    champion = frame[(frame.quantity == "latency") & (frame.role == "champion")].iloc[0]
    assert champion.model == "queueing"
    assert 0 < champion.error < 1


def test_the_front_door_opens_fast_and_says_what_to_install(tmp_path: Path) -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_PANDAS,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1
    assert "ImportError: weirflow.open gives pandas frames, and pandas is not installed" in said.stderr
    assert "pip install 'weirflow[notebooks]'" in said.stderr
