"""`models`: which models there are, how well each foresees, and who decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weirflow.commands.client import DEFAULT_ADMIN, AdminOption, Client, TokenOption
from weirflow.commands.failing import FAILED, USAGE
from weirflow.commands.output import Form, FormOption, complain, print_json, show, text
from weirflow.config.units import format_duration

if TYPE_CHECKING:
    from rich.table import Table

    from weirflow.scored import Scored

Json = dict[str, Any]

models = typer.Typer(help="Which models there are, how well each foresees, and who decides.", no_args_is_help=True)

PathArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[PATH]", help="A recording or a checkpoint. [default: the brain that runs]"),
]
RecordingArgument = Annotated[Path, typer.Argument(metavar="RECORDING", help="Or a folder of them: then its newest.")]


@models.command("list")
def list_(
    path: PathArgument = None,
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """List the models.

    Of the brain that runs, of a checkpoint, or of a recording, where they are scored anew in its order: role, age, what
    is behind it, error against who decides and against the plain baseline, how much its 90 % interval holds, and drift.
    """
    found = _found(path, admin, token_file)
    if output is Form.JSON:
        print_json({"models": found})
    else:
        show(_table(found))


@models.command("show")
def show_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model, as `list` names it.")],
    path: PathArgument = None,
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Show all that is known of one model.

    A line a figure, for each service and quantity that it foresees.
    """
    from weirflow.config.problems import mend_of, shown

    found = _found(path, admin, token_file)
    mine = [row for row in found if row["model"] == name]
    if not mine:
        complain(f"there is no model {shown(name)}", mend_of(name, {row["model"]: 0 for row in found}, kind="models"))
        raise typer.Exit(USAGE)
    if output is Form.JSON:
        print_json({"models": mine})
        return
    for k, row in enumerate(mine):
        if k:
            show(text(""))
        for key, value in row.items():
            if value not in (None, ""):
                show(text(f"{_KEYS.get(key, (key,))[0]:18} {_cell(key, row)}"))


@models.command()
def compare(
    recording: RecordingArgument,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]module:factory", help="One of your own; repeat for several. It is imported."),
    ] = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Score models on a recording.

    Each foresees before it learns, by the scores that the brain goes by, against who decided then and against the plain
    baseline. A model of your own has river's verbs (learn_one, predict_one) or scikit-learn's (fit or partial_fit,
    predict). Exit 1 when one of yours is dropped.
    """
    from weirflow import own
    from weirflow.recording import RecordingError, newest, read
    from weirflow.scored import score

    try:
        roster = own.roster(own.named(model or []))
        scored = score(read(newest(recording)), roster)
    except own.OwnError as error:
        complain(f"--model {error}")
        raise typer.Exit(USAGE) from error
    except RecordingError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    rows = _plain(scored)
    if output is Form.JSON:
        print_json({"models": rows})
    else:
        show(_table(rows))
        for line in _verdicts(scored, roster):
            show(text(line))
    if any(s.note for s in scored if s.model in roster):
        raise typer.Exit(FAILED)


@models.command()
def promote(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The model that is to decide.")] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Undo it: the model decides that does when nobody orders.")
    ] = False,
    admin: AdminOption = DEFAULT_ADMIN,
    token_file: TokenOption = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Let another model decide.

    In shadow mode it decides in the shadow: look at its weights with `status` before you let traffic follow them. Where
    traffic does, the holdout watches it, and the model before comes back when it loses (`adaptive.models.watch`).
    """
    if (name is None) == (not auto):
        complain("promote: name a model, or undo with --auto", "'weirflow models list' names them")
        raise typer.Exit(USAGE)
    answer = Client(admin, token_file).post("promote", {"model": name})
    if output is Form.JSON:
        print_json(answer)
        return
    who = f"model {name}" if name else "the model that does when nobody orders"
    before = answer["before"].get("model")  # not told before the first tick
    show(text(f"{who} decides, from the next tick, within a second" + (f"; {before} did before" if before else "")))


