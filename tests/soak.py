"""The soak: processes killed with -9 at random points, and what the next run makes of it.

`python -m tests.soak --runs 100 --minutes 30 --seed 1` kills runs until both are reached or the
time is over. Every round starts from nothing in a folder of its own. Something is killed some
times: the run (whose threads train the trials), the MLflow server, or the Prefect worker that
started the run. Then a run is let through. It must

- reuse every stage that a killed run had said was done, and make no trial again that one had said
  had ended;
- end with the winner, the figures and the stages of a run that nobody disturbed, bit for bit.
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
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.fixtures.processes import Ended, Run, planted_folder
from tests.fixtures.tracking_server import Server, tracking_server

STAGES = 10
LEGS = 9


@dataclass
class Witness:
    """What runs of one folder have finished, and must not be done again."""

    undisturbed: Ended
    stages: set[str] = field(default_factory=set)
    trials: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    seconds: dict[tuple[int, int], float] = field(default_factory=dict)

    def see(self, run: Ended) -> None:
        """Check one more run of the folder, killed or not."""
        for stage, reused in run.stages().items():
            assert reused or stage not in self.stages, f"{stage} was made again"
        self.stages |= set(run.stages())
        for number, trial in run.trials().items():
            same = self.trials.setdefault(number, trial)
            assert trial == same == self.undisturbed.trials()[number], f"trial {number} differs"
        for leg, seconds in run.seconds().items():
            # A leg that was trained again would have taken other seconds, to the nanosecond.
            assert self.seconds.setdefault(leg, seconds) == seconds, f"{leg} was trained again"

    def see_same(self, run: Ended) -> None:
        """Check a run whose registry, or whose place in it, is another."""
        self.see(run)
        assert run.code == 0, run.errors
        for part in ("leaderboard", "strategies", "counts"):
            assert run.outcome[part] == self.undisturbed.outcome[part]

    def see_last(self, run: Ended) -> None:
        """Check the run that was let through."""
        self.see(run)
        assert run.code == 0, run.errors
        assert run.outcome == self.undisturbed.outcome


@dataclass(frozen=True)
class Point:
    """When something is killed: some milliseconds after so many events of a kind."""

    event: str
    count: int
    milliseconds: int

    def __str__(self) -> str:
        return f"{self.event} {self.count} + {self.milliseconds} ms"

    @staticmethod
    def draw(generator: random.Random) -> Point:
        # Stages are short and many; a search is one of them, and most of the time.
        kind = generator.choice(["StageStarted", "StageStarted", "TrialDone"])
        count = generator.randint(0, STAGES if kind == "StageStarted" else LEGS)
        return Point(kind, count, int(generator.expovariate(1 / 150)))

    def wait(self, run: Run) -> Ended | None:
        """Wait for this point of a run; how the run ended, if it did before."""
        while not run.told(self.count, self.event):
            if ended := run.wait(0.005):
                return ended
        return run.wait(self.milliseconds / 1000)


def kill_runs(folder: Path, points: Sequence[Point], witness: Witness) -> list[Point]:
    """Kill runs of a folder, one at each point, then let one through; where they were killed.

    A run that ends before its point is reached ends the round.
    """
    killed: list[Point] = []
    for point in points:
        run = Run(folder).start()
        ended = point.wait(run)
        if ended is not None:
            witness.see_last(ended)
            return killed
        witness.see(run.kill())
        killed.append(point)
    witness.see_last(Run(folder).start().ended())
    return killed


def kill_server(
    folder: Path, generator: random.Random, server: Server, witness: Witness
) -> list[Point]:
    """Kill the MLflow server under a run, and start it again: the run rides it out."""
    run = Run(folder, through(server.uri, folder.name)).start()
    point = Point.draw(generator)
    ended = point.wait(run)
    if ended is None:
        server.kill()
        time.sleep(generator.uniform(0, 3))
        server.start().ready()
    witness.see_same(ended or run.ended())
    return [point] if ended is None else []


def through(uri: str, name: str) -> list[str]:
    """Arguments that have a run tell a server, under a name of its own."""
    return [
        f"--set=tracking.{what}" for what in (f"uri={uri}", f"experiment={name}", f"model={name}")
    ]


def kill_worker(folder: Path, generator: random.Random, witness: Witness) -> list[Point]:
    """Kill the Prefect worker under a run that it started, or both of them; then run again.

    A run whose worker is gone goes on: the next one waits for it.
    """
    # Imported here, for Prefect reads its settings then.
    from tests.fixtures.worker import alive, ask_for_run, begun, children, kill, start_worker, state

    worker = start_worker()
    run_id = ask_for_run(folder)
    begun(run_id, worker)
    time.sleep(generator.uniform(0, 5))
    below = children(worker.pid)
    kill(worker.pid)
    worker.wait()
    if generator.random() < 0.5:
        for pid in below:
            kill(pid)
    witness.see_same(Run(folder).start().ended())
    while any(map(alive, below)):
        time.sleep(0.05)
    assert state(run_id) in ("Completed", "Crashed"), state(run_id)
    return [Point("worker", len(below), 0)]


def undisturbed(folder: Path) -> Ended:
    """A run of a folder that nobody disturbs."""
    ended = Run(planted_folder(folder)).start().ended()
    assert ended.code == 0, ended.errors
    return ended


def soak(folder: Path, runs: int, minutes: float, seed: int) -> int:
    """Kill at least so many runs, or as many as the time allows; how many were killed."""
    start, generator = time.monotonic(), random.Random(seed)
    known = undisturbed(folder / "undisturbed")
    killed: Counter[str] = Counter()
    with tracking_server(folder / "server") as server:
        for number in count():
            if killed.total() >= runs or time.monotonic() - start > 60 * minutes:
                break
            place, witness = planted_folder(folder / f"round-{number}"), Witness(known)
            what = "server" if number % 8 == 3 else "worker" if number % 8 == 7 else "run"
            if what == "server":
                points = kill_server(place, generator, server, witness)
            elif what == "worker":
                points = kill_worker(place, generator, witness)
            else:
                points = kill_runs(place, [Point.draw(generator) for _ in range(5)], witness)
            killed[what] += len(points)
            told = ", ".join(map(str, points)) or "it ended before"
            print(f"round {number:>3}  {what:<6}  killed {told}", flush=True)
            shutil.rmtree(place)
    minutes = (time.monotonic() - start) / 60
    told = ", ".join(f"{count} times the {what}" for what, count in killed.items())
    print(f"{killed.total()} kills in {minutes:.1f} minutes with seed {seed}: {told}")
    print("nothing finished was made again; winner and figures were those of an undisturbed run")
    return killed.total()


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--runs", type=int, default=100, help="kills, at least")
    options.add_argument("--minutes", type=float, default=45, help="at most")
    options.add_argument("--seed", type=int, default=None)
    given = options.parse_args()
    seed = random.randrange(2**31) if given.seed is None else given.seed
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        # Nothing of the person's own Prefect is touched.
        os.environ["PREFECT_HOME"] = f"{folder}/prefect"
        from flows.temporary_server import served

        with served():
            reached = soak(Path(folder), given.runs, given.minutes, seed)
    if reached < given.runs:
        sys.exit(f"{reached} of {given.runs} kills were made in {given.minutes:g} minutes")


if __name__ == "__main__":
    main()
