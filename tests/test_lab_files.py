# ruff: noqa: E501 - a message is one line, and so is the row that expects it
"""Scenario files: what ships can be run, and a mistake is told with its line, its key and the mend."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from weirflow.config import schema
from weirflow.config.problems import ConfigError, Problem
from weirflow.lab import files, scenario, sections
from weirflow.lab.draw import end_s

FILE = Path("mine.yaml")
SMALLEST = """\
title: Mine
source: here
load: 0.5
groups:
  - name: all
    count: 4
"""
SHIPPED = sorted(files.SHIPPED.glob("*.yaml"))


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        files.check_text(text, FILE)
    return str(caught.value).splitlines()


def test_the_smallest_file_is_a_scenario_of_defaults_alone() -> None:
    made = files.check_text(SMALLEST, FILE)
    assert made == scenario.Scenario("mine", "Mine", "here", (scenario.Group("all", 4),), 0.5)


@pytest.mark.parametrize(("section", "kind"), [*sections.MAKES.items(), (sections.Document, scenario.Scenario)])
def test_every_field_of_a_scenario_has_its_key_and_every_default_is_the_same(section: Any, kind: Any) -> None:
    names = {f.name.removesuffix("_s"): f for f in fields(kind) if f.name != "name" or "name" in section.model_fields}
    assert set(section.model_fields) == set(names)
    for key, field in section.model_fields.items():
        if (
            names[key].default is not MISSING
            and field.get_default() is not None
            and not isinstance(field.get_default(), list)
        ):
            assert field.get_default() == names[key].default, key


def test_every_key_finds_its_field() -> None:
    made = files.check_text(
        """\
title: All of it
source: here
load: 0.5
groups:
  - name: all
    count: 4
    workers: 2
    speed: 3
    zones: [a, b]
    weight: 7
    joins: 0s
    leaves: 30s
    changes:
      - {start: 10s, end: 20s, first: 2, speed: 0.5, extra: 200ms, error_share: 0.3, status: 200, after: 2ms, hang: true}
    flips: {factors: [1, 0.5, 0.1], hold: 4s, together: zone}
classes:
  - {name: small, share: 0.95, demand: 1ms, variation: 0}
  - {name: large, share: 0.05, demand: 100ms, variation: 2, priority: critical}
load_steps:
  - {at: 20s, factor: 2}
warmup: 10s
duration: 50s
timeout: 5s
nodes: 10
latency_goal: 800ms
retries: {num_retries: 2, per_try_timeout: 300ms}
good_body: true
telemetry: {lost: 0.5, late: 1s, lying_nodes: 0.25, lie: 10, lied_about: all-3, skew: [0s, -2s, 500ms]}
phases:
  - {name: calm, start: 10s, end: 20s}
