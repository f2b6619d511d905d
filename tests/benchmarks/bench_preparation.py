"""Preparation, files to encoded matrices, beside the founding article's way of doing it.

The article's way is written out here from its description: a data frame cut down in a loop,
dictionaries from ids to indices, a list-of-lists matrix split user by user and copied once more
for the evaluation, and one dictionary of features an item for DictVectorizer. Each side runs in
a process of its own, on the same generated files, and both must arrive at the same matrices.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import scipy.sparse as sp
from sklearn.feature_extraction import DictVectorizer

from recsys.base.config import Data, Encode, Split, Threshold
from recsys.data import persistence
from recsys.pipeline import preparation


@dataclass(frozen=True)
class Shape:
    """How large the generated data are, before the threshold."""

    users: int
    items: int
    likes: int
    tags: int
    pairs: int


# Drawn so that the 5/5 core has about the founding figures: 15,274 x 25,655 with 547,477 likes.
FOUNDING = Shape(62_583, 28_806, 700_000, 20_352, 175_000)
TEN_MILLION = Shape(400_000, 40_000, 11_000_000, 20_000, 400_000)


def generate(shape: Shape, folder: Path) -> tuple[Path, Path]:
    """Likes and features in the founding schema, ids as long as the founding ones."""
    generator = np.random.default_rng(0)
    user = skewed(generator, shape.users, shape.likes, 1.05)
    item = skewed(generator, shape.items, shape.likes, 0.6)
    # Without duplicates: the article's loop counts them, which is not what is compared here.
    pair = np.unique(user.astype(np.int64) * shape.items + item)
    user, item = (
        part.astype(np.int32) for part in np.divmod(generator.permutation(pair), shape.items)
    )
    item_ids = names("5dcebcfaedbd4e7b8a27bd1a", shape.items)
    likes = {
        "modelname": pa.DictionaryArray.from_arrays(item, names("a 3D model called ", shape.items)),
        "mid": pa.DictionaryArray.from_arrays(item, item_ids),
        "uid": pa.DictionaryArray.from_arrays(user, names("7ac1b40648fff523d7220a5d", shape.users)),
    }
    owner = generator.integers(shape.items, size=shape.pairs, dtype=np.int32)
    tag = skewed(generator, shape.tags, shape.pairs, 0.8)
    features = {
        "mid": pa.DictionaryArray.from_arrays(
            owner, names("5dcebcfaedbd4e7b8a27bd1a", shape.items)
        ),
        "type": pa.array(np.where(tag % 10 == 0, "category", "tag")),
        "value": pa.DictionaryArray.from_arrays(tag, names("Tag ", shape.tags)),
    }
    options = pacsv.WriteOptions(delimiter="|", quoting_style="none")
    paths = folder / "likes.psv", folder / "feats.psv"
    for path, columns in zip(paths, (likes, features), strict=True):
        plain = {name: column.cast(pa.string()) for name, column in columns.items()}
        pacsv.write_csv(pa.table(plain), path, options)
    return paths


def names(prefix: str, n: int) -> pa.Array:
    return pa.array([f"{prefix}{index:08x}" for index in range(n)])


def skewed(generator: np.random.Generator, n: int, size: int, power: float) -> Any:
    """Indices (int32) drawn with popularity falling as a power of the rank, order shuffled."""
    weights = 1 / np.arange(5, n + 5) ** power
    cumulated = np.cumsum(weights) / weights.sum()
    drawn = np.searchsorted(cumulated, generator.random(size))
    return generator.permutation(n).astype(np.int32)[np.minimum(drawn, n - 1)]


def ours(likes: Path, features: Path, out: Path) -> dict[str, Any]:
    data = Data(likes=str(likes), features=str(features))
    seconds: dict[str, float] = {}
    start = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal start
        seconds[stage] = time.perf_counter() - start
        start = time.perf_counter()

    ingested = preparation.ingest(out, data, preparation.sources_of(data))
    lap("ingest")
    core = preparation.threshold(out, ingested, Threshold())
    lap("threshold")
    split = preparation.split(out, ingested, core, Split(holdouts="one"), 0)
    lap("split")
    encoded = preparation.encode(out, ingested, core, Encode(normalisation="none"))
    lap("encode")
    matrix = persistence.load_encoded(Path(encoded.path), "item")
    assert matrix is not None
    return {
        "core": [core.outcome.users, core.outcome.items, core.outcome.interactions],
        "held out": split.outcome.validation,
        "features": [
            core.outcome.items,
            matrix.matrix.shape[1],
            int(matrix.matrix[: core.outcome.items].nnz),
        ],
        "stages": seconds,
    }


def article(likes: Path, features: Path, out: Path) -> dict[str, Any]:
    frame = pd.read_csv(likes, sep="|")
    while True:
        before = len(frame)
        counts = frame.groupby("uid").mid.count()
        frame = frame[~frame.uid.isin(counts[counts < 5].index.tolist())]
        counts = frame.groupby("mid").uid.count()
        frame = frame[~frame.mid.isin(counts[counts < 5].index.tolist())]
        if len(frame) == before:
            break
    users = {uid: index for index, uid in enumerate(frame.uid.unique())}
    items = {mid: index for index, mid in enumerate(frame.mid.unique())}
    row = frame.uid.apply(lambda uid: users[uid]).to_numpy()
    column = frame.mid.apply(lambda mid: items[mid]).to_numpy()
    ones = np.ones(len(frame))
    matrix = sp.coo_matrix((ones, (row, column)), shape=(len(users), len(items))).tocsr()
    matrix.data[:] = 1
    train, test, chosen = holdout(matrix, 5, 0.2)
    evaluated = train.tolil()
    for user in set(range(train.shape[0])) - set(chosen):
        evaluated[user, :] = 0.0
    evaluated.tocsr()
    table = pd.read_csv(features, sep="|")
    dictionaries: list[dict[str, int]] = [{} for _ in items]
    for _, line in table.iterrows():
        index = items.get(line.mid)
        if index is not None:
            dictionaries[index][f"{line.type}_{str(line.value).lower()}"] = 1
    encoded = DictVectorizer().fit_transform(dictionaries)
    sp.hstack((sp.eye(len(items)), encoded)).tocsr()
    return {
        "core": [*matrix.shape, matrix.nnz],
        "held out": test.nnz,
        "features": [*encoded.shape, encoded.nnz],
    }


def holdout(matrix: sp.csr_matrix, n: int, share: float) -> tuple[Any, Any, Any]:
    generator = np.random.default_rng(0)
    train, test = matrix.copy().tolil(), sp.lil_matrix(matrix.shape)
    eligible = np.flatnonzero(np.diff(matrix.indptr) >= 2 * n)
    chosen = generator.choice(eligible, size=int(share * matrix.shape[0]), replace=False)
    for user in chosen:
        lost = generator.choice(matrix.getrow(user).indices, size=n, replace=False)
        train[user, lost] = 0.0
        test[user, lost] = matrix[user, lost]
    return train.tocsr(), test.tocsr(), chosen


def measured(
    side: Callable[[Path, Path, Path], dict[str, Any]], likes: Path, features: Path
) -> dict[str, Any]:
    """A side's result with its wall seconds and peak memory, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool, tempfile.TemporaryDirectory() as folder:
        return pool.apply(timed, (side, likes, features, Path(folder)))


