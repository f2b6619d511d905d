"""Evaluation: winner and baselines measured once on the test holdout, as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from recsys.base import config
from recsys.data import persistence
from recsys.data.outcomes import Encoded, HeldOut
from recsys.evaluation.cold_start import withhold
from recsys.evaluation.comparison import StrategyFits, compare
from recsys.evaluation.holdouts import Measured, as_leaderboard, differences, measure
from recsys.evaluation.metric_names import HEADLINE, LIGHTFM
from recsys.models.configuration import parse_configuration
from recsys.models.model import Model
from recsys.models.popularity import Popularity
from recsys.pipeline.outcomes import Chosen, Evaluated
from recsys.store.stages import Stage, Timed, stage, write_json
from recsys.tuning.als import tune_als
from recsys.tuning.problems import load_sides


@stage(Evaluated, version=4, unkeyed=("workers",))
def evaluate(
    folder: Path,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    tuned: Stage[Chosen],
    options: config.Evaluate,
    seed: int,
    workers: int = 1,
) -> Timed[Evaluated]:
    """Refit winner and baselines on train and validation; measure each once on the test holdout.

    Where there is one holdout only (the founding article's protocol), they are fitted on train
    and measured on it, although the search has seen it; the outcome says which. What features are
    good for is measured beside it, for each strategy that was tried (`strategies.json`).
    """
    parts = persistence.load_split(Path(holdouts.path))
    known, heldout = parts.final()
    sides = load_sides(features, known.shape)
    tried = tuned.outcome.strategies
    held = withhold(known, heldout, parts.cold_items, seed) if options.withheld else None
    baselines: list[Model] = [Popularity()]
    # Each trains on one thread and releases the GIL, so side by side they take as long as the
    # longest one.
    with ThreadPoolExecutor(workers) as pool, threadpool_limits(1):
        fits = StrategyFits(tried, known, sides, seed, pool.submit)
        away = None if held is None else StrategyFits(tried, held.train, sides, seed, pool.submit)
        if options.als_trials:
            trials = options.als_trials
            baselines.append(tune_als(parts.train, parts.validation, trials=trials, seed=seed)[0])
        scorers = {model.name: model.fit(known, seed=seed) for model in baselines}
        fitted = fits.results()
        served = None if away is None else away.results()
    winner = parse_configuration(tuned.outcome.configuration)[1].strategy
    scorers[LIGHTFM] = fitted[winner].model.factors
    measured = {
        name: measure(
            scorer,
            heldout,
            known,
            ks=sorted({5, *options.ks}),
            samples=options.bootstrap_samples,
            seed=seed,
        )
        for name, scorer in scorers.items()
    }
    compared = differences(measured, LIGHTFM, samples=options.bootstrap_samples, seed=seed)
    board = as_leaderboard(measured, compared)
    configurations = {model.name: model.hyperparameters() for model in baselines}
    configurations[LIGHTFM] = tuned.outcome.trained
    for entry in board:
        entry["configuration"] = configurations[entry["model"]]
    write_json(folder / "leaderboard.json", board)
    _save_per_user(folder, measured)
    found: dict[str, Any] = {"winner": winner}
    if held is not None and served is not None:
        samples = options.bootstrap_samples
        found |= compare(fitted, served, tried, held, heldout, known, seed=seed, samples=samples)
    write_json(folder / "strategies.json", found)
    headline = {entry["model"]: entry["metrics"][HEADLINE]["mean"] for entry in board}
    found_out = Evaluated("validation" if parts.test.nnz == 0 else "test", headline)
    return Timed(found_out, {name: round(entry.seconds, 1) for name, entry in fitted.items()})


def _save_per_user(folder: Path, measured: Mapping[str, Measured]) -> None:
    users = measured[LIGHTFM].evaluation.users
    columns = {name: entry.evaluation.per_user[HEADLINE] for name, entry in measured.items()}
    persistence.write_columns(folder / "per_user.parquet", user=users, **columns)
