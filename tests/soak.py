"""Soak test: kill processes at random points, and check that the next run repairs everything.

`python -m tests.soak --runs 100 --minutes 30 --seed 1` kills at least 100 processes, for at most 30
minutes. Each round begins in an empty folder. It kills

- the run, whose threads train trials, at any point, or in its first seconds;
- the MLflow server, or the Prefect worker that started the run;
- a run, and a Dask worker, in a final fit that is spread over a cluster;
- a server to which likes and outcomes are posted, or one of its workers.

Then a run goes on to its end. It must

- reuse every stage and every trial that a killed run had reported as finished;
- end with the winner, the metrics and the stages of an undisturbed run, bit for bit.

A server has to have on disk what it acknowledged, and nothing that nobody posted. After each round
there is no process, port, lock or temporary folder that was not there before.
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
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from tests.fixtures.killed_fits import cluster, kill_fits, undisturbed_fit
from tests.fixtures.killed_servers import compared_versions, kill_server_of_posts
from tests.fixtures.killed_starts import kill_starts
from tests.fixtures.killing import (
    KillPoint,
    RunChecker,
    kill_runs,
    kill_worker,
    tracking_arguments,
    undisturbed_run,
)
from tests.fixtures.leftovers import Before, watching
from tests.fixtures.processes import FinishedRun, Run, planted_folder
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


KINDS = ("run", "server", "start", "posts", "run", "worker", "fit", "posts")
"""What is killed in one round after the other."""


@dataclass
class Rounds:
    """The kinds of rounds, and what they need, which is made when it is first needed.

    Parameters
    ----------
    folder : Path
        Below which each round has a folder.
    generator : random.Random
    stack : ExitStack
        Ends the servers that were started.
    """

    folder: Path
    generator: random.Random
    stack: ExitStack

    @cached_property
    def server(self) -> TrackingServer:
        """An MLflow server."""
        return self.stack.enter_context(tracking_server(self.folder / "server"))

    @cached_property
    def cluster(self) -> Any:
        """A Dask cluster."""
        return self.stack.enter_context(cluster())

    @cached_property
    def known(self) -> FinishedRun:
        """An undisturbed run."""
        return undisturbed_run(self.folder / "undisturbed")

    @cached_property
    def known_fit(self) -> FinishedRun:
        """An undisturbed run of the data whose fit is spread."""
        return undisturbed_fit(self.folder / "undisturbed-fit")

    @cached_property
    def registry(self) -> str:
        """The address of a registry with a champion and a challenger."""
        return compared_versions(self.folder / "registry")

    def ready(self, kind: str) -> None:
        """Make what a round of this kind needs."""
        needed = {"fit": ["known_fit", "cluster"], "server": ["known", "server"]}
        for name in needed.get(kind, ["registry" if kind == "posts" else "known"]):
            getattr(self, name)

    def run(self, kind: str, place: Path) -> Sequence[object]:
        """One round in a folder that is not there yet; when processes were killed."""
        generator = self.generator
        if kind == "posts":
            return kill_server_of_posts(place, self.registry, generator)
        if kind == "fit":
            return kill_fits(place, self.cluster, generator, RunChecker(self.known_fit))
        checker = RunChecker(self.known)
        planted_folder(place)
        if kind == "server":
            return kill_server(place, generator, self.server, checker)
        if kind == "worker":
            return kill_worker(place, generator, checker)
        if kind == "start":
            return kill_starts(place, self.folder / "home", generator, checker)
        return kill_runs(place, [KillPoint.draw(generator) for _ in range(5)], checker)


def soak(folder: Path, kinds: Sequence[str], runs: int, minutes: float, seed: int) -> int:
    """Kill at least `runs` processes, or as many as the minutes allow; returns how many."""
    start, killed = time.monotonic(), Counter[str]()
    with ExitStack() as stack:
        rounds = Rounds(folder, random.Random(seed), stack)
        for number in count():
            if killed.total() >= runs or time.monotonic() - start > 60 * minutes:
                break
            kind, place = kinds[number % len(kinds)], folder / f"round-{number}"
            rounds.ready(kind)
            before = Before.seen()
            points = rounds.run(kind, place)
            before.check(place)
            killed[kind] += len(points)
            where = ", ".join(map(str, points)) or "nothing: the run ended before"
            print(f"round {number:>3}  {kind:<6}  killed {where}", flush=True)
            shutil.rmtree(place)
    minutes = (time.monotonic() - start) / 60
    targets = ", ".join(f"{count} in rounds of {kind}" for kind, count in killed.items())
    print(f"{killed.total()} kills in {minutes:.1f} minutes with seed {seed}: {targets}")
    print("no finished work was repeated; winner and metrics were those of an undisturbed run;")
    print("what was acknowledged was kept; nothing was left")
    return killed.total()


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--runs", type=int, default=100, help="kills, at least")
    options.add_argument("--minutes", type=float, default=60, help="at most")
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--kinds", nargs="+", choices=sorted(set(KINDS)), default=KINDS)
    given = options.parse_args()
    seed = random.randrange(2**31) if given.seed is None else given.seed
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, watching(Path(folder)):
        # A Prefect home of its own: the user's is left alone.
        os.environ["PREFECT_HOME"] = f"{folder}/prefect"
        from flows.temporary_server import served

        with served():
            reached = soak(Path(folder), given.kinds, given.runs, given.minutes, seed)
    if reached < given.runs:
        sys.exit(f"{reached} of {given.runs} kills were made in {given.minutes:g} minutes")


if __name__ == "__main__":
    main()