def timed(
    side: Callable[[Path, Path, Path], dict[str, Any]], likes: Path, features: Path, out: Path
) -> dict[str, Any]:
    start = time.perf_counter()
    found = side(likes, features, out)
    found["seconds"] = time.perf_counter() - start
    found["gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Prepare data beside the article's way.")
    parser.add_argument("--rounds", type=int, default=3, help="of ours; the article's runs once")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        likes, features = generate(FOUNDING, Path(folder))
        theirs = measured(article, likes, features)
        own = [measured(ours, likes, features) for _ in range(options.rounds)]
        for name in ("core", "held out", "features"):
            if own[0][name] != theirs[name]:
                sys.exit(f"the two sides differ in {name}: {own[0][name]} and {theirs[name]}")
        ratio = theirs["seconds"] / median(run["seconds"] for run in own)
        print(
            f"founding shape: core {theirs['core']}, features {theirs['features']}, the same on "
            f"both sides\n  the article's way takes {ratio:.0f} times as long (bar: 20); peak "
            f"memory {own[0]['gigabytes']:.2f} against {theirs['gigabytes']:.2f} GB"
        )
    with tempfile.TemporaryDirectory() as folder:
        likes, features = generate(TEN_MILLION, Path(folder))
        found = measured(ours, likes, features)
        shares = {name: s / found["seconds"] for name, s in found["stages"].items()}
        print(
            f"ten million interactions: core {found['core']}, peak memory "
            f"{found['gigabytes']:.2f} GB (bar: 3)\n  share of the time: "
            + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        )
        print(json.dumps({"ratio": ratio, "gigabytes": found["gigabytes"]}))


if __name__ == "__main__":
    main()