judged: calm
""",
        FILE,
    )
    assert made == scenario.Scenario(
        "mine",
        "All of it",
        "here",
        (
            scenario.Group(
                "all",
                4,
                workers=2,
                speed=3.0,
                zones=("a", "b"),
                weight=7,
                leaves_s=30.0,
                changes=(scenario.Change(10.0, 20.0, 2, 0.5, 0.2, 0.3, 200, 0.002, True),),
                flips=scenario.Flips((1.0, 0.5, 0.1), 4.0, "zone"),
            ),
        ),
        0.5,
        (scenario.RequestClass("small", 0.95, 0.001, 0.0), scenario.RequestClass("large", 0.05, 0.1, 2.0, "critical")),
        (scenario.Step(20.0, 2.0),),
        10.0,
        50.0,
        5.0,
        10,
        0.8,
        scenario.Retries(2, 0.3),
        True,
        scenario.TelemetryFault(0.5, 1.0, 0.25, 10.0, 3, (0.0, -2.0, 0.5)),
        (scenario.Phase("calm", 10.0, 20.0),),
        "calm",
    )


TAUGHT = ("cold-start-again", "rolling-cold")
"""Where others have to be grown before a start teaches. Those of incidents take long as well: the usual has to be known."""


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f.stem)
def test_what_ships_can_be_run_names_its_source_and_keeps_its_schema(file: Path) -> None:
    made = files.load(file.stem)
    assert made.name == file.stem
    assert len(made.source) > 40
    assert made.source.isprintable()  # no mark of where a line was folded
    minutes = 200.0 if made.name.startswith("incident-") else 290.0 if made.name in TAUGHT else 90.0
    assert 30.0 <= end_s(made) <= minutes
    assert all(p.start_s >= made.warmup_s for p in made.phases)
    jsonschema.validate(YAML(typ="safe", pure=True).load(file.read_text()), json.loads(sections.SCHEMA.read_text()))


def test_the_shipped_schema_is_what_the_models_say() -> None:
    assert sections.SCHEMA.read_text() == schema.text(sections.Document, sections.TITLE), "run: make docs"


def test_the_control_and_all_twelve_of_the_study_are_there_but_the_storm_that_needs_retries() -> None:
    assert set(files.names()) >= {
        "homogeneous-70", "homogeneous-90", "hetero-21-70", "hetero-21-90", "hetero-124-70", "hetero-124-90",
        "antagonist", "gray-slow", "sinkhole", "flash-crowd", "cold-start", "many-nodes", "zone-loss", "capacity-dip",
        "diurnal", "telemetry-lost-all", "cost",
    }  # fmt: skip
    assert files.names()["hang"] == "One of five stops answering"


MISTAKES = [
    ("an unknown key", "loads: 1", "mine.yaml:7:1: loads: unknown key; did you mean 'load'?"),
    ("an unknown key of a change", "    changes: [{start: 1s, sped: 2}]", "mine.yaml:7:27: groups[0].changes[0].sped: unknown key; did you mean 'speed'?"),
    ("a bare number for a time", "warmup: 5", "mine.yaml:7:9: warmup: a duration needs a unit; write '5s' for seconds or '5ms'"),
    ("a time out of range", "duration: 3h", "mine.yaml:7:11: duration: '3h' must be from 1s to 1h"),
    ("a word that is no choice", "    flips: {together: zones}", "mine.yaml:7:23: groups[0].flips.together: 'zones' is not one of its values; did you mean 'zone'?"),
    ("a change that ends before it begins", "    changes: [{start: 9s, end: 8s, hang: true}]", "mine.yaml:7:32: groups[0].changes[0].end: is not after start, 9s; make it later than start"),
    ("a change after the run", "    changes: [{start: 55s, hang: true}]", "mine.yaml:7:23: groups[0].changes[0].start: never comes: the run ends at 55s; make it earlier, or the run longer"),
    ("a change of nothing", "    changes: [{start: 5s}]", "mine.yaml:7:15: groups[0].changes[0]: changes nothing; give it speed, extra, error_share or hang"),
    ("a change of more than there are", "    changes: [{start: 5s, first: 5, hang: true}]", "mine.yaml:7:34: groups[0].changes[0].first: 5 are more than the 4 of 'all'; leave it out for all of them"),
    ("a group that leaves before it joins", "    joins: 9s\n    leaves: 9s", "mine.yaml:8:13: groups[0].leaves: is not after joins, 9s; make it later than joins"),
    ("a group given twice", "  - {name: all, count: 1}", "mine.yaml:7:12: groups[1].name: 'all' is given twice, first on line 5; keep one, or rename it"),
    ("shares that are not 1", "classes: [{name: a, share: 0.5}, {name: b, share: 0.4}]", "mine.yaml:7:10: classes: the shares add up to 0.9; make them 1 together"),
    ("a phase after the run", "phases: [{name: a, start: 1s, end: 56s}]", "mine.yaml:7:36: phases[0].end: is after the run, which takes 55s; end it earlier"),
    ("a judged phase that is not there", "phases: [{name: fault, start: 1s, end: 5s}]\njudged: falt", "mine.yaml:8:9: judged: no phase is named 'falt'; did you mean 'fault'?"),
    ("a judged phase where there is none", "judged: fault", "mine.yaml:7:9: judged: no phase is named 'fault'; there are no phases"),
    ("a lie about nobody", "telemetry: {lied_about: al-1}", "mine.yaml:7:25: telemetry.lied_about: no endpoint is named 'al-1'; did you mean 'all-1'?"),
    ("steps out of order", "load_steps: [{at: 9s, factor: 1}, {at: 8s, factor: 2}]", "mine.yaml:7:40: load_steps[1].at: is not after the step before, at 9s; write them in order"),
    ("nobody at the start", "    joins: 1s", "mine.yaml:3:7: load: is a share of nothing: no endpoint works at the start; let one join at 0s"),
    ("more requests than fit", "classes: [{demand: 10us}]", "mine.yaml:3:7: load: could be 4.4e+07 requests, 8e+05 a second; at most 10000000: make demands longer or the run shorter"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "said"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_told_with_its_place_and_the_mend(lines: str, said: str) -> None:
    assert said in refused(SMALLEST + lines + "\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine.yaml: is empty; the smallest scenario has title, source, load, and groups"),
        ("- a", "mine.yaml:1:1: a scenario file is a mapping of keys, not a list; begin with 'title:'"),
        ("groups: []", "mine.yaml:1:9: groups: must not be empty; list at least one"),
        ("groups: []", "mine.yaml:1:1: source: is missing; give it a value"),
    ],
)
def test_a_file_that_is_no_scenario_is_told_so(text: str, said: str) -> None:
    assert said in refused(text)


def test_an_unknown_name_leads_to_the_nearest_and_to_files() -> None:
    with pytest.raises(ConfigError, match="no scenario is named 'homogenous-90'; did you mean 'homogeneous-90'\\?"):
        files.load("homogenous-90")
    with pytest.raises(ConfigError, match="nowhere/mine: no such file; name the scenario file to read"):
        files.load("nowhere/mine")


def test_the_scenario_of_the_guide_can_be_run() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "how-to.md").read_text()
    (block,) = [b for b in guide.split("```yaml\n")[1:] if b.startswith("title:")]
    assert files.check_text(block.split("```")[0], FILE).judged == "fault"


def test_a_file_of_ones_own_is_named_by_its_stem(tmp_path: Path) -> None:
    (tmp_path / "<b>odd & own</b>.yaml").mkdir(parents=True)
    file = tmp_path / "own & odd.yaml"
    file.write_text(SMALLEST)
    assert files.load(str(file)).name == "own & odd"
    with pytest.raises(ConfigError, match="is a directory"):
        files.load(str(tmp_path / "<b>odd & own</b>.yaml"))


@given(st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_line_that_breaks_a_sound_file_ends_as_a_message(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(SHIPPED)).read_text().splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at] = data.draw(st.text(max_size=30)) if data.draw(st.booleans()) else lines[at].replace("s", "")
    problems: tuple[Problem, ...] = ()
    try:
        files.check_text("\n".join(lines), FILE)
    except ConfigError as error:
        problems = error.problems
    assert all(str(p).startswith("mine.yaml:") for p in problems)
