"""Runs the commands of the README and of the documentation as a newcomer would, on the sample."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.fixtures.pages import blocks, pages
from tests.fixtures.paths import ROOT

UI = "http://127.0.0.1:5000"


def main() -> None:
    readme = ROOT / "README.md"
    if not any("make train" in block.text for block in blocks(readme)):
        sys.exit("README.md: make train is not among its commands")
    run = 0
    # The README trains first; what the other pages ask needs its champion.
    for page in [readme, *(page for page in pages() if page.is_relative_to(ROOT / "docs"))]:
        run += run_page(page)
    ui()
    print(f"{run} blocks of the documentation work, and make ui serves")


def run_page(page: Path) -> int:
    """Run a page's blocks in order, its Python in one program; the number of them."""
    name, program = page.relative_to(ROOT), ""
    found = [block for block in blocks(page) if "no-test" not in block.classes]
    for block in found:
        if block.language == "sh":
            print(f"$ {block.text}", end="", flush=True)
            start(["bash", "-ec", block.text], f"{name}: this does not run:\n{block.text}")
        elif block.language == "python":
            program += block.text
    if program:
        print(f"python of {name}", flush=True)
        start([sys.executable, "-c", program], f"{name}: its Python does not run")
    return sum(block.language in ("sh", "python") for block in found)


def start(command: list[str], fault: str) -> None:
    """Run a command with the virtual environment first on the path, as after activating it."""
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PATH": path}, check=False)
    if done.returncode:
        sys.exit(f"{fault}\n(ended with {done.returncode})")


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
