"""Item-to-item models on large catalogues: what they cost, and what EASE in parts keeps.

    python -m tests.benchmarks.bench_catalogues [--quality DATASET ...] [--cost ITEMS ...]

`--quality`: EASE solved in parts beside the exact solution, on catalogues that can be solved
exactly; validation precision_at_5, and its share of the exact one's. `--cost`: CPU seconds and peak
memory of fits on generated likes, each in a process of its own on one thread, with as many weights
in a row as `search.item_to_item_bytes` permits. There are as many users as items, with 20 likes
each in the mean. Popularity goes by Zipf's law, and likes are drawn independently, so there is
nothing to learn in them, and hardly two items have many users in common.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base.config import Search
from recsys.models import ease
from recsys.models.ease import Ease
from recsys.models.item_to_item import ItemToItemModel, binary
from recsys.models.itemknn import ItemKnn
from recsys.models.rp3beta import Rp3Beta
from recsys.ranking.metrics import precision_at_k
from recsys.tuning.closed_forms import NEAREST, kept_within
from tests.benchmarks.bench_neighbours import available, load
from tests.benchmarks.bench_preparation import skewed

LIKES = 20  # of a user, in the mean
SIZES = (100_000, 1_000_000)
SHARES = (0.0, 0.25, 0.5)
"""Of the items, those with most likes that are solved together."""

TUNED = {
    "sample": Ease(20.0, 0.33),
    "citeulike-a": Ease(100.0, 0.33),
    "ml-latest-small": Ease(200.0, 0.0),
}


def generated(n_items: int) -> sp.csr_matrix:
    """Likes of as many users as there are items: csr_matrix of ones, float32."""
    generator = np.random.default_rng(0)
    users = skewed(generator, n_items, LIKES * n_items, 0.5)
    items = skewed(generator, n_items, LIKES * n_items, 1.0)
    ones = np.ones(len(users), np.float32)
    return binary(sp.csr_matrix((ones, (users, items)), (n_items, n_items)))


def models_for(n_items: int) -> dict[str, ItemToItemModel]:
    """As a study would fit them first."""
    kept = kept_within(Search().item_to_item_bytes, n_items)
    return {
        "rp3beta": Rp3Beta(kept=min(kept, 200)),
        "itemknn": ItemKnn(kept=min(kept, 100)),
        "ease": Ease(kept=kept, nearest=min(kept, NEAREST)),
    }


def fitted(n_items: int, name: str) -> str:
    """What the fit of a model took, as a line."""
    likes, model = generated(n_items), models_for(n_items)[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    with threadpool_limits(1):
        start = time.process_time()
        found = model.neighbours(likes)
        seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return (
        f"{n_items:>9,} items, {likes.nnz:>10,} likes, {name:8} {seconds:8.0f} CPU s, "
        f"{peak:7,.0f} MB at the peak ({before:,.0f} MB before the fit), "
        f"{len(found.weights) / n_items:.0f} weights a row"
    )


def kept_of_the_exact(dataset: str, nearest: Sequence[int]) -> list[str]:
    """A line for each way to solve in parts."""
    parts = load(dataset, 0)
    n_items = parts.train.shape[1]
    model = replace(TUNED[dataset], kept=kept_within(Search().item_to_item_bytes, n_items))

    def precision(solved: Ease) -> tuple[float, float]:
        with threadpool_limits(1):
            start = time.process_time()
            scorer = solved.fit(parts.train)
            seconds = time.process_time() - start
        hits = precision_at_k(scorer, parts.validation, known=parts.train)
        return float(hits.mean()), seconds

    whole, seconds = precision(model)
    lines = [f"{dataset}, {n_items:,} items: exact {whole:.4f}, {seconds:.1f} CPU s"]
    for share in SHARES:
        for count in nearest:
            popular = max(1, round(share * n_items))
            with patch.multiple(ease, MOST_EXACT=0, POPULAR=popular):
                found, seconds = precision(replace(model, nearest=count))
            lines.append(
                f"  {popular:>6,} popular, {count:>4} nearest: {found:.4f}, "
                f"{found / whole:.1%} of the exact, {seconds:.1f} CPU s"
            )
    return lines


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, so that its peak of memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *arguments).result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Item-to-item models on large catalogues.")
    parser.add_argument("--quality", nargs="*", default=available(), metavar="DATASET")
    parser.add_argument("--cost", nargs="*", type=int, default=list(SIZES), metavar="ITEMS")
    parser.add_argument("--models", nargs="+", default=["rp3beta", "itemknn", "ease"])
    parser.add_argument("--nearest", nargs="+", type=int, default=[50, NEAREST, 200])
    options = parser.parse_args(arguments)
    for dataset in options.quality:
        print("\n".join(kept_of_the_exact(dataset, options.nearest)), flush=True)
    for n_items in options.cost:
        for name in options.models:
            print(apart(fitted, n_items, name), flush=True)


if __name__ == "__main__":
    main()
