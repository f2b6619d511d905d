"""The whole pipeline at MovieLens 20M's size: CPU and peak memory, stage by stage, against size.

Generated likes with skewed users and items; two trials of a few epochs, for it is growth that is
looked at, not quality. Every stage runs in a process of its own, so that its peak is its own.
`python -m tests.benchmarks.bench_scale 1 5` takes the sizes, in millions of likes; `items` is a
catalogue of a million items with five million likes.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from recsys.base import config
from recsys.pipeline import evaluation, fitting, gating, preparation, tuning
from recsys.store.stages import Stage, StageFunction
from tests.benchmarks.bench_preparation import Shape, generate

LIMIT = 12.0  # GB
SHAPES = {
    "1": Shape(7_000, 27_000, 1_000_000, 20_000, 465_000),
    "5": Shape(35_000, 27_000, 5_000_000, 20_000, 465_000),
    "20": Shape(140_000, 27_000, 20_000_000, 20_000, 465_000),
    "items": Shape(140_000, 1_000_000, 5_000_000, 20_000, 3_000_000),
}
SEED = 2016


@dataclass(frozen=True)
class Cost:
    """What a stage took: wall and CPU seconds, and peak memory in GB."""

    wall: float
    cpu: float
    peak: float


def main() -> None:
    chosen = sys.argv[1:] or ["1"]
    table: dict[str, dict[str, Cost]] = {}
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            files = apart(generate, SHAPES[name], Path(folder))[0]
            table[name] = {}
            for stage, made, cost in pipeline(Path(folder) / "interim", files):
                table[name][stage] = cost
                said = {n: v for n, v in made.counts().items() if isinstance(v, int | float)}
                print(
                    f"{name:>6}  {stage:<10}{cost.wall:>8.1f} s {cost.cpu:>8.1f} CPU s "
                    f"{cost.peak:>6.2f} GB  {said}",
                    flush=True,
                )
    print()
    print("CPU seconds / peak GB".ljust(24) + "".join(name.rjust(18) for name in table))
    for stage in next(iter(table.values())):
        cells = (f"{costs[stage].cpu:.1f} / {costs[stage].peak:.2f}" for costs in table.values())
        print(stage.ljust(24) + "".join(cell.rjust(18) for cell in cells))
    highest = max(cost.peak for costs in table.values() for cost in costs.values())
    print(f"highest peak {highest:.2f} GB, of {LIMIT:g} GB allowed")
    if highest > LIMIT:
        sys.exit(1)


def pipeline(interim: Path, files: tuple[Path, Path]) -> Iterator[tuple[str, Stage, Cost]]:
    """Every stage from the files to the verdict, as the flow makes them."""
    data = config.Data(likes=str(files[0]), features=str(files[1]))
    search = config.Search(trials=2, max_epochs=4, workers=2)
    made: dict[str, Stage] = {}

    def run(stage: Any, *arguments: Any, **options: Any) -> tuple[str, Stage, Cost]:
        made[stage.name], cost = apart(stage, interim, *arguments, **options)
        return stage.name, made[stage.name], cost

    yield run(preparation.ingest, data, preparation.sources_of(data))
    yield run(preparation.threshold, made["ingest"], config.Threshold())
    yield run(preparation.split, made["ingest"], made["threshold"], config.Split(), SEED)
    yield run(preparation.encode, made["ingest"], made["threshold"], config.Encode())
    holdouts, features = made["split"], made["encode"]
    yield run(tuning.tune, holdouts, features, search, SEED, (), search.workers)
    options = config.Evaluate(baseline_trials=1)
    yield run(evaluation.evaluate, holdouts, features, made["tune"], options, SEED, workers=2)
    inputs = made["threshold"], features, made["tune"], made["evaluate"]
    yield run(fitting.fit, *inputs, config.Fit(), SEED, {})
    judged = holdouts, features, made["evaluate"], made["fit"], None, config.Gate(), SEED
    yield run(gating.gate, *judged)


def apart(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, Cost]:
    """Call a function in a process of its own; what it returns and what it took."""
    near, far = multiprocessing.Pipe(duplex=False)
    name = function.name if isinstance(function, StageFunction) else function.__name__
    call = (name, arguments, options, far)
    process = multiprocessing.get_context("spawn").Process(target=_call, args=call)
    process.start()
    far.close()
    try:
        found: tuple[Any, Cost] = near.recv()
    except EOFError:
        process.join()
        sys.exit(f"{name} did not end (exit code {process.exitcode})")
    process.join()
    return found


def _call(name: str, arguments: Any, options: Any, answer: Connection) -> None:
    # By name, for a stage hides the function that it was made of.
    rooms = (preparation, tuning, evaluation, fitting, gating, sys.modules[__name__])
    function = next(getattr(room, name) for room in rooms if hasattr(room, name))
    # What the imports took is not counted; the memory they need is.
    start, imported = time.monotonic(), time.process_time()
    found = function(*arguments, **options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    cost = Cost(time.monotonic() - start, time.process_time() - imported, peak)
    answer.send((found, cost))


if __name__ == "__main__":
    main()
