"""The log: one line an event, whatever the event holds."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from weirflow import log

HOSTILE = "orders\n2026-01-01 [error] all is lost \x1b[31m"


@pytest.fixture(autouse=True)
def _restored():
    yield
    structlog.reset_defaults()


def test_the_console_form_keeps_a_hostile_name_on_its_line():
    out = io.StringIO()
    log.configure("info", "console", out)
    structlog.get_logger("t").info(HOSTILE, service=HOSTILE)
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()


def test_the_json_form_is_an_object_a_line_with_time_and_level():
    out = io.StringIO()
    log.configure("info", "json", out)
    structlog.get_logger("t").warning("commanded", service=HOSTILE, odd=object)
    line = json.loads(out.getvalue())
    assert line["service"] == HOSTILE
    assert line["level"] == "warning"
    assert line["timestamp"].endswith("Z")


def test_less_than_the_level_is_not_written():
    out = io.StringIO()
    log.configure("warning", "json", out)
    structlog.get_logger("t").info("quiet")
    assert out.getvalue() == ""
