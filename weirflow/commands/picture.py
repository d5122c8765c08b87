"""One picture of a mesh for `weirflow top`: what is wrong, the services, and as many endpoints as there is room for.

A pure function from the answer of `/status` and a `View` to lines. Columns go by importance until the rest fits: a
figure is never cut, for a number without its end is another number. Bears with what is missing from the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from weirflow.commands.figures import UNKNOWN, number, percent, seconds
from weirflow.commands.output import in_ascii, safe
from weirflow.commands.status import head, problems
from weirflow.commands.view import Sort, View

Json = dict[str, Any]

GAP = "  "
MOST_TROUBLES = 4
LEAST_SERVICES = 3
KEYS = "q quits, ↑ ↓ go through the endpoints, s sorts by another column"


FIELD = {Sort.WEIGHT: "weight", Sort.P99: "p99_s", Sort.ERRORS: "error_share", Sort.IN_FLIGHT: "in_flight"}
TITLE = {Sort.WEIGHT: "weight", Sort.P99: "p99", Sort.ERRORS: "errors", Sort.IN_FLIGHT: "open"}


@dataclass(frozen=True, slots=True)
class Picture:
    """The lines, and where scrolling has come to."""

    lines: tuple[Text, ...]
    first: int = 0
    room: int = 0  # endpoints that were shown


@dataclass(frozen=True, slots=True)
class _Column:
    """`rank` 0 is never left out; the highest goes first. One of names may be cut to `least` cells; 0: never."""

    title: str
    rank: int
    words: bool = False
    least: int = 0


SERVICE = (
    _Column("service", 0, words=True, least=8),
    _Column("mode", 0, words=True),
    _Column("share", 3),
    _Column("requests/s", 5),
    _Column("p50 (static)", 6),
    _Column("p99 (static)", 1),
    _Column("failed (static)", 4),
    _Column("open", 7),
    _Column("gain", 2),
)
ENDPOINT = (
    _Column("service", 6, words=True, least=8),
    _Column("endpoint", 0, words=True, least=21),  # an IPv4 address and its port
    _Column("zone", 9, words=True),
    _Column("yours", 10),
    _Column("wanted", 8),
    _Column("weight", 0),
    _Column("share", 4),
    _Column("rate/s", 7),
    _Column("p50", 5),
    _Column("p99", 1),
    _Column("errors", 2),
    _Column("open", 3),
    _Column("why", 11, words=True),
)


def picture(answer: Json, view: View) -> Picture:
    """The answer of `/status`, as it is seen in this view."""
    process, decision = answer.get("process") or {}, answer.get("decision") or {}
    services = [s for s in decision.get("services") or [] if view.service in (None, s.get("name"))]
    incidents = [i for i in decision.get("incidents") or [] if _concerns(i, view)]
    top = [_line(note, view, "bold yellow") for note in view.notes]
    top.append(_line(head(answer, process, decision).plain, view, "dim" if view.grey else "bold"))
    top += [_line(words, view, style) for words, style in _troubles(process, incidents)]
    if not decision:
        top.append(_line("Nothing has been decided yet; the first tick comes within a second.", view, ""))
        return Picture(tuple(top))
    foot = [_line(KEYS, view, "dim")] if view.keys else []
    room = None if view.height is None else max(view.height - len(top) - len(foot) - 4, 2)  # 2 blanks, 2 headings
    shown = len(services) if room is None else min(len(services), max(LEAST_SERVICES, room // 3))
    if room is not None and shown < len(services):
        shown = max(1, min(shown, room - 2))
    upper = _table(SERVICE, [_service(s) for s in services[:shown]], view)
    upper += _more(len(services) - shown, 0, view)
    rows = _ordered(services, view.sort)
    left = None if room is None else max(room - (len(upper) - 1), 1)
    first, last = _window(len(rows), view.first, left)
    titles = [replace(c, title=c.title + "↓") if c.title == TITLE[view.sort] else c for c in ENDPOINT]
    lower = _table(titles, [_endpoint(s, e) for s, e in rows[first:last]], view, _styles(rows[first:last], incidents))
    lower += _more(len(rows) - last, first, view)
    lines = [*top, Text(), *upper, Text(), *lower, *foot]
    return Picture(tuple(lines if view.height is None else lines[: view.height]), first, last - first)


def _concerns(incident: Json, view: View) -> bool:
    return view.service is None or (incident.get("labels") or {}).get("service") in (None, view.service)


def _troubles(process: Json, incidents: Sequence[Json]) -> list[tuple[str, str]]:
    """What is wrong, the worst first, in so many lines."""
    found = [(f"! {i.get('id')} {i.get('kind')}: {i.get('summary')}", "red") for i in incidents]
    found += [(f"! {problem}", "yellow") for problem in problems(process)]
    rest = len(found) - MOST_TROUBLES
    return found if rest <= 0 else [*found[: MOST_TROUBLES - 1], (f"! {rest + 1} more: see weirflow status", "yellow")]


def _window(count: int, first: int, room: int | None) -> tuple[int, int]:
    """Which endpoints are shown; a line less where it has to say how many more there are."""
    if room is None or count <= room:
        return 0, count
    room = max(room - 1, 1)
    first = min(max(first, 0), count - room)
    return first, first + room


def _more(below: int, above: int, view: View) -> list[Text]:
    parts = [f"{above} above"] if above else []
    parts += [f"{below} more"] if below else []
    return [_line("… " + ", ".join(parts), view, "dim")] if parts else []


def _ordered(services: Iterable[Json], sort: Sort) -> list[tuple[Json, Json]]:
    def key(pair: tuple[Json, Json]) -> tuple[bool, float]:
        value = pair[1].get(FIELD[sort])
        return (value is None, -value if isinstance(value, (int, float)) else 0.0)

    return sorted(((s, e) for s in services for e in s.get("endpoints") or []), key=key)  # stable: the mesh's order


def _styles(rows: Iterable[tuple[Json, Json]], incidents: Iterable[Json]) -> list[str]:
    """Red for an endpoint that an incident names, yellow for one that a guard rail holds."""
    named = {(i["labels"].get("service"), i["labels"].get("endpoint")) for i in incidents if i.get("labels")}
    return [
        "red" if (s.get("name"), e.get("address")) in named else "yellow" if e.get("guard") else "" for s, e in rows
    ]


def _service(service: Json) -> list[str]:
    adaptive, static, gain = (service.get(key) or {} for key in ("adaptive", "static", "gain"))
    mode, state = str(service.get("mode", "")), str(service.get("state", ""))
    rates = [a["requests_per_s"] for a in (adaptive, static) if a.get("requests_per_s") is not None]
    open_ = [e["in_flight"] for e in service.get("endpoints") or [] if e.get("in_flight") is not None]
    share = number(service.get("share_percent"))

    def both(figure: Any, key: str) -> str:
        return f"{figure(adaptive.get(key))} ({figure(static.get(key))})"

    return [
        str(service.get("name", "")),
        mode if state == mode else f"{mode}, {state}",
        share if share == UNKNOWN else f"{share}%",
        number(sum(rates) if rates else None, 1),
        both(seconds, "p50_s"),
        both(seconds, "p99_s"),
        both(percent, "failed_share"),
        number(sum(open_) if open_ else None),
        _gain(gain),
    ]


def _gain(gain: Json) -> str:
    """With its 95 % interval."""
    value, low, high = (gain.get(key) for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return UNKNOWN
    return f"{value * 100:.0f}% ({low * 100:.0f} to {high * 100:.0f})"


def _endpoint(service: Json, e: Json) -> list[str]:
    why = f"{e.get('reason', '')} [{e['guard']}]" if e.get("guard") else str(e.get("reason", ""))
    return [
        str(service.get("name", "")),
        str(e.get("address", "")),
        str(e.get("zone") or UNKNOWN),
        number(e.get("static_weight")),
        number(e.get("proposed")),
        number(e.get("weight")),
        percent(e.get("share")),
        number(e.get("rate_per_s"), 1),
        seconds(e.get("p50_s")),
        seconds(e.get("p99_s")),
        percent(e.get("error_share")),
        number(e.get("in_flight")),
        why,
    ]


def _table(columns: Sequence[_Column], rows: Sequence[list[str]], view: View, styles: Sequence[str] = ()) -> list[Text]:
    """A heading and the rows, without the columns that there is no room for. Names give way last, by their middle."""
    cells = [[_written(value, view) for value in row] for row in ([c.title for c in columns], *rows)]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(columns))]
    room = [min(w, c.least or w) for c, w in zip(columns, widths, strict=True)]
    kept = list(range(len(columns)))
    while _length(room[i] for i in kept) > view.width:
        last = max(kept, key=lambda i: columns[i].rank)
        if not columns[last].rank:
            break
        kept.remove(last)
    spare = view.width - _length(room[i] for i in kept)
    for i in sorted(kept, key=lambda i: columns[i].rank):
        more = min(widths[i] - room[i], max(spare, 0))
        room[i] += more
        spare -= more
    lines = []
    for n, row in enumerate(cells):
        parts = []
        for i in kept:
            value = _cut(row[i], room[i], view)
            blank = " " * (room[i] - cell_len(value))
            parts.append(value + blank if columns[i].words else blank + value)
        style = "dim" if view.grey or n == 0 else styles[n - 1] if styles else ""
        line = GAP.join(parts)
        lines.append(Text(set_cell_size(line, min(view.width, cell_len(line))).rstrip(), style=style))
    return lines


def _length(widths: Iterable[int]) -> int:
    """Cells of a row of columns so wide."""
    cells = list(widths)
    return sum(cells) + len(GAP) * (len(cells) - 1)


def _cut(value: str, width: int, view: View) -> str:
    """The name with its middle left out: what tells names apart stands at either end."""
    if cell_len(value) <= width:
        return value
    mark = "…" if view.unicode else "~"
    behind = (width - 1) // 2
    before = set_cell_size(value, width - 1 - behind)
    while behind and cell_len(value[-behind:]) > width - 1 - cell_len(before):
        behind -= 1
    return before.rstrip() + mark + (value[-behind:] if behind else "")


def _written(value: str, view: View) -> str:
    return safe(value) if view.unicode else in_ascii(safe(value))


def _line(words: str, view: View, style: str) -> Text:
    written = _written(words, view)
    if cell_len(written) > view.width:
        written = set_cell_size(written, max(view.width - 1, 0)) + ("…" if view.unicode else "~")
    return Text(written, style=style if not view.grey or "bold" in style else "dim")
