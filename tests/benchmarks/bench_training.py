"""What training costs as data grow: CPU seconds and memory of LightFM on generated interactions.

Users are as many as a tenth of the interactions, items a fiftieth; items are drawn by a power law
and users like ten things each. One thread, WARP. Each row is a process of its own, so that its
peak of memory is its own; the base is the same process before the interactions are made.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from recsys.models.configuration import LightFMParameters
from recsys.models.lightfm import Training
from recsys.ranking.metrics import precision_at_k


def generated(interactions: int, seed: int = 0) -> sp.csr_matrix:
    """Likes float32 (interactions / 10, interactions / 50), each pair once."""
    users, items = interactions // 10, interactions // 50
    generator = np.random.default_rng(seed)
    # Drawn a little too often, for pairs that come twice count once.
    count = int(interactions * 1.05)
    user = generator.integers(users, size=count)
    item = (items * generator.random(count) ** 2.0).astype(np.int64)
    pairs = np.unique(user * items + item)
    pairs = np.sort(generator.permutation(pairs)[:interactions])
    ones = np.ones(len(pairs), np.float32)
    return sp.csr_matrix((ones, (pairs // items, pairs % items)), shape=(users, items))


def peak() -> float:
    """The most memory this process has had, in megabytes of a million bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def one(interactions: int, factors: int, epochs: int) -> dict[str, float]:
    base = peak()
    likes = generated(interactions)
    made = peak()
    training = Training(likes, LightFMParameters(no_components=factors), 0)
    training.advance(1)  # the first epoch draws the vectors, too
    start = time.process_time()
    training.advance(epochs)
    spent = (time.process_time() - start) / epochs
    trained = peak()
    start = time.process_time()
    heldout = likes[: min(2000, likes.shape[0])]
    precision_at_k(training.view(), heldout, known=None, k=5)
    measuring = (time.process_time() - start) / heldout.shape[0]
    state = sum(array.nbytes for array in training.state().values())
    return {
        "users": likes.shape[0],
        "items": likes.shape[1],
        "interactions": likes.nnz,
        "factors": factors,
        "base_mb": base,
        "made_mb": made,
        "peak_mb": trained,
        "model_mb": training.bytes / 1e6,
        "paused_mb": state / 1e6,
        "epoch_cpu_seconds": spent,
        "measure_ms_a_user": 1e3 * measuring,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time LightFM on generated interactions.")
    parser.add_argument("--one", nargs=3, type=int, metavar=("INTERACTIONS", "FACTORS", "EPOCHS"))
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(one(*options.one)))
        return
    print(
        "interactions      users    items  factors   CPU s/epoch  per million   model MB   "
        "paused MB   peak MB   ms a user measured"
    )
    for interactions, factors in ((10**6, 32), (10**6, 64), (10**6, 128), (5 * 10**6, 64)):
        settings = str(interactions), str(factors), "3"
        command = [sys.executable, "-m", "tests.benchmarks.bench_training", "--one", *settings]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        million = found["epoch_cpu_seconds"] / (found["interactions"] / 1e6)
        print(
            f"{found['interactions']:12,} {found['users']:10,} {found['items']:8,} {factors:8} "
            f"{found['epoch_cpu_seconds']:13.2f} {million:12.2f} {found['model_mb']:10.0f} "
            f"{found['paused_mb']:11.0f} {found['peak_mb']:9.0f} "
            f"{found['measure_ms_a_user']:20.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
