"""How long a batch takes beside the bare matrix products and the writing of its rows.

    python -m tests.benchmarks.bench_batch [--rounds 3] [--workers 1] [--n 20] [--rules FILE]

The founding shape: 15,274 users with 25 likes each, 25,655 items, 100 factors. A batch is timed
whole, from the bundle on disk to the finished folder: opening and checking the bundle, ranking,
writing, checksums. Beside it, in turn and in the same process with the same number of threads, the
two products it cannot do without (users x items, items x items) into memory that is already there,
and the writing of lists that are already made. The bar: at most 3 times the products plus writing.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pyarrow as pa

from recsys.bundle import Bundle, Seen, load_bundle, save_bundle
from recsys.data.idmap import IdMap
from recsys.pipeline import batch
from recsys.pipeline.outcomes import Source
from recsys.ranking import topk as ranking
from recsys.ranking.factors import Factors
from recsys.recommend.house_rules import HouseRules, read_rules

N_USERS, N_ITEMS, N_COMPONENTS, N_KNOWN = 15_274, 25_655, 100, 25
ROWS = 2_560  # of a product at once
SOURCE = Source(model="founding", version="1", bundle="generated")


def founding_bundle(folder: Path, n_users: int = N_USERS) -> Path:
    """Random vectors; likes follow the popularity of items, ids are 32 hex digits."""
    generator = np.random.default_rng(0)
    popularity = 1 / np.arange(1, N_ITEMS + 1) ** 0.7
    popularity /= popularity.sum()
    drawn = [generator.choice(N_ITEMS, N_KNOWN, False, popularity) for _ in range(n_users)]

    def draw(rows: int) -> np.ndarray:
        return generator.normal(0, 0.3, (rows, N_COMPONENTS)).astype(np.float32)

    def ids(rows: int) -> pa.Array:
        return pa.array([generator.bytes(16).hex() for _ in range(rows)])

    biases = np.log(popularity / popularity.mean()).astype(np.float32)
    made = Bundle(
        Factors(draw(n_users), draw(N_ITEMS), np.zeros(n_users, np.float32), biases),
        IdMap(ids(n_users), "user"),
        IdMap(ids(N_ITEMS), "item"),
        None,
        Seen(
            np.arange(0, N_KNOWN * n_users + 1, N_KNOWN),
            np.sort(np.array(drawn, np.int32), axis=1).ravel(),
        ),
        {},
        trained=N_ITEMS,
    )
    folder.mkdir()
    save_bundle(folder, made)
    return folder


def products(model: Bundle) -> None:
    """The scores of all users and the likeness of all items, kept nowhere."""
    items = np.ascontiguousarray(model.factors.item_factors)
    out = np.empty((ROWS, len(items)), np.float32)
    for rows in (model.factors.user_factors, items):
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            np.matmul(part, items.T, out=out[: len(part)])


def made_lists(model: Bundle, n: int) -> tuple[list[batch.Lists], list[batch.Lists]]:
    return list(batch.user_lists(model, n)), list(batch.item_lists(model, n))


def write(folder: Path, model: Bundle, lists: tuple[list[batch.Lists], list[batch.Lists]]) -> None:
    folder.mkdir()
    users, items = lists
    batch.write_lists(folder / "users", iter(users), model.users, model.items, ("user", "item"))
    batch.write_lists(folder / "items", iter(items), model.items, model.items, ("item", "similar"))


def seconds(run: Callable[[], object]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def peak_megabytes(run: Callable[[], object]) -> float:
    ranking._buffers.clear()  # so that what is kept between calls is counted too
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def time_batch(folder: Path, rounds: int, workers: int, n: int, rules: HouseRules | None) -> None:
    bundle = founding_bundle(folder / "bundle")
    model = load_bundle(bundle)
    lists = made_lists(model, n)
    times: dict[str, list[float]] = {"batch": [], "products": [], "writing": []}
    for _ in range(rounds):
        out = folder / "out"

        def whole(out: Path = out) -> None:
            batch.recommend(out, SOURCE, n, bundle, workers=workers, rules=rules)

        times["batch"].append(seconds(whole))
        times["products"].append(seconds(lambda: products(model)))
        times["writing"].append(seconds(lambda: write(folder / "written", model, lists)))
        shutil.rmtree(out)
        shutil.rmtree(folder / "written")
    for name, found in times.items():
        print(f"{name:10}{median(found):8.2f} s  ({min(found):.2f} to {max(found):.2f})")
    bare = zip(times["batch"], times["products"], times["writing"], strict=True)
    ratio = median((whole - writing) / product for whole, product, writing in bare)
    print(f"batch without writing / products: {ratio:.2f} (bar: at most 3)")


def memory(folder: Path, n: int) -> None:
    for times in (1, 4):
        bundle = founding_bundle(folder / f"bundle{times}", times * N_USERS)
        peak = peak_megabytes(
            lambda bundle=bundle, times=times: batch.recommend(  # type: ignore[misc]
                folder / f"out{times}", SOURCE, n, bundle
            )
        )
        print(f"peak memory above the mapped bundle, {times * N_USERS:,} users: {peak:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a batch beside the bare products.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="threads on every side")
    parser.add_argument("--n", type=int, default=20, help="items a list")
    parser.add_argument("--rules", type=read_rules, help="a file of house rules")
    options = parser.parse_args()
    limits = importlib.import_module("threadpoolctl").threadpool_limits
    print(
        f"{N_USERS} users x {N_ITEMS} items x {N_COMPONENTS} factors, lists of {options.n}, "
        f"threads on every side: {options.workers}"
    )
    with tempfile.TemporaryDirectory() as name, limits(options.workers):
        folder = Path(name)
        time_batch(folder, options.rounds, options.workers, options.n, options.rules)
        memory(folder, options.n)


if __name__ == "__main__":
    main()
