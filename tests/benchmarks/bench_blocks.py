"""Training in blocks beside whole epochs: seconds by threads, and precision by blocks.

`speed`: epochs of WARP in the founding shape, alternating between whole ones, blocks on one thread
and blocks on two. `quality DATA`: validation precision_at_5 of configurations after some epochs,
in whole epochs and in blocks, by the seed of split and training.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from recsys.models.configuration import LightFMParameters
from recsys.models.lightfm import Training
from recsys.models.spectral import Spectrum
from recsys.ranking.metrics import precision_at_k
from recsys.tuning.portfolio import PORTFOLIO
from tests.benchmarks.bench_kernel import founding_likes
from tests.benchmarks.bench_search import load

BLOCKS = 16
CASES = {"whole": (1, 1), "blocks": (BLOCKS, 1), "two threads": (BLOCKS, 2)}
EPOCHS = (20, 40, 60, 90)


def spent() -> float:
    """CPU seconds of all threads of the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure_speed(factors: int, sampled: int, epochs: int) -> None:
    """Print medians of wall and CPU seconds of an epoch, and the speed-up of the second thread."""
    parameters = LightFMParameters(
        no_components=factors, max_sampled=sampled, user_alpha=2e-4, item_alpha=2e-4
    )
    likes = founding_likes()
    models = {
        name: Training(likes, replace(parameters, blocks=blocks), 0, threads=threads)
        for name, (blocks, threads) in CASES.items()
    }
    wall: dict[str, list[float]] = {name: [] for name in CASES}
    cpu: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(epochs + 1):
        for name, model in models.items():
            start, before = time.perf_counter(), spent()
            model.advance(1)
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(spent() - before)
    pairs = zip(wall["blocks"][1:], wall["two threads"][1:], strict=True)
    gain = median(one / two for one, two in pairs)
    shown = "  ".join(f"{median(wall[n][1:]):7.3f} {median(cpu[n][1:]):7.3f}" for n in CASES)
    print(f"{factors:7} {sampled:11}  {shown}  {gain:8.2f}", flush=True)


def measure_quality(dataset: str, seeds: Sequence[int], sampled: int) -> None:
    """Print precision of the portfolio's configuration by blocks and epochs, a line a seed."""
    known = {**PORTFOLIO[dataset], "max_sampled": sampled, "initialisation": "spectral"}
    for seed in seeds:
        parts = load(dataset, seed)
        spectrum = Spectrum(parts.train, seed)
        for blocks in (1, BLOCKS):
            parameters = replace(
                LightFMParameters.from_dict(
                    {name: known[name] for name in known if name != "alpha"}
                ),
                blocks=blocks,
            )
            model = Training(parts.train, parameters, seed, spectrum=spectrum, threads=1)
            values = []
            for epochs in EPOCHS:
                model.advance(epochs - model.epoch)
                found = precision_at_k(model.view(), parts.validation, known=parts.train, k=5)
                values.append(f"{found.mean():.4f}")
            print(f"{dataset} {seed:4} {sampled:11} {blocks:6}  {' '.join(values)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure training in blocks.")
    parser.add_argument("what", nargs="?", choices=["speed", "quality"], default="speed")
    parser.add_argument("dataset", nargs="?", choices=["sample", "citeulike-a"], default="sample")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--sampled", type=int, default=10)
    options = parser.parse_args(arguments)
    if options.what == "quality":
        print(f"data seed max_sampled blocks  precision after {EPOCHS} epochs")
        measure_quality(options.dataset, options.seeds, options.sampled)
        return
    print("factors max_sampled  " + "  ".join(f"{name:>11} CPU" for name in CASES) + "   speed-up")
    for factors in (64, 100, 192):
        for sampled in (10, 50):
            measure_speed(factors, sampled, options.epochs)


if __name__ == "__main__":
    main()
