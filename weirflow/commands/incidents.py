"""Alerts and incidents as text, from the JSON of the admin API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from weirflow.commands.figures import percent
from weirflow.commands.output import text
from weirflow.config.units import format_duration

Json = dict[str, Any]

STYLES = {"critical": "red", "warning": "yellow"}


def listing(answer: Json) -> RenderableType:
    """The answer of `/alerts`."""
    parts: list[RenderableType] = []
    if answer["open"]:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("since", "severity", "alert", "labels", "incident", "summary"):
            table.add_column(column, overflow="fold", no_wrap=column not in ("labels", "summary"))
        for alert in answer["open"]:
            table.add_row(
                text(f"{_clock(alert['since'])} ({_ago(answer['now'] - alert['since'])})"),
                text(alert["severity"], STYLES.get(alert["severity"], "")),
                text(alert["kind"]),
                text(_labels(alert)),
                text(alert["incident"] or ""),
                text(_summary(alert)),
            )
        parts.append(table)
    else:
        parts.append(text("No alert is open."))
    for receiver in answer["receivers"]:
        if receiver["up"] is False:
            said = f"{receiver['receiver']} is not reached, {receiver['failures']} times in a row: {receiver['error']}"
            parts.append(text(f"! {said}", "yellow"))
        if receiver["lost"]:
            parts.append(text(f"! {receiver['receiver']} missed {receiver['lost']} messages", "yellow"))
    return Group(*parts)


def changes(before: Json, now: Json) -> list[Text]:
    """A line for each alert that one of two answers has and the other has not."""
    was, is_ = ({_identity(a): a for a in answer["open"]} for answer in (before, now))
    at = _clock(now["now"])
    opened = [_line(f"{at} opened", a, STYLES.get(a["severity"], "")) for k, a in is_.items() if k not in was]
    return opened + [_line(f"{at} closed", a, "") for k, a in was.items() if k not in is_]


def _line(head: str, alert: Json, style: str) -> Text:
    return text(f"{head} {alert['severity']} {alert['kind']} ({_labels(alert)}): {_summary(alert)}", style)


def _summary(alert: Json) -> str:
    silenced = f" [{alert['silenced']}]" if alert.get("silenced") else ""
    return f"{alert.get('summary', '')}{silenced}"


def _identity(alert: Json) -> tuple[str, str, str]:
    return alert["kind"], _labels(alert), alert["severity"]


def _labels(alert: Json) -> str:
    return ", ".join(f"{k}={v}" for k, v in alert["labels"].items())


def story(answer: Json) -> RenderableType:
    """The answer of `/incidents/ID`."""
    return Group(*_story(answer["incident"], answer["now"]))


def _story(incident: Json, now: float) -> Iterator[RenderableType]:
    ended = incident["ended"]
    lasts = format_duration(max(0, round((now if ended is None else ended) - incident["since"])))
    state = f"open for {lasts}" if ended is None else f"over, it took {lasts}"
    style = "bold" if ended is not None else f"bold {STYLES.get(incident['severity'], '')}"
    yield text(f"{incident['id']} {incident['severity']} {incident['kind']} ({_labels(incident)}), {state}", style)
    yield text(incident["summary"])
    yield text(f"touches {percent(incident['harm'])} of the requests at worst")
    yield Text()
    yield text("causes, the likeliest first", "dim")
    for number, cause in enumerate(incident["causes"], 1):
        yield text(f"  {number}. {cause}")
    yield text("evidence", "dim")
    for finding in incident["evidence"]:
        yield text(f"  {_clock(finding['since_s'])} {finding['kind']}: {finding['said']}")
    yield text("timeline (UTC)", "dim")
    for line in incident["timeline"]:
        yield text(f"  {_clock(line['at'])} {line['what']}")
    yield Text()
    yield text(f"done: {incident['done']}")
    yield text(f"to do: {incident['advice']}")


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _ago(seconds: float) -> str:
    return format_duration(max(0, round(seconds)))
