"""Fuzz each target for a while, guided by coverage: python -m tests.fuzz [--seconds N] [NAME...].

What was reached is kept in data/output/fuzz/NAME and gone on from the next time. An input that
breaks a target is written there too, its name beginning with `crash-`, and ends the run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path("data/output/fuzz")
NAMES = ("likes", "features", "readers", "parquet", "configuration", "options", "questions")


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    chosen = parser.parse_args(arguments)
    # Not by `choices`: some Pythons hold the empty list of names itself against them.
    if strange := set(chosen.names) - set(NAMES):
        parser.error(f"no target {min(strange)!r} (choose from {', '.join(NAMES)})")
    chosen.names = chosen.names or list(NAMES)
    return chosen


def main() -> None:
    chosen = parsed()
    for name in chosen.names:
        print(f"== {name}, {chosen.seconds} s", flush=True)
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        # A process each: libFuzzer ends its own.
        command = [
            sys.executable, "-m", "tests.fuzz.run", name, str(folder),
            f"-max_total_time={chosen.seconds}", "-timeout=20", "-rss_limit_mb=4096",
            "-max_len=4096", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=0",
        ]  # fmt: skip
        if subprocess.run(command).returncode:
            sys.exit(f"{name} broke; see {folder}")


if __name__ == "__main__":
    main()
