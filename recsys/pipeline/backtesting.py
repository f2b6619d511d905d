"""Backtests: the pipeline's choice replayed at successive points in time, without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from recsys.base import config
from recsys.base.arrays import Int64Array
from recsys.base.durations import seconds_of
from recsys.base.errors import ConfigError, InputError
from recsys.data.outcomes import Encoded, HeldOutByTime, Ingested, Thresholded
from recsys.data.sources import locate_data
from recsys.data.splits import require_timestamp
from recsys.data.time_split import Cuts, shown
from recsys.data.windows import units_in_a_second
from recsys.evaluation.backtests import FoldScores, over_all_folds
from recsys.evaluation.metric_names import HEADLINE, METRICS, winner_of
from recsys.pipeline import evaluation, preparation, splitting, tuning
from recsys.pipeline.adoption import choice_alone
from recsys.pipeline.outcomes import Chosen, Evaluated
from recsys.pipeline.preparation import load_core
from recsys.store.stages import Stage

# Makes the product of a stage from its arguments: at once, or as a task.
Run = Callable[..., Stage[Any]]


@dataclass(frozen=True)
class FoldStages:
    """The products of one fold."""

    holdouts: Stage[HeldOutByTime]
    chosen: Stage[Chosen]
    measured: Stage[Evaluated]


@dataclass(frozen=True)
class Backtest:
    """A backtest that was made.

    Parameters
    ----------
    core : Stage
    folds : tuple of FoldStages
        The oldest first.
    figures : mapping
        Ready for JSON: `every`, `search`, `folds` (a list) and `all` of them together.
    """

    core: Stage[Thresholded]
    folds: tuple[FoldStages, ...]
    figures: dict[str, Any]


def fold_cuts(time: Int64Array, folds: int, every: str) -> list[Cuts]:
    """Where each fold is cut: as long a validation and a test as one fold is after the other.

    Parameters
    ----------
    time : int64 (n,)
        Timestamps of the interactions.
    folds : int
    every : str
        A duration, such as "7d". The last fold ends with the latest interaction.

    Raises
    ------
    InputError
        If nothing is known of how long a day is, or there is nothing before the first fold.
    """
    length = seconds_of(every)
    assert length is not None, "the configuration has checked it"
    units = units_in_a_second(time, "the time of the interactions", "there is no backtest of them")
    end, step = int(time.max()) + 1, length * units
    starts = [int(np.ceil(end - left * step)) for left in range(folds + 1, -1, -1)]
    if not (time < starts[0]).any():
        raise InputError(
            f"the interactions begin at {shown(int(time.min()))}, and the validation of the first "
            f"of {folds} folds of {every} at {shown(starts[0])}",
            "something to learn from before it",
            "ask for fewer or shorter folds",
        )
    return [Cuts(*bounds) for bounds in zip(starts, starts[1:], starts[2:], strict=False)]


def replay(
    run: Run,
    data: Stage[Ingested],
    core: Stage[Thresholded],
    features: Stage[Encoded],
    settings: config.Config,
) -> tuple[FoldStages, ...]:
    """Split, search and measure at each cut, the oldest first.

    With `backtest.search = "once"` the first fold's choice is fitted again in all of them; with
    "each" every fold searches, beginning with the choice before it, as nights do. No champion has
    a say: it was chosen on what came later.

    Parameters
    ----------
    run : callable
        Called with a stage function and its arguments, without the folder.
    data, core, features : Stage
    settings : config.Config
    """
    options, seed = settings.backtest, settings.seed
    if settings.protocol != "standard":
        raise ConfigError(
            f"a backtest with protocol = {settings.protocol!r}", "'standard'", "leave it out"
        )
    time = load_core(core).timestamp
    require_timestamp(True, time is not None)
    assert time is not None
    measuring = settings.evaluate.model_copy(
        update={"baseline_trials": options.baseline_trials, "withheld": False}
    )
    search, workers = settings.search, settings.search.workers
    found: list[FoldStages] = []
    split, minimums = settings.split, settings.threshold
    for cuts in fold_cuts(time, options.folds, options.every):
        holdouts = run(
            splitting.split_by_time, data, core, cuts, split.fewest, split, minimums, seed
        )
        if found and options.search == "once":
            chosen = found[0].chosen
        else:
            first = [choice_alone(found[-1].chosen.outcome.configuration)] if found else []
            chosen = run(tuning.tune, holdouts, features, search, seed, first, workers=workers)
        measured = run(
            evaluation.evaluate, holdouts, features, chosen, measuring, seed, workers=workers
        )
        found.append(FoldStages(holdouts, chosen, measured))
    return tuple(found)


def backtest(settings: config.Config) -> Backtest:
    """Replay the pipeline's choice at successive cuts, in this process.

    Parameters
    ----------
    settings : config.Config
        What is read, trained and searched, with the section `backtest`.

    Raises
    ------
    InputError
        If there is no timestamp, or too little to learn from or to measure in some fold.
    """
    interim = Path(settings.storage.interim)
    located = locate_data(settings.dataset, settings.data)
    sources, memory = preparation.sources_of(located), settings.storage.memory
    data = preparation.ingest(interim, located, sources, memory=memory)
    core = preparation.threshold(interim, data, settings.threshold, memory)
    features = preparation.encode(interim, data, core, settings.encode)
    folds = replay(
        lambda stage, *args, **kwargs: stage(interim, *args, **kwargs),
        data, core, features, settings,
    )  # fmt: skip
    return summarised(core, folds, settings)


def summarised(
    core: Stage[Thresholded], folds: Sequence[FoldStages], settings: config.Config
) -> Backtest:
    """The figures of the folds, and of all of them together."""
    options = settings.backtest
    scores = [_scores(fold) for fold in folds]
    samples = settings.evaluate.bootstrap_samples
    figures = {
        "metric": HEADLINE,
        "every": options.every,
        "search": options.search,
        "seed": settings.seed,
        "fingerprint": core.digest,
        "folds": [{"fold": place, **_figures(fold)} for place, fold in enumerate(folds, start=1)],
        "all": over_all_folds(scores, seed=settings.seed, samples=samples),
    }
    return Backtest(core, tuple(folds), figures)


def _scores(fold: FoldStages) -> FoldScores:
    table = pq.read_table(fold.measured.file("per_user.parquet"))
    values = {name: table.column(name).to_numpy() for name in table.column_names if name != "user"}
    board = fold.measured.read_json("leaderboard.json")
    return FoldScores(table.column("user").to_numpy(), values, winner_of(board))


def _figures(fold: FoldStages) -> dict[str, Any]:
    """What a fold is made of, and each model's figures, best first."""
    held = fold.holdouts.outcome
    board = fold.measured.read_json("leaderboard.json")
    wanted = [metric.name for metric in METRICS]
    newcomers = evaluation.newcomers_of(fold.measured).get("users") or {}
    return {
        "from": held.test_from,
        "until": held.test_until,
        "known": held.refit,
        "likes": held.test,
        "users": held.test_users,
        "new_users": held.newcomer_users,
        "new_items": held.newcomer_items,
        "winner": winner_of(board),
        "configuration": fold.chosen.outcome.trained,
        "models": {
            entry["model"]: {n: entry["metrics"][n] for n in wanted if n in entry["metrics"]}
            for entry in board
        },
        "ahead": {entry["model"]: entry["behind_by"] for entry in board if entry["behind_by"]},
        "of_new_users": {
            name: metrics[HEADLINE] for name, metrics in newcomers.get("models", {}).items()
        },
    }
