"""What Prefect and MLflow add to the bare calls: wall time of the flow on the sample, and without.

Each side is a process of its own with folders of its own, timed from start to end, imports
included. The flow runs once without a Prefect server, when it starts one for itself, and once
with a server that is there already.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx

ROOT = Path(__file__).parents[2]
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "DO_NOT_TRACK": "1",
}

SETTINGS = """
import sys
from recsys.config import load_config
folder = sys.argv[1]
config = load_config(None, {
    "data.likes": "data/sample/likes.psv.gz", "data.features": "data/sample/feats.psv.gz",
    "storage.interim": f"{folder}/interim", "tracking.uri": f"sqlite:///{folder}/mlflow.db",
})
"""
BARE = (
    SETTINGS
    + """
from pathlib import Path
from recsys import learning, preparation
interim = Path(folder) / "interim"
workers = config.search.workers
data = preparation.ingest(interim, config.data, preparation.sources_of(config.data))
core = preparation.threshold(interim, data, config.threshold)
holdouts = preparation.split(interim, data, core, config.split, config.seed)
features = preparation.encode(interim, data, core, config.encode)
tuned = learning.tune(interim, holdouts, features, config.search, config.seed, workers=workers)
measured = learning.evaluate(
    interim, holdouts, features, tuned, config.evaluate, config.seed, workers=workers
)
learning.fit(interim, core, features, tuned, measured, config.fit, config.seed, {})
"""
)
FLOW = (
    SETTINGS
    + """
from flows.train import train
train(config)
"""
)


def seconds(program: str, folder: Path, **environment: str) -> float:
    """Wall seconds of a program in a process and a Prefect home of its own."""
    folder.mkdir()
    variables = os.environ | QUIET | {"PREFECT_HOME": str(folder / "prefect")} | environment
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-c", program, str(folder)]
    subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


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
    with tempfile.TemporaryDirectory() as name, server(Path(name) / "home") as address:
        folder = Path(name)
        bare, alone, served = [], [], []
        for turn in range(options.rounds):
            bare.append(seconds(BARE, folder / f"bare{turn}"))
            served.append(seconds(FLOW, folder / f"served{turn}", PREFECT_API_URL=address))
            alone.append(seconds(FLOW, folder / f"alone{turn}"))
    ground = median(bare)
    print(f"bare recsys calls: {ground:.1f} s, stated only to read the shares by")
    print(f"flow, server running: {median(served) / ground - 1:+.1%} (bar: under 10 %)")
    fixed = median(alone) - 1.1 * ground
    print(f"flow, no server: {fixed:+.1f} s beyond 10 % (bar: at most 25 s)")


if __name__ == "__main__":
    main()
