"""BPR by the kernel beside implicit's: CPU seconds and validation precision_at_5, seed by seed.

Both have implicit's defaults and one thread, and take turns in one process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import mean, median

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.models import bpr
from recsys.models.bpr import Bpr
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import precision_at_k
from tests.benchmarks.bench_search import data_sets, load


class ByImplicit(Bpr):
    """As it is where the kernel was not compiled."""

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Factors:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bpr, "load_kernel", lambda: None)
            return super()._fit(interactions, seed, threads)


def compare(dataset: str, seeds: Sequence[int]) -> None:
    """Print a line: the ratio of CPU seconds, and both precisions."""
    seconds: dict[type[Bpr], list[float]] = {Bpr: [], ByImplicit: []}
    reached: dict[type[Bpr], list[float]] = {Bpr: [], ByImplicit: []}
    for seed in seeds:
        parts = load(dataset, seed)
        for kind in seconds:
            start = time.process_time()
            factors = kind().fit(parts.train, seed=seed)
            seconds[kind].append(time.process_time() - start)
            values = precision_at_k(factors, parts.validation, known=parts.train, k=5)
            reached[kind].append(float(values.mean()))
    ratios = np.divide(seconds[ByImplicit], seconds[Bpr])
    ours, theirs = (mean(reached[kind]) for kind in (Bpr, ByImplicit))
    spread = float(np.std(np.subtract(reached[Bpr], reached[ByImplicit]), ddof=1))
    print(
        f"{dataset:12} {median(ratios):6.1f} {min(ratios):6.1f} {ours:8.4f} {theirs:8.4f} "
        f"{spread / len(ratios) ** 0.5:8.4f}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure BPR beside implicit's.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    seeds = parser.parse_args(arguments).seeds
    print("data         times as fast: median, worst; precision of kernel, implicit; error of both")
    for dataset in data_sets():
        compare(dataset, seeds)


if __name__ == "__main__":
    main()
