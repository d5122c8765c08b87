"""Writes the reference pages that say what the code says (mesh-yaml.md, scenario-yaml.md, whatif-yaml.md, cli.md,
metrics.md, import.md, python.md), and the JSON Schemas.

    python docs/reference/generate.py

tests/test_reference.py fails while a page differs from what this makes.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

import weirflow
from brain.own import FEATURES
from weirflow import own
from weirflow.cli import app
from weirflow.config import schema
from weirflow.importing.envoy import DEFAULT, ISTIO, JSON_FORMATS
from weirflow.importing.fields import FIELDS, PER_SECOND
from weirflow.importing.formats import FORMATS
from weirflow.importing.nginx import DEFAULT as NGINX
from weirflow.lab import files, sections
from weirflow.metrics import FAMILIES
from weirflow.opened import Kept, Opened, Plots
from weirflow.scored import Scored
from weirflow.whatif import policies
from weirflow.whatif import sections as whatif

HERE = Path(__file__).parent
MADE = "<!-- Made by docs/reference/generate.py: change the code, not this page. -->\n\n"


def pages() -> dict[Path, str]:
    """Every file and what it has to hold."""
    return {
        HERE / "mesh-yaml.md": mesh_yaml(),
        HERE / "scenario-yaml.md": scenario_yaml(),
        HERE / "whatif-yaml.md": whatif_yaml(),
        HERE / "cli.md": cli(),
        HERE / "metrics.md": metrics(),
        HERE / "import.md": imports(),
        HERE / "python.md": python(),
        schema.FILE: schema.text(),
        sections.SCHEMA: schema.text(sections.Document, sections.TITLE),
        whatif.SCHEMA: schema.text(whatif.Document, whatif.TITLE),
    }


# mesh.yaml

MESH_INTRO = """\
# mesh.yaml

One file says what Weirflow runs: the static rules in Envoy's own words, and how much of them may be learned.
[deploy/mesh.yaml](../../deploy/mesh.yaml) is a small one. `weirflow validate` tells every mistake at once,
`weirflow config show` prints the file with all defaults, and `weirflow/config/mesh.schema.json` is its JSON Schema: in
most editors, a first line `# yaml-language-server: $schema=PATH` completes and checks as you type.

* The file is YAML 1.2: `no`, `on` and `n` are text. Keys that are not listed here are errors.
* Durations are text with a unit (`250ms`, `5s`, `1m`, `1h`), sizes likewise (`512MiB`, `10GiB`). A bare number is an
  error.
* Relative paths start at the folder of the mesh file.
* A `SIGHUP` reads the file again, and so does the console, which shows first what that would change. A file with a
  mistake changes nothing: the old configuration stays whole.
"""


SCENARIO_INTRO = """\
# Scenario files

