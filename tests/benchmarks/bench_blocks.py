"""Training in blocks beside whole epochs: seconds by threads, and precision by blocks.

`speed`: epochs of WARP in the founding shape, alternating between whole ones, blocks on one thread
and blocks on two. `quality DATA`: validation precision_at_5 of configurations after some epochs,
in whole epochs and in blocks, by the seed of split and training; with `--joint`, features of items
are trained as well, with 64 factors, and blocks are groups of items. `studies DATA`: searches of
the pipeline's space, each trained in its own way, the winners refit on train and validation and
measured once on the test holdout; differences to the first way are paired by user. `grid DATA`:
the same with a grid of configurations in the place of searches, of which each way takes its best by
validation, so that no difference is a search's luck.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Float64Array
from recsys.base.dimensions import DEFAULT_SPACE
from recsys.data.features import encode, read_features, with_identity
from recsys.data.interactions import read_interactions
from recsys.data.kcore import kcore
from recsys.data.splits import Split
from recsys.models import lightfm
from recsys.models.configuration import LightFMParameters
from recsys.models.hybrid import fit_hybrid
from recsys.models.lightfm import Training
from recsys.models.spectral import Spectrum
from recsys.ranking.metrics import precision_at_k
from recsys.tuning.policy import Budget
from recsys.tuning.portfolio import PORTFOLIO
from recsys.tuning.problems import Problem
from recsys.tuning.search import run_study
from recsys.tuning.space import SearchSpace
from tests.benchmarks.bench_kernel import founding_likes
from tests.benchmarks.bench_search import load, source

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


def item_features(dataset: str) -> sp.csr_matrix:
    """An identity and the features of the items that `load` gives, on five items or more."""
    path = source(dataset)
    core = kcore(read_interactions(path)[0], 5, 5).interactions
    table, _ = read_features(path.with_name(path.name.replace("likes", "feats")))
    return with_identity(encode(table, core.items, min_support=5).matrix.tocsr())


def measure_quality(
    dataset: str, seeds: Sequence[int], sampled: int, joint: bool, rungs: Sequence[int]
) -> None:
    """Print precision of the portfolio's configuration by blocks and epochs, a line a seed."""
    known = {**PORTFOLIO[dataset], "max_sampled": sampled, "initialisation": "spectral"}
    features = item_features(dataset) if joint else None
    if joint:
        known["no_components"] = 64
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
            model = Training(
                parts.train,
                parameters,
                seed,
                spectrum=spectrum,
                threads=1,
                item_features=features,
            )
            values = []
            for epochs in rungs:
                model.advance(epochs - model.epoch)
                found = precision_at_k(model.view(), parts.validation, known=parts.train, k=5)
                values.append(f"{found.mean():.4f}")
            print(f"{dataset} {seed:4} {sampled:11} {blocks:6}  {' '.join(values)}", flush=True)


# What trains a study: names of configurations and their values.
WAYS: dict[str, dict[str, str | int]] = {
    "whole": {"blocks": 1},
    "blocks": {"blocks": BLOCKS},
    "lightfm": {"trainer": "lightfm"},
}


def measure_studies(dataset: str, seeds: Sequence[int], ways: Sequence[str], trials: int) -> None:
    """Print precision on validation and test of each way's winner, and paired differences."""
    elsewhere = [known for name, known in PORTFOLIO.items() if name != dataset]
    values: dict[str, list[Float64Array]] = {way: [] for way in ways}
    for seed in seeds:
        parts = load(dataset, seed)
        problem = Problem(parts.train, parts.validation, seed=seed)
        for way in ways:
            start = spent()
            space = SearchSpace.from_config({**WAYS[way], **DEFAULT_SPACE})
            first = [space.configuration(space.point(known)) for known in elsewhere]
            best = run_study(problem, space, Budget(trials), batch=4, seed=seed, first=first).best
            assert best.best is not None
            known = parts.refit_train()
            model = fit_hybrid(known, best.configuration, best.best.epoch, seed, threads=1)
            values[way].append(precision_at_k(model.factors, parts.test, known=known, k=5))
            print(
                f"{dataset} {seed:4} {way:8} {spent() - start:8.0f} {best.precision:10.4f} "
                f"{values[way][-1].mean():8.4f}",
                flush=True,
            )
    _print_differences(values)


