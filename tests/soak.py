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
from itertools import count
from pathlib import Path

from tests.fixtures.killing import Point, Witness, kill_runs, kill_worker, through, undisturbed
from tests.fixtures.processes import Run, planted_folder
from tests.fixtures.tracking_server import Server, tracking_server


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
