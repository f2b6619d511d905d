"""What training costs as data grow: seconds and memory of the kernel on generated interactions.

Users are as many as a tenth of the interactions, items a fiftieth (a hundred thousand at most);
items are drawn by a power law and users like ten things each. WARP, in blocks, on all free cores.
Each row is a process of its own; its peak of memory is that of training, with its interactions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from recsys.models.configuration import LightFMParameters
from recsys.models.lightfm import Training
from recsys.ranking.metrics import precision_at_k
from tests.benchmarks.bench_blocks import BLOCKS, spent
from tests.benchmarks.bench_kernel import in_status


def generated(interactions: int, seed: int = 0) -> sp.csr_matrix:
    """Likes float32 (interactions / 10, interactions / 50), each pair once."""
    users, items = interactions // 10, min(interactions // 50, 100_000)
    generator = np.random.default_rng(seed)
    # Drawn a little too often, for pairs that come twice count once.
    count = int(interactions * 1.05)
    user = generator.integers(users, size=count)
    item = (items * generator.random(count) ** 2.0).astype(np.int64)
    pairs = np.unique(user * items + item)
    pairs = np.sort(generator.permutation(pairs)[:interactions])
    ones = np.ones(len(pairs), np.float32)
    return sp.csr_matrix((ones, (pairs // items, pairs % items)), shape=(users, items))


def one(interactions: int, factors: int, epochs: int) -> dict[str, float]:
    likes = generated(interactions)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets an older peak
    training = Training(likes, LightFMParameters(no_components=factors, blocks=BLOCKS), 0)
    training.advance(1)  # the first epoch draws the vectors, too
    begun, before = time.monotonic(), spent()
    training.advance(epochs)
    wall, cpu = (time.monotonic() - begun) / epochs, (spent() - before) / epochs
    trained = in_status("VmHWM")
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
        "peak_mb": trained,
        "model_mb": training.bytes / 1e6,
        "paused_mb": state / 1e6,
        "epoch_seconds": wall,
        "epoch_cpu_seconds": cpu,
        "measure_ms_a_user": 1e3 * measuring,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time training on generated interactions.")
    parser.add_argument("--one", nargs=3, type=int, metavar=("INTERACTIONS", "FACTORS", "EPOCHS"))
    parser.add_argument("--most", type=int, default=20 * 10**6, help="interactions (20 million)")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(one(*options.one)))
        return
    print(
        "interactions      users    items  factors   s/epoch  CPU s/epoch  per million   model MB"
        "   paused MB   peak MB   ms a user measured"
    )
    millions = (1, 32), (1, 64), (1, 128), (5, 64), (20, 64), (100, 64)
    for interactions, factors in ((10**6 * million, factors) for million, factors in millions):
        if interactions > options.most:
            continue
        settings = str(interactions), str(factors), "3"
        command = [sys.executable, "-m", "tests.benchmarks.bench_training", "--one", *settings]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        million = found["epoch_cpu_seconds"] / (found["interactions"] / 1e6)
        print(
            f"{found['interactions']:12,} {found['users']:10,} {found['items']:8,} {factors:8} "
            f"{found['epoch_seconds']:9.2f} {found['epoch_cpu_seconds']:12.2f} {million:12.2f} "
            f"{found['model_mb']:10.0f} "
            f"{found['paused_mb']:11.0f} {found['peak_mb']:9.0f} "
            f"{found['measure_ms_a_user']:20.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
