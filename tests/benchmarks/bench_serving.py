"""Serving: `recsys serve` under wrk, beside a bare uvicorn endpoint that answers a constant.

The constant is as long as the server's own answer, and both run with the same protocol and loop,
so the ratio is what the answering costs. RECSYS_BENCH_SECONDS is for each load, by default 10.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa

from recsys.bundle import Bundle, Seen, save_bundle
from recsys.data.idmap import IdMap
from recsys.ranking.factors import Factors
from recsys.serving import pyfunc
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.paths import ROOT

CONNECTIONS = (1, 8, 64)
USERS, ITEMS, COMPONENTS, LIKES = 20_000, 23_000, 64, 20

# A raw application, without a framework: nothing but uvicorn is measured.
BARE = """
import socket, sys, uvicorn
from recsys.serving.server import TimedProtocol
body = b"x" * int(sys.argv[1])
head = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0)); listener.listen(1024)
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
config = uvicorn.Config(app, http=TimedProtocol, ws="none", lifespan="off", log_level="warning",
                        access_log=False, server_header=False, proxy_headers=False)
uvicorn.Server(config).run(sockets=[listener])
"""

# Another user with every request; what is no 200 is counted by wrk itself.
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  local user = math.random(0, {last})
  return wrk.format(nil, nil, nil,
    '{{"questions":[{{"query":"recommend","id":"u' .. user .. '","n":10}}]}}')
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk measured: requests a second, milliseconds, and what went wrong."""

    rate: float
    p50: float
    p99: float
    errors: int


def bundle(folder: Path) -> Path:
    """A model as large as the sample's, of random numbers."""
    drawn = np.random.default_rng(3)
    folder.mkdir()
    items = np.sort(drawn.random((USERS, ITEMS // 100)).argsort(axis=1)[:, :LIKES] * 100, axis=1)
    save_bundle(
        folder,
        Bundle(
            Factors(
                drawn.normal(0, 1, (USERS, COMPONENTS)).astype(np.float32),
                drawn.normal(0, 1, (ITEMS, COMPONENTS)).astype(np.float32),
                np.zeros(USERS, np.float32),
                drawn.normal(0, 1, ITEMS).astype(np.float32),
            ),
            IdMap(pa.array([f"u{user}" for user in range(USERS)]), "user"),
            IdMap(pa.array([f"i{item}" for item in range(ITEMS)]), "item"),
            pa.array([f"the item number {item}" for item in range(ITEMS)]),
            Seen(np.arange(0, USERS * LIKES + 1, LIKES), items.ravel().astype(np.int32)),
            {"seed": 3},
            trained=ITEMS,
        ),
    )
    return folder


@contextmanager
def running(*command: str, **variables: str) -> Iterator[tuple[str, int]]:
    """A server's address and process, ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, *command], env=os.environ | variables, stdout=subprocess.PIPE, text=True,
        cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1], process.pid
    finally:
        process.terminate()
        process.wait(30)


def memory(pid: int) -> float:
    """Megabytes that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1]) / 1024


def load(address: str, connections: int, seconds: int, script: Path) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    command += ["-s", str(script), f"{address}/questions"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    errors = int(wrong[1]) if wrong else 0
    if sockets := re.search(r"Socket errors: (.*)", said):
        errors += sum(int(count) for count in re.findall(r"\d+", sockets[1]))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate is not None
    half, most = (_milliseconds(said, share) for share in ("50", "99"))
    return Load(float(rate[1]), half, most, errors)


def _milliseconds(said: str, share: str) -> float:
    found = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s|m)$", said, re.MULTILINE)
    if found is None:  # of a load in which no request has ended
        return nan
    return float(found[1]) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[found[2]]


def registered(folder: Path) -> str:
    """A registry whose champion `load` is such a model."""
    uri = f"sqlite:///{folder}/mlflow.db"
    run_id = Tracker.connect(uri, "load").open_study(StudyDescription("k", "load", {}))
    number = pyfunc.register(uri, run_id, "load", bundle(folder / "bundle"), {})
    Registry(uri, "load").promote(number, by="bench", why="to be measured")
    return uri


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    seconds = int(os.environ.get("RECSYS_BENCH_SECONDS", "10"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "questions.lua"
        script.write_text(SCRIPT.format(last=USERS - 1), encoding="utf-8")
        uri = registered(folder)
        serve = ("-m", "recsys.cli", "serve", "--model", "load", "--port", "0")
        print(f"{USERS:,} users, {ITEMS:,} items, {COMPONENTS} components; recommend, n = 10")
        with running(*serve, MLFLOW_TRACKING_URI=uri) as (address, pid):
            asked = {"questions": [{"query": "recommend", "id": "u7", "n": 10}]}
            answer = httpx.post(f"{address}/questions", json=asked).raise_for_status()
            print(f"{len(answer.content):,} bytes an answer, {seconds} s each\n")
            with running("-c", BARE, str(len(answer.content))) as (bare, bare_pid):
                report(("bare uvicorn", bare, bare_pid), ("recsys serve", address, pid), seconds,
                       script)  # fmt: skip


def report(
    bare: tuple[str, str, int], ours: tuple[str, str, int], seconds: int, script: Path
) -> None:
    print(f"{'':14}{'conn.':>6}{'req/s':>9}{'of bare':>9}{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}"
          f"{'MB before':>11}{'after':>7}")  # fmt: skip
    for connections in CONNECTIONS:
        rates: list[float] = []
        for name, address, pid in (bare, ours):
            load(address, connections, 1, script)  # warm
            before = memory(pid)
            found = load(address, connections, seconds, script)
            rates.append(found.rate)
            print(f"{name:14}{connections:>6}{found.rate:>9,.0f}{rates[-1] / rates[0]:>9.2f}"
                  f"{found.p50:>9.2f}{found.p99:>9.2f}{found.errors:>8}{before:>11.0f}"
                  f"{memory(pid):>7.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
