"""Tuning: hyper-parameters searched on the validation holdout, as a stage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recsys.base import config
from recsys.base.errors import InputError
from recsys.data import persistence
from recsys.data.folds import search_fold
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.evaluation.comparison import TriedStrategy
from recsys.models.blending import without_neighbours
from recsys.pipeline.adoption import warm_start
from recsys.pipeline.model_seconds import model_seconds, searched_seconds
from recsys.pipeline.outcomes import Chosen, Tuned
from recsys.pipeline.tracked import RunDetails, Tracked
from recsys.store.exchange import Exchange
from recsys.store.journal import Journal
from recsys.store.stages import Stage, Timed, stage, write_json
from recsys.tracking.recorder import StudyRecorder
from recsys.tuning.article import article_study
from recsys.tuning.checkpoints import FileCheckpoints, MemoryCheckpoints
from recsys.tuning.closed_forms import best_closed_forms
from recsys.tuning.problems import Problem, further_problems, load_problem
from recsys.tuning.recorders import NullRecorder, Recorder
from recsys.tuning.space import Configuration
from recsys.tuning.study import best_by_strategy, best_of, study_strategies
from recsys.tuning.trials import TrialResult, is_closed_form
from recsys.tuning.workers import Pool, RemoteProblem, RemoteWorkers, ThreadWorkers, Workers


@dataclass(frozen=True)
class Study:
    """A search that can begin: the configurations it starts from, and who records its trials."""

    started_from: tuple[Configuration, ...]
    recorder: StudyRecorder


def open_study(
    tracked: Tracked,
    details: RunDetails,
    interim: Path,
    core: Stage[Thresholded],
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    search: config.Search | config.Article,
) -> Study:
    """Look what a search starts from, and have its trials recorded.

    Parameters
    ----------
    tracked, details
        The search begins with the configuration of the model's champion.
    interim : Path
        Folder for the journal of the trials.
    core, holdouts, features : Stage
    search : config.Search or config.Article

    Raises
    ------
    RegistryError
        If the tracking server or database does not answer.
    """
    tracker = tracked.tracker()  # first: it makes the database where there is none
    champion = tracked.registry().champion_manifest()
    started_from = tuple(warm_start(champion, core.digest))
    key = tune.key(holdouts, features, search, details.seed, started_from)
    journal = Journal(interim / f"trials-{key}.jsonl")
    recorder = StudyRecorder(tracker, details.describe(key, "study", core), journal)
    return Study(started_from, recorder)


@stage(Tuned, version=17, unkeyed=("recorder", "workers", "pool", "exchange"))
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
) -> Timed[Tuned]:
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
                cold_items=search_fold(persistence.load_split(Path(holdouts.path))).cold_items,
                threads=workers,
                workers=trained_by,
                recorder=recorder,
                further=further_problems(holdouts, problem, search.folds - 1),
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
        "race": [asdict(contender) for contender in study.contenders],
        "search_space": study.understood.as_dict() if study.understood else {},
    }
    write_json(folder / "study.json", outcome)
    found = Tuned(
        trials=len(study.trials),
        precision_at_5=best.precision,
        epochs=best.best.epoch,
        configuration=best.configuration,
        strategies={
            name: TriedStrategy(without_neighbours(trial.configuration), trial.best.epoch)
            for name, trial in best_by_strategy(study.trials).items()
            if trial.best is not None
        },
        closed_forms={
            name: trial.configuration for name, trial in best_closed_forms(study.trials).items()
        },
        ended=study.ended,
        started_from=tuple(started_from),
    )
    beside = {
        "race": round(sum(study.race_seconds.values()), 2),
        "search_space": round(study.understanding_seconds, 2),
    }
    return Timed(found, model_seconds(searched_seconds(study)) | beside)


def search_space_of(chosen: Stage[Chosen]) -> dict[str, Any]:
    """What a search knows of its space, see `Understanding`; {} where nothing was searched."""
    if chosen.outcome.kind != "study":
        return {}
    return dict(chosen.read_json("study.json")["search_space"])


def _nothing_learned(trials: Sequence[TrialResult]) -> InputError:
    trials = [trial for trial in trials if not is_closed_form(trial)]
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


def _as_dict(trial: TrialResult) -> dict[str, Any]:
    return {
        "number": trial.number,
        "configuration": trial.configuration,
        "status": trial.status,
        "reason": trial.reason,
        "beaten": trial.beaten,
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
            remote = RemoteProblem(
                place.publish(holdouts), place.publish(features), problem.seed, models
            )
            yield RemoteWorkers(remote, pool.submit)
            return
        executor = pool or stack.enter_context(ThreadPoolExecutor(threads))
        checkpoints = MemoryCheckpoints(search.checkpoint_bytes, FileCheckpoints(models))
        yield ThreadWorkers(problem, executor.submit, checkpoints)
