"""Soak test: kill processes at random points, and check that the next run repairs everything.

`python -m tests.soak --runs 100 --minutes 30 --seed 1` kills at least 100 processes, for at most 30
minutes. Each round begins in an empty folder. It kills the run (whose threads train trials), the
MLflow server, or the Prefect worker that started the run. Then a run goes on to its end. It must

- reuse every stage and every trial that a killed run had reported as finished;
- end with the winner, the metrics and the stages of an undisturbed run, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

from tests.fixtures.killing import (
    KillPoint,
    RunChecker,
    kill_runs,
    kill_worker,
    tracking_arguments,
    undisturbed_run,
)
from tests.fixtures.processes import Run, planted_folder
from tests.fixtures.tracking_server import TrackingServer, tracking_server


def kill_server(
    folder: Path, generator: random.Random, server: TrackingServer, checker: RunChecker
) -> list[KillPoint]:
    """Kill the MLflow server during a run, and start it again: the run has to end well."""
    run = Run(folder, tracking_arguments(server.uri, folder.name)).start()
    point = KillPoint.draw(generator)
    ended = point.wait(run)
    if ended is None:
        server.kill()
        time.sleep(generator.uniform(0, 3))
        server.start().ready()
    checker.check_results(ended or run.finish())
    return [point] if ended is None else []


def soak(folder: Path, runs: int, minutes: float, seed: int) -> int:
    """Kill at least `runs` processes, or as many as the minutes allow; returns how many."""
    start, generator = time.monotonic(), random.Random(seed)
    known = undisturbed_run(folder / "undisturbed")
    killed: Counter[str] = Counter()
    with tracking_server(folder / "server") as server:
        for number in count():
            if killed.total() >= runs or time.monotonic() - start > 60 * minutes:
                break
            place, checker = planted_folder(folder / f"round-{number}"), RunChecker(known)
            what = "server" if number % 8 == 3 else "worker" if number % 8 == 7 else "run"
            if what == "server":
                points = kill_server(place, generator, server, checker)
            elif what == "worker":
                points = kill_worker(place, generator, checker)
            else:
                points = kill_runs(place, [KillPoint.draw(generator) for _ in range(5)], checker)
            killed[what] += len(points)
            where = ", ".join(map(str, points)) or "nothing: the run ended before"
            print(f"round {number:>3}  {what:<6}  killed {where}", flush=True)
            shutil.rmtree(place)
    minutes = (time.monotonic() - start) / 60
    targets = ", ".join(f"{count} times the {what}" for what, count in killed.items())
    print(f"{killed.total()} kills in {minutes:.1f} minutes with seed {seed}: {targets}")
    print("no finished work was repeated; winner and metrics were those of an undisturbed run")
    return killed.total()


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--runs", type=int, default=100, help="kills, at least")
    options.add_argument("--minutes", type=float, default=45, help="at most")
    options.add_argument("--seed", type=int, default=None)
    given = options.parse_args()
    seed = random.randrange(2**31) if given.seed is None else given.seed
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        # A Prefect home of its own: the user's is left alone.
        os.environ["PREFECT_HOME"] = f"{folder}/prefect"
        from flows.temporary_server import served

        with served():
            reached = soak(Path(folder), given.runs, given.minutes, seed)
    if reached < given.runs:
        sys.exit(f"{reached} of {given.runs} kills were made in {given.minutes:g} minutes")


if __name__ == "__main__":
    main()
