"""The stages that learn: tune, evaluate, fit, each from folder to folder."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base import config
from recsys.base.errors import InputError
from recsys.bundle import Bundle, Seen, save_bundle
from recsys.data import persistence
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.evaluation.cold_start import learn_item_foldin, withhold
from recsys.evaluation.comparison import Fits, Tried, compare
from recsys.evaluation.holdouts import Measured, as_leaderboard, differences, measure
from recsys.evaluation.metric_names import HEADLINE, LIGHTFM
from recsys.models.configuration import HYBRID_NAMES, parse_configuration
from recsys.models.foldin import learn_foldin
from recsys.models.hybrid import HybridModel, fit_hybrid
from recsys.models.model import Model
from recsys.models.popularity import Popularity
from recsys.pipeline.outcomes import Adopted, Chosen, Evaluated, Fitted, Tuned
from recsys.pipeline.preparation import load_core
from recsys.store.exchange import Exchange
from recsys.store.stages import Stage, Timed, stage
from recsys.tuning.als import tune_als
from recsys.tuning.article import article_study
from recsys.tuning.checkpoints import FileCheckpoints, MemoryCheckpoints
from recsys.tuning.problems import load_problem, load_sides
from recsys.tuning.search import NullRecorder, Recorder
from recsys.tuning.space import Configuration
from recsys.tuning.study import best_by_strategy, best_of, study_strategies
from recsys.tuning.trials import Problem, TrialResult
from recsys.tuning.workers import Pool, RemoteProblem, RemoteWorkers, ThreadWorkers, Workers


@stage(Tuned, version=9, unkeyed=("recorder", "workers", "pool", "exchange"))
def tune(
    folder: Path,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    search: config.Search | config.Article,
    seed: int,
    started_from: Sequence[Configuration] = (),
    workers: int = 1,
    recorder: Recorder | None = None,
    pool: Pool | None = None,
    exchange: str | None = None,
) -> Tuned:
    """Search hyper-parameters on the validation holdout, our way or the founding article's.

    `started_from` are configurations that did well before, on other data; they are tried early.
    So many `workers` are threads of this process, unless a `pool` is given: segments of trials run
    there. Where that is other processes, they read the stages and leave their models in a folder
    or at a URL, `exchange`; by default below the interim folder. The article's searches make one
    trial after the other, in this process.
    """
    if isinstance(search, config.Article):
        problem = load_problem(holdouts, features, seed, masked=False)
        study = article_study(problem, search, seed, recorder or NullRecorder())
    else:
        problem = load_problem(holdouts, features, seed)
        with _workers(
            problem, holdouts, features, search, folder.resolve(), workers, pool, exchange
        ) as trained_by:
            study = study_strategies(
                problem,
                search,
                seed,
                started_from=started_from,
                cold_items=persistence.load_cold_items(Path(holdouts.path)),
                workers=trained_by,
                recorder=recorder,
            )
    best = best_of(study.trials)
    if best is None or best.best is None or best.precision == 0.0:
        raise _nothing_learned(study.trials)
    outcome = {
        "configuration": best.configuration,
        "epochs": best.best.epoch,
        "precision_at_5": best.precision,
        "trial": best.number,
        "ended": study.ended,
        "trials": [_as_dict(trial) for trial in study.trials],
    }
    _save_json(folder / "study.json", outcome)
    return Tuned(
        trials=len(study.trials),
        precision_at_5=best.precision,
        epochs=best.best.epoch,
        configuration=best.configuration,
        strategies={
            name: Tried(trial.configuration, trial.best.epoch)
            for name, trial in best_by_strategy(study.trials).items()
            if trial.best is not None
        },
        ended=study.ended,
        started_from=tuple(started_from),
    )


def _nothing_learned(trials: Sequence[TrialResult]) -> InputError:
    diverged = sum(trial.status == "diverged" for trial in trials)
    if diverged == len(trials):
        return InputError(
            f"all {diverged} trials diverged (such as: {trials[0].reason})",
            "a trial whose numbers stay finite",
            "narrow search.space to smaller learning rates",
        )
    said = f", {diverged} of them diverged" if diverged else ""
    return InputError(
        f"none of {len(trials)} trials learned anything (best precision_at_5 is 0{said})",
        "a trial that ranks some held-out item among the first 5",
        "make more trials, or check that the likes are not random",
    )


def adoptable(champion: Mapping[str, Any]) -> dict[str, Any]:
    """Of a champion's manifest, the configuration to refit: `epochs` is among it.

    How much items to come keep of their features is found out anew on the data of the day.
    """
    return {name: v for name, v in champion["configuration"].items() if name != "cold_blending"}


@stage(Adopted, version=3)
def adopt(
    folder: Path,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    adopted: Mapping[str, Any],
    started_from: Sequence[Configuration],
    seed: int,
) -> Adopted:
    """The champion's configuration in the place of a search's winner; nothing is trained.

    `adopted` see `adoptable`. Holdouts, features and seed are what it will be fitted on: they name
    the product. `started_from` is handed on to the next search.
    """
    configuration = {name: value for name, value in adopted.items() if name != "epochs"}
    epochs = adopted["epochs"]
    strategy = parse_configuration(configuration)[1].strategy
    tried: dict[str, Tried] = {strategy: Tried(configuration, epochs)}
    if strategy == "mapped":
        plain = {name: v for name, v in configuration.items() if name not in HYBRID_NAMES}
        tried = {"none": Tried({"strategy": "none", **plain}, epochs), **tried}
    _save_json(folder / "study.json", {"configuration": configuration, "epochs": epochs})
    return Adopted(
        configuration=configuration,
        epochs=epochs,
        strategies=tried,
        started_from=tuple(started_from),
    )


def warm_start(champion: Mapping[str, Any] | None, data_fingerprint: str) -> list[Configuration]:
    """The configurations a search starts from, given the champion's manifest.

    On new data that is the champion's own configuration. On the data the champion was made from
    it is what its own search started from: the same search, which need not be made again.
    """
    if champion is None:
        return []
    if champion["data_fingerprint"] == data_fingerprint:
        return list(champion["started_from"])
    left_out = HYBRID_NAMES | {"epochs"}
    return [{n: v for n, v in champion["configuration"].items() if n not in left_out}]


def _as_dict(trial: TrialResult) -> dict[str, Any]:
    return {
        "number": trial.number,
        "configuration": trial.configuration,
        "status": trial.status,
        "reason": trial.reason,
        "precision_at_5": trial.precision,
        # Seconds differ from run to run; the product must not, so they stay in the tracking.
        "curve": list(zip(trial.epochs, trial.values, strict=True)),
    }


@contextmanager
def _workers(
    problem: Problem,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    search: config.Search,
    folder: Path,
    threads: int,
    pool: Pool | None,
    exchange: str | None,
) -> Iterator[Workers]:
    """The workers of a study, threads of this process or those of a pool.

    Models that wait in files do so in a folder of their own, which is removed at the end.
    """
    shared = pool is None or pool.shares_memory
    place = Exchange(str(folder) if shared or exchange is None else exchange)
    models = place.below(f"models-{uuid.uuid4().hex}")
    with ExitStack() as stack:
        stack.callback(models.clear)
        if pool is not None and not shared:
            remote = RemoteProblem(place.give(holdouts), place.give(features), problem.seed, models)
            yield RemoteWorkers(remote, pool.submit)
            return
        executor = pool or stack.enter_context(ThreadPoolExecutor(threads))
        checkpoints = MemoryCheckpoints(search.checkpoint_bytes, FileCheckpoints(models))
        yield ThreadWorkers(problem, executor.submit, checkpoints)


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
    # All train on one thread each and let the interpreter's lock go: side by side they take
    # as long as the longest one.
    with ThreadPoolExecutor(workers) as pool, threadpool_limits(1):
        fits = Fits(tried, known, sides, seed, pool.submit)
        away = None if held is None else Fits(tried, held.train, sides, seed, pool.submit)
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
    _save_json(folder / "leaderboard.json", board)
    _save_per_user(folder, measured)
    found: dict[str, Any] = {"winner": winner}
    if held is not None and served is not None:
        samples = options.bootstrap_samples
        found |= compare(fitted, served, tried, held, heldout, known, seed=seed, samples=samples)
    _save_json(folder / "strategies.json", found)
    headline = {entry["model"]: entry["metrics"][HEADLINE]["mean"] for entry in board}
    found_out = Evaluated("validation" if parts.test.nnz == 0 else "test", headline)
    return Timed(found_out, {name: round(entry.seconds, 1) for name, entry in fitted.items()})


def _save_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _save_per_user(folder: Path, measured: Mapping[str, Measured]) -> None:
    users = measured[LIGHTFM].evaluation.users
    columns = {name: entry.evaluation.per_user[HEADLINE] for name, entry in measured.items()}
    persistence.write_columns(folder / "per_user.parquet", user=users, **columns)


def refit(
    interactions: sp.csr_matrix,
    configuration: Mapping[str, Any],
    features: Stage[Encoded],
    seed: int,
    threads: int = 1,
) -> HybridModel:
    """Train a configuration, whoever found it and when, on these interactions.

    Parameters
    ----------
    interactions : csr_matrix (n_users, n_items)
    configuration : mapping
        Hyper-parameters and the plan for features, the number of `epochs` among them.
    features : Stage
        Of `encode`.
    seed : int
    threads : int

    Raises
    ------
    InputError
        If training diverges.
    """
    values = {name: value for name, value in configuration.items() if name != "epochs"}
    sides = load_sides(features, interactions.shape)
    return fit_hybrid(interactions, values, configuration["epochs"], seed, sides, threads)


@stage(Fitted, version=7, unkeyed=("versions",))
def fit(
    folder: Path,
    core: Stage[Thresholded],
    features: Stage[Encoded],
    tuned: Stage[Chosen],
    measured: Stage[Evaluated],
    options: config.Fit,
    seed: int,
    versions: Mapping[str, str],
) -> Fitted:
    """Train the winner's configuration on all interactions and write the portable bundle."""
    interactions = load_core(core)
    matrix = interactions.matrix()
    configuration = tuned.outcome.trained
    # How much new items with few likes keep of their features was found out by serving some.
    if blending := measured.read_json("strategies.json").get("cold_blending"):
        configuration["cold_blending"] = blending
    # Sums of products differ in their last bits with the threads that share them, and a model that
    # is made again would be another version. LightFM's own threads are none of these.
    with threadpool_limits(1, user_api="blas"):
        model = refit(matrix, configuration, features, seed, options.threads)
    board = measured.read_json("leaderboard.json")
    winner = next(entry for entry in board if entry["model"] == LIGHTFM)
    about = {
        "data_fingerprint": core.digest,
        "configuration": configuration,
        "started_from": list(tuned.outcome.started_from),
        "seed": seed,
        "counts": interactions.counts(),
        "metrics": winner["metrics"],
        "holdout": measured.outcome.holdout,
        "library_versions": dict(versions),
    }
    (folder / "bundle").mkdir()
    with threadpool_limits(1, user_api="blas"):
        bundle = _bundle(model, core, interactions, about)
    save_bundle(folder / "bundle", bundle)
    return Fitted(
        **interactions.counts(),
        components=model.factors.n_components,
        catalogue=len(bundle.items),
    )


def _bundle(
    model: HybridModel,
    core: Stage[Thresholded],
    interactions: Interactions,
    about: Mapping[str, Any],
) -> Bundle:
    """The model with the whole catalogue, as far as its features are known, and the fold-ins."""
    matrix = interactions.matrix()
    factors = model.catalogue()
    catalogue = Path(core.path) / "catalogue.parquet"
    names = persistence.load_names(catalogue)
    return Bundle(
        factors,
        interactions.users,
        IdMap(persistence.load_ids(catalogue, "item").ids.slice(0, factors.n_items), "item"),
        None if names is None else names.slice(0, factors.n_items),
        Seen(matrix.indptr, matrix.indices),
        about,
        trained=model.factors.n_items,
        item_features=model.item,
        user_features=model.user,
        user_foldin=learn_foldin(model.factors, matrix),
        item_foldin=learn_item_foldin(model.own, matrix),
    )
