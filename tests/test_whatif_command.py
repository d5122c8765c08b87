"""`weirflow whatif` as a dialogue: a question, and an answer or the mend."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from brain.settings import Mode, Settings
from dataplane.contract import Endpoint, Node, Service, Topology
from dataplane.simulated.rules import RouteRules, Rules
from tests.fleets import fleet, trace
from tests.pages import Page
from tests.whatif_worlds import T0, plain_world, record, world
from weirflow.cli import app
from weirflow.recording import Recorder

HOW_TO = Path(__file__).parent.parent / "docs" / "how-to.md"


def whatif(*arguments: str, code: int = 0) -> str:
    """What the command prints; its exit status has to be `code`."""
    result = CliRunner().invoke(app, ["whatif", *arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.output


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A minute of a service that is busy enough for queues."""
    folder = tmp_path_factory.mktemp("busy") / "r"
    record(plain_world(1.0, 1.0, 0.5, load=0.7), folder)
    return str(folder)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One in which nobody ever waits."""
    folder = tmp_path_factory.mktemp("idle") / "r"
    of = fleet(1.0, 1.0, workers=30)
    rules = Rules(policy="round_robin", routes=(RouteRules(timeout_s=5.0),))
    record(world(of, trace(of, 0.05, 40.0, nodes=2, mean_s=0.02), rules=rules), folder)
    return str(folder)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's mesh in virtual time, under load, half of it adaptive; the folder that its commands are run in."""
    folder = tmp_path_factory.mktemp("tutorial")
    of = replace(fleet(1.0, 0.5, 1 / 3, workers=8), names=tuple(f"127.0.0.1:808{i}" for i in (1, 2, 3)))
    work = trace(of, 0.6, 40.0, mean_s=0.03, seed=3)
    settings = Settings(mode=Mode.ADAPTIVE, share_percent=50.0)
    (folder / "weirflow-data").mkdir()
    record(world(of, work, nodes=1, service="shop"), folder / "weirflow-data" / "tutorial", settings=settings)
    return folder


def test_more_load_is_answered_with_the_check_first_and_the_engine_named(recorded: str) -> None:
    said = whatif(recorded, "--load", "x1.2", "--policy", "full_scan,jsed")
    lines = said.splitlines()
    check = next(i for i, line in enumerate(lines) if "check, least_request simulated against" in line)
    answer = lines.index("load x1.2")
    assert check < answer
    assert lines[check].endswith("passed")
    assert re.search(r"p50 [\d.]+ms for [\d.]+ms \([+-][\d.]+%, bound \+15.0%\)", lines[check + 1])
    assert lines[answer + 1].startswith(
        "Answered by the simulation. Not by the off-policy estimate: the question chang"
    )
    rows = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert rows == [
        *("recorded", "full_scan", "jsed"),
        *("recorded", "full_scan", "jsed"),
        *("10.0.0.0:80", "10.0.0.1:80", "10.0.0.2:80"),
    ]
    assert "assumed: more load is more of the same requests" in said


