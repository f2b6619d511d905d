"""The training kernel beside LightFM: CPU seconds an epoch, one thread, the same random numbers.

Generated likes in the founding shape (15,274 users, 25,655 items, 547,477 likes), features of 6.3
tags an item, and the bundled sample. Epochs of LightFM, of the kernel, and of the kernel in blocks
(on one thread, too; with features items alone are in groups) alternate in one process, since
processors are never quite idle; ratios are medians over epochs, without the first, which draws the
vectors. Each memory is that of a process of its own, beyond what it had with the likes in it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import scipy.sparse as sp

from recsys.data.features import with_identity
from recsys.models.configuration import LightFMParameters, Trainer
from recsys.models.lightfm import Training
from tests.benchmarks.bench_preparation import skewed
from tests.benchmarks.bench_search import load

USERS, ITEMS, LIKES, TAGS, TAGS_AN_ITEM = 15_274, 25_655, 547_477, 20_352, 6.3
Case = Literal["identity", "joint", "sample"]
TRAINERS: tuple[Trainer, Trainer] = ("lightfm", "recsys")
BLOCKS = 16


def founding_likes(seed: int = 0) -> sp.csr_matrix:
    """Likes float32 (USERS, ITEMS), users and items drawn by power laws, each pair once."""
    generator = np.random.default_rng(seed)
    count = int(LIKES * 1.4)
    user = generator.permutation(USERS)[skewed(generator, USERS, count, 0.6)]
    item = generator.permutation(ITEMS)[skewed(generator, ITEMS, count, 0.6)]
    pairs = np.unique(user.astype(np.int64) * ITEMS + item)
    pairs = np.sort(generator.permutation(pairs)[:LIKES])
    ones = np.ones(len(pairs), np.float32)
    return sp.csr_matrix((ones, (pairs // ITEMS, pairs % ITEMS)), shape=(USERS, ITEMS))


def founding_tags(seed: int = 1) -> sp.csr_matrix:
    """An identity and tags float32 (ITEMS, ITEMS + TAGS), tags of a row scaled to length one."""
    generator = np.random.default_rng(seed)
    count = int(ITEMS * TAGS_AN_ITEM)
    where = generator.integers(ITEMS, size=count), skewed(generator, TAGS, count, 0.8)
    tags = sp.csr_matrix((np.ones(count, np.float32), where), shape=(ITEMS, TAGS))
    tags.data[:] = 1
    length = np.sqrt(np.maximum(np.diff(tags.indptr), 1)).astype(np.float32)
    return with_identity((sp.diags(1 / length) @ tags).tocsr())


def training(case: Case, factors: int, sampled: int, trainer: Trainer, blocks: int = 1) -> Training:
    """An untrained model."""
    parameters = LightFMParameters(
        no_components=factors, max_sampled=sampled, user_alpha=2e-4, item_alpha=2e-4
    )
    if case == "sample":
        parameters = replace(parameters, learning_rate=0.045, initialisation="spectral")
    likes = load("sample", 0).train if case == "sample" else founding_likes()
    features = founding_tags() if case == "joint" else None
    parameters = replace(parameters, trainer=trainer, blocks=blocks)
    return Training(likes, parameters, 0, threads=1, item_features=features)


def compare(case: Case, factors: int, sampled: int, epochs: int) -> None:
    """Print the seconds of both and how many times as fast the kernel is."""
    models: dict[str, Training] = {
        name: training(case, factors, sampled, name) for name in TRAINERS
    }
    models["blocks"] = training(case, factors, sampled, "recsys", BLOCKS)
    spent: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(epochs + 1):
        for name, model in models.items():
            start = time.process_time()
            model.advance(1)
            spent[name].append(time.process_time() - start)
    theirs = spent["lightfm"][1:]
    parts = [
        f"{median(theirs):9.3f} {median(ours[1:]):9.3f} {median(ratios):8.1f} {min(ratios):8.1f}"
        for name, ours in spent.items()
        if name != "lightfm"
        for ratios in ([a / b for a, b in zip(theirs, ours[1:], strict=True)],)
    ]
    peaks = {name: peak(case, factors, sampled, name) for name in TRAINERS}
    megabytes = f"{peaks['lightfm']:5.0f} {peaks['recsys']:5.0f} MB"
    for cut, part in zip(("whole", "blocks"), parts, strict=False):
        print(f"{case:9} {cut:7} {factors:7} {sampled:11} {part} {megabytes}", flush=True)


def peak(case: Case, factors: int, sampled: int, trainer: Trainer) -> float:
    """Megabytes (of a million bytes) that two epochs take at most, measured in a process."""
    one = ["--one", case, str(factors), str(sampled), trainer]
    command = [sys.executable, "-m", "tests.benchmarks.bench_kernel", *one]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


def measure_peak(case: Case, factors: int, sampled: int, trainer: Trainer) -> float:
    """Megabytes beyond those of the process with its likes in it; glibc gives back what is free
    and Linux forgets an older peak."""
    warm = LightFMParameters(no_components=2, trainer=trainer)
    Training(sp.csr_matrix(np.eye(3, dtype=np.float32)), warm, 0).advance(1)
    model = training(case, factors, sampled, trainer, BLOCKS if case == "joint" else 1)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = in_status("VmRSS")
    model.advance(2)
    return in_status("VmHWM") - before


def in_status(name: str) -> float:
    """A line of the process's status in megabytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(value) * 1024 / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the training kernel beside LightFM.")
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--cases", nargs="+", default=["identity", "joint", "sample"])
    parser.add_argument("--one", nargs=4, metavar=("CASE", "FACTORS", "SAMPLED", "TRAINER"))
    options = parser.parse_args(arguments)
    if options.one:
        case, factors, sampled, trainer = options.one
        print(json.dumps(measure_peak(case, int(factors), int(sampled), trainer)))
        return
    print(
        "data      epoch   factors max_sampled LightFM s  kernel s   median    worst  peaks of both"
    )
    for factors in (64, 100, 192) if "identity" in options.cases else ():
        for sampled in (10, 50):
            compare("identity", factors, sampled, options.epochs)
    for sampled in (10, 50) if "joint" in options.cases else ():
        compare("joint", 64, sampled, max(options.epochs // 2, 2))
    if "sample" in options.cases:
        compare("sample", 128, 10, 2 * options.epochs)


if __name__ == "__main__":
    main()
