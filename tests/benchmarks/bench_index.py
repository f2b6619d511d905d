"""How well and how fast the approximate index answers at a million items, beside the exact scan.

    python tests/benchmarks/bench_index.py [--items 1000000]

Generated data, 64 factors, on one thread once built: `clustered` vectors, around 2,000 centres with
lengths of their own, as learned vectors are; and pure Gaussian noise, the hardest case there is,
where nothing is near anything. recall_at_10 is to be at least 0.95 and the index 20 times faster.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pyarrow as pa

from recsys.bundle import Bundle, Seen, save_bundle
from recsys.data.idmap import IdMap
from recsys.ranking.factors import Factors
from recsys.recommend.recommender import Recommender

N_USERS, N_COMPONENTS, N_CENTRES, N_ASKED = 1_000, 64, 2_000, 200


def factors(kind: str, n_items: int) -> Factors:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 0.3, (N_CENTRES, N_COMPONENTS))

    def vectors(n: int) -> np.ndarray:
        if kind == "noise":
            return rng.normal(0, 0.3, (n, N_COMPONENTS)).astype(np.float32)
        around = centres[rng.integers(N_CENTRES, size=n)] + rng.normal(0, 0.15, (n, N_COMPONENTS))
        return (around * rng.lognormal(0, 0.3, (n, 1))).astype(np.float32)

    biases = [rng.normal(0, 0.5, n).astype(np.float32) for n in (N_USERS, n_items)]
    return Factors(vectors(N_USERS), vectors(n_items), *biases)


def model(folder: Path, kind: str, n_items: int) -> Recommender:
    users, items = (
        IdMap(pa.array(np.char.mod(f"{what}%07d", np.arange(n))), what)
        for what, n in (("user", N_USERS), ("item", n_items))
    )
    nothing = Seen(np.zeros(N_USERS + 1, np.int64), np.empty(0, np.int32))
    save_bundle(
        folder, Bundle(factors(kind, n_items), users, items, None, nothing, {}, trained=n_items)
    )
    return Recommender.load(folder)


def compare(recommender: Recommender, threads: int) -> None:
    limits = importlib.import_module("threadpoolctl").threadpool_limits
    wall, cpu = perf_counter(), process_time()
    index = recommender.build_index()
    print(
        f"  built in {perf_counter() - wall:.0f} s, {process_time() - cpu:.0f} s of processor "
        f"time, {sum(p.stat().st_size for p in index.folder.iterdir()) / 2**20:.0f} MB"
    )
    item = [recommender.items.id(i * 4_999 % len(recommender.items)) for i in range(N_ASKED)]
    user = [recommender.users.id(i) for i in range(N_ASKED)]
    with limits(threads):
        for name, ask, asked in (
            ("recommend", recommender.recommend, user),
            ("similar", recommender.similar_items, item),
        ):
            times: dict[bool, list[float]] = {True: [], False: []}
            hits = 0
            ask(asked[0], approximate=True)
            for one in asked:
                found = {}
                for approximate in times:
                    start = process_time()
                    answer = ask(one, approximate=approximate)
                    times[approximate].append(1e3 * (process_time() - start))
                    found[approximate] = {row.id for row in answer}
                hits += len(found[True] & found[False])
            exact, fast = (float(np.median(times[approximate])) for approximate in (False, True))
            print(
                f"  {name:10} recall_at_10 {hits / (10 * len(asked)):.3f}, exact {exact:.1f} ms, "
                f"index {fast:.2f} ms: {exact / fast:.0f} times ({index.cells[name]} cells)"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the approximate index.")
    parser.add_argument("--items", type=int, default=1_000_000)
    options = parser.parse_args()
    if importlib.util.find_spec("faiss") is None:
        print("not measured: faiss-cpu is not installed")
        return
    for kind in ("clustered", "noise"):
        with tempfile.TemporaryDirectory() as scratch:
            print(f"{kind}, {options.items:,} items x {N_COMPONENTS} factors")
            compare(model(Path(scratch), kind, options.items), threads=1)


if __name__ == "__main__":
    main()
