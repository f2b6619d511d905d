"""All benchmarks, or those named: tables on the terminal and in data/output/bench."""

from __future__ import annotations

import importlib
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

NAMES = (
    "ranking", "queries", "index", "batch", "preparation", "orchestration", "search", "article",
    "als", "bpr", "strategies", "neighbours", "catalogues", "ages", "racing", "published",
    "runners", "training", "kernel", "blocks", "spreading", "serving", "workers", "gallery",
    "night_cost", "night",
)  # fmt: skip
FOLDER = Path("data/output/bench")


class Both(io.StringIO):
    """Text that is kept and shown."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text) if sys.__stdout__ else None
        return super().write(text)


def main() -> None:
    chosen = sys.argv[1:] or list(NAMES)
    if unknown := set(chosen) - set(NAMES):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    sys.argv = sys.argv[:1]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        print(f"== {name}")
        kept = Both()
        with redirect_stdout(kept):
            importlib.import_module(f"tests.benchmarks.bench_{name}").main()
        (FOLDER / f"{name}.txt").write_text(kept.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
