"""Database templates: those of Prefect and MLflow made anew, for the environment that runs this.

Run as `python -m flows.database_templates`, once an environment is there. Without them a first run
takes several seconds longer.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.quiet import silence
from flows.temporary_server import served
from recsys.store.templates import keep_template, template_of


def main() -> int:
    """Make what is missing, side by side; the number of those that could not be made."""
    wanted = [(name, make) for name, make in _MAKERS.items() if not template_of(name).is_file()]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_make, args=(make,), name=name) for name, make in wanted]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            print(f"no template of {process.name}'s database was made", file=sys.stderr)
    return sum(bool(process.exitcode) for process in processes)


def _of_prefect(folder: Path) -> None:
    """That of a server which has started once, and so has Prefect's kinds of blocks in it."""
    # Whatever its user's settings say, in the environment or in a file of the folder: they may name
    # a database that others use.
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ |= {"PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    os.chdir(folder)
    with served():
        pass
    keep_template("prefect", folder / "prefect.db")


def _of_mlflow(folder: Path) -> None:
    from recsys.tracking import client  # only here: it takes seconds to import

    client.make_template(folder)


_MAKERS = {"prefect": _of_prefect, "mlflow": _of_mlflow}


def _make(make: Callable[[Path], None]) -> None:
    silence()
    with TemporaryDirectory() as folder:
        make(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
