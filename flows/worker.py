"""A worker of Prefect whose own temporary files are removed, also when it was killed.

Prefect's worker makes a folder for each run that it starts, and removes it when the run has ended.
What a worker that was killed has left is gone when the next one starts. The runs themselves go on
without their worker, so their temporary files are not among its own.
"""

from __future__ import annotations

import sys

from flows.prefect_api import reached
from recsys.store.scratch import own_temporary_folder


def work(pool: str, name: str | None = None, limit: int | None = None) -> None:
    """Take the runs of a work pool, a process for each, until this process is told to end.

    Parameters
    ----------
    pool : str
        It is made if there is none of that name.
    name : str or None
        Of the worker, in Prefect; None: Prefect makes one up.
    limit : int or None
        How many runs go on at a time, at most.

    Raises
    ------
    RegistryError
        If no Prefect server answers.
    """
    arguments = ["worker", "start", "--type", "process", "--pool", pool]
    if name is not None:
        arguments += ["--name", name]
    if limit is not None:
        arguments += ["--limit", str(limit)]
    with reached(), own_temporary_folder(inherited=False):
        from prefect.cli import app

        sys.argv = ["prefect", *arguments]  # which is where it reads them
        app()
