"""The report: one page that fetches nothing and believes no name, one JSON document, and the tables of a terminal."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from dataplane.simulated.fleet import Fate, Fleet, Trace
from tests.pages import Page
from weirflow.lab.analysis import Case, analyse
from weirflow.lab.draw import draw
from weirflow.lab.markup import Markup, element
from weirflow.lab.page import page
from weirflow.lab.plots import Band, Line, over_time
from weirflow.lab.report import document, write_html, write_json
from weirflow.lab.run import Run, Weights
from weirflow.lab.scenario import Change, Group, Phase, RequestClass, Scenario
from weirflow.lab.table import render

HOSTILE = "<script>alert('x')</script>\" onload=\"y & \x1b[31mred"
SCENARIO = Scenario(
    "gray",
    "One of four fails",
    "here",
    (Group("bad", 1, changes=(Change(20.0, 30.0, error_share=1.0),)), Group("good", 3)),
    load=0.2,
    classes=(RequestClass("small", 0.5, 0.05), RequestClass("large", 0.5, 0.1)),
    phases=(Phase("fault", 22.0, 30.0),),
    judged="fault",
)
VOID = {"meta"}


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def run(policy: str, seed: int = 1, scenario: Scenario = SCENARIO, *, refused: str = "") -> Run:
    fleet, trace = draw(scenario, np.random.default_rng(seed), 1)
    share = np.full((50, len(fleet)), 1 / len(fleet))
    weights = Weights(np.arange(50.0), share) if policy == "weirflow" else None
    made = fate(fleet, trace, 15.0)
    return Run(scenario, policy, 1, seed, "simulated", fleet, trace, made, 0, weights, {"idle": 0.5}, refused)


def fate(fleet: Fleet, trace: Trace, timeout_s: float) -> Fate:
    rows = np.arange(len(trace))
    return Fate.of(
        latency_s=0.1 + 0.001 * (rows % 100),
        ok=rows % 50 > 0,
        status=np.full(len(trace), 200),
        endpoint=rows % len(fleet),
        adaptive=np.zeros(len(trace)),
    )


def cases(*runs: Run) -> list[Case]:
    return analyse(runs or (run("round_robin"), run("weirflow")), {"central_queue": fate, "jsed": fate})


def printed(cases: list[Case]) -> str:
    console = Console(width=400)
    with console.capture() as captured:
        for case in cases:
            console.print(render(case))
    return captured.get()


def test_the_page_is_whole_and_fetches_nothing() -> None:
    seen = Tags(page(cases()))
    assert seen.open == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(seen.tags)
    assert not {"src", "href", "srcset", "onload", "data"} & seen.attributes
    text = page(cases())
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text.replace("&#x27;", "'")
    assert "prefers-color-scheme: dark" in text


def test_the_page_is_valid_whatever_is_in_it() -> None:
    Page(page(cases()))
    Page(page(cases(run("random", refused="no CPU"))))
    Page(page(cases(run(HOSTILE, refused=HOSTILE))))


def labels(line: list[float], end_s: float = 3.0, *, log: bool = True) -> tuple[list[float], list[float]]:
    """The numbers beside and below a plot."""
    values = np.array(line)
    figure = over_time("a", [Line("b", np.linspace(0.0, end_s, len(line)), values, "c0")], [], end_s, log=log)
    texts = re.findall(r'<text x="[^"]*" y="[^"]*" text-anchor="(end|middle)">([^<]*)<', figure)
    beside, below = ([float(t) for a, t in texts if a == side] for side in ("end", "middle"))
    return beside, below


@pytest.mark.parametrize("line", [[17.0, 26.0], [15000.0, 15000.0], [0.03, 900_000.0], [1.0, 1.001], [99.0, 101.0]])
@pytest.mark.parametrize("log", [True, False])
def test_an_axis_has_labels_enough_to_read_a_value_and_few_enough_to_tell_apart(line: list[float], log: bool) -> None:
    beside, _ = labels(line, log=log)
    assert 2 <= len(beside) <= 15
    assert beside == sorted(set(beside))


@pytest.mark.parametrize("end_s", [8.0, 61.0, 240.0, 1000.0, 3600.0, 100_000.0, 5e6])
def test_the_labels_of_a_long_run_have_room(end_s: float) -> None:
    _, below = labels([1.0, 2.0], end_s)
    assert 1 <= len(below) <= 14
    assert below[0] == 0


def test_the_page_shows_tables_lines_shares_and_weights_of_each_case() -> None:
    seen = Tags(page(cases()))
    for word in ("gray (simulated, 1 node, 1 seed)", "One of four fails", "By phase", "fault p99", "large p99"):
        assert word in seen.text
    assert "p99 in ms over the seconds of the run" in seen.text
    assert "Weights of weirflow (solid) and true capacity (dashed)" in seen.text
    assert "bad-0: " in seen.text  # a bar's own words
    assert "join the shortest expected delay, with full information" in seen.text
    assert "nan" not in page(cases()).lower()


def test_a_hostile_name_stays_text_on_the_page_and_on_the_terminal() -> None:
    named = replace(SCENARIO, name=HOSTILE, title=HOSTILE, source=HOSTILE, judged=HOSTILE)
    named = replace(named, groups=(Group(HOSTILE, 2),), phases=(Phase(HOSTILE, 22.0, 30.0),))
    bad = cases(run(HOSTILE, scenario=named), run("weirflow", scenario=named), run("x", 2, named, refused=HOSTILE))
    seen = Tags(page(bad))
    assert seen.open == []
    assert "script" not in seen.tags
    assert "onload" not in seen.attributes
    assert seen.text.count("alert('x')") > 10
    assert "\x1b" not in printed(bad)
    json.loads(json.dumps(document(bad), allow_nan=False))


def test_refused_runs_are_named_with_their_reason_in_every_form() -> None:
    seen = cases(run("round_robin"), run("random", 3, refused="the client was late"))
    words = "Refused, and in no figure: random, seed 3: the client was late"
    assert words in Tags(page(seen)).text
    assert words in printed(seen)
    (told,) = document(seen)["cases"][0]["refused"]
    assert told == {"policy": "random", "seed": 3, "place": 0, "why": "the client was late", "overhead": {"idle": 0.5}}


def test_a_case_of_refusals_alone_is_a_page_and_a_document_still() -> None:
    seen = cases(run("random", refused="no CPU"))
    assert Tags(page(seen)).open == []
    assert document(seen)["cases"][0]["rows"] == []
    assert "no CPU" in printed(seen)


def test_the_document_has_every_figure_and_null_for_what_is_not_known(tmp_path: Path) -> None:
    write_json(cases(), tmp_path / "out.json")
    (told,) = json.loads((tmp_path / "out.json").read_text())["cases"]
    assert told["scenario"]["name"] == "gray"
    assert told["scenario"]["groups"][1]["leaves_s"] is None  # never
    assert told["endpoints"] == ["bad-0", "good-0", "good-1", "good-2"]
    assert told["true_share"] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    rows = {r["policy"]: r for r in told["rows"]}
    assert list(rows) == ["round_robin", "weirflow", "central_queue", "jsed"]
    assert [r["bound"] for r in rows.values()] == [False, False, True, True]
    assert rows["weirflow"]["regret"] == {"value": 0.0, "low": None, "high": None}
    assert rows["weirflow"]["ratio"] is None
    assert rows["round_robin"]["ratio"]["value"] == 1.0
    assert rows["weirflow"]["runs"][0]["judged"]["error_percent"] == pytest.approx(2.0, abs=0.5)
    assert set(rows["weirflow"]["runs"][0]["classes"]) == {"small", "large"}
    assert len(rows["weirflow"]["series"]["at_s"]) == 28
    assert told["weights"]["at_s"][-1] == 49.0
    assert told["weights_of"] == {"policy": "weirflow", "seed": 1}


def test_a_page_is_written_as_utf_8(tmp_path: Path) -> None:
    write_html(cases(run("round_robin", scenario=replace(SCENARIO, title="Señal – 灰"))), tmp_path / "out.html")
    assert "Señal – 灰" in (tmp_path / "out.html").read_bytes().decode("utf-8")


def test_a_line_has_gaps_where_nothing_is_known_and_stays_within_its_frame() -> None:
    at_s = np.arange(6.0)
    drawn = over_time(
        "p99",
        [Line("a", at_s, np.array([1.0, 2.0, np.nan, 0.0, 3.0, 9.0]), "c0")],
        [Band("b", -1, 99, "judged")],
        4.5,
        log=True,
    )
    (path,) = [p for p in str(drawn).split('d="')[1:] if p.startswith("M") and "26 6" not in p]
    assert path.split('"')[0].count("M") == 2
    assert path.split('"')[0].count("L") == 1  # at 5 s nothing is drawn: the frame ends before


@given(st.lists(st.floats(1e-6, 1e6) | st.just(float("nan")), min_size=1, max_size=20), st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_figures_can_be_drawn(values: list[float], log: bool) -> None:
    drawn = over_time("p99", [Line("a", np.arange(float(len(values))), np.array(values), "c0")], [], 20.0, log=log)
    assert Tags(drawn).open == []
    assert drawn.count('class="grid"') <= 60


@given(st.text(), st.text())
def test_nothing_but_markup_becomes_markup(text: str, attribute: str) -> None:
    made = element("p", text, title=attribute)
    seen = Tags(made)
    assert seen.tags == ["p"]
    assert seen.attributes == {"title"}
    assert element("p", Markup("<b></b>")) == "<p><b></b></p>"
