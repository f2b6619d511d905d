"""Workers: what several processes of `recsys serve` hold in memory.

Memory is the proportional set size (PSS) of all processes of a server together: a page that several
share counts once. It is compared with that of a server with one worker and as many bare Python
interpreters besides.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import psutil

from tests.benchmarks.bench_serving import USERS, registered, running

NUMBERS = (1, 2, 4)
ASKED = 400  # for each worker, so that each has touched what it needs


def held(pid: int) -> float:
    """Megabytes of a process and all of its descendants."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return float(sum(one.memory_full_info().pss for one in family)) / 2**20


def interpreter() -> float:
    """Megabytes of an interpreter that does nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        found = held(process.pid)
        process.kill()
    return found


def ask(address: str, count: int) -> None:
    """Questions on connections of their own, so that every worker gets some."""
    for number in range(count):
        question = {"query": "recommend", "id": f"u{number * 7 % USERS}", "n": 10}
        httpx.post(f"{address}/v1/questions", json={"questions": [question]}).raise_for_status()


def main() -> None:
    bare = interpreter()
    with tempfile.TemporaryDirectory() as name:
        uri = registered(Path(name))
        print(f"an interpreter holds {bare:.0f} MB\n")
        print(f"{'workers':>8}{'PSS MB':>9}{'of one and n interpreters':>28}")
        one = 0.0
        for number in NUMBERS:
            with running(
                "-m", "recsys.cli", "serve", "--model", "load", "--port", "0", "--workers",
                str(number), MLFLOW_TRACKING_URI=uri,
            ) as (address, pid):  # fmt: skip
                ask(address, ASKED * number)
                found = held(pid)
            one = one or found
            print(f"{number:>8}{found:>9.0f}{found / (one + number * bare):>28.2f}", flush=True)


if __name__ == "__main__":
    main()
