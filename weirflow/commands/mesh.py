"""Commands on a mesh file: `run`, `validate`, `bootstrap`, `config show` and `config schema`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from weirflow.commands.failing import FAILED, USAGE, print_problems
from weirflow.commands.output import Form, FormOption, complain, print_json
from weirflow.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from weirflow.config.build import Config
    from weirflow.config.model import Document

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
    for warning in (*loaded.warnings, *_of_certificates(loaded.document, loaded.file, loaded.text)):
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
    warnings = (*checked.warnings, *_of_certificates(checked.document, file, checked.source.text))
    print_problems(warnings, output, accepted=True, file=str(file))
    if output is Form.TEXT:
        document = checked.document
        endpoints = sum(len(s.endpoints) for s in document.services)
        counts = {"nodes": len(document.nodes), "services": len(document.services), "endpoints": endpoints}
        typer.echo(f"{file}: accepted ({', '.join(f'{word}: {count}' for word, count in counts.items())})")
    if strict and warnings:
        raise typer.Exit(FAILED)


def _of_certificates(document: Document, file: Path, text: str) -> Sequence[Problem]:
    """What is wrong with the files that `xds.tls` names, at their lines."""
    if document.xds.tls is None:
        return ()
    from weirflow.certificates import look, placed
    from weirflow.clock import Clock
    from weirflow.config.source import parse

    return placed(look(document.xds.tls, file.parent, Clock().now()), parse(text, str(file)))


def bootstrap(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node that FILE names.")],
    file: Annotated[Path, typer.Option("--mesh", metavar="FILE", help="The mesh file.")] = MESH_FILE,
    xds: Annotated[
        str | None, typer.Option("--xds", metavar="HOST:PORT", help="Where that Envoy reaches the brain.")
    ] = None,
    module: Annotated[
        bool, typer.Option("--module", help="That Envoy finds our module in ENVOY_DYNAMIC_MODULES_SEARCH_PATH.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Write it there, with the two files that TLS needs beside it."),
    ] = None,
    at: Annotated[
        Path | None,
        typer.Option("--at", metavar="PATH", help="Where that Envoy will have FOLDER. [default: FOLDER itself]"),
    ] = None,
    certs: Annotated[
        Path | None,
        typer.Option("--certs", metavar="PATH", help="Where it has tls.crt, tls.key and ca.crt. [default: PATH/tls]"),
    ] = None,
    output: FormOption = Form.TEXT,
) -> None:
    """Print the bootstrap file for your own Envoy.

    For a node with `spawn: false`: save it, and start that Envoy with `envoy -c`. Over TLS it takes two more files, by
    which Envoy reads certificates again when they change: `--to` says where to write all three.
    """
    from dataplane.envoy.bootstrap import bootstrap as make
    from dataplane.envoy.secrets import NodeTls, sds_files
    from weirflow.addresses import split
    from weirflow.config import load
    from weirflow.config.problems import mend_of

    loaded = load(file)
    specs = {spec.name: spec for spec in loaded.mesh.nodes}
    if node not in specs:
        raise typer.BadParameter(f"{file} has no node {node!r}; {mend_of(node, specs, kind='nodes')}")
    if specs[node].ids:
        raise typer.BadParameter(
            f"{node} is all proxies whose ids match {specs[node].ids!r}; another has their bootstraps"
        )
    address = xds if xds is not None else _xds_address(loaded)
    try:
        host, _ = split(address)
    except ValueError as error:
        raise typer.BadParameter(f"{address!r} {error}") from error
    tls: NodeTls | None = None
    if loaded.xds.tls is not None:
        if to is None:
            raise typer.BadParameter(f"{file} has xds.tls; say with --to where to write the bootstrap and its secrets")
        folder = at if at is not None else to.absolute()
        tls = NodeTls(folder, certs if certs is not None else folder / "tls", loaded.xds.server_identity or host)
    made = make(specs[node], address, admin_port=specs[node].admin_port, has_module=module, tls=tls)
    if to is None:
        _write(made, output, sys.stdout)
        return
    to.mkdir(parents=True, exist_ok=True)
    with (to / ("bootstrap.json" if output is Form.JSON else "bootstrap.yaml")).open("w") as stream:
        _write(made, output, stream)
    for name, content in (sds_files(tls) if tls is not None else {}).items():
        (to / name).write_text(json.dumps(content, indent=2) + "\n")


def _xds_address(loaded: Config) -> str:
    """Where nodes call, as the mesh file alone has it."""
    from weirflow.addresses import is_wildcard, join

    if loaded.xds.port == 0 or is_wildcard(loaded.xds.address):
        raise typer.BadParameter(
            f"{loaded.file} leaves the xDS address open; say with --xds where that Envoy reaches it"
        )
    return join(loaded.xds.address, loaded.xds.port)


def _write(made: dict[str, Any], output: Form, stream: TextIO) -> None:
    if output is Form.JSON:
        json.dump(made, stream, indent=2)
        stream.write("\n")
        return
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(made, stream)


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
