"""The front door of Weirflow, and the only name to import from outside.

Processes, files, ports and people are met here; the decisions are made in `brain`, which this package drives.
"""

__version__ = "0.1.0"