One file says what an experiment of [the lab](../how-to.md#compare-policies-in-the-lab) is: the endpoints, the requests,
what goes wrong when, and which part is judged. `weirflow lab run ./mine.yaml` runs one; what holds a `/` or ends in
`.yaml` is a path, anything else the name of one that ships. `weirflow/lab/scenario.schema.json` is the JSON Schema.

* The file is YAML 1.2, its durations are text with a unit, and keys that are not listed here are errors, as in
  [mesh.yaml](mesh-yaml.md).
* Moments count from the start of the run, with the warm-up in it.
* Each seed draws one world from the file, the same for every policy.
"""


WHATIF_INTRO = """\
# What-if files

One file asks many questions of a recording, for `weirflow whatif RECORDING --matrix FILE.yaml`:
[how to](../how-to.md#ask-what-would-have-been). `weirflow/whatif/matrix.schema.json` is its JSON Schema. It is YAML
1.2, and keys that are not listed here are errors, as in [mesh.yaml](mesh-yaml.md). Endpoints are written as in the
recording; a moment is seconds from the start, HH:MM:SS or ISO 8601, in UTC. `--service` and `--seeds` go before what
the file says.
"""


def mesh_yaml() -> str:
    """The page of every key of a mesh file."""
    return _keys(MESH_INTRO, schema.schema())


def scenario_yaml() -> str:
    """The page of every key of a scenario file, and of the scenarios that ship."""
    page = _keys(SCENARIO_INTRO, schema.schema(sections.Document, sections.TITLE))
    shipped = [f"| `{name}` | {title} | {files.load(name).source} |" for name, title in files.names().items()]
    return page + "\n".join(["\n## What ships\n", "| name | | source |", "| --- | --- | --- |", *shipped]) + "\n"


def whatif_yaml() -> str:
    """The page of every key of a file of what-if questions, and of the policies that may be asked about."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in policies.POLICIES.items()]
    page = _keys(WHATIF_INTRO, schema.schema(whatif.Document, whatif.TITLE))
    return page + "\n".join(["\n## Policies\n", "| name | |", "| --- | --- |", *rows]) + "\n"


def _keys(intro: str, made: dict[str, Any]) -> str:
    out = [MADE + intro, "## The file\n", *_table(made, made)]
    for path, name in _sections(made, made, ""):
        section = _object(made["$defs"][name])
        out += [f"\n## {path}\n", section["description"] + "\n", *_table(section, made)]
    return "\n".join(out) + "\n"


def _object(section: dict[str, Any]) -> dict[str, Any]:
    """The mapping form of a section that may also be written short."""
    return next((s for s in section.get("anyOf", []) if "properties" in s), section)


def _sections(section: dict[str, Any], made: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Path and definition of every section below this one, depth first, in the order of the file."""
    for key, node in section["properties"].items():
        path = f"{prefix}.{key}" if prefix else key
        for name, suffix in _references(node):
            yield path + suffix, name
            yield from _sections(_object(made["$defs"][name]), made, path + suffix)


def _references(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Definitions that a value is made of, and how they are written in a path: `[]` in a list, `.NAME` in a mapping."""
    for inner, suffix in ((node, ""), (node.get("items", {}), "[]"), (node.get("additionalProperties"), ".NAME")):
        if not isinstance(inner, dict):
            continue
        for candidate in (inner, *inner.get("anyOf", [])):
            name = candidate.get("$ref", "").rpartition("/")[2]
            if name.endswith("Section"):
                yield name, suffix


def _table(section: dict[str, Any], made: dict[str, Any]) -> Iterator[str]:
    yield "| key | value | default | |"
    yield "| --- | --- | --- | --- |"
    for key, node in section["properties"].items():
        default = "**required**" if key in section.get("required", []) else _default(node)
        yield f"| `{key}` | {_kind(node, made)} | {default} | {_meaning(node, made)} |"


def _meaning(node: dict[str, Any], made: dict[str, Any]) -> str:
    """The description of a key; where it is word for word that of its section, the models leave it to that."""
    target = made["$defs"].get(node.get("$ref", "").rpartition("/")[2], {})
    return str(node.get("description") or target.get("description", ""))


def _default(node: dict[str, Any]) -> str:
    if "default" not in node or node["default"] in ([], {}):
        return ""
    value = node["default"]
    if value is None:
        return "none"
    words = ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
    return f"`{words.lower() if isinstance(value, bool) else words}`"


def _kind(node: dict[str, Any], made: dict[str, Any]) -> str:
    """What may be written there, in words."""
    if "$ref" in node:
        target = made["$defs"][node["$ref"].rpartition("/")[2]]
        return _kind(target, made) if "properties" not in _object(target) else "section"
    if "anyOf" in node:
        return _kind(next(n for n in node["anyOf"] if n.get("type") != "null"), made)
    if "enum" in node:
        return ", ".join(f"`{v}`" for v in node["enum"])
    if "$comment" in node:
        return f"duration, {node['$comment']}"
    match node.get("type"):
        case "array":
            return f"list of {_kind(node['items'], made)}".replace("list of section", "list of sections")
        case "object" | ["object", "null"]:
            inner = node.get("additionalProperties")
            if isinstance(inner, dict) and "type" in inner:
                return f"{_kind(inner, made)} by name"
            return "sections by name"
        case "string":
            return "size" if "512MiB" in node.get("examples", []) else "text"
        case "boolean":
            return "`true` or `false`"
        case number:
            return ("whole number" if number == "integer" else "number") + _range(node)


def _range(node: dict[str, Any]) -> str:
    words = [
        f"{word} {node[key]:g}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in node
    ]
    return ", " + ", ".join(words) if words else ""


# The commands

CLI_INTRO = """\
# Commands

Exit status: 0 done; 1 found something, or failed; 2 wrong usage, or a mesh file that is not accepted; 3 no brain
answers. `-o json` prints one JSON document on the standard output; complaints go to the standard error.

`status`, `top`, `explain`, `freeze`, `rollback`, `mode`, `models`, `alerts`, `incident` and `bug-report` speak to the
admin API of a mesh that runs, and so does `check` where one answers. It listens on loopback (`admin` in
[mesh.yaml](mesh-yaml.md)); `--admin` or `WEIRFLOW_ADMIN` names another. By hand, it is
`curl http://127.0.0.1:9901/status`, `/explain/SERVICE`, `/explain/SERVICE/ENDPOINT`,
`/alerts`, `/incidents/ID`, `/models`, `/audit`, `/metrics`, `/healthz`, and
`curl -H 'Content-Type: application/json' -d '{"service": "orders", "mode": "adaptive"}' .../mode` (or `/freeze` with
`{"on": true}`, `/rollback` with `{}`, `/promote` with `{"model": "simple"}`, `/silences` with
`{"kind": "EndpointSlow", "labels": {"service": "orders"}, "for": "1h", "comment": "why"}`).
"""


def cli() -> str:
    """The page of every command: its own help."""
    out = [MADE + CLI_INTRO]
    for words in _commands(typer.main.get_command(app), ()):
        out.append(f"## {' '.join(('weirflow', *words))}\n\n```text\n{_help(words)}```\n")
    return "\n".join(out)


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    if inner is None or command.invoke_without_command:
        yield words
    if inner is None:
        return
    for name, sub in inner.items():
        yield from _commands(sub, (*words, name))


def _help(words: tuple[str, ...]) -> str:
    # The same on every machine: no colour, 100 columns, and none of the caller's addresses as defaults.
    env: dict[str, str | None] = {name: None for name in os.environ if name.startswith("WEIRFLOW_")}
    result = CliRunner().invoke(app, [*words, "--help"], env=env, terminal_width=100, max_content_width=100)
    return result.output.lstrip("\n")


# The metrics

METRICS_INTRO = """\
# Metrics

Served at `/metrics` of the admin API. One collector reads the last decision when it is scraped; what is unknown is
absent, never 0. Labels are bounded by the mesh file: nothing that a request carries becomes a label.
"""


def metrics() -> str:
    """The page of every metric."""
    out = [MADE + METRICS_INTRO, "| name | type | labels | |", "| --- | --- | --- | --- |"]
    out += [f"| `{f.name}` | {f.kind} | {', '.join(f'`{label}`' for label in f.labels)} | {f.help} |" for f in FAMILIES]
    return "\n".join(out) + "\n"


# What can be imported

IMPORT_INTRO = """\
# What can be imported

`weirflow import FILE... --to FOLDER` turns logs into a [recording](recording.md), by way of one table with a row per
attempt. CSV and Parquet may have these columns as they are; for others, and for JSON lines, `--map OUR=THEIRS` (or
`--mapping FILE.yaml`, a line `OUR: THEIRS` each) says which of theirs is which. A key with dots leads into an object. A
row needs a time (`started` or `ended`), a duration (or both times), a service (or a cluster or a host), and the
endpoint unless the attempt never had one.

Times are ISO 8601, the form of NGINX and HAProxy (`21/Sep/2026:14:00:00 +0000`), or numbers since 1970, whose unit
shows by their size. One without an offset is of `--timezone`. A span has its unit in its name. Empty, `-`, null and NaN
are "was not there". What is negative, infinite or beyond 2^53 is rejected; a row longer than an hour is left out.
"""


def imports() -> str:
    """The page of formats and of the canonical table."""
    units = ", ".join(f"`_{unit}`" for unit in PER_SECOND)
    out = [MADE + IMPORT_INTRO, "## Columns\n"]
    out += ["| column | holds | meaning | in the recording |", "| --- | --- | --- | --- |"]
    for field in FIELDS:
        name = f"`{field.name}_ms`" if field.kind == "span" else f"`{field.name}`"
        more = {"span": f"a span; or {units}", "time": f"a time; with {units} a number of that unit"}
        kept = field.kept or "not kept"
        out.append(f"| {name} | {more.get(field.kind, field.kind)} | {field.meaning} | {kept} |")
    out += ["\n## Formats\n", "| `--format` | |", "| --- | --- |"]
    out += [f"| `{f.name}` | {f.words} |" for f in FORMATS.values()]
    out += [
        "\n## Known forms\n",
        "Envoy's text format:\n",
        f"```text\n{DEFAULT}```\n",
        "Istio's:\n",
        f"```text\n{ISTIO}```\n",
    ]
    out += ["NGINX, as the how-to has it:\n", f"```text\n{NGINX}\n```\n", "JSON keys by canonical column:\n"]
    columns = list(dict.fromkeys(c for keys in JSON_FORMATS.values() for c in keys))
    out += [f"| column | {' | '.join(JSON_FORMATS)} |", "| --- |" + " --- |" * len(JSON_FORMATS)]
    for c in columns:
        keys = (f"`{form[c]}`" if c in form else "" for form in JSON_FORMATS.values())
        out.append(f"| `{c}` | {' | '.join(keys)} |")
    return "\n".join(out) + "\n"


# Python

PYTHON_INTRO = """\
# Python

`weirflow.open` gives a recording or a checkpoint as pandas frames and plots, a line each:

```python
import weirflow

seen = weirflow.open("weirflow-data/recordings")  # a recording, or a folder of them: its newest
seen.attempts.groupby("endpoint", observed=True).duration_s.quantile(0.99)
seen.between("2026-11-27 09:00", "2026-11-27 09:10").service("orders").incidents
seen.plot.weights("orders")
```

It needs pandas and matplotlib: `pip install 'weirflow[notebooks]'`. The [notebooks](../../notebooks/README.md) use
it all.

**Promised**, as of the command line: the names on this page, their arguments, and the columns, units and index of
each frame. A release may add columns, arguments with defaults and names. What is not on this page may change any
day, and so may the words in `reason`, `summary` and their likes. The package is typed (`py.typed`).

**Errors.** `weirflow.recording.RecordingError` for what cannot be read, with the file, the part and the reason;
KeyError, with the nearest right name, for a service, an incident or a horizon that is not there; ValueError for a
column or a moment that makes no sense; ImportError, with what to install, where pandas or matplotlib is missing.
"""


def python() -> str:
    """The page of `weirflow.open` and all that it gives: the docstrings."""
    out = [MADE + PYTHON_INTRO, "## weirflow.open\n", _signature("weirflow.open", weirflow.open), _text(weirflow.open)]
    for title, kind in (("A recording", Opened), ("Plots", Plots), ("A checkpoint", Kept)):
        out += [f"## {title}\n", _text(kind)]
        for name, member in vars(kind).items():
            if name.startswith("_") or not (isinstance(member, property) or inspect.isfunction(member)):
                continue
            what = f"`.{name}`\n" if isinstance(member, property) else _signature(f".{name}", member)
            out += [f"### {name}\n", what, _text(member)]
    out += ["## Columns of `models`\n", "As `weirflow models list` has them; of a checkpoint, those that it tells.\n"]
    out += [f"* {line}" for line in _fields(Scored)]
    out += ["\n## A model of your own\n", _text(own), f"Features: {', '.join(f'`{name}`' for name in FEATURES)}.\n"]
    return "\n".join(out)


def _signature(name: str, of: Any) -> str:
    given = [p.replace(annotation=p.empty) for k, p in inspect.signature(of).parameters.items() if k != "self"]
    return f"`{name}{inspect.Signature(given)}`\n"


def _text(of: Any) -> str:
    """The docstring, its examples as code."""
    words = inspect.getdoc(of) or ""
    text, _, examples = words.partition(">>> ")
    if not examples:
        return text + "\n"
    lines = [line.removeprefix(">>> ").partition("  # doctest")[0] for line in (">>> " + examples).splitlines()]
    return f"{text.rstrip()}\n\n```python\n" + "\n".join(lines) + "\n```\n"


def _fields(of: type) -> Iterator[str]:
    """Each field of a dataclass with the comment on its line."""
    for line in inspect.getsource(of).splitlines():
        name, colon, rest = line.strip().partition(": ")
        if colon and line.startswith("    ") and name.isidentifier():
            comment = rest.partition("  # ")[2]
            yield f"`{name}`" + (f": {comment}" if comment else "")


if __name__ == "__main__":
    for file, content in pages().items():
        file.write_text(content)
