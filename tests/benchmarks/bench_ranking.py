"""How long measuring a model takes beside the bare matrix product and beside its peers.

    python tests/benchmarks/bench_ranking.py [--threads 2] [--rounds 7]

The founding shape: 3,054 users with five held-out items each, 25,655 items, 100 factors. All sides
run in one process with the same number of threads, in turn, and medians are compared. Processor
time is shown beside wall time for one thread, since it does not suffer from other processes.
"""

from __future__ import annotations

import argparse
import importlib
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.ranking import topk as ranking
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import evaluate, precision_at_k
from recsys.ranking.topk import top_k

N_USERS, N_ITEMS, N_COMPONENTS, N_HELD_OUT, N_KNOWN = 3_054, 25_655, 100, 5, 25
N_TAGS = 10  # features an item has, beside its own identity
SLOW = 3  # rounds of what takes seconds


@dataclass(frozen=True)
class Case:
    """One model with its held-out and known interactions."""

    factors: Factors
    heldout: sp.csr_matrix
    known: sp.csr_matrix
    item_features: sp.csr_matrix
    threads: int


@dataclass(frozen=True)
class Row:
    """Something measured, or why it could not be."""

    name: str
    run: Callable[[], Any] | None
    rounds: int
    reason: str = ""


def founding_case(threads: int) -> Case:
    rng = np.random.default_rng(0)
    # Interactions follow the popularity of items: a few items have most of them.
    popularity = 1 / np.arange(1, N_ITEMS + 1) ** 0.7
    popularity /= popularity.sum()
    per_user = N_HELD_OUT + N_KNOWN
    drawn = np.stack([rng.choice(N_ITEMS, per_user, False, popularity) for _ in range(N_USERS)])
    users = rng.normal(0, 0.3, (N_USERS, N_COMPONENTS)).astype(np.float32)
    items = rng.normal(0, 0.3, (N_ITEMS, N_COMPONENTS)).astype(np.float32)
    biases = np.log(popularity / popularity.mean()).astype(np.float32)
    # Users lean to what they drew, so that a share of the held-out items are hits.
    users += items[drawn].mean(axis=1) * 4
    factors = Factors(users, items, np.zeros(N_USERS, np.float32), biases)
    tags = sp.random(N_ITEMS, 2_000, N_TAGS / 2_000, "csr", np.float32, random_state=0)
    features = sp.hstack([sp.identity(N_ITEMS, np.float32, "csr"), tags], "csr")
    heldout, known = matrix(drawn[:, :N_HELD_OUT]), matrix(drawn[:, N_HELD_OUT:])
    return Case(factors, heldout, known, features, threads)


def matrix(items: np.ndarray) -> sp.csr_matrix:
    users = np.repeat(np.arange(len(items)), items.shape[1])
    ones = np.ones(items.size, np.float32)
    return sp.csr_matrix((ones, (users, items.ravel())), shape=(N_USERS, N_ITEMS))


def our_rows(case: Case, rounds: int) -> list[Row]:
    factors, users = case.factors, np.arange(N_USERS)
    out = np.empty((N_USERS, N_ITEMS), np.float32)
    known, threads = case.known, case.threads

    def bare() -> None:
        np.matmul(factors.user_factors, factors.item_factors.T, out=out)

    def precision() -> float:
        return precision_at_k(factors, case.heldout, known, 5, threads=threads).mean()

    return [
        Row("bare product, preallocated", bare, rounds),
        Row("ours: precision_at_5", precision, rounds),
        Row("ours: top_k, k = 5", lambda: top_k(factors, users, 5, known=known, threads=threads),
            rounds),
        Row("ours: all metrics, k = 5, 10, 20, no auc",
            lambda: evaluate(factors, case.heldout, known=known, auc=False, threads=threads),
            rounds),
        Row("ours: all metrics, k = 5, 10, 20, auc",
            lambda: evaluate(factors, case.heldout, known=known, threads=threads), rounds),
    ]  # fmt: skip


def lightfm_model(factors: Factors, n_features: int) -> Any:
    """A LightFM model with these factors; features beyond the items have random ones."""
    model = importlib.import_module("lightfm").LightFM(no_components=factors.n_components)
    extra = n_features - factors.n_items
    more = np.random.default_rng(1).normal(0, 0.05, (extra, factors.n_components))
    model.user_embeddings, model.user_biases = factors.user_factors, factors.user_biases
    model.item_embeddings = np.concatenate([factors.item_factors, more.astype(np.float32)])
    model.item_biases = np.concatenate([factors.item_biases, np.zeros(extra, np.float32)])
    for side in ("user", "item"):
        for part in ("embedding", "bias"):
            name = f"{side}_embeddings" if part == "embedding" else f"{side}_biases"
            for state in ("gradients", "momentum"):
                setattr(model, f"{side}_{part}_{state}", np.zeros_like(getattr(model, name)))
    return model


def lightfm_rows(case: Case) -> list[Row]:
    evaluation = importlib.import_module("lightfm.evaluation")

    def run(features: sp.csr_matrix | None) -> Callable[[], float]:
        n_features = N_ITEMS if features is None else features.shape[1]
        model = lightfm_model(case.factors, n_features)
        return lambda: evaluation.precision_at_k(
            model, case.heldout, case.known, k=5, item_features=features,
            num_threads=case.threads,
        ).mean()  # fmt: skip

    return [
        Row("LightFM precision_at_k, no features", run(None), SLOW),
        Row("LightFM precision_at_k, item features", run(case.item_features), SLOW),
    ]


