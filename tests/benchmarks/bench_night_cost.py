"""What a night of the sample costs beside its model: folds, segments, drift, beyond precision.

The stages of one night, in this process, in CPU seconds. What is said of a model beside its
leaderboard may cost a quarter of everything else, together. Drift is found against seven nights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from recsys.base.config import Config, Search
from recsys.data import persistence
from recsys.data.folds import final_fold
from recsys.evaluation.drift import Limits
from recsys.evaluation.segments import gains_and_losses
from recsys.pipeline import evaluation, fitting, preparation, tuning
from recsys.pipeline.drifting import drift
from recsys.pipeline.measurements import load_evaluation, load_segments
from recsys.pipeline.outcomes import EarlierNight
from recsys.pipeline.repeating import narrow_enough
from tests.fixtures.stages import SAMPLE

BESIDE = ("search_space", "race", "diversity", "segments", "beyond", "gains", "drift", "folds")
BAR = 0.25


@dataclass
class Clock:
    """CPU seconds of this process by name, and seconds of the wall."""

    seconds: dict[str, float] = field(default_factory=dict)
    walls: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        start, begun = time.process_time(), time.monotonic()
        yield
        self.walls[name] = self.walls.get(name, 0.0) + time.monotonic() - begun
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start

    def moved(self, name: str, of: str, seconds: float) -> None:
        """Name a part of what was measured."""
        self.seconds[name] = seconds
        self.seconds[of] -= seconds


def night(settings: Config, interim: Path) -> Clock:
    """All stages of a night but the registry's."""
    clock, seed = Clock(), settings.seed
    with clock.lap("ingest"):
        data = preparation.ingest(interim, SAMPLE, preparation.sources_of(SAMPLE))
    with clock.lap("threshold"):
        core = preparation.threshold(interim, data, settings.threshold)
    with clock.lap("split"):
        holdouts = preparation.split(interim, data, core, settings.split, seed)
    with clock.lap("encode"):
        features = preparation.encode(interim, data, core, settings.encode)
    with clock.lap("tune"):
        chosen = tuning.tune(interim, holdouts, features, settings.search, seed, workers=2)
    for name in ("race", "search_space"):
        clock.moved(name, "tune", chosen.seconds[name])
    with clock.lap("evaluate"):
        measured = evaluation.evaluate(
            interim, holdouts, features, chosen, settings.evaluate, seed, workers=2
        )
    for name in ("diversity", "segments", "beyond"):
        clock.moved(name, "evaluate", measured.seconds[name])
    with clock.lap("folds"):
        assert narrow_enough(measured, settings.evaluate.half_width or 0.03)
    with clock.lap("fit"):
        fitting.fit(interim, core, features, chosen, measured, settings.fit, seed, {})
    first = drift(interim, data, (), Limits()).read_json("profile.json")
    nights = tuple(
        EarlierNight(str(number), first | {"likes": first["likes"] - number})
        for number in range(7, 0, -1)
    )
    with clock.lap("drift"):
        drift(interim, data, nights, Limits())
    fold = final_fold(persistence.load_split(Path(holdouts.path)))
    own = load_evaluation(measured, fold)
    with clock.lap("gains"):
        gains_and_losses(load_segments(fold, features).standard(), own, own)
    return clock


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=Search().trials)
    options = parser.parse_args()
    settings = Config(search=Search(trials=options.trials))
    with tempfile.TemporaryDirectory() as folder:
        found = night(settings, Path(folder)).seconds
    beside = {name: found.get(name, 0.0) for name in BESIDE}
    others = {name: value for name, value in found.items() if name not in beside}
    for title, part in (("the night", others), ("beside it", beside)):
        shown = ", ".join(f"{name} {value:.2f}" for name, value in part.items())
        print(f"{title}: {sum(part.values()):.1f} CPU s ({shown})")
    share = sum(beside.values()) / sum(others.values())
    print(json.dumps({"share": round(share, 4), "bar": BAR, "held": share <= BAR}))


if __name__ == "__main__":
    main()
