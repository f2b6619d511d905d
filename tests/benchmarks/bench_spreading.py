"""One fit spread over workers: what travels and how long it takes, real ones and simulated ones.

Generated interactions as in bench_training, 64 factors, in blocks. `local` runs epochs on local
Dask workers; what they receive from each other is counted by Dask. The same epochs are simulated
(`tests.benchmarks.simulated_cluster`): the bytes have to be equal, to the last one, as long as Dask
does not move calls to idle workers (`--stealing`), and the seconds are compared. What the
simulation is told was measured before: CPU seconds of each call, made in one process, seconds of
the scheduler for a call, bytes a second between two workers.

`billion` simulates an epoch of a billion interactions of a hundred million users and a million
items on 16 machines, with CPU seconds as measured here and with links of 10 Gbit/s.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy.sparse as sp
from scipy.optimize import nnls

from recsys.models.clusters import open_cluster
from recsys.models.configuration import LightFMParameters
from recsys.models.kernel import Plan, draw_plan
from recsys.models.lightfm import Training
from recsys.models.parts import Rules, train_block
from recsys.models.spreading import SIDES, Cluster, Spread, submit_epoch
from recsys.store.exchange import Exchange
from tests.benchmarks.bench_blocks import BLOCKS
from tests.benchmarks.bench_training import generated
from tests.benchmarks.simulated_cluster import Rates, Simulated, Sizes

FACTORS, EPOCHS = 64, 3
CORES = 2
BEFORE_A_PART = 32
"""Bytes that Dask counts of a part besides its arrays: those of two objects of Python."""
MACHINES, USERS, ITEMS, LIKES = 16, 10**8, 10**6, 10**9
NETWORK, STORAGE, LATENCY, HOP = 1.25e9, 5e8, 0.001, 0.01


@dataclass
class Timed:
    """A cluster that makes all calls at once, in this process, and keeps their CPU seconds."""

    lost: tuple[type[Exception], ...] = ()
    calls: list[tuple[str, tuple[Any, ...], float]] = field(default_factory=list)

    def call(
        self, function: Callable[..., Any], *arguments: Any, results: int = 1, place: float = 0
    ) -> Any:
        begun = time.process_time()
        found = function(*arguments)
        self.calls.append((function.__name__, arguments, time.process_time() - begun))
        return found

    def get(self, references: Sequence[Any]) -> list[Any]:
        return list(references)


def parameters(blocks: int) -> LightFMParameters:
    return LightFMParameters(no_components=FACTORS, blocks=blocks)


def cpu_rates(likes: sp.csr_matrix) -> Rates:
    """Seconds that calls take for what they have to do.

    What a row takes that is copied is measured on blocks without interactions; what is left of a
    block's seconds is that of its interactions.
    """
    timed = Timed()
    with tempfile.TemporaryDirectory() as folder:
        spread = Spread(timed, Exchange(folder))
        Training(likes, parameters(BLOCKS), 0, spread=spread).advance(2)
    liked = rows = trained = copied = 0.0
    moving: list[tuple[float, float, float]] = []
    for name, arguments, seconds in timed.calls:
        if name == "train_one":
            _, __, rules, users, items, likes_of, (_, place, turn) = arguments
            trained, liked = trained + seconds, liked + float(np.diff(likes_of.starts)[place])
            rows += len(users.rows) + len(items.rows)
            if turn == BLOCKS - 1:
                empty = replace(likes_of, starts=np.zeros_like(likes_of.starts))
                begun = time.process_time()
                train_block(rules, users, items, empty, place, 0, True)
                copied += BLOCKS * (time.process_time() - begun)
        elif name == "cut_part":
            every = likes.shape[SIDES.index(arguments[2])]
            moving.append((every / BLOCKS, every, seconds))
        elif name == "join_part":
            moving.append((sum(len(one.rows) for one in arguments[4:]), 0, seconds))
        elif name == "save_part":
            moving.append((len(arguments[4].rows), 0, seconds))
        else:
            moving.append((0, likes.shape[1] + likes.nnz / BLOCKS, seconds))
    table = np.array(moving)
    cut, place = nnls(table[:, :2], table[:, 2])[0]
    return Rates((trained - copied) / liked, copied / rows, cut, place, 0.0, np.inf, 0.0, np.inf)


def nothing(_: int | None) -> None:
    return None


def megabytes(count: int) -> Any:
    return np.ones(count * 10**6, np.uint8)


def length(array: Any) -> int:
    return len(array)


def dask_rates(cluster: Cluster, rates: Rates, cpu: Callable[[], float]) -> tuple[Rates, float]:
    """With what calls and messages take here; and the CPU seconds of a call in all processes."""

    def seconds(*calls: Any) -> float:
        begun = time.monotonic()
        cluster.get(calls)
        return time.monotonic() - begun

    seconds(*(cluster.call(nothing, one, place=one % 2 / 2) for one in range(20)))
    begun, spent = time.monotonic(), cpu()
    cluster.get([cluster.call(nothing, one, place=one % 2 / 2) for one in range(400)])
    call, spent = (time.monotonic() - begun) / 400, (cpu() - spent) / 400
    last = cluster.call(nothing, 0)
    for _ in range(99):
        last = cluster.call(nothing, last)
    hop = max(0.0, seconds(last) / 100 - call)
    size = 100
    sent = [cluster.call(megabytes, size) for _ in range(4)]
    cluster.get([cluster.call(length, one) for one in sent])
    took = seconds(*(cluster.call(length, one, place=0.99) for one in sent))
    return replace(rates, call=call, bandwidth=4e6 * size / took, hop=hop), spent


def received(dask_worker: Any) -> tuple[int, int]:
    """Bytes that came from other workers, and how many things."""
    log = dask_worker.transfer_incoming_log
    return sum(int(one["total"]) for one in log), sum(len(one["keys"]) for one in log)


def plans_of(training: Training, epochs: int) -> tuple[list[Plan], int]:
    """How the first epochs of a fit are cut, and into how many groups."""
    kernel = training._kernel
    assert kernel is not None
    training._initialise()  # draws the vectors
    generator = training._model.random_state
    plans = [draw_plan(kernel.interactions, kernel.groups, generator) for _ in range(epochs)]
    return plans, kernel.groups


def simulated(likes: sp.csr_matrix, rates: Rates, workers: int) -> Simulated:
    """The epochs of a fit, simulated; seconds and bytes are those of all epochs."""
    plans, groups = plans_of(Training(likes, parameters(BLOCKS), 0), EPOCHS)
    pairs = likes.tocoo()
    moments = []
    for epoch, plan in enumerate(plans):
        sizes = Sizes.of(plans[max(0, epoch - 1)], plan, pairs.row, pairs.col, FACTORS)
        moments.append(one_epoch(sizes, rates, groups, workers, cores=CORES))
    whole = moments[0]
    for one in moments[1:]:
        whole.seconds += one.seconds
        whole.calls += one.calls
        for kind, size in one.moved.items():
            whole.moved[kind] += size
        whole.busy = [a + b for a, b in zip(whole.busy, one.busy, strict=True)]
    return whole


def one_epoch(
    sizes: Sizes,
    rates: Rates,
    groups: int,
    workers: int,
    machines: int | None = None,
    cores: int | None = None,
) -> Simulated:
    """One epoch, simulated."""
    cluster = Simulated(sizes, rates, workers, machines, cores)
    rules = Rules({}, 0.0, 0.0, groups, 0)  # no call looks at others
    cluster.get(submit_epoch(cluster, Exchange("nowhere"), rules, 1))
    return cluster


def run_local(interactions: int, workers: int, rates: Rates, stealing: bool) -> None:
    """Print a line of figures; checks that vectors are those of one machine, and bytes."""
    import dask
    import distributed

    start_cluster: Any = distributed.LocalCluster
    likes = generated(interactions)
    alone = Training(likes, parameters(BLOCKS), 0)
    start = time.monotonic()
    alone.advance(EPOCHS)
    one = (time.monotonic() - start) / EPOCHS
    with (
        dask.config.set({"distributed.scheduler.work-stealing": stealing}),
        start_cluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        tempfile.TemporaryDirectory() as folder,
        open_cluster(cluster.scheduler_address) as opened,
    ):
        connect: Any = distributed.Client
        with connect(cluster.scheduler_address, set_as_default=False) as client:
            pids = [*client.run(_pid).values(), os.getpid()]  # the scheduler is in this process
            cpu = partial(_cpu, [psutil.Process(pid) for pid in pids])
            rates, cpu_of_call = dask_rates(opened, rates, cpu)
            before, spent = client.run(received), -cpu()
            spread = Training(likes, parameters(BLOCKS), 0, spread=Spread(opened, Exchange(folder)))
            start = time.monotonic()
            spread.advance(EPOCHS)
            many = (time.monotonic() - start) / EPOCHS
            spent += cpu()
            after = client.run(received)
        assert not list(Path(folder).iterdir())
    for name, array in alone.state().items():
        np.testing.assert_array_equal(spread.state()[name], array)
    size, count = (
        sum(found[place] - before[worker][place] for worker, found in after.items())
        for place in (0, 1)
    )
    moved = size - BEFORE_A_PART * count
    found = simulated(likes, rates, workers)
    same = "equal" if moved == sum(found.moved.values()) else f"NOT {sum(found.moved.values()):,}"
    seconds = found.seconds / EPOCHS
    computed = (sum(found.busy) + cpu_of_call * found.calls) / EPOCHS
    print(
        f"{interactions:12,} {workers:7} {one:10.2f} {many:10.2f} {seconds:10.2f} "
        f"{many / seconds:6.2f} {spent / EPOCHS:12.2f} {computed:10.2f} "
        f"{moved / EPOCHS / 1e6:9.1f}  {same}  (a call "
        f"{1e3 * rates.call:.1f} ms, {1e3 * cpu_of_call:.1f} of CPU, the next "
        f"{1e3 * rates.hop:.1f} later; {rates.bandwidth / 1e6:.0f} MB/s)",
        flush=True,
    )


def _pid(dask_worker: Any) -> int:
    return os.getpid()


def _cpu(processes: Sequence[psutil.Process]) -> float:
    return sum(one.cpu_times().user + one.cpu_times().system for one in processes)


def simulate_billion(rates: Rates) -> None:
    """Print an epoch of a billion interactions on 16 machines, by workers of each and groups."""
    print(
        f"\n{LIKES:,} interactions, {USERS:,} users, {ITEMS:,} items, {FACTORS} factors, "
        f"{MACHINES} machines"
    )
    print(
        "workers groups    calls  seconds  busy  on the network GB  stored GB  held by a worker GB"
    )
    for each, groups in ((1, 16), (1, 32), (1, 64), (4, 64), (4, 128), (8, 128), (8, 256)):
        workers = each * MACHINES
        sizes = Sizes.expected(USERS, ITEMS, LIKES, groups, FACTORS)
        found = one_epoch(sizes, rates, groups, workers, MACHINES)
        share = sum(found.busy) / workers / found.seconds
        print(
            f"{workers:7} {groups:6} {found.calls:8,} {found.seconds:8.0f} {share:5.0%} "
            f"{found.between / 1e9:18.1f} {found.stored / 1e9:10.1f} {found.peak / 1e9:20.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a fit that is spread.")
    parser.add_argument("what", nargs="?", choices=["local", "billion"])
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--stealing", action="store_true", help="idle workers take calls of others")
    parser.add_argument("--call", type=float, default=0.002, help="seconds, of the billion")
    options = parser.parse_args()
    rates = {}
    for millions in options.millions:
        rates[millions] = found = cpu_rates(generated(millions * 10**6))
        print(
            f"{millions} million: {1e6 * found.like:.3f} us an interaction, {1e6 * found.row:.3f} "
            f"a row of a block, {1e6 * found.cut:.3f} a row cut, joined or saved, "
            f"{1e6 * found.place:.3f} a row placed",
            flush=True,
        )
    if options.what != "billion":
        print(
            "interactions workers  s/epoch 1  s/epoch n  simulated  ratio  CPU s/epoch  simulated"
            "  MB moved"
        )
        for millions in options.millions:
            for workers in options.workers:
                run_local(millions * 10**6, workers, rates[millions], options.stealing)
    if options.what != "local":
        largest = rates[max(options.millions)]
        simulate_billion(
            replace(
                largest, call=options.call, bandwidth=NETWORK, latency=LATENCY, storage=STORAGE,
                hop=HOP,
            )
        )  # fmt: skip


if __name__ == "__main__":
    main()