def test_json_says_the_same_on_the_output_and_in_a_file(recorded: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    printed = whatif(recorded, "--policy", "full_scan", "--seeds", "2", "-o", "json", "--json", str(file))
    told = json.loads(file.read_text())
    assert json.loads(printed[printed.index("{\n") :]) == told
    assert told["concluded"] is True
    assert told["check"]["passed"] is True
    (answer,) = told["answers"]
    assert answer["engine"] == "simulation"
    scan = answer["simulation"][1]
    assert scan["policy"] == "full_scan"
    assert scan["p99_s"]["low"] <= scan["p99_s"]["value"] <= scan["p99_s"]["high"]
    assert scan["against"]["p50_s"]["high"] < 0.0, "who sees all queues is better than who sees two"
    assert sum(e["share"] for e in scan["endpoints"].values()) == pytest.approx(1.0)


def test_the_page_needs_nothing_else_and_has_its_plots(recorded: str, tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    whatif(recorded, "--policy", "full_scan,central_queue", "--seeds", "1", "--html", str(file))
    page = file.read_text()
    assert page.count('role="img"') == 3
    assert "Requests answered well within so many ms, of all" in page
    assert "<small>" in page, "an interval stands below its figure"
    Page(page)
    assert page.count("dotted") > 2, "bounds are dotted"


def test_without_queues_more_load_is_not_concluded_unless_somebody_insists(idle: str) -> None:
    said = whatif(idle, "--load", "x3", code=1)
    assert "Not concluded. The simulation: an endpoint would get up to 3.00 times what was ever seen" in said
    assert "What would help: record while the service is busy enough that some requests wait" in said
    assert "│ recorded" not in said
    said = whatif(idle, "--load", "x3", "--force")
    assert "NOT TO BE TRUSTED, shown by --force" in said
    assert "│ recorded" in said
    assert whatif(idle, "--load", "x0.5")


def test_weights_by_hand_are_answered_by_recorded_chances_where_nobody_waits(idle: str) -> None:
    said = whatif(idle, "--weights", "10.0.0.0:80=2")
    assert "Answered by the off-policy estimate, from " in said
    assert "recorded picks by the weights in force under round_robin, worth" in said
    assert "│ estimate" in said


def test_a_window_is_the_only_part_that_is_judged(recorded: str) -> None:
    said = whatif(recorded, "--from", "22:13:50", "--to", "50", "--seeds", "1", "-o", "json")
    told = json.loads(said[said.index("{\n") :])
    (answer,) = told["answers"]
    assert answer["question"] == "from 30s to 50s"
    assert answer["judged"] == {"start_s": 30.0, "end_s": 50.0}
    assert answer["simulation"][0]["p99_s"]["low"] is None
    assert "less than half a minute is judged: too little for intervals" in told["assumed"]
    assert answer["simulation"][0]["requests"] == pytest.approx(told["check"]["requests"] / 3, rel=0.1)


def test_a_window_in_which_next_to_nothing_was_asked_is_not_concluded_about(recorded: str) -> None:
    said = whatif(recorded, "--from", "66", "--seeds", "1", code=1)
    assert "0 requests are judged: too few" in said
    assert "judge a longer stretch, or record more" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--policy", "fullscan"), "no policy is named 'fullscan'; did you mean 'full_scan'?"),
        (("--load", "150%"), "'150%' is no load; write x1.5"),
        (("--remove", "10.0.0.9:80"), "orders has no endpoint '10.0.0.9:80'; did you mean"),
        (("--remove", "zz"), "endpoints: 10.0.0.0:80, 10.0.0.1:80, 10.0.0.2:80"),
        (("--add", "some"), "'some' adds nothing; write 3"),
        (("--slow", "10.0.0.1:80=x5@90..95"), "'90' is outside of the recording; it has 0 to"),
        (("--limit", "max_reqests=3"), "did you mean 'max_requests'?"),
        (("--share", "101"), "101 is no share"),
        (("--weights", "10.0.0.1:80=0"), "a weight is 1 to 128"),
        (("--from", "40", "--to", "20"), "the window ends before it begins"),
        (("--service", "order"), "the recording has no service 'order'; did you mean 'orders'?"),
        (("--backend", "ray", "--jobs", "2"), "needs the package 'ray', which is not installed; install it, or"),
        (("--backend", "dask", "--parquet", "x"), "the machines of dask write on their own disks"),
        (("--jobs", "0"), "nobody would work"),
        (("--matrix", "no.yaml"), "no.yaml: no such file; name the what-if file to read"),
        (("--matrix", "no.yaml", "--load", "x2"), "the file asks the questions, and so does --load; leave one of them"),
    ],
)
def test_wrong_words_are_told_with_the_mend_before_anything_is_run(
    recorded: str, arguments: tuple[str, ...], said: str
) -> None:
    assert said in whatif(recorded, *arguments, code=2)


def test_a_folder_that_is_no_recording_is_told(tmp_path: Path) -> None:
    assert "is no recording and holds none" in whatif(str(tmp_path), code=1)


def test_of_several_services_one_has_to_be_named(tmp_path: Path) -> None:
    services = (Service(0, "a", (Endpoint(0, "x:1"),)), Service(1, "b", (Endpoint(1, "y:1"),)))
    topology = Topology(1, services, (Node(0, "n"),), ("r",))
    recorder = Recorder(tmp_path / "r", settings=Settings(), topology=topology, now=T0, on_problem=print)
    recorder.moved(topology, T0 + 1.0)
    recorder.close()
    said = whatif(str(tmp_path / "r"), code=2)
    assert "the recording has several services; name one with --service: a, b" in said
    assert "tells of no attempt of service a" in whatif(str(tmp_path / "r"), "--service", "a", code=1)


def test_a_file_that_cannot_be_written_is_told(recorded: str, tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "a.json"
    assert f"{nowhere}: No such file or directory" in whatif(recorded, "--seeds", "1", "--json", str(nowhere), code=1)


def section() -> str:
    page = HOW_TO.read_text()
    return page[page.index("## Ask what would have been") : page.index("## Write a scenario")]


COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ weirflow whatif (.*)$", section(), re.MULTILINE)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_the_how_to_shows_can_be_asked_of_the_tutorials_recording(
    tutorial: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tutorial)
    found = re.search(r"```yaml\n(.*?)```", section(), re.DOTALL)
    assert found is not None
    (tutorial / "questions.yaml").write_text(found[1])
    said = whatif(*words, "--seeds", "1")
    assert "passed" in said
    if "--matrix" in words:
        told = json.loads((tutorial / "answers.json").read_text())
        assert [a["question"] for a in told["answers"]] == [
            "load x1.3, 1@1 added",
            "load x0.8",
            "load x0.8, without 127.0.0.1:8083",
            "load x1.2",
            "load x1.2, without 127.0.0.1:8083",
        ]
        assert pq.read_metadata(tutorial / "attempts.parquet").num_rows > 10_000
