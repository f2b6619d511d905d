"""Runs the README's commands as a newcomer would, and checks its settings are the real ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from recsys.base.settings import as_toml

ROOT = Path(__file__).parent.parent
UI = "http://127.0.0.1:5000"


def main() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if f"```toml\n{as_toml()}```" not in text:
        sys.exit("README.md: the settings are not what `recsys settings` prints; paste them again")
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    if "make train" not in commands:
        sys.exit("README.md: make train is not among its commands")
    for command in commands:
        run(command)
    python(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    ui()
    print(f"{len(commands)} commands of the README work, and make ui serves")


def environment() -> dict[str, str]:
    """The virtual environment first on the path, as after activating it."""
    return os.environ | {"PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"}


def run(command: str) -> None:
    print(f"$ {command}", flush=True)
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment(), check=False)  # noqa: S602
    if done.returncode:
        sys.exit(f"README.md: {command} ended with {done.returncode}")


def python(blocks: list[str]) -> None:
    for block in blocks:
        command = [sys.executable, "-c", block]
        if subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode:
            sys.exit(f"README.md: this does not run:\n{block}")


def ui() -> None:
    """Start `make ui`, see a page, end what was started."""
    process = subprocess.Popen(["make", "ui"], cwd=ROOT, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if httpx.get(UI, timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.5)
        sys.exit("README.md: make ui does not serve a page")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


if __name__ == "__main__":
    main()