def _print_differences(values: Mapping[str, Sequence[Float64Array]]) -> None:
    """Print how each way differs from the first: paired by user, and by seed."""
    (first, ours), *others = values.items()
    base = np.concatenate(ours)
    for way, theirs in others:
        change = np.concatenate(theirs) - base
        reach = 1.96 * change.std(ddof=1) / np.sqrt(len(change)) / base.mean()
        by_seed = [other.mean() / one.mean() - 1 for one, other in zip(ours, theirs, strict=True)]
        print(
            f"{way} - {first}: {change.mean() / base.mean():+.2%} +- {reach:.2%} of users' mean, "
            f"by seed {' '.join(f'{one:+.1%}' for one in by_seed)}"
        )


# (components, learning rate), regularisation of both sides.
GRID = (((128, 0.045), (104, 0.07)), (1e-4, 2e-4, 3.5e-4))


def measure_grid(
    dataset: str, seeds: Sequence[int], ways: Sequence[str], size: int | None, rungs: Sequence[int]
) -> None:
    """Print the best of a grid's first configurations by way, on validation and test."""
    tests: dict[str, list[Float64Array]] = {way: [] for way in ways}
    for seed in seeds:
        parts = load(dataset, seed)
        spectrum, known = Spectrum(parts.train, seed), parts.refit_train()
        for way in ways:
            start = spent()
            found = [_best(parts, spectrum, one, seed, rungs) for one in _grid(way)[:size]]
            value, parameters, epochs = max(found, key=lambda one: one[0])
            model = Training(known, parameters, seed, threads=1)
            model.advance(epochs)
            tests[way].append(precision_at_k(model.factors(), parts.test, known=known, k=5))
            print(
                f"{dataset} {seed:4} {way:8} {spent() - start:8.0f} {value:10.4f} "
                f"{tests[way][-1].mean():8.4f}  "
                f"{parameters.no_components} {parameters.item_alpha:g} {epochs} epochs",
                flush=True,
            )
    _print_differences(tests)


def _grid(way: str) -> list[LightFMParameters]:
    shapes, alphas = GRID
    return [
        LightFMParameters.from_dict(
            {
                "no_components": components, "learning_rate": rate, "alpha": alpha,
                "initialisation": "spectral", **WAYS[way],
            }
        )
        for components, rate in shapes
        for alpha in alphas
    ]  # fmt: skip


def _best(
    parts: Split, spectrum: Spectrum, parameters: LightFMParameters, seed: int, rungs: Sequence[int]
) -> tuple[float, LightFMParameters, int]:
    """The best validation precision of a configuration over epochs, and after how many."""
    model = Training(parts.train, parameters, seed, spectrum=spectrum, threads=1)
    found = []
    for epochs in rungs:
        model.advance(epochs - model.epoch)
        value = precision_at_k(model.view(), parts.validation, known=parts.train, k=5).mean()
        found.append((float(value), parameters, epochs))
    return max(found, key=lambda one: one[0])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure training in blocks.")
    parser.add_argument(
        "what", nargs="?", choices=["speed", "quality", "studies", "grid"], default="speed"
    )
    parser.add_argument("dataset", nargs="?", choices=["sample", "citeulike-a"], default="sample")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--sampled", type=int, default=10)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=["whole", "blocks"])
    parser.add_argument("--configurations", type=int, help="of grid: the first so many")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--joint", action="store_true", help="of quality: with features")
    parser.add_argument(
        "--rungs", type=int, nargs="+", default=EPOCHS, help="epochs, of quality and grid"
    )
    options = parser.parse_args(arguments)
    lightfm.LEAST_IN_GROUP = 1  # as many blocks as are asked for
    if options.what == "grid":
        print("data seed trained  CPU seconds validation test  configuration")
        measure_grid(
            options.dataset, options.seeds, options.ways, options.configurations, options.rungs
        )
        return
    if options.what == "studies":
        print("data seed trained  CPU seconds validation test")
        measure_studies(options.dataset, options.seeds, options.ways, options.trials)
        return
    if options.what == "quality":
        print(f"data seed max_sampled blocks  precision after {options.rungs} epochs")
        measure_quality(
            options.dataset, options.seeds, options.sampled, options.joint, options.rungs
        )
        return
    print("factors max_sampled  " + "  ".join(f"{name:>11} CPU" for name in CASES) + "   speed-up")
    for factors in (64, 100, 192):
        for sampled in (10, 50):
            measure_speed(factors, sampled, options.epochs)


if __name__ == "__main__":
    main()
