"""Recordings: a folder of Parquet parts that holds every call the brain heard, and every Decision it came to.

`Recorder` writes one while the mesh runs, `read` opens one, `inspect.inspect` says what is in it and what is not. A
recording replays exactly (`weirflow.replay`), and opens with pandas or DuckDB (docs/reference/recording.md).
"""

from weirflow.recording.calls import Call, Failure, Start
from weirflow.recording.errors import RecordingError
from weirflow.recording.reader import Recording, read
from weirflow.recording.runs import newest, runs
from weirflow.recording.writer import Recorder

__all__ = ["Call", "Failure", "Recorder", "Recording", "RecordingError", "Start", "newest", "read", "runs"]
