"""Preparation, files to encoded matrices, beside the founding article's way of doing it.

The article's way is written out here from its description: a data frame cut down in a loop,
dictionaries from ids to indices, a list-of-lists matrix split user by user and copied once more
for the evaluation, and one dictionary of features an item for DictVectorizer. Each side runs in
a process of its own, on the same generated files, and both must arrive at the same matrices.
"""

from __future__ import annotations

import argparse
import itertools
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
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
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


_LARGE = (1, 5, 20, 100)  # millions of rows that are prepared from disk
_IN_MEMORY = 20  # of these, that are prepared in memory as well, to compare

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


def write_large(interactions: int, folder: Path) -> dict[str, Any]:
    """Write likes.parquet, a part at a time: ids of text, 25 rows a user, popular items often."""
    users, items = interactions // 25, min(interactions // 50, 200_000)
    generator = np.random.default_rng(0)
    columns = {}
    for name, n, power in (("user", users, 0.8), ("item", items, 0.8)):
        weights = 1 / np.arange(5, n + 5) ** power
        columns[name] = generator.permutation(n), np.cumsum(weights) / weights.sum()
    schema = pa.schema([("user_id", pa.string()), ("item_id", pa.string())])
    with pq.ParquetWriter(folder / "likes.parquet", schema, compression="zstd") as writer:
        for start in range(0, interactions, 1 << 20):
            size = min(1 << 20, interactions - start)
            ids = []
            for name, (places, cumulated) in columns.items():
                # Searching is several times faster where neighbours in time are neighbours.
                found = np.searchsorted(cumulated, np.sort(generator.random(size)))
                drawn = places[np.minimum(found, len(places) - 1)]
                text = pa.array(generator.permutation(drawn)).cast(pa.string())
                ids.append(pc.binary_join_element_wise(name[0], text, ""))
            writer.write_table(pa.table(ids, schema=schema))
    return {"bytes": (folder / "likes.parquet").stat().st_size}


def prepare_large(folder: Path, memory: int, out: Path) -> dict[str, Any]:
    """Likes read, cut to the core, split and encoded: sizes, digests, seconds of each stage."""
    data = Data(likes=str(folder / "likes.parquet"))
    laps = [(time.perf_counter(), time.process_time())]

    def lap() -> None:
        laps.append((time.perf_counter(), time.process_time()))

    sources = preparation.sources_of(data)
    ingested = preparation.ingest(out, data, sources, memory=memory)
    lap()
    core = preparation.threshold(out, ingested, Threshold(), memory)
    lap()
    split = preparation.split(out, ingested, core, Split(), 0, memory)
    lap()
    preparation.encode(out, ingested, core, Encode())
    lap()
    spent = [[b - a for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(laps)]
    stages = ("ingest", "threshold", "split", "encode")
    return {
        "read": ingested.outcome.counts() | {"notes": len(ingested.outcome.notes)},
        "core": [core.outcome.users, core.outcome.items, core.outcome.interactions],
        "passes": core.outcome.passes,
        "digests": [ingested.digest, core.digest, split.digest],
        "stages": {
            name: [round(n, 1) for n in each] for name, each in zip(stages, spent, strict=True)
        },
        "wall": sum(wall for wall, _ in spent),
        "cpu": sum(cpu for _, cpu in spent),
    }


def large(millions: float, folder: Path, memory: int) -> dict[str, Any]:
    """What `prepare_large` found of so many million rows, in a process of its own."""
    if not (folder / "likes.parquet").exists():
        alone(write_large, int(millions * 1e6), folder)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        found = alone(prepare_large, folder, memory, Path(out))
    print(
        f"{millions:g} million rows, "
        + ("in memory" if memory >= 1 << 40 else f"storage.memory = {memory / 1e9:g} GB")
        + f": {found['read']['users']:,} users, {found['read']['items']:,} items, "
        f"{found['read']['interactions']:,} likes, core {found['core']} after "
        f"{found['passes']} passes\n  peak memory {found['gigabytes']:.2f} GB, "
        f"{found['wall']:.0f} s, {found['cpu']:.0f} CPU seconds"
        + (" (bars: 4 GB, 600 s)" if millions == _LARGE[-1] else "")
        + "; seconds and CPU seconds of each: "
        + ", ".join(f"{name} {wall} / {cpu}" for name, (wall, cpu) in found["stages"].items()),
        flush=True,
    )
    return found


def alone(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What a function returns in a process of its own, and the peak memory of this."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(with_peak, (work, *arguments))


def with_peak(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    found = work(*arguments)
    return found | {"gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


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


def compare_large(millions: float, parent: Path | None, memory: int) -> None:
    """Prepare so many million likes from disk, and in memory where that may be asked of it."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        # Small ones would not be prepared from disk by themselves.
        found = large(millions, Path(folder), min(memory, int(millions * 1e6) * 20))
        if millions <= _IN_MEMORY:
            whole = large(millions, Path(folder), 1 << 40)
            if whole["digests"] != found["digests"]:
                sys.exit("the stages differ")
            print("  the stages are the same")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Prepare data beside the article's way.")
    parser.add_argument("--rounds", type=int, default=3, help="of ours; the article's runs once")
    parser.add_argument(
        "--millions",
        type=float,
        nargs="*",
        help="rows of likes alone, so many millions, from disk and, up to 20, in memory; no others",
    )
    parser.add_argument("--folder", type=Path, help="where the likes are; default: temporary")
    parser.add_argument("--memory", type=float, default=2.0, help="gigabytes: storage.memory")
    options = parser.parse_args(arguments)
    if options.millions is not None:
        for millions in options.millions:
            compare_large(millions, options.folder, int(options.memory * 1e9))
        return
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
    for millions in _LARGE:
        compare_large(millions, options.folder, int(options.memory * 1e9))


if __name__ == "__main__":
    main()
