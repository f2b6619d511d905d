"""The stages that learn: tune, evaluate, fit, each from folder to folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys import config, products
from recsys.article import article_study
from recsys.baselines import popularity, tune_als
from recsys.bundle import Bundle, Seen, save_bundle
from recsys.errors import InputError
from recsys.evaluation import HEADLINE, Measured, as_leaderboard, differences, measure
from recsys.factors import Factors
from recsys.features import with_identity
from recsys.idmap import IdMap
from recsys.model import DivergedError, Hyperparameters, Training
from recsys.preparation import load_core
from recsys.search import Budget, Forgetful, Policy, Recorder, Study, run_study
from recsys.space import Configuration, SearchSpace
from recsys.stages import Counts, Stage, stage
from recsys.trial import Problem, TrialResult

LIGHTFM = "lightfm"
# What LightFM's users reach for first: a middling size, its own learning rate, hardly any
# regularisation. Not tuned, but chosen knowing that such sizes had worked on citeulike-a.
GOOD_DEFAULTS: Configuration = {
    "no_components": 64,
    "learning_rate": 0.05,
    "alpha": 1e-6,
    "user_alpha": 1e-6,
    "item_alpha": 1e-6,
    "max_sampled": 10,
}


@stage(version=1, unkeyed=("recorder", "workers"))
def tune(
    folder: Path,
    holdouts: Stage,
    features: Stage,
    search: config.Search | config.Article,
    seed: int,
    started_from: Sequence[Configuration] = (),
    workers: int = 1,
    recorder: Recorder | None = None,
) -> Counts:
    """Search hyper-parameters on the validation holdout, our way or the founding article's.

    `started_from` are configurations that did well before, on other data; they are tried early.
    """
    parts = products.load_split(Path(holdouts.path))
    if isinstance(search, config.Article):
        problem = Problem(parts.train, parts.validation, seed=seed, masked=False)
        study = article_study(
            problem,
            search,
            seed,
            recorder or Forgetful(),
            _joint_features(features, parts.train.shape[1]),
        )
    else:
        problem = Problem(parts.train, parts.validation, seed=seed)
        study = _search(problem, search, seed, started_from, workers, recorder)
    best = study.best
    if best.best is None or best.precision == 0.0:
        raise InputError(
            f"none of {len(study.trials)} trials learned anything (best precision_at_5 is 0)",
            "a trial that ranks some held-out item among the first 5",
            "make more trials or narrow search.space to smaller learning rates",
        )
    outcome = {
        "configuration": best.configuration,
        "epochs": best.best.epoch,
        "precision_at_5": best.precision,
        "trial": best.number,
        "ended": study.ended,
        "trials": [_as_dict(trial) for trial in study.trials],
    }
    (folder / "study.json").write_text(json.dumps(outcome, indent=1), encoding="utf-8")
    return {
        "trials": len(study.trials),
        "precision_at_5": best.precision,
        "epochs": best.best.epoch,
        "configuration": best.configuration,
        "ended": study.ended,
        "started_from": list(started_from),
    }


def warm_start(champion: Mapping[str, Any] | None, data_fingerprint: str) -> list[Configuration]:
    """The configurations a search starts from, given the champion's manifest.

    On new data that is the champion's own configuration. On the data the champion was made from
    it is what its own search started from: the same search, which need not be made again.
    """
    if champion is None:
        return []
    if champion["data_fingerprint"] == data_fingerprint:
        return list(champion["started_from"])
    left_out = ("epochs", "strategy")
    return [{n: v for n, v in champion["configuration"].items() if n not in left_out}]


def _search(
    problem: Problem,
    search: config.Search,
    seed: int,
    started_from: Sequence[Configuration],
    workers: int,
    recorder: Recorder | None,
) -> Study:
    space = SearchSpace.from_config(search.space)
    return run_study(
        problem,
        space,
        Budget(search.trials, search.seconds),
        policy=Policy(search.max_epochs),
        batch=search.batch,
        workers=workers,
        seed=seed,
        first=[space.configuration(space.point(c)) for c in (GOOD_DEFAULTS, *started_from)],
        recorder=recorder,
    )


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


def _joint_features(features: Stage, n_items: int) -> sp.csr_matrix | None:
    """Identity block and features of the core's items, which lead the catalogue."""
    encoded = products.load_encoded(Path(features.path), "item")
    if encoded is None:
        return None
    matrix = encoded.matrix[:n_items]
    return with_identity(matrix) if features.counts["identity"] else matrix


