"""A checkpoint as pandas frames: what the brain would know if it were started from it now.

The file is only looked at: a broken one stays where it is, and is not set aside as at a start.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brain import champion
from brain.checkpoint import open_state
from models.capacity import Capacity
from models.simple import Simple
from weirflow import checkpoint
from weirflow.opened.frames import Opened
from weirflow.recording import Recording, RecordingError

_COLUMNS = ("capacity_per_s", "capacity_low_per_s", "capacity_high_per_s", "service_s", "count")


class Kept(Opened):
    """A checkpoint: `endpoints`, `services`, `models` and `latency`. What only a recording has is a RecordingError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = _state_of(path)
        self._frames: dict[str, Any] = {}
        self._faults = self._service = self._start_s = self._end_s = None

    def __repr__(self) -> str:
        return f"<checkpoint {self._path.name}: {', '.join(self.services.index)}>"

    @property
    def endpoints(self) -> pd.DataFrame:
        """A row an endpoint, by service and address: `capacity_per_s` with its 90 % interval, `service_s` of an idle
        one and the `count` behind them, by the model that decides."""
        return self._frame("endpoints", self._endpoints)

    @property
    def services(self) -> pd.DataFrame:
        """A row a service, by name: `mode` and `share_percent` as commanded, `step` (how often its share was stepped
        back), and `static_requests` and `adaptive_requests`, faded, that its gain is told from."""
        return self._frame("services", self._services_kept)

    @property
    def models(self) -> pd.DataFrame:
        """A row a model, as `weirflow models list` has it."""
        return self._frame("models", lambda: pd.DataFrame(self._models()))

    def latency(self, found: Sequence[float]) -> pd.DataFrame:
        """Mean seconds of an attempt that finds so many requests open, by the model that decides."""
        model, index = self._deciding()
        rows = [model.curve(np.full(len(index), float(n))) for n in found]
        return pd.DataFrame(rows, index=pd.Index(list(found), name="found"), columns=index)

    def _models(self) -> list[dict[str, Any]]:
        from weirflow.scored import rows_of_state

        return rows_of_state(self._state)

    def _endpoints(self) -> pd.DataFrame:
        model, index = self._deciding()
        said, work = model.predict_many(), model.service_times()
        columns = (said.value, said.low, said.high, work.value, said.count)
        return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)), index=index)

    def _deciding(self) -> tuple[Capacity | Simple, pd.MultiIndex]:
        kept = self._state["learners"]
        if "models" not in kept:  # from before there were several
            kept = {"models": {champion.FIRST: kept}, "deciding": champion.FIRST}
        name = kept["deciding"] if kept["deciding"] in kept["models"] else next(iter(kept["models"]))
        of = kept["models"][name]
        index = pd.MultiIndex.from_tuples([tuple(n) for n in of["names"]], names=["service", "endpoint"])
        return _model(of), index

    def _services_kept(self) -> pd.DataFrame:
        kept = self._state["services"]
        out = [
            {
                "mode": str(s["mode"]),
                "share_percent": float(s["share"]),
                "step": int(s["step"]),
                "static_requests": float(s["sums"][0]),
                "adaptive_requests": float(s["sums"][2]),
            }
            for s in kept.values()
        ]
        return pd.DataFrame(out, index=pd.Index(list(kept), name="service"))

    def _whole(self) -> Recording:
        reason = "is a checkpoint: it has `endpoints`, `services` and `models`; the rest is for a recording to tell"
        raise RecordingError(self._path.name, reason)


def _state_of(path: Path) -> dict[str, Any]:
    try:
        state = checkpoint.look(path)
        open_state(state)
    except checkpoint.CheckpointError as error:
        reason = str(error).partition(": ")[2]
        raise RecordingError(path.name, f"{reason}; name a recording's folder, or the file of a checkpoint") from error
    except ValueError as error:
        raise RecordingError(path.name, str(error)) from error
    return state


def _model(kept: dict[str, Any]) -> Capacity | Simple:
    """The model of these rows, as it was kept. A model of one's own keeps the queueing model's rows beside its own."""
    if "simple" in kept:
        simple = Simple(len(kept["names"]), error_exponent=kept["simple"]["error_exponent"])
        simple.restore(kept["simple"])
        return simple
    rows = kept["capacity"]
    told = {name: rows[name] for name in ("error_exponent", "rate_half_life_s")}
    capacity = Capacity(len(kept["names"]), **told)
    capacity.restore(rows)
    return capacity
