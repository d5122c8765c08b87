"""`import`: logs that people already have, to a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weirflow.commands.failing import FAILED, USAGE
from weirflow.commands.output import Form, FormOption, complain, print_json, show, text
from weirflow.commands.progress import progress


def import_(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Logs, packed or not; - is the standard input.")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the recording goes: a new folder.")],
    output: FormOption = Form.TEXT,
    format_: Annotated[
        str, typer.Option("--format", metavar="NAME", help="What the files are; auto finds out by their content.")
    ] = "auto",
    envoy_format: Annotated[str, typer.Option(metavar="TEXT", help="Envoy's format string, when it is your own.")] = "",
    nginx_format: Annotated[str, typer.Option(metavar="TEXT", help="NGINX's log_format, when it is your own.")] = "",
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OUR=THEIRS", help="Key or column of the log for a canonical column."),
    ] = None,
    mapping_file: Annotated[
        Path | None, typer.Option("--mapping", metavar="FILE.yaml", help="The same as a file, a line each.")
    ] = None,
    cluster_from: Annotated[
        str,
        typer.Option(metavar="WHAT", help="Service: authority, upstream_cluster, const:NAME or regex:EXPRESSION."),
    ] = "auto",
    route_from: Annotated[
        str, typer.Option(metavar="WHAT", help="Route: path, host, cluster, route or regex:EXPRESSION on the path.")
    ] = "auto",
    routes: Annotated[int, typer.Option(metavar="N", help="Most routes; the rest are 'other'.")] = 100,
    node: Annotated[str, typer.Option(metavar="NAME", help="The proxy. [default: told by the log, or the file]")] = "",
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Of times that say none: Europe/Berlin or +02:00.")
    ] = "UTC",
    mesh: Annotated[
        Path | None,
        typer.Option(
            metavar="mesh.yaml", help="The static rules that were in force: weights, policies, limits, retries."
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Read links, pipes and devices too.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing and exit 1 when a line is rejected.")] = False,
    most_ratio: Annotated[float, typer.Option(metavar="N", help="A packed file may unpack to so many times.")] = 200.0,
    most_bytes: Annotated[int, typer.Option(metavar="N", help="And any file to so many bytes.")] = 1 << 40,
) -> None:
    """Make a recording of logs that you have.

    Paths become route templates; client addresses, headers and queries are not kept. Lines that cannot be read are
    counted and shown, and the rest is read. Exit 1 when there is no attempt, or when --strict and a line was rejected.
    """
    from weirflow.config import load
    from weirflow.importing import ImportingError, Options, WrongUseError, run
    from weirflow.importing.mapping import mapping
    from weirflow.importing.opening import Bounds
    from weirflow.importing.report import render, to_dict
    from weirflow.plain import plain

    try:
        options = Options(
            format=format_,
            envoy_format=envoy_format,
            nginx_format=nginx_format,
            keys=mapping(map_ or (), mapping_file),
            cluster_from=cluster_from,
            route_from=route_from,
            routes=routes,
            node=node,
            timezone=timezone,
            strict=strict,
            mesh=load(mesh).mesh if mesh is not None else None,
            bounds=Bounds(follow, most_ratio, most_bytes),
        )
        with progress("reading") as far:
            found = run(files, to, options, lambda what, done, total: far.at(done, total, what))
    except ImportingError as error:
        complain(str(error))
        raise typer.Exit(USAGE if isinstance(error, WrongUseError) else FAILED) from error
    if output is Form.JSON:
        print_json(plain(to_dict(found)))
    else:
        for line in render(found).splitlines():
            show(text(line))
    if not found.folder:
        raise typer.Exit(FAILED)
