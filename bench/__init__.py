"""The measured figures, each by a program of its own: `python -m bench` runs them all, `python -m bench.NAME` one."""
