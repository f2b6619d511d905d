"""How soon a study has the article's best: its loop and the pipeline's whole study, in one run.

    python -m tests.benchmarks.bench_article [--only DATASET SEED] [--trials 40]

The article's side is its loop as it stands: forest_minimize, 40 trials of LightFM, each trained and
measured once. The other side is the pipeline's study with its own settings, closed forms first,
which is ended as soon as its best validation precision_at_5 is that of the whole loop or higher.
Every CPU second of training, measuring and of the surrogate counts, on one thread; both winners are
refit on train and validation and measured once on test. A fiftieth of the loop's CPU seconds is
expected in the median, a twentieth in the worst seed. The loops take hours on the larger sets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from threadpoolctl import threadpool_limits

from recsys.base.config import Article, Search
from recsys.data.splits import Split
from recsys.models.hybrid import fit_hybrid
from recsys.models.model import model_from_dict
from recsys.ranking.metrics import precision_at_k
from recsys.tuning.article import article_study
from recsys.tuning.problems import Problem
from recsys.tuning.recorders import NullRecorder
from recsys.tuning.study import study_strategies
from recsys.tuning.trials import Rung, TrialResult, is_closed_form
from tests.benchmarks.bench_neighbours import available, load
from tests.benchmarks.bench_search import ARTICLE_TRIALS, SEEDS

MEDIAN, WORST = 50, 20
"""The least by which the loop's CPU seconds are to be divided."""


@dataclass(frozen=True)
class Side:
    """What one side reached: precision_at_5 on validation and test, and its CPU seconds."""

    validation: float
    test: float
    seconds: float


class ReachedTarget(Exception):  # noqa: N818 - it is no error
    """The study has what it was to reach."""


class Until(NullRecorder):
    """A recorder that keeps the best trial, and ends the study when it has a precision."""

    def __init__(self, target: float = float("inf")) -> None:
        self.best: TrialResult | None = None
        self._target = target

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        """Keep the trial if it is the best."""
        if self.best is None or trial.precision > self.best.precision:
            self.best = trial
            if trial.precision >= self._target:
                raise ReachedTarget


def measure(parts: Split, seed: int, trials: int) -> tuple[Side, Side]:
    """The article's loop, and the pipeline's study until it is as good."""
    problem = Problem(parts.train, parts.validation, seed=seed)
    loop, start = Until(), time.process_time()
    article_study(problem, Article(calls=trials, feature_calls=0), seed, loop)
    theirs = _side(parts, seed, loop, time.process_time() - start)
    study, start = Until(theirs.validation), time.process_time()
    with suppress(ReachedTarget):
        again = Problem(parts.train, parts.validation, seed=seed)
        study_strategies(again, Search(), seed, recorder=study)
    return theirs, _side(parts, seed, study, time.process_time() - start)


def _side(parts: Split, seed: int, kept: Until, seconds: float) -> Side:
    best, known = kept.best, parts.refit_train()
    assert best is not None
    assert best.best is not None
    if is_closed_form(best):
        scorer = model_from_dict(best.configuration).fit(known, seed=seed)
    else:
        scorer = fit_hybrid(known, best.configuration, best.best.epoch, seed).scorer(known)
    test = float(precision_at_k(scorer, parts.test, known=known).mean())
    return Side(best.precision, test, seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each data set and seed, and what all of them say."""
    parser = argparse.ArgumentParser(description="Time the article's loop and the study.")
    parser.add_argument("--only", nargs=2, metavar=("DATASET", "SEED"))
    parser.add_argument("--trials", type=int, default=ARTICLE_TRIALS)
    options = parser.parse_args(arguments)
    asked = [(dataset, seed) for dataset in available() for seed in SEEDS]
    if options.only:
        asked = [(options.only[0], int(options.only[1]))]
    print("validation / test precision_at_5 and CPU seconds: the article's loop, the study, times")
    ratios = []
    with threadpool_limits(1):
        for dataset, seed in asked:
            theirs, ours = measure(load(dataset, seed), seed, options.trials)
            reached = ours.validation >= theirs.validation
            ratios.append(theirs.seconds / ours.seconds if reached else 0.0)
            sides = "".join(
                f"{side.validation:9.4f} /{side.test:7.4f}{side.seconds:8.1f} s"
                for side in (theirs, ours)
            )
            print(f"{dataset:16} seed {seed}{sides}{ratios[-1]:8.0f}", flush=True)
    middle, least = median(ratios), min(ratios)
    print(
        f"in the median 1/{middle:.0f} ({'yes' if middle >= MEDIAN else 'NO'}), "
        f"in the worst seed 1/{least:.0f} ({'yes' if least >= WORST else 'NO'})"
    )


if __name__ == "__main__":
    main()
