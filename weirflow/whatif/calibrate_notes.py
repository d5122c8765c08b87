"""What had to be assumed to make a world of a recording, in words for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from weirflow.recording import Recording, RecordingError
from weirflow.whatif.calibrate_fit import Fit
from weirflow.whatif.calibrate_read import Survey
from weirflow.whatif.calibrate_rules import UNKNOWN_ROUTE
from weirflow.whatif.world import World

if TYPE_CHECKING:
    from weirflow.whatif.calibrate import Story

FEW_ATTEMPTS = 30
SOME = 0.01


def of(
    world: World, recording: Recording, story: Story, about: Survey, fit: Fit, faults: Sequence[RecordingError]
) -> Iterator[str]:
    """Every assumption that this recording made necessary."""
    names = world.fleet.names
    if recording.mesh is None:
        timeout_s = max(r.timeout_s for r in world.rules.routes)
        yield f"the recording does not tell the static rules: least request and a timeout of {timeout_s:g} s assumed"
    if fit.blurred:
        yield (
            f"times are told to {1e3 * max(about.starts_to_s, about.lasts_to_s):g} ms, too coarse for works of "
            f"{1e3 * float(fit.mean_s.mean()):.2g} ms: how many workers endpoints have is not known, "
            f"{int(np.median(fit.workers.count))} are reckoned with"
        )
    elif not np.isfinite(fit.workers.high):
        yield (
            f"hardly any queue was seen: endpoints have {fit.workers.low} workers or more, "
            f"{int(np.median(fit.workers.count))} are reckoned with; what more load does is a guess"
        )
    rare = [names[e] for e in np.flatnonzero(fit.attempts < FEW_ATTEMPTS).tolist()]
    if rare:
        yield f"hardly tried, so hardly known: {', '.join(rare)}"
    if fit.sharing:
        yield "endpoints share their workers out among all requests they have"
    if about.skewed:
        clocks = ", ".join(
            f"{world.nodes[n]} by {-about.offset_s[n]:+.2f} s" for n in about.skewed if n in about.offset_s
        )
        yield f"clocks were ahead, and are put right: {clocks}"
    if UNKNOWN_ROUTE in world.classes:
        yield "some requests name no route; they are taken for a class of their own"
    lost = 1.0 - about.attempts / about.issued if about.issued else 0.0
    if lost > SOME:
        yield f"{lost:.0%} of the attempts that load reports count are not in the log: less comes than came"
    if story.dropped:
        yield f"log entries that taught nothing: {', '.join(f'{n} {r}' for r, n in sorted(story.dropped.items()))}"
    if story.restored:
        yield "the recorded brain began with what it had learned before; a simulated one begins knowing nothing"
    if story.commands or story.reconfigured:
        yield "operators' commands and new settings during the recording are not followed: those of its start hold"
    for fault in dict.fromkeys(map(str, faults)):
        yield f"passed over: {fault}"
