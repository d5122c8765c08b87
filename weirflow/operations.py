"""What an operator may see and do: the handle that the admin API and the metrics are given.

`wiring.Running` implements it for a mesh that runs; a test hands over one made of a Decision it wrote by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from brain.commands import Command
from brain.decision import Decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.hindsight import ForetoldView
    from brain.ranking import ModelView
    from weirflow.config.build import Config
    from weirflow.config.differs import Change
    from weirflow.console.feed import Feed
    from weirflow.console.past import Past
    from weirflow.notify import Notifier


class Operations(Protocol):
    """One mesh that runs. All calls but `reload` return at once, and all are made from its event loop."""

    @property
    def notifier(self) -> Notifier:
        """Who knows what is open, and delivers it."""

    @property
    def feed(self) -> Feed:
        """Who makes the console's document of every tick."""

    @property
    def past(self) -> Past:
        """What can be looked back at."""

    def now(self) -> float:
        """The brain's time, seconds."""

    def config(self) -> Config:
        """The mesh file as it is in force."""

    async def reload(self, seen: str | None = None) -> list[Change]:
        """Have the mesh file read again; what changed. `seen`: the digest (`config.differs`) of what it must say.

        ConfigError, and all stays as it is, when the file is refused.
        """

    def decision(self) -> Decision | None:
        """The last tick's; None before the first."""

    def models(self) -> Sequence[ModelView]:
        """The brain's models of latency, the one that decides first."""

    def foretold(self) -> Sequence[ForetoldView]:
        """How well the brain foretold demand, by service and horizon."""

    def status(self) -> dict[str, Any]:
        """The process and its wires, as plain data.

        `version`, `epoch`, `now`, `config` (`file`, `reload_error`), `xds` (`address`, `ttl_s`), `tick_s`,
        `checkpoint` (`file`, `every_s`; None when none is kept), `keda` (`address`; None when it is not served),
        `driver` (counters), `wires` (by node), `envoys`, `recording` (None when nothing is recorded), `alerts`
        (`receivers`). Readers bear with what is missing.
        """

    def command(self, command: Command, who: str) -> None:
        """Tell the brain. KeyError, its message naming the nearest, for a service or model that is not there."""
