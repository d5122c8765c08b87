"""The commands that the pages show are run: here, in the order of the page, where no mesh of processes is needed; or by
the test that is named. A command that is new in a page is in neither list, and fails."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.served import Served
from tests.test_docs import CONSOLE, PAGES, ROOT, commands_of
from tests.test_replay import record
from weirflow.cli import app
from weirflow.staged import StagedOperations, example_decision, example_endpoint, example_service

pytestmark = pytest.mark.usefixtures("quiet")

HERE = {
    "validate deploy/mesh.yaml": 0,
    "validate deploy/tutorial.yaml": 0,
    "validate mesh.yaml": 0,
    "bootstrap front-1 --mesh mesh.yaml -o json": 0,
    "bootstrap front-1 --mesh mesh.yaml --module": 0,
    "status": 0,
    "explain shop 127.0.0.1:8083": 0,
    "mode orders adaptive --share 10": 0,
    "mode orders adaptive --share 95": 0,
    "mode orders static": 0,
    "mode shop adaptive": 0,
    "rollback": 0,
    "freeze": 0,
    "freeze --off": 0,
    "alerts": 1,  # one is open
    "incident I-1": 0,
    "top": 0,
    "top --service orders --sort p99 --interval 2s": 0,
    "bug-report -o report.tar.gz": 0,
    "models list": 0,
    "models show simple": 0,
    "models promote --auto": 0,
    "detect recordings --html incidents.html": 0,
    "detect recordings -o json": 0,
    "lab list": 0,
    "forecast requests.csv --step 5m --ahead 30m": 0,
    "detect latency.csv --html latency.html": 1,  # there is one
    "replay recordings": 0,
    "replay recordings --report old.parquet": 0,
    "replay recordings --against old.parquet --tolerate 0.05": 0,
    "replay weirflow-data/tutorial": 0,
    "record inspect weirflow-data/tutorial": 0,
}
"""The exit status of each command of `weirflow` that is run here."""

IMPORTS = "test_importing_how_to.py::test_every_command_of_the_how_to_runs"  # of its passage, as they stand
ASKED = "test_whatif_command.py::test_what_the_how_to_shows_can_be_asked_of_the_tutorials_recording"
LAB = "test_lab_campaign.py::test_simulated_runs_are_told_one_by_one_and_written_down"
LAB_REAL = (
    "test_lab_runner.py::test_least_request_and_weirflow_side_by_side_on_real_envoy_with_the_brain_s_telemetry_broken"
)
A_MESH = "test_demo.py::test_the_demo_does_what_it_claims_and_leaves_nothing_behind"  # `weirflow run`, with load
SILENCED = "test_alertmanager.py::test_a_mesh_that_runs_tells_its_alertmanager_and_its_operator"
CHECKED = "test_check_command.py::test_of_a_mesh_that_runs_all_is_well_and_its_ports_are_its_own"
COMPLETED = "test_completion.py::test_a_real_bash_completes"
SCORED = "test_models_command.py::test_the_models_of_a_recording_are_scored_and_those_of_a_checkpoint_told"
SECURED = "test_tls_how_to.py::test_a_node_joins_over_tls_by_the_commands_of_the_page_as_they_stand"
ELSEWHERE = {
    "check ": CHECKED,
    "--install-completion": COMPLETED,
    "--show-completion ": COMPLETED,
    "models list weirflow-data/recordings": SCORED,
    "models compare ": (
        "test_models_command.py::test_models_of_ones_own_are_compared_and_one_that_raises_ends_in_failure"
    ),
    "models promote forest": (
        "test_models_command.py::test_a_promotion_is_told_to_the_brain_and_kept_in_the_audit_with_who_and_who_was_before"
    ),
    "bootstrap front-1 --mesh mesh.yaml --xds brain.example:18000 --to front-1": SECURED,
    "run ": A_MESH,
    "alerts --watch": "test_alert_commands.py::test_watching_tells_what_opens_and_closes_until_it_is_interrupted",
    "alerts silence ": SILENCED,
    "alerts ack ": SILENCED,
    "whatif weirflow-data/tutorial ": ASKED,
    "import ": IMPORTS,
    "record inspect imported": IMPORTS,
    "lab run hetero-21-90 ": LAB_REAL,
    "lab run many-nodes-21 gray-slow --engine simulated ": LAB,
    "lab run ./mine.yaml --engine simulated ": LAB,
}
"""By how it begins: what runs a command that needs a mesh, or files that only its own test has."""

OTHERS = {
    "make": "test_docs.py::test_a_target_that_a_page_shows_is_in_the_makefile",  # CI runs two of them
    "envoy": "test_envoy_process.py::test_envoy_takes_the_bootstrap_without_a_warning",
    "kill": "test_faults_live.py::test_29_a_reload_with_a_mistake_keeps_the_old_configuration_whole",
    "python": A_MESH,  # it starts backends by the same module
    "curl": "test_backend.py::test_control_refuses_nonsense_and_says_what_is_wrong",
    "ssh": "",  # a way to the console
    "cp": "",  # the module, to where an Envoy looks for it; a CA, beside a node's certificate
    "mkdir": "",  # for that
    "openssl": SECURED,
    "export": "",
    "wrk": "",  # a client like any other
    ".": "",  # the shell's own
}
"""By program: what runs the like of it."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "r"
    record(folder, seconds=10)
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """What a reader has who followed the page so far."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    shutil.copy(ROOT / "deploy" / "mesh.yaml", tmp_path)
    for name in ("recordings", "weirflow-data/tutorial"):
        shutil.copytree(recorded, tmp_path / name / "r")
    random = np.random.default_rng(1)
    latency = random.uniform(90, 110, 1000)
    latency[800:810] = 300.0
    for name, values in (("requests", random.poisson(50, 200)), ("latency", latency)):
        rows = [f"{1_700_000_100 + i * 300},{value}" for i, value in enumerate(values)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["timestamp,value", *rows]) + "\n")
    return tmp_path


@pytest.fixture
def mesh() -> Iterator[Served]:
    """The admin API of a mesh that does not run, with the services that the pages speak of."""
    shop = example_service(name="shop", endpoints=(example_endpoint(address="127.0.0.1:8083"),))
    decision = example_decision()
    with Served(StagedOperations(replace(decision, services=(*decision.services, shop)))) as served:
        yield served


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_commands_of_a_page_run_in_its_order(
    page: Path, folder: Path, mesh: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for words in commands_of(page, "weirflow"):
        command = " ".join(words)
        if command in HERE:
            done = CliRunner().invoke(app, words, env={"WEIRFLOW_ADMIN": mesh.url})
            assert done.exit_code == HERE[command], (command, done.output)
        else:
            assert elsewhere(command), f"`weirflow {command}` of {page.name} is run by no test: put it in a list above"


def test_what_is_listed_is_shown_and_who_is_named_exists() -> None:
    shown = {" ".join(words) for page in PAGES for words in commands_of(page, "weirflow")}
    assert HERE.keys() - shown == set()
    assert [known for known in ELSEWHERE if not any(command.startswith(known) for command in shown)] == []
    programs = {line.split()[0].rpartition("/")[2] for page in PAGES for line in CONSOLE.findall(page.read_text())}
    assert programs == {"weirflow", *OTHERS}
    for name in filter(None, (*ELSEWHERE.values(), *OTHERS.values())):
        file, _, test = name.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text())
        assert test in {getattr(node, "name", "") for node in tree.body}, name


def elsewhere(command: str) -> bool:
    return any(command.startswith(known) for known in ELSEWHERE)
