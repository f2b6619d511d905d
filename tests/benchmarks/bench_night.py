"""A night of the sample by what trains: seconds and CPU seconds of each stage.

The stages run in this process, with two workers, trained by LightFM, by the kernel in whole epochs,
and by the kernel in blocks, which is the default. Starting Prefect and MLflow is not among them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from recsys.base.config import Config, Search
from tests.benchmarks.bench_night_cost import Clock, night

WAYS: dict[str, dict[str, Any]] = {
    "LightFM": {"trainer": "lightfm"},
    "kernel": {"blocks": 1},
    "blocks": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the stages of a night.")
    parser.add_argument("--trials", type=int, default=Search().trials)
    trials = parser.parse_args().trials
    found: dict[str, Clock] = {}
    for name, values in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = night(Config(search=Search(trials=trials, **values)), Path(folder))
        print(f"{name}: {sum(found[name].walls.values()):.1f} s", flush=True)
    print("seconds / CPU  " + "".join(f"{name:>18}" for name in WAYS))
    for stage in found["LightFM"].walls:
        parts = (f"{one.walls[stage]:9.1f} /{one.seconds[stage]:7.1f}" for one in found.values())
        print(f"{stage:14} " + "".join(parts))
    sums = ((sum(one.walls.values()), sum(one.seconds.values())) for one in found.values())
    print(f"{'all':14} " + "".join(f"{wall:9.1f} /{cpu:7.1f}" for wall, cpu in sums))


if __name__ == "__main__":
    main()
