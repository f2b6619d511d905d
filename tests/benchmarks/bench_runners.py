"""Where trials train: speed-up of a study by a second worker, cost of each segment, equal results.

A 16-trial study of the bundled sample on each of Prefect's task runners, with one worker and with
two, reporting to a Prefect server that is there. Each measurement is a process of its own. The
runner is started, and empty calls are timed, before the study: `start` is until the first empty
call is back, `a segment` the median of 20 more, `its CPU` what this process spent on each.

Speed-up is the wall time with one worker divided by that with two. CPU seconds are beside it: if
training takes more of them with two workers, memory or other programs hold it back; if a wall time
with two is above half of them, workers had to wait.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.bench_orchestration import QUIET, server
from tests.fixtures.paths import ROOT

RUNNERS = ("threads", "processes", "dask", "ray")
BAR = 1.8


def nothing(argument: int) -> int:
    return argument


def measure(
    runner: str, workers: int, trials: int, epochs: int, closed: int, interim: Path
) -> dict[str, Any]:
    """One study in this process; what it took."""
    from prefect import flow

    from recsys.base.config import Search
    from recsys.base.events import TrialDone, listening
    from recsys.pipeline import tuning
    from tasks.runners import runner_pool
    from tests.fixtures.stages import SAMPLE, prepare

    prepared = prepare(SAMPLE, interim)
    search = Search(
        trials=trials,
        max_epochs=epochs,
        runner=runner,
        workers=workers,
        item_to_item_trials=closed,
    )
    found: dict[str, Any] = {}
    segments: list[TrialDone] = []

    @flow(name="bench")
    def study() -> None:
        with runner_pool(search) as pool:
            start = time.perf_counter()
            pool.submit(nothing, 0).result()
            found["start"] = time.perf_counter() - start
            empty, cpu = [], time.process_time()
            for number in range(20):
                start = time.perf_counter()
                pool.submit(nothing, number).result()
                empty.append(time.perf_counter() - start)
            found["segment"] = median(empty)
            found["segment_cpu"] = (time.process_time() - cpu) / len(empty)
            with tempfile.TemporaryDirectory(dir=interim) as folder, listening(_segments(segments)):
                start, cpu = time.perf_counter(), time.process_time()
                made = tuning.tune(
                    Path(folder), prepared.holdouts, prepared.features, search, 2016, pool=pool
                )
                found["wall"] = time.perf_counter() - start
                found["own_cpu"] = time.process_time() - cpu
            found["digest"] = made.digest

    study()
    found["trained_cpu"] = sum({event.number: event.seconds for event in segments}.values())
    found["segments"] = len(segments)
    return found


def _segments(kept: list[Any]) -> Any:
    from recsys.base.events import TrialDone

    return lambda event: kept.append(event) if isinstance(event, TrialDone) else None


def child(runner: str, workers: int, options: argparse.Namespace, **variables: str) -> Any:
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.bench_runners"]
    settings = ["--trials", str(options.trials), "--epochs", str(options.epochs)]
    settings += ["--closed", str(options.closed)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, *settings, "--one", runner, str(workers), folder],
            cwd=ROOT,
            env=os.environ | QUIET | {"DASK_LOGGING__DISTRIBUTED": "error"} | variables,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a study on each runner.")
    parser.add_argument("--runners", nargs="+", default=RUNNERS, choices=RUNNERS)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=260)
    parser.add_argument("--closed", type=int, default=10, help="trials of each item-to-item model")
    parser.add_argument("--one", nargs=3, metavar=("RUNNER", "WORKERS", "FOLDER"))
    options = parser.parse_args(arguments)
    if options.one:
        runner, workers, folder = options.one
        print(
            json.dumps(
                measure(
                    runner, int(workers), options.trials, options.epochs, options.closed,
                    Path(folder),
                )
            )
        )  # fmt: skip
        return
    print(
        "runner     workers   start s   a segment ms   its CPU ms    study s   trials' CPU s   "
        "own CPU s   speed-up"
    )
    digests: set[str] = set()
    with tempfile.TemporaryDirectory() as home, server(Path(home)) as address:
        for runner in options.runners:
            alone = 0.0
            for workers in (1, 2):
                one = child(runner, workers, options, PREFECT_API_URL=address)
                digests.add(one["digest"])
                alone = alone or one["wall"]
                gain = f"{alone / one['wall']:10.2f}" if workers == 2 else ""
                print(
                    f"{runner:10} {workers:7} {one['start']:9.1f} {1e3 * one['segment']:10.0f} "
                    f"{1e3 * one['segment_cpu']:12.0f} "
                    f"{one['wall']:10.1f} {one['trained_cpu']:15.1f} {one['own_cpu']:11.1f} {gain}",
                    flush=True,
                )
    same = "the same results on all" if len(digests) == 1 else f"{len(digests)} DIFFERENT results"
    print(f"{same}; bar: {BAR} times on two cores")


if __name__ == "__main__":
    main()
