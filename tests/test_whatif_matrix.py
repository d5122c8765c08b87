"""A file of many questions: each is asked, and each mistake is told with its line, its key and the mend."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weirflow.config.problems import ConfigError
from weirflow.whatif import matrix, sections
from weirflow.whatif.change import Added, Question, Slow
from weirflow.whatif.question import Frame

FRAME = Frame("orders", ("10.0.0.1:80", "10.0.0.2:80"), 1_700_000_000.0, 600.0)


def read(tmp_path: Path, text: str) -> tuple[Question, ...]:
    file = tmp_path / "questions.yaml"
    file.write_text(text)
    return matrix.questions(matrix.load(file), FRAME)


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return [str(p).removeprefix(f"{tmp_path}/") for p in caught.value.problems]


def test_questions_one_by_one(tmp_path: Path) -> None:
    asked = read(
        tmp_path,
        """
        questions:
          - {name: sale, load: x2, add: ["3", 1@0.5/8]}
          - slow: ["10.0.0.1:80=x5@60..120"]
            remove: ["10.0.0.2:80"]
          - {limits: {max_requests: 64, budget_percent: 10}, share: 50, weights: {"10.0.0.1:80": 3}}
        """,
    )
    assert asked == (
        Question(name="sale", load=2.0, add=(Added(3), Added(1, 0.5, 8))),
        Question(slow=(Slow("10.0.0.1:80", 5.0, 60.0, 120.0),), remove=("10.0.0.2:80",)),
        Question(
            limits=(("max_requests", 64), ("budget_percent", 10.0)),
            share_percent=50.0,
            weights=(("10.0.0.1:80", 3),),
        ),
    )
    assert asked[0].title == "sale: load x2, 3@1 added, 1@0.5/8 added"


def test_every_combination_of_the_lists_is_a_question(tmp_path: Path) -> None:
    asked = read(
        tmp_path,
        """
        start: "60"
        each:
          load: [1, x1.5, 2]
          remove: [[], ["10.0.0.1:80"]]
          limits: [{}, {max_requests: 64}]
        """,
    )
    assert len(asked) == len(set(asked)) == 12
    assert {q.load for q in asked} == {1.0, 1.5, 2.0}
    assert {q.start_s for q in asked} == {60.0}
    assert asked[0].words == "from 1m to the end"
    assert asked[-1].words == "load x2, without 10.0.0.1:80, max_requests=64, from 1m to the end"


def test_policies_and_the_rest_of_the_head(tmp_path: Path) -> None:
    file = tmp_path / "q.yaml"
    file.write_text("policies: [full_scan, weirflow, full_scan]\nseeds: 4\nservice: orders\nquestions: [{}]\n")
    many = matrix.load(file)
    assert matrix.policies(many) == ("full_scan", "weirflow")
    assert (many.document.seeds, many.document.service) == (4, "orders")
    file.write_text("policies: [fullscan]\nquestions: [{}]\n")
    with pytest.raises(ConfigError, match=r":1:12: policies\[0\]: no policy is named 'fullscan'; did you mean"):
        matrix.policies(matrix.load(file))


def test_all_mistakes_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    told = mistakes(
        tmp_path,
        "questions:\n"
        '  - {remove: ["10.0.0.9:80"]}\n'
        '  - {slow: ["10.0.0.1:80=x5@60"]}\n'
        '  - {add: ["none"]}\n'
        '  - {weights: {"10.0.0.3:80": 2}}\n'
        '  - {remove: ["10.0.0.1:80", "10.0.0.2:80"]}\n',
    )
    assert told[0].startswith("questions.yaml:2:15: questions[0].remove[0]: orders has no endpoint '10.0.0.9:80'; did")
    assert told[1].startswith("questions.yaml:3:13: questions[1].slow[0]: '60' is no window; write T1..T2")
    assert told[2].startswith("questions.yaml:4:12: questions[2].add[0]: 'none' adds nothing; write 3, 3@0.5")
    assert "questions[3].weights" in told[3]
    assert "has no endpoint '10.0.0.3:80'; did you mean" in told[3]
    assert told[4].startswith("questions.yaml:6:5: questions[4]: nobody would be left; remove fewer of")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("questions: []", "questions.yaml:1:1: asks nothing; begin with 'questions:' or 'each:'"),
        ("", "is empty; the smallest file has questions, or each"),
        ("questions: [{laod: 2}]", "questions[0].laod: unknown key; did you mean 'load'?"),
        ("questions: [{load: 0}]", "questions[0].load: 0 is out of range; it must be above 0"),
        ("questions: [{load: twice}]", "'twice' is no load; write x1.5 for half as much again"),
        ("questions: [{limits: {max_reqests: 1}}]", "unknown key; did you mean 'max_requests'?"),
        ("each: {load: []}", "each.load: must not be empty"),
        ("start: '900'\nquestions: [{}]", "start: '900' is outside of the recording; it has 0 to 600 s"),
        ("each: {load: [1, 2, 3], share: [" + "1," * 400 + "1]}", "makes 1203 questions; at most 1000"),
    ],
)
def test_a_mistake_is_told_with_its_mend(tmp_path: Path, text: str, said: str) -> None:
    assert said in mistakes(tmp_path, text)[0]


def test_the_schema_that_ships_takes_what_is_taken_and_refuses_what_is_not() -> None:
    schema = json.loads(sections.SCHEMA.read_text())
    checker = jsonschema.Draft202012Validator(schema)
    assert checker.is_valid({"questions": [{"load": 1.5, "add": ["3"], "limits": {"max_requests": 3}}]})
    assert not checker.is_valid({"questions": [{"laod": 1.5}]})
    assert not checker.is_valid({"each": {"share": [101]}})


@given(st.text(alphabet="questionseachlad:[]{}-,x1.5 \n\"'", max_size=120))
def test_whatever_the_file_holds_it_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_text(text)
    try:
        asked = matrix.questions(matrix.load(file), FRAME)
    except ConfigError as error:
        asked = ()
        refused = error.problems
    assert asked or refused
