"""How long a question takes beside the bare matrix product, at the founding shape, on one thread.

    python -m tests.benchmarks queries [--rounds 30]

Generated data: 15,274 users, 25,655 items of which a tenth are untrained, 100 factors, 20,352
features, of which each item has ten, some far more common than others; for the blended model 200
weights of each trained item. A single question is to take less than 5 ms in the median, a bundle to
be ready in less than 300 ms, and a batch of 1,000 users to take at most three times the bare
product, four times where the model is blended. Lists by house rules are put together for each user
alone; the limit is not theirs. Processor time, which on one thread is wall time without what other
processes take.

The product is that of 1,000 users and all items for every kind of batch. Audiences rank 15,274
users for each of 1,000 items, for which the bare product is 0.6 times as large.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.bundle import Bundle, Seen, save_bundle
from recsys.data.idmap import IdMap
from recsys.models.content import Profiles
from recsys.models.foldin import FoldIn
from recsys.models.mapping import Mapping
from recsys.models.side import SideInformation, Vocabulary
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours
from recsys.recommend.house_rules import HouseRules
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender

N_USERS, N_ITEMS, N_COMPONENTS, N_FEATURES = 15_274, 25_655, 100, 20_352
N_LIKES, N_TAGS, N_BATCH = 35, 10, 1_000
N_WEIGHTS = 200
RULES: dict[str, dict[str, Any]] = {
    "exclude": {"exclude": [{"tags": ["tag_word00001"]}]},
    "boost": {"boost": [{"tags": ["tag_word00003"], "by": 0.5}]},
    "diversity": {"diversity": {"weight": 0.2}},
    "at most": {"at_most": [{"tag": "tag_word00000", "n": 2}]},
    "at least": {"at_least": [{"kind": "new", "n": 1}]},
    "pin": {"pin": [{"item": "item000005", "place": 3}]},
}
LIMIT_MS, READY_MS, BATCH_RATIO, BLENDED_RATIO = 5.0, 300.0, 3.0, 4.0


def founding_bundle(folder: Path, *, blended: bool = False) -> None:
    """Clustered vectors, skewed popularity, numbers of likes as they are in the wild."""
    rng = np.random.default_rng(0)
    n_trained = N_ITEMS * 9 // 10
    centres = rng.normal(0, 0.3, (50, N_COMPONENTS))
    vectors = [
        (centres[rng.integers(50, size=n)] + rng.normal(0, 0.2, (n, N_COMPONENTS)))
        for n in (N_USERS, N_ITEMS)
    ]
    biases = [rng.normal(0, 0.5, n) for n in (N_USERS, N_ITEMS)]
    parts = [part.astype(np.float32) for part in (*vectors, *biases)]
    save_bundle(
        folder,
        Bundle(
            Factors(*parts),
            ids("user", N_USERS),
            ids("item", N_ITEMS),
            pa.array([f"The name of item {i}" for i in range(N_ITEMS)]),
            Seen(*rows(rng, N_USERS, n_trained, N_LIKES)),
            {},
            trained=n_trained,
            item_features=side(rng),
            user_foldin=FoldIn(np.eye(N_COMPONENTS, dtype=np.float32)),
            item_foldin=FoldIn(np.eye(N_COMPONENTS, dtype=np.float32)),
            neighbours=weights(rng, n_trained) if blended else None,
        ),
    )


def weights(rng: np.random.Generator, n_items: int) -> Neighbours:
    """As many weights in every row, of columns anywhere."""
    steps = rng.integers(1, n_items // N_WEIGHTS + 1, (n_items, N_WEIGHTS))
    columns = np.cumsum(steps, axis=1, dtype=np.int32) - 1
    values = rng.normal(0, 0.1, columns.size).astype(np.float32)
    indptr = np.arange(n_items + 1, dtype=np.int64) * N_WEIGHTS
    return Neighbours(indptr, columns.ravel(), values)


def rows(rng: np.random.Generator, n: int, width: int, mean: int) -> tuple[Any, Any]:
    """Rows of distinct entries, some columns far more often than others."""
    counts = np.maximum(1, rng.geometric(1 / mean, n))
    drawn = (width * rng.random(counts.sum()) ** 2).astype(np.int64)
    pairs = np.unique(np.repeat(np.arange(n), counts) * width + drawn)
    owners, indices = np.divmod(pairs, width)
    return np.searchsorted(owners, np.arange(n + 1)), indices.astype(np.int32)


def side(rng: np.random.Generator) -> SideInformation:
    indptr, indices = rows(rng, N_ITEMS, N_FEATURES, N_TAGS)
    support = np.bincount(indices, minlength=N_FEATURES).astype(np.int32)
    idf = (np.log((1 + N_ITEMS) / (1 + support)) + 1).astype(np.float32)
    data = idf[indices]
    data /= np.sqrt(np.add.reduceat(data * data, indptr[:-1])).repeat(np.diff(indptr))
    names = [f"tag_word{i:05d}" for i in range(N_FEATURES)]
    words = Vocabulary(
        IdMap(pa.array(names), "feature"),
        pa.array(["tag"] * N_FEATURES),
        pa.array([name[4:] for name in names]),
        support,
    )
    vectors = rng.normal(0, 0.3, (N_FEATURES, N_COMPONENTS)).astype(np.float32)
    mapping = Mapping(vectors, np.zeros(N_FEATURES, np.float32), 3.0)
    share = np.full(N_ITEMS, 0.1, np.float32)
    return SideInformation(words, Profiles(indptr, indices, data, idf), mapping, share, 5.0)


def ids(kind: str, n: int) -> IdMap:
    return IdMap(pa.array([f"{kind}{i:06d}" for i in range(n)]), kind)


def questions(recommender: Recommender) -> dict[str, Callable[[int], Any]]:
    """Every kind of question; the number says which user, item or tag."""
    r = recommender

    def user(i: int) -> str:
        return r.users.id(i * 97 % N_USERS)

    def item(i: int) -> str:
        return r.items.id(i * 89 % N_ITEMS)

    def tags(i: int, n: int = 1) -> list[str]:
        return [f"tag_word{(i * 13 + j) % 500:05d}" for j in range(n)]

    def filters(i: int) -> Filters:
        return Filters(must_not=tags(i, 2), exclude=[item(i + 1)], include_untrained=True)

    return {
        "recommend": lambda i: r.recommend(user(i)),
        "recommend, filters": lambda i: r.recommend(user(i), filters=filters(i)),
        "recommend_for five liked": lambda i: r.recommend_for([item(i + j) for j in range(5)]),
        "recommend_for nobody": lambda i: r.recommend_for(),
        "recommend_for, all unknown": lambda i: r.recommend_for([f"x{i}"], tags=[f"tag_w{i}"]),
        "similar_items": lambda i: r.similar_items(item(i)),
        "similar_items, new": lambda i: r.similar_items(features=tags(i, 4), liked_by=[user(i)]),
        "items_for_tag": lambda i: r.items_for_tag(tags(i)),
        "items_for_tag, three": lambda i: r.items_for_tag(dict.fromkeys(tags(i, 3), -0.5)),
        "suggest_tags": lambda i: r.suggest_tags(item(i)),
        "suggest_tags, new": lambda i: r.suggest_tags(features=tags(i, 4)),
        "similar_tags": lambda i: r.similar_tags(tags(i)[0]),
        "audience": lambda i: r.audience(item(i)),
        "audience, new": lambda i: r.audience(features=tags(i, 4)),
        "explain": lambda i: r.explain(user(i), item(i)),
    }


def median(run: Callable[[int], Any], rounds: int) -> tuple[float, float]:
    """Milliseconds of the first time and in the median of the others."""
    times = []
    for i in range(rounds + 1):
        start = process_time()
        run(i)
        times.append(1e3 * (process_time() - start))
    return times[0], float(np.median(times[1:]))


def ready(folder: Path) -> tuple[float, float]:
    """Milliseconds to load, and to load and answer once, each in the median of five."""

    def load(_: int) -> Recommender:
        return Recommender.load(folder)

    first = "user000001"
    return median(load, 5)[1], median(lambda i: load(i).recommend(first), 5)[1]


def verdict(value: float, limit: float) -> str:
    return "yes" if value < limit else "NO"


def singles(recommender: Recommender, rounds: int) -> None:
    vectors, user = recommender.factors.item_factors, recommender.factors.user_factors[0].copy()
    _, product = median(lambda i: vectors @ user, rounds)
    print(f"bare product of one user and all items: {product:.2f} ms")
    print(f"{'':30}{'first ms':>10}{'median ms':>11}{'/ product':>11}{'under 5 ms':>12}")
    for name, run in questions(recommender).items():
        first, usual = median(run, rounds)
        ratio = usual / product
        print(f"{name:30}{first:10.1f}{usual:11.2f}{ratio:11.1f}{verdict(usual, LIMIT_MS):>12}")


def batches(recommender: Recommender, limit: float) -> None:
    factors = recommender.factors
    users = [recommender.users.id(i * 13) for i in range(N_BATCH)]
    items = [recommender.items.id(i * 13) for i in range(N_BATCH)]
    vectors, out = factors.user_factors[:N_BATCH].copy(), np.empty((N_BATCH, N_ITEMS), np.float32)
    product = median(lambda i: np.matmul(vectors, factors.item_factors.T, out=out), 5)[1]
    runs: dict[str, Callable[[int], Any]] = {
        "recommend_many": lambda i: recommender.recommend_many(users),
        "recommend_for_many": lambda i: recommender.recommend_for_many([items[:5]] * N_BATCH),
        "similar_items_many": lambda i: recommender.similar_items_many(items),
        "audience_many": lambda i: recommender.audience_many(items),
    }
    print(f"bare product of {N_BATCH:,} users and all items: {product:.0f} ms")
    print(f"{'':30}{'ms':>10}{'/ product':>11}{f'at most {limit:g}':>12}")
    for name, run in runs.items():
        usual = median(run, 5)[1]
        ratio = usual / product
        print(f"{name:30}{usual:10.0f}{ratio:11.2f}{verdict(ratio, limit):>12}")


def ruled(recommender: Recommender) -> None:
    """Lists of 1,000 users by each house rule, and by all of them."""
    factors = recommender.factors
    users = [recommender.users.id(i * 13) for i in range(N_BATCH)]
    vectors, out = factors.user_factors[:N_BATCH].copy(), np.empty((N_BATCH, N_ITEMS), np.float32)
    product = median(lambda i: np.matmul(vectors, factors.item_factors.T, out=out), 5)[1]
    print(f"{'recommend_many by house rules':30}{'ms':>10}{'/ product':>11}")
    together = {kind: rule for rules in RULES.values() for kind, rule in rules.items()}
    for name, rules in (*RULES.items(), ("all of them", together)):
        asked = Recommender(recommender.bundle, rules=HouseRules.model_validate(rules))
        usual = median(partial(many, asked, users), 3)[1]
        print(f"{name:30}{usual:10.0f}{usual / product:11.2f}")


def many(recommender: Recommender, users: list[str], _: int) -> object:
    return recommender.recommend_many(users)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time every kind of question.")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with importlib.import_module("threadpoolctl").threadpool_limits(1):
        for name, blended, limit in (
            ("factors alone", False, BATCH_RATIO),
            ("blended", True, BLENDED_RATIO),
        ):
            print(f"{name}:")
            with tempfile.TemporaryDirectory() as scratch:
                measure(Path(scratch), options.rounds, limit, blended=blended)


def measure(folder: Path, rounds: int, limit: float, *, blended: bool) -> None:
    founding_bundle(folder, blended=blended)
    loaded, answered = ready(folder)
    print(
        f"ready after {loaded:.0f} ms (under {READY_MS:.0f}: {verdict(loaded, READY_MS)}), "
        f"with a first answer after {answered:.0f} ms"
    )
    recommender = Recommender.load(folder)
    singles(recommender, rounds)
    batches(recommender, limit)
    ruled(recommender)


if __name__ == "__main__":
    main()