@stage(version=1, unkeyed=("workers",))
def evaluate(
    folder: Path,
    holdouts: Stage,
    features: Stage,
    tuned: Stage,
    options: config.Evaluate,
    seed: int,
    workers: int = 1,
) -> Counts:
    """Refit winner and baselines on train and validation; measure each once on the test holdout.

    Where there is one holdout only (the founding article's protocol), they are fitted on train
    and measured on it, although the search has seen it; the counts say which.
    """
    parts = products.load_split(Path(holdouts.path))
    known, heldout = parts.final()
    configurations: dict[str, Any] = {LIGHTFM: _configuration(tuned)}
    models: dict[str, Factors] = {"popularity": popularity(known)}
    # Both train on one thread each and let the interpreter's lock go: side by side they take
    # as long as the longer one.
    with ThreadPoolExecutor(workers) as pool, threadpool_limits(1):
        refitted = pool.submit(refit, known, _configuration(tuned), features, seed)
        if options.als_trials:
            als = tune_als(parts.train, parts.validation, trials=options.als_trials, seed=seed)[0]
            models["als"] = als.fit(known, seed)
            configurations["als"] = asdict(als)
        models[LIGHTFM] = refitted.result()
    measured = {
        name: measure(
            factors,
            heldout,
            known,
            ks=sorted({5, *options.ks}),
            samples=options.bootstrap_samples,
            seed=seed,
        )
        for name, factors in models.items()
    }
    compared = differences(measured, LIGHTFM, samples=options.bootstrap_samples, seed=seed)
    board = as_leaderboard(measured, compared)
    for entry in board:
        entry["configuration"] = configurations.get(entry["model"], {})
    (folder / "leaderboard.json").write_text(json.dumps(board, indent=1), encoding="utf-8")
    _save_per_user(folder, measured)
    headline = {entry["model"]: entry["metrics"][HEADLINE]["mean"] for entry in board}
    return {"holdout": "validation" if parts.test.nnz == 0 else "test", **headline}


def _save_per_user(folder: Path, measured: Mapping[str, Measured]) -> None:
    users = measured[LIGHTFM].evaluation.users
    columns = {name: entry.evaluation.per_user[HEADLINE] for name, entry in measured.items()}
    products.write_columns(folder / "per_user.parquet", user=users, **columns)


def _configuration(tuned: Stage) -> dict[str, Any]:
    return {**tuned.counts["configuration"], "epochs": tuned.counts["epochs"]}


def refit(
    interactions: sp.csr_matrix,
    configuration: Mapping[str, Any],
    features: Stage,
    seed: int,
    threads: int = 1,
) -> Factors:
    """Train a configuration, whoever found it and when, on these interactions.

    Parameters
    ----------
    interactions : csr_matrix (n_users, n_items)
    configuration : mapping
        Hyper-parameters, the number of `epochs` among them.
    features : Stage
    seed : int
    threads : int

    Raises
    ------
    InputError
        If training diverges.
    """
    values = {name: value for name, value in configuration.items() if name != "epochs"}
    joint = configuration.get("strategy") == "joint"
    training = Training(
        interactions,
        Hyperparameters.from_dict(values),
        seed,
        threads=threads,
        item_features=_joint_features(features, interactions.shape[1]) if joint else None,
    )
    try:
        training.advance(configuration["epochs"])
        return training.factors()
    except DivergedError as fault:
        raise InputError(
            f"the configuration diverged when fitted on other data ({fault})",
            "factors that stay finite",
            "narrow search.space to smaller learning rates and train again",
        ) from fault


@stage(version=2, unkeyed=("versions",))
def fit(
    folder: Path,
    core: Stage,
    features: Stage,
    tuned: Stage,
    measured: Stage,
    options: config.Fit,
    seed: int,
    versions: Mapping[str, str],
) -> Counts:
    """Train the winner's configuration on all interactions and write the portable bundle."""
    interactions = load_core(core)
    matrix = interactions.matrix()
    factors = refit(matrix, _configuration(tuned), features, seed, options.threads)
    board = measured.read_json("leaderboard.json")
    winner = next(entry for entry in board if entry["model"] == LIGHTFM)
    about = {
        "data_fingerprint": core.digest,
        "configuration": _configuration(tuned),
        "started_from": tuned.counts["started_from"],
        "seed": seed,
        "counts": interactions.counts(),
        "metrics": winner["metrics"],
        "holdout": measured.counts["holdout"],
        "library_versions": dict(versions),
    }
    bundle = Bundle(
        factors,
        interactions.users,
        interactions.items,
        _core_names(core, interactions.items),
        Seen(matrix.indptr, matrix.indices),
        about,
        trained=factors.n_items,
    )
    (folder / "bundle").mkdir()
    save_bundle(folder / "bundle", bundle)
    return {**interactions.counts(), "components": factors.n_components}


def _core_names(core: Stage, items: IdMap) -> pa.Array | None:
    names = products.load_names(Path(core.path) / "catalogue.parquet")
    return None if names is None else names.slice(0, len(items))
