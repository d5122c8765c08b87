"""`weirflow lab`: every policy that ships, side by side with Weirflow, over the same requests."""

from __future__ import annotations

from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weirflow.commands.completion import scenarios as scenarios_
from weirflow.commands.failing import FAILED
from weirflow.commands.output import Form, FormOption, complain, print_json, show, text
from weirflow.commands.progress import progress

if TYPE_CHECKING:
    from weirflow.lab.run import Run

INTERRUPTED = 130
"""Exit status, as a shell gives it."""

lab = typer.Typer(no_args_is_help=True, help="Run scenarios, every policy side by side.")


class Engine(StrEnum):
    """What carries the requests."""

    ENVOY = "envoy"
    SIMULATED = "simulated"


@lab.callback()
def _group() -> None:
    """Run scenarios, every policy side by side."""


@lab.command("list")
def list_(output: FormOption = Form.TEXT) -> None:
    """List the scenarios that ship, and the policies that can be run."""
    from weirflow.lab import files
    from weirflow.lab.run import BOUNDS, POLICIES, SIMULATED

    scenarios = files.names()
    if output is Form.JSON:
        told = {"scenarios": scenarios, "policies": POLICIES, "simulated_policies": SIMULATED, "bounds": BOUNDS}
        print_json(told)
        return
    for heading, named in (
        ("scenarios", scenarios),
        ("policies", POLICIES),
        ("policies of the simulated engine alone", SIMULATED),
    ):
        show(text(heading, "bold"))
        width = max(len(name) for name in named)
        for name, title in named.items():
            show(text(f"  {name:<{width}}  {title}"))


@lab.command()
def run(
    scenarios: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENARIO...", help="Names that 'lab list' tells, or files of your own.", autocompletion=scenarios_
        ),
    ],
    policy: Annotated[
        list[str] | None, typer.Option("--policy", metavar="P", help="Only this one; repeat for several.")
    ] = None,
    nodes: Annotated[
        list[int] | None,
        typer.Option("--nodes", min=1, metavar="N", help="Proxies; repeat for several. [default: the scenario's]"),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, metavar="K", help="Worlds to draw and run.")] = 1,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, metavar="N", help="The first of them.")] = 0,
    engine: Annotated[Engine, typer.Option("--engine", help="Real proxies, or a mesh in virtual time.")] = Engine.ENVOY,
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, metavar="P", help="Runs at the same time. Needs cores to spare.")
    ] = 1,
    time_scale: Annotated[
        float, typer.Option("--time-scale", metavar="X", help="Makes each demand X times as long, and X times as rare.")
    ] = 1.0,
    share: Annotated[
        float,
        typer.Option(
            "--share",
            min=1,
            max=100,
            help="Percent of the traffic on Weirflow's adaptive arm. The rest is picked by the static rules: at 95 "
            "their picks alone send 1 % of all requests to the one bad endpoint of five, which is the p99.",
        ),
    ] = 99.0,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="FOLDER",
            help="Keep a recording of each run there, for what-if: of Weirflow, and of the policies that a mesh file "
            "can say, which then run behind a brain that looks on. On real proxies.",
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots there.")] = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Run scenarios under every policy, over the same requests.

    A run on real proxies takes as long as the scenario says, mostly a minute, for each policy, seed and number of
    nodes. Exit 1 when a run could not be made, or the machine was too busy to believe one.
    """
    from weirflow.lab.campaign import INTERRUPTION, Campaign, conduct

    if not time_scale > 0:
        raise typer.BadParameter("must be above 0", param_hint="--time-scale")
    if record is not None and engine is Engine.SIMULATED:
        raise typer.BadParameter("goes with real proxies: --engine envoy", param_hint="--record")
    campaign = Campaign.of(
        scenarios,
        policy or (),
        nodes or (),
        range(first_seed, first_seed + seeds),
        engine=engine.value,
        parallel=parallel,
        time_scale=time_scale,
        share_percent=share,
        record=record,
    )
    with progress("running", campaign.runs) as far:
        done = count(1)

        def tell(line: str) -> None:
            far.at(next(done))
            far.say(line)

        made, failure = conduct(campaign, tell)
    if made:
        _report(made, output, json, html)
    if failure:
        complain(f"the lab stopped, {len(made)} of {campaign.runs} runs were made: {failure}")
        raise typer.Exit(INTERRUPTED if failure == INTERRUPTION else FAILED)
    if any(r.refused for r in made):
        raise typer.Exit(FAILED)


def _report(runs: list[Run], output: Form, json: Path | None, html: Path | None) -> None:
    from weirflow.lab import analysis, report
    from weirflow.lab.table import render

    cases = analysis.analyse(runs)
    if json is not None:
        report.write_json(cases, json)
    if html is not None:
        report.write_html(cases, html)
    if output is Form.JSON:
        print_json(report.document(cases))
    else:
        for case in cases:
            show(render(case))
