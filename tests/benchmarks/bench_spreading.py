"""One fit spread over local Dask workers: seconds an epoch, and bytes that travel.

Generated interactions as in bench_training, 64 factors, in blocks. What a worker receives from
others is counted by Dask; beside it is what the schedule should move: all items once for each
worker, and all users and items once where groups are drawn anew.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from recsys.models.clusters import open_cluster
from recsys.models.configuration import LightFMParameters
from recsys.models.lightfm import Training
from recsys.models.spreading import Spread
from recsys.store.exchange import Exchange
from tests.benchmarks.bench_blocks import BLOCKS
from tests.benchmarks.bench_training import generated

FACTORS, EPOCHS = 64, 2


def received(dask_worker: Any) -> int:
    return sum(int(one["total"]) for one in dask_worker.transfer_incoming_log)


def measure(interactions: int, workers: int) -> None:
    """Print a line of figures; checks that the vectors are those of one machine."""
    import distributed

    start_cluster: Any = distributed.LocalCluster
    likes = generated(interactions)
    parameters = LightFMParameters(no_components=FACTORS, blocks=BLOCKS)
    alone = Training(likes, parameters, 0)
    start = time.monotonic()
    alone.advance(EPOCHS)
    one = (time.monotonic() - start) / EPOCHS
    with (
        start_cluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        tempfile.TemporaryDirectory() as folder,
        open_cluster(cluster.scheduler_address) as opened,
    ):
        spread = Training(likes, parameters, 0, spread=Spread(opened, Exchange(folder)))
        start = time.monotonic()
        spread.advance(EPOCHS)
        many = (time.monotonic() - start) / EPOCHS
        connect: Any = distributed.Client
        with connect(cluster.scheduler_address, set_as_default=False) as client:
            moved = sum(client.run(received).values()) / EPOCHS
        assert not list(Path(folder).iterdir())
    for name, array in alone.state().items():
        np.testing.assert_array_equal(spread.state()[name], array)
    users, items = likes.shape
    each = 8 * (FACTORS + 1)
    expected = each * (items * (workers - 1) + (users + items) * (workers - 1) / workers)
    print(
        f"{interactions:12,} {workers:7} {one:11.2f} {many:11.2f} {moved / 1e6:9.0f} "
        f"{expected / 1e6:11.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a fit that is spread.")
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4])
    options = parser.parse_args()
    print("interactions workers  s/epoch 1   s/epoch n  MB moved  by schedule")
    for millions in options.millions:
        for workers in options.workers:
            measure(millions * 10**6, workers)


if __name__ == "__main__":
    main()