def implicit_rows(case: Case) -> list[Row]:
    topk = importlib.import_module("implicit.cpu.topk").topk
    items = np.column_stack([case.factors.item_factors, case.factors.item_biases])
    users = np.column_stack([case.factors.user_factors, np.ones(N_USERS, np.float32)])

    def run() -> Any:
        return topk(
            items, users, 5, filter_query_items=case.known, num_threads=case.threads
        )  # fmt: skip

    return [Row("implicit topk, k = 5", run, SLOW)]


def rectools_rows(case: Case) -> list[Row]:
    rank = importlib.import_module("rectools.models.rank")
    items = np.column_stack([case.factors.item_factors, case.factors.item_biases])
    users = np.column_stack([case.factors.user_factors, np.ones(N_USERS, np.float32)])
    ranker = rank.ImplicitRanker(
        rank.Distance.DOT, users, items, num_threads=case.threads, use_gpu=False
    )

    def run() -> Any:
        return ranker.rank(np.arange(N_USERS), 5, filter_pairs_csr=case.known)

    return [Row("RecTools ImplicitRanker, k = 5", run, SLOW)]


def irspack_rows(case: Case) -> list[Row]:
    evaluation = importlib.import_module("irspack.evaluation")
    recommenders = importlib.import_module("irspack.recommenders.base")
    factors = case.factors

    class Model(recommenders.BaseRecommender):  # type: ignore[misc, name-defined]
        """irspack's evaluator asks for scores of a block of users."""

        def _learn(self) -> None: ...

        def get_score(self, user_indices: np.ndarray) -> np.ndarray:
            return factors.user_factors[user_indices] @ factors.item_factors.T + factors.item_biases

        def get_score_block(self, begin: int, end: int) -> np.ndarray:
            return self.get_score(np.arange(begin, end))

    model = Model(case.known)
    evaluator = evaluation.Evaluator(
        case.heldout, cutoff=5, masked_interactions=case.known, n_threads=case.threads
    )
    return [Row("irspack Evaluator, cutoff 5", lambda: evaluator.get_score(model), SLOW)]


def peer_rows(case: Case) -> Iterator[Row]:
    for name, rows in (
        ("LightFM", lightfm_rows),
        ("implicit", implicit_rows),
        ("RecTools", rectools_rows),
        ("irspack", irspack_rows),
    ):
        try:
            yield from rows(case)
        except ImportError as error:
            yield Row(name, None, 0, f"not measured: {error}")


@contextmanager
def blas_threads(n: int) -> Iterator[None]:
    with importlib.import_module("threadpoolctl").threadpool_limits(n):
        yield


def measure(rows: list[Row], rounds: int) -> dict[str, tuple[float, float]]:
    """Median wall and processor seconds of each row, run in turn."""
    times: dict[str, list[tuple[float, float]]] = {row.name: [] for row in rows}
    for turn in range(rounds):
        for row in rows:
            if row.run is None or turn >= row.rounds:
                continue
            wall, cpu = perf_counter(), process_time()
            row.run()
            times[row.name].append((perf_counter() - wall, process_time() - cpu))
    return {
        name: (float(np.median([t[0] for t in taken])), float(np.median([t[1] for t in taken])))
        for name, taken in times.items()
        if taken
    }


def report(rows: list[Row], times: dict[str, tuple[float, float]]) -> str:
    product, ours = times[rows[0].name], times[rows[1].name]
    head = ("", "wall s", "CPU s", "/ product", "(CPU)", "/ ours", "(CPU)")
    lines = ["{:42}{:>9}{:>9}{:>11}{:>8}{:>9}{:>8}".format(*head)]
    for row in rows:
        if row.name not in times:
            lines.append(f"{row.name:42}{row.reason}")
            continue
        wall, cpu = times[row.name]
        lines.append(
            f"{row.name:42}{wall:9.3f}{cpu:9.3f}{wall / product[0]:11.2f}{cpu / product[1]:8.2f}"
            f"{wall / ours[0]:9.1f}{cpu / ours[1]:8.1f}"
        )
    return "\n".join(lines)


def peak_megabytes(run: Callable[[], Any]) -> float:
    ranking._buffers.clear()  # so that what is kept between calls is counted too
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def memory(case: Case) -> str:
    run = [row.run for row in our_rows(case, 1)][4]
    founding = peak_megabytes(run) if run else 0.0
    rng = np.random.default_rng(0)
    factors = Factors(
        rng.standard_normal((64, 64), np.float32), rng.standard_normal((10**6, 64), np.float32),
        np.zeros(64, np.float32), np.zeros(10**6, np.float32),
    )  # fmt: skip
    million = peak_megabytes(lambda: top_k(factors, np.arange(64), 10, threads=case.threads))
    return (
        f"memory above the inputs: {founding:.0f} MB for all metrics at the founding shape, "
        f"{million:.0f} MB for a top 10 of a million items"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time ranking and metrics beside their peers.")
    parser.add_argument("--threads", type=int, default=1, help="on every side")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    case = founding_case(options.threads)
    with blas_threads(options.threads):
        rows = [*our_rows(case, options.rounds), *peer_rows(case)]
        mean = precision_at_k(case.factors, case.heldout, case.known, 5).mean()
        print(
            f"{N_USERS} users x {N_ITEMS} items x {N_COMPONENTS} factors, "
            f"threads on every side: {options.threads}, precision_at_5 {mean:.3f}"
        )
        print(report(rows, measure(rows, options.rounds)))
    print(memory(case))


if __name__ == "__main__":
    main()
