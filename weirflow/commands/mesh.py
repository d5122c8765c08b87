"""Commands on a mesh file: `run`, `validate`, `bootstrap`, `config show` and `config schema`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from weirflow.commands.failing import FAILED, USAGE, print_problems
from weirflow.commands.output import Form, FormOption, complain, print_json
from weirflow.config.problems import ConfigError

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The mesh file.")]
MESH_FILE = Path("mesh.yaml")

config = typer.Typer(no_args_is_help=True, help="See what a mesh file means.")


def run(file: FileArgument = MESH_FILE) -> None:
    """Run the mesh of FILE until SIGTERM.

    Starts the Envoys that it names, serves ADS, ALS and LRS, decides once a second and records. SIGHUP reads FILE
    again; a mistake in it keeps the old configuration whole.
    """
    import asyncio

    from weirflow import log
    from weirflow.clock import Clock
    from weirflow.config import load
    from weirflow.wiring import serve

    loaded = load(file)
    log.configure(loaded.logging.level, loaded.logging.format)
    for warning in loaded.warnings:
        complain(str(warning))
    try:
        status = asyncio.run(serve(file, Clock()))
    except (OSError, RuntimeError) as error:
        complain(f"cannot run {file}: {error}")
        raise typer.Exit(FAILED) from error
    raise typer.Exit(status)


def validate(
    file: FileArgument = MESH_FILE,
    output: FormOption = Form.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when there are warnings.")] = False,
) -> None:
    """Tell every mistake of FILE at once.

    Each with its line, its key and the mend. Nothing is started and no port is bound. Exit 2 when it is not accepted.
    """
    from weirflow.config.check import check

    try:
        checked = check(file)
    except ConfigError as error:
        print_problems(error.problems, output, accepted=False, file=str(file))
        raise typer.Exit(USAGE) from error
    print_problems(checked.warnings, output, accepted=True, file=str(file))
    if output is Form.TEXT:
        document = checked.document
        endpoints = sum(len(s.endpoints) for s in document.services)
        counts = {"nodes": len(document.nodes), "services": len(document.services), "endpoints": endpoints}
        typer.echo(f"{file}: accepted ({', '.join(f'{word}: {count}' for word, count in counts.items())})")
    if strict and checked.warnings:
        raise typer.Exit(FAILED)


def bootstrap(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node that FILE names.")],
    file: Annotated[Path, typer.Option("--mesh", metavar="FILE", help="The mesh file.")] = MESH_FILE,
    xds: Annotated[
        str | None, typer.Option("--xds", metavar="HOST:PORT", help="Where that Envoy reaches the brain.")
    ] = None,
    module: Annotated[
        bool, typer.Option("--module", help="That Envoy finds our module in ENVOY_DYNAMIC_MODULES_SEARCH_PATH.")
    ] = False,
    output: FormOption = Form.TEXT,
) -> None:
    """Print the bootstrap file for your own Envoy.

    For a node with `spawn: false`: save it, and start that Envoy with `envoy -c`.
    """
    from dataplane.envoy.bootstrap import bootstrap as make
    from weirflow.addresses import is_wildcard, join, split
    from weirflow.config import load
    from weirflow.config.problems import mend_of

    loaded = load(file)
    specs = {spec.name: spec for spec in loaded.mesh.nodes}
    if node not in specs:
        raise typer.BadParameter(f"{file} has no node {node!r}; {mend_of(node, specs, kind='nodes')}")
    if xds is None and (loaded.xds.port == 0 or is_wildcard(loaded.xds.address)):
        raise typer.BadParameter(f"{file} leaves the xDS address open; say with --xds where that Envoy reaches it")
    address = xds if xds is not None else join(loaded.xds.address, loaded.xds.port)
    try:
        split(address)
    except ValueError as error:
        raise typer.BadParameter(f"{address!r} {error}") from error
    made = make(specs[node], address, admin_port=specs[node].admin_port, has_module=module)
    if output is Form.JSON:
        print_json(made)
        return
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(made, sys.stdout)


@config.command()
def show(file: FileArgument = MESH_FILE, output: FormOption = Form.TEXT) -> None:
    """Print the whole effective configuration.

    What FILE does not say is marked as a default.
    """
    from weirflow.config import show as shown
    from weirflow.config.check import check

    checked = check(file)
    if output is Form.JSON:
        print_json(shown.as_dict(checked))
    else:
        sys.stdout.write(shown.as_yaml(checked))


@config.command()
def schema() -> None:
    """Print the JSON Schema of mesh files."""
    from weirflow.config import schema as made

    json.dump(made.schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
