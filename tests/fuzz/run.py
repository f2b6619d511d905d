"""One target under atheris, in a process of its own: python -m tests.fuzz.run NAME FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["recsys", "tomllib", "tests.fuzz.targets"]):
    from tests.fuzz import targets


def main() -> None:
    name, folder, *rest = sys.argv[1:]
    target = getattr(targets, name)
    for number, seed in enumerate(targets.SEEDS[target]):
        (Path(folder) / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], folder, *rest], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
