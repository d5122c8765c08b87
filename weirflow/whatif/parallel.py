"""Tasks on one core, on many, or on a cluster: joblib, and its backends.

What comes out is in the order of the tasks, whoever did them. Dask and Ray are their users' to install: a backend that
is not there is told before any work starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

NEEDS = {"loky": "", "threading": "", "dask": "distributed", "ray": "ray"}
"""The package that a backend needs beside joblib."""


class AbsentError(RuntimeError):
    """A backend whose package is not installed."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How tasks are run."""

    jobs: int = 1
    backend: str = "loky"

    def __post_init__(self) -> None:
        """AbsentError, with the mend, when the backend cannot be used."""
        package = NEEDS[self.backend]
        if package and find_spec(package) is None:
            raise AbsentError(f"--backend {self.backend} needs the package {package!r}, which is not installed")

    def run(self, do: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Each task's result, in order, as soon as it and those before it are there."""
        if self.jobs == 1 and self.backend in ("loky", "threading"):
            yield from map(do, tasks)
            return
        import joblib

        options: dict[str, Any] = {"n_jobs": self.jobs}
        if self.backend == "ray":
            from ray.util.joblib import register_ray

            register_ray()
        elif self.backend == "dask":
            self._join_dask()
        with joblib.parallel_config(backend=self.backend, **options):
            generator = self.backend in ("loky", "threading")
            parallel = joblib.Parallel(return_as="generator" if generator else "list")
            yield from parallel(joblib.delayed(do)(task) for task in tasks)

    def _join_dask(self) -> None:
        """The cluster that DASK_SCHEDULER_ADDRESS names, or workers on this machine."""
        import dask
        from distributed import Client

        address = dask.config.get("scheduler-address", None)
        many = None if self.jobs < 0 else self.jobs
        _ = Client(address) if address else Client(processes=True, n_workers=many, threads_per_worker=1)
