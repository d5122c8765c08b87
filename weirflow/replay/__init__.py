"""A recording told to a new brain, in virtual time: the same calls must bring the same decisions.

This is how a bug of a night becomes a test, and how a change of the brain shows what it changes. `replay` compares with
what was recorded, with no tolerance; `compare` holds two versions' decisions over one recording against each other.
"""

from weirflow.replay.differences import Difference, difference
from weirflow.replay.loop import BrainFactory, Calls, ReplayError, Step, replay, steps

__all__ = ["BrainFactory", "Calls", "Difference", "ReplayError", "Step", "difference", "replay", "steps"]