def _found(path: Path | None, admin: str, token_file: Path | None) -> list[Json]:
    """The rows of whatever was named. Exits when it is no recording and no checkpoint."""
    if path is None:
        told = Client(admin, token_file).get("models")
        return [*map(_of_live, told["models"]), *map(_of_demand, told.get("demand", ()))]
    from weirflow.recording import RecordingError, newest, read

    try:
        if path.is_dir():
            from weirflow.scored import score

            return _plain(score(read(newest(path))))
        from brain.checkpoint import open_state
        from weirflow import checkpoint
        from weirflow.plain import plain
        from weirflow.scored import rows_of_state

        state = checkpoint.look(path)
        open_state(state)
        return [dict(plain(row)) for row in rows_of_state(state)]
    except (RecordingError, OSError, ValueError) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error


def _of_live(view: Json) -> Json:
    """A `brain.ranking.ModelView` in the words of the other two."""
    ratio = view.get("against_champion") or [None, None, None]
    baseline = view.get("against_baseline") or [None]
    held = view.get("held") or [None, None, None]
    return {
        "quantity": "latency",
        "model": view["name"],
        **{key: view.get(key) for key in ("role", "age_s", "blocks", "count", "error")},
        **dict(zip(("against_champion", "low", "high"), ratio, strict=True)),
        "against_baseline": baseline[0],
        "inside_90": held[0],
        "band": None if held[1] is None else held[1:],
        **{key: view.get(key) for key in ("drift", "watched_s", "barred_s")},
    }


def _of_demand(view: Json) -> Json:
    """A `brain.hindsight.ForetoldView` in the same words."""
    return {
        "service": view["service"],
        "quantity": f"demand in {view['ahead_s']:g} s",
        "model": "weirflow",
        "role": "champion",
        "count": view["count"],
        "error": view["error_per_s"],
        "against_baseline": view["against_last"],
        "inside_90": view["inside_90"],
    }


def _plain(scored: Sequence[Scored]) -> list[Json]:
    from weirflow.plain import plain
    from weirflow.scored import rows_of

    return [dict(plain(row)) for row in rows_of(list(scored))]


def _verdicts(scored: Sequence[Scored], roster: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each of one's own models and service."""
    for s in scored:
        if s.model not in roster:
            continue
        if s.note:
            yield f"{s.model}, {s.service}: dropped: {s.note}" if s.count == 0 else f"{s.model}, {s.service}: {s.note}"
        elif math.isnan(s.high):
            yield f"{s.model}, {s.service}: too little to tell"
        else:
            how = "better than" if s.high < 1 else "worse than" if s.low > 1 else "not told apart from"
            yield (
                f"{s.model}, {s.service}: {how} the champion: error {s.against_champion:.2f} times its "
                f"({s.low:.2f} to {s.high:.2f})"
            )


_KEYS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "service": ("service", str),
    "quantity": ("quantity", str),
    "model": ("model", str),
    "role": ("role", str),
    "age_s": ("age", lambda s: format_duration(round(s))),
    "blocks": ("blocks", lambda n: f"{n:.0f}"),
    "count": ("count", lambda n: f"{n:.0f}"),
    "error": ("error", lambda e: f"{e:.3g}"),
    "against_champion": ("to champion", lambda r: f"x{r:.2f}"),
    "against_baseline": ("to baseline", lambda r: f"x{r:.2f}"),
    "inside_90": ("inside 90 %", lambda p: f"{100 * p:.0f} %"),
    "band": ("90 % band", lambda b: f"x{b[0]:.2f} to x{b[1]:.2f}"),
    "drift": ("drift", lambda d: f"{d:.2f}"),
    "watched_s": ("watched for", lambda s: format_duration(round(s))),
    "barred_s": ("barred for", lambda s: format_duration(round(s))),
    "note": ("note", str),
}
"""What is shown of a row, in this order, under which head, and how."""


def _cell(key: str, row: Json) -> str:
    value = row.get(key)
    if value is None or value == "":
        return "–"
    said = _KEYS[key][1](value) if key in _KEYS else f"{value:.3g}" if isinstance(value, float) else str(value)
    if key == "against_champion" and row.get("low") is not None and row["role"] != "champion":
        said += f" ({row['low']:.2f} to {row['high']:.2f})"
    return said


def _table(found: list[Json]) -> Table:
    from rich.table import Table

    keys = [key for key in _KEYS if any(row.get(key) not in (None, "") for row in found)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for key in keys:
        table.add_column(_KEYS[key][0])
    for row in found:
        table.add_row(*(text(_cell(key, row)) for key in keys))
    return table
