"""Evaluation: winner and baselines measured once on the test holdout, as a stage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base import config
from recsys.base.cores import cpu_seconds
from recsys.data import persistence
from recsys.data.ages import InteractionTimes
from recsys.data.folds import Fold, final_fold, search_fold
from recsys.data.outcomes import Encoded, HeldOut
from recsys.data.splits import Split, TimeParts, not_ranked
from recsys.evaluation.beyond_precision import measure_beyond_precision
from recsys.evaluation.cold_start import ColdStartHoldout, withhold
from recsys.evaluation.comparison import FittedStrategy, StrategyFits, TriedStrategy, compare
from recsys.evaluation.diversity import measure_diversity
from recsys.evaluation.holdouts import Measured, as_leaderboard, differences, measure
from recsys.evaluation.metric_names import BLEND, HEADLINE, LIGHTFM
from recsys.evaluation.newcomers import measure_new_items, measure_new_users
from recsys.evaluation.segments import measure_segments
from recsys.models.blending import fit_neighbours, without_neighbours
from recsys.models.configuration import HybridParameters, parse_configuration
from recsys.models.item_to_item import NeighbourScorer
from recsys.models.model import Model, model_from_dict
from recsys.models.popularity import Popularity
from recsys.models.spreading import Spread
from recsys.pipeline.fitting import open_spread
from recsys.pipeline.measurements import load_segments, save_evaluation
from recsys.pipeline.model_seconds import model_seconds
from recsys.pipeline.outcomes import Chosen, Evaluated
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import Evaluation
from recsys.ranking.neighbours import Blended, Neighbours
from recsys.ranking.scorer import Scorer
from recsys.store.stages import Stage, Timed, stage, write_json
from recsys.tuning.baselines import SPACES, recommended, tune_baseline
from recsys.tuning.problems import load_sides

NEWCOMERS = "newcomers.json"


@stage(Evaluated, version=18, unkeyed=("workers", "machines"))
def evaluate(
    folder: Path,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    chosen: Stage[Chosen],
    options: config.Evaluate,
    seed: int,
    workers: int = 1,
    machines: config.Fit | None = None,
) -> Timed[Evaluated]:
    """Refit winner and baselines on train and validation; measure each once on the test holdout.

    Where there is one holdout only (the founding article's protocol), they are fitted on train
    and measured on it, although the search has seen it; the outcome says which. What features are
    good for is measured beside it, for each strategy that was tried (`strategies.json`), what
    lists of different items cost and gain (`diversity.json`), how good the models are for parts
    of the users and items (`segments.json`), what their lists are beyond precision
    (`beyond.json`), and under a split by time how well users and items that came after the cut are
    served (`newcomers.json`). LightFM's fits are spread over `machines`, if there are any.
    """
    with open_spread(machines, folder) as spread:
        return _evaluate(folder, holdouts, features, chosen, options, seed, workers, spread)


def _evaluate(
    folder: Path,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    chosen: Stage[Chosen],
    options: config.Evaluate,
    seed: int,
    workers: int,
    spread: Spread | None,
) -> Timed[Evaluated]:
    parts = persistence.load_split(Path(holdouts.path))
    fold = final_fold(parts)
    field = _take_part(parts, fold, chosen.outcome, features, options, seed, workers, spread)
    without = not_ranked(fold.known, fold.heldout, fold.hidden)
    with ThreadPoolExecutor(workers) as pool:
        strategies = pool.submit(_measure_strategies, field, fold, options, seed)
        measured = _measure_all(field.scorers, without, fold.heldout, options, seed, pool)
        write_json(folder / "strategies.json", strategies.result())
    evaluations = {name: entry.evaluation for name, entry in measured.items()}
    board = _leaderboard(measured, field, options, seed)
    write_json(folder / "leaderboard.json", board)
    _save_per_user(folder, measured, fold)
    save_evaluation(folder, evaluations[field.winner], fold)
    seconds = _write_figures_of_lists(folder, field, evaluations, fold, without, features, workers)
    if parts.time is not None:
        _write_newcomers(folder, field, parts.time, fold, features, options, seed)
    outcome = Evaluated(
        "validation" if parts.test.nnz == 0 else "test",
        {entry["model"]: entry["metrics"][HEADLINE]["mean"] for entry in board},
    )
    fits = {name: round(fit.seconds, 1) for name, fit in field.fits.fitted.items()}
    return Timed(outcome, fits | model_seconds(field.seconds) | seconds)


def newcomers_of(measured: Stage[Evaluated]) -> dict[str, Any]:
    """How users and items that came after the cut are served; {} where nothing was cut by time."""
    found: dict[str, Any] = {}
    if measured.file(NEWCOMERS).exists():
        found = measured.read_json(NEWCOMERS)
    return found


@dataclass(frozen=True)
class _Baseline:
    """A model beside the winner: fitted, and the CPU seconds of its search, if any, and fit."""

    model: Model
    scorer: Scorer
    seconds: float


@dataclass(frozen=True)
class _Fits:
    """The strategies, fitted on all known interactions and without the withheld ones."""

    fitted: Mapping[str, FittedStrategy]
    withheld: Mapping[str, FittedStrategy] | None


@dataclass(frozen=True)
class _Field:
    """All models of a leaderboard, fitted on what is known before the holdout.

    Parameters
    ----------
    winner : str
        The model that the night is to register, under the name it has among the others.
    strategy : str
        How the winner uses features.
    own : Factors
        The winner's.
    scorers, seconds, configurations : mappings by the model's name
        Each with the CPU seconds of its search, if any, and fit.
    tried : mapping of str to TriedStrategy
        What the search found of each strategy.
    fits : _Fits
        These strategies, fitted.
    withheld : ColdStartHoldout or None
    """

    winner: str
    strategy: str
    own: Factors
    scorers: Mapping[str, Scorer]
    seconds: Mapping[str, float]
    configurations: Mapping[str, Mapping[str, Any]]
    tried: Mapping[str, TriedStrategy]
    fits: _Fits
    withheld: ColdStartHoldout | None


def _take_part(
    parts: Split,
    fold: Fold,
    chosen: Chosen,
    features: Stage[Encoded],
    options: config.Evaluate,
    seed: int,
    workers: int,
    spread: Spread | None,
) -> _Field:
    """Fit the baselines, the winner's factors, and its blend with neighbours where it has one."""
    withheld = None
    if options.withheld:
        withheld = withhold(fold.known, fold.heldout, fold.cold_items, seed)
    closed = [model_from_dict(values) for values in chosen.closed_forms.values()]
    baselines, fits = _fit_all(
        parts, fold, chosen.strategies, closed, features, withheld, options, seed, workers, spread
    )
    parameters = parse_configuration(chosen.configuration)[1]
    fitted = fits.fitted[parameters.strategy]
    own = fitted.model.factors
    scorers: dict[str, Scorer] = {found.model.name: found.scorer for found in baselines}
    scorers[LIGHTFM] = own
    seconds = {found.model.name: found.seconds for found in baselines}
    seconds[LIGHTFM] = fitted.seconds
    with threadpool_limits(1):
        start = cpu_seconds()
        if (neighbours := _neighbours(own, fold, parameters, scorers)) is not None:
            scorers[BLEND] = Blended(own, neighbours, fold.known)
            parts_of_blend = seconds[LIGHTFM] + seconds.get(parameters.neighbours, 0.0)
            seconds[BLEND] = parts_of_blend + cpu_seconds() - start
    winner = BLEND if BLEND in scorers else LIGHTFM
    configurations = {found.model.name: found.model.hyperparameters() for found in baselines}
    configurations[LIGHTFM] = without_neighbours(chosen.trained)
    configurations[winner] = chosen.trained
    return _Field(
        winner,
        parameters.strategy,
        own,
        scorers,
        seconds,
        configurations,
        chosen.strategies,
        fits,
        withheld,
    )


def _fit_all(
    parts: Split,
    fold: Fold,
    tried: Mapping[str, TriedStrategy],
    closed: Sequence[Model],
    features: Stage[Encoded],
    withheld: ColdStartHoldout | None,
    options: config.Evaluate,
    seed: int,
    workers: int,
    spread: Spread | None,
) -> tuple[list[_Baseline], _Fits]:
    """Fit baselines and strategies side by side, each on one thread.

    They release the GIL, so that together they take as long as the longest one.
    """
    known, times = fold.known, fold.times
    sides = load_sides(features, known.shape, fold.places)
    models = with_popularity(closed)
    with ThreadPoolExecutor(workers) as pool, threadpool_limits(1):
        search, trials = search_fold(parts), options.baseline_trials
        tuned = SPACES if trials else {}
        # What takes longest begins first, so that no thread is left with it at the end.
        found = [pool.submit(_tuned, name, search, known, trials, seed) for name in tuned]
        fits = StrategyFits(tried, known, sides, seed, pool.submit, times, spread)
        without = (
            None
            if withheld is None
            else StrategyFits(tried, withheld.train, sides, seed, pool.submit, times, spread)
        )
        found += [pool.submit(_fitted, model, known, seed, times) for model in models]
        baselines = [future.result() for future in found]
        return baselines, _Fits(fits.results(), None if without is None else without.results())


def _tuned(name: str, search: Fold, known: sp.csr_matrix, trials: int, seed: int) -> _Baseline:
    """A baseline tuned on the validation holdout, where there is more than one trial."""
    if trials == 1:
        return _fitted(recommended(name), known, seed)
    start = cpu_seconds()
    model = tune_baseline(name, search.known, search.heldout, trials=trials, seed=seed)[0]
    searched = cpu_seconds() - start
    found = _fitted(model, known, seed)
    return replace(found, seconds=found.seconds + searched)


def _fitted(
    model: Model, known: sp.csr_matrix, seed: int, times: InteractionTimes | None = None
) -> _Baseline:
    start = cpu_seconds()
    scorer = model.fit(known, seed=seed, times=times)
    return _Baseline(model, scorer, cpu_seconds() - start)


def with_popularity(models: Sequence[Model]) -> list[Model]:
    """The models that a winner is measured beside, popularity among them as it was tuned, if so."""
    if any(isinstance(model, Popularity) for model in models):
        return list(models)
    return [Popularity(), *models]


def _measure_all(
    scorers: Mapping[str, Scorer],
    known: sp.csr_matrix,
    heldout: sp.csr_matrix,
    options: config.Evaluate,
    seed: int,
    pool: ThreadPoolExecutor,
) -> dict[str, Measured]:
    """Every model on the same holdout, side by side."""
    ks = sorted({5, *options.ks})

    def measure_one(scorer: Scorer) -> Measured:
        return measure(scorer, heldout, known, ks=ks, samples=options.bootstrap_samples, seed=seed)

    return dict(zip(scorers, pool.map(measure_one, scorers.values()), strict=True))


def _leaderboard(
    measured: Mapping[str, Measured], field: _Field, options: config.Evaluate, seed: int
) -> list[dict[str, Any]]:
    """The models, best first, each with what it was measured at and how it was configured."""
    samples = options.bootstrap_samples
    compared = differences(measured, field.winner, samples=samples, seed=seed)
    board = as_leaderboard(measured, compared)
    return [entry | {"configuration": field.configurations[entry["model"]]} for entry in board]


def _neighbours(
    factors: Factors, fold: Fold, parameters: HybridParameters, scorers: Mapping[str, Scorer]
) -> Neighbours | None:
    """The winner's neighbours, taken from the leaderboard where the same model stands on it."""
    found = scorers.get(parameters.neighbours)
    fitted = found.neighbours if isinstance(found, NeighbourScorer) else None
    return fit_neighbours(factors, fold.known, parameters, fitted, times=fold.times)


def _write_figures_of_lists(
    folder: Path,
    field: _Field,
    evaluations: Mapping[str, Evaluation],
    fold: Fold,
    without: sp.csr_matrix,
    features: Stage[Encoded],
    workers: int,
) -> dict[str, float]:
    """Write what is measured of the lists besides the leaderboard; CPU seconds by its name."""
    vectors = field.own.item_factors
    start = time.process_time()
    diverse = measure_diversity(
        field.scorers[field.winner], vectors, without, fold.heldout, threads=workers
    )
    write_json(folder / "diversity.json", diverse)
    after_diversity = time.process_time()
    segments = load_segments(fold, features)
    write_json(folder / "segments.json", measure_segments(segments.standard(), evaluations))
    after_segments = time.process_time()
    beyond = measure_beyond_precision(
        evaluations, field.winner, fold.known, vectors, segments.item_features
    )
    write_json(folder / "beyond.json", beyond)
    return {
        "diversity": round(after_diversity - start, 2),
        "segments": round(after_segments - after_diversity, 2),
        "beyond": round(time.process_time() - after_segments, 2),
    }


def _measure_strategies(
    field: _Field, fold: Fold, options: config.Evaluate, seed: int
) -> dict[str, Any]:
    """What features are good for, where something was withheld to find out."""
    compared: dict[str, Any] = {"winner": field.strategy}
    if field.withheld is not None and field.fits.withheld is not None:
        compared |= compare(
            field.fits.fitted, field.fits.withheld, field.tried, field.withheld, fold.heldout,
            fold.known, seed=seed, samples=options.bootstrap_samples,
        )  # fmt: skip
    return compared


def _write_newcomers(
    folder: Path,
    field: _Field,
    time: TimeParts,
    fold: Fold,
    features: Stage[Encoded],
    options: config.Evaluate,
    seed: int,
) -> None:
    """Write how users and items that came after the cut are served."""
    samples = options.bootstrap_samples
    found = {"users": measure_new_users(field.scorers, fold, time, seed, samples)}
    encoded = persistence.load_encoded(Path(features.path), "item")
    if encoded is not None:
        n_items = time.new_items.shape[1]
        described = np.diff(encoded.matrix.indptr)[:n_items] > 0
        found["items"] = measure_new_items(
            field.fits.fitted, field.tried, fold, time, described, seed, samples
        )
    named = {"winner": field.winner, "strategy": field.strategy}
    write_json(folder / NEWCOMERS, named | found)


def _save_per_user(folder: Path, measured: Mapping[str, Measured], fold: Fold) -> None:
    users = fold.users_of_core(measured[LIGHTFM].evaluation.users)
    columns = {name: entry.evaluation.per_user[HEADLINE] for name, entry in measured.items()}
    persistence.write_columns(folder / "per_user.parquet", user=users, **columns)
