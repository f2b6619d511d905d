"""What Prefect and MLflow add to the bare calls: wall time of the flow on the sample, and without.

Each side is a process of its own with folders of its own, timed from start to end, imports
included. The flow runs once without a Prefect server, when it starts one for itself, and once
with a server that is there already. Rounds alternate between the sides.

The stages take the same work on all sides, so the time inside them differs by chance and by what
tracking a trial costs; what orchestration adds is mostly outside. Both are shown, and a round
whose stages differ by more than a twentieth says that the machine was busy.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from tests.fixtures.paths import ROOT

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}

BUSY = 0.05  # by how much the stages of two sides may differ on a machine that is quiet

LONG = ("tune", "evaluate", "fit")  # the stages that train, the same work on all sides

SETTINGS = """
import json, sys, time
from pathlib import Path
from recsys.base.config_file import load_config
folder = Path(sys.argv[1])
interim = folder / "interim"
config = load_config(None, {
    "data.likes": "data/sample/likes.psv.gz", "data.features": "data/sample/feats.psv.gz",
    "storage.interim": str(interim), "tracking.uri": f"sqlite:///{folder}/mlflow.db",
})
spent = {}
"""
BARE = (
    SETTINGS
    + """
from recsys.pipeline import evaluation, fitting, tuning
from recsys.pipeline import preparation
workers = config.search.workers

def timed(stage, *args, **options):
    start = time.monotonic()
    made = stage(interim, *args, **options)
    spent[stage.name] = time.monotonic() - start
    return made

data = timed(preparation.ingest, config.data, preparation.sources_of(config.data))
core = timed(preparation.threshold, data, config.threshold)
holdouts = timed(preparation.split, data, core, config.split, config.seed)
features = timed(preparation.encode, data, core, config.encode)
tuned = timed(tuning.tune, holdouts, features, config.search, config.seed, workers=workers)
measured = timed(evaluation.evaluate, holdouts, features, tuned, config.evaluate, config.seed,
                 workers=workers)
timed(fitting.fit, core, features, tuned, measured, config.fit, config.seed, {})
"""
)
FLOW = (
    SETTINGS
    + """
from flows.train import train
from recsys.base.events import StageDone, listening

def listen(event):
    if isinstance(event, StageDone):
        spent[event.stage] = event.seconds

with listening(listen):
    train(config)
"""
)
REPORT = """
(folder / "spent.json").write_text(json.dumps(spent))
"""


@dataclass(frozen=True)
class Run:
    """Wall seconds of a whole process, and of them those in the stages that train."""

    wall: float
    training: float

    @property
    def rest(self) -> float:
        return self.wall - self.training


def timed(program: str, folder: Path, **environment: str) -> Run:
    """A program in a process and a Prefect home of its own."""
    folder.mkdir()
    variables = os.environ | QUIET | {"PREFECT_HOME": str(folder / "prefect")} | environment
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-c", program + REPORT, str(folder)]
    subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    spent = json.loads((folder / "spent.json").read_text())
    return Run(wall, sum(spent[stage] for stage in LONG))


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A Prefect server on loopback for as long as the block lasts; yields its API address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = os.environ | QUIET | {"PREFECT_HOME": str(folder)}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{address}/health", timeout=2).raise_for_status()
                break
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time the flow beside the bare calls.")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args(arguments)
    rounds: list[dict[str, Run]] = []
    with tempfile.TemporaryDirectory() as name, server(Path(name) / "home") as address:
        folder = Path(name)
        for turn in range(options.rounds):
            one = {
                "bare": timed(BARE, folder / f"bare{turn}"),
                "server": timed(FLOW, folder / f"server{turn}", PREFECT_API_URL=address),
                "alone": timed(FLOW, folder / f"alone{turn}"),
            }
            rounds.append(one)
            print(f"round {turn}: {row(one)}", flush=True)
    report(rounds)


def row(one: dict[str, Run]) -> str:
    """One round, and a warning if the same work took its sides too different times."""
    sides = [f"{side} {run.wall:.1f} s ({run.rest:.1f} not training)" for side, run in one.items()]
    times = [run.training for run in one.values()]
    warning = "; the machine was busy" if max(times) > (1 + BUSY) * min(times) else ""
    return ", ".join(sides) + warning


def report(rounds: Sequence[dict[str, Run]]) -> None:
    """Medians over rounds, each side against the bare calls of its own round."""
    share = median(one["server"].wall / one["bare"].wall - 1 for one in rounds)
    outside = median((one["server"].rest - one["bare"].rest) / one["bare"].wall for one in rounds)
    print(f"flow, server running: {share:+.1%} (bar: under 10 %), {outside:+.1%} not training")
    fixed = median(one["alone"].wall - 1.1 * one["bare"].wall for one in rounds)
    outside = median(one["alone"].rest - one["bare"].rest for one in rounds)
    print(
        f"flow, no server: {fixed:+.1f} s beyond 10 % (bar: at most 25 s), "
        f"{outside:+.1f} s not training"
    )


if __name__ == "__main__":
    main()
