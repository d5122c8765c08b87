"""What tests of commands share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import structlog

from weirflow import log

if TYPE_CHECKING:
    from tests.served import Served


@pytest.fixture
def quiet() -> Iterator[None]:
    """The audit log of an API in this very process must not mix with what a command prints."""
    log.configure("error")
    yield
    structlog.reset_defaults()


@pytest.fixture
def mesh() -> Iterator[Served]:
    """The admin API of the mesh that `example_decision` is of. A module with a mesh of its own names it alike."""
    from tests.served import Served  # here: most tests need no command line
    from weirflow.staged import StagedOperations, example_decision

    with Served(StagedOperations(example_decision())) as served:
        yield served
