"""Contenders: the best trials of each model raced on further holdouts where one says too little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.base.arrays import Float64Array
from recsys.base.cores import cpu_seconds
from recsys.base.errors import InputError
from recsys.models.lightfm import DivergedError
from recsys.models.model import model_from_dict
from recsys.ranking.scorer import Scorer
from recsys.tuning.closed_forms import affordable_trials
from recsys.tuning.problems import Problem
from recsys.tuning.racing import Race, race, relative_half_width
from recsys.tuning.trials import Contender, TrialResult, is_closed_form, order_of_merit

WIDE = 0.03
"""Relative half-width of the best trial's interval from which on trials are raced."""
REACH = 2.0
"""Standard errors below the best that a trial may be, to be a contender."""
LIGHTFM = "lightfm"

# Makes the problems with other holdouts, which not every study needs.
Further: TypeAlias = Callable[[], Sequence[Problem]]


class Races:
    """Races the trials of a study, each fitted once in each holdout.

    Who took part is in `found`, of each model the winner first, and the CPU seconds by model are in
    `seconds`.

    Parameters
    ----------
    problem : Problem
        With the holdout on which the trials were measured.
    further : callable or None
        Returns problems with other holdouts of the same users. None: nothing is raced.
    most : int
        Contenders of each model; fewer of one whose fits take long on so many items.
    threads : int
        Fits of LightFM at once, each on one thread. Item-to-item models are fitted one by one, as
        they are in the search: they may take much memory.
    """

    def __init__(
        self, problem: Problem, further: Further | None, most: int, threads: int = 1
    ) -> None:
        self._problem, self._make, self._most = problem, further, most
        self._threads = threads
        self._values: dict[tuple[int, int], Float64Array] = {}
        self._error: float | None = None
        self.found: list[Contender] = []
        self.seconds: dict[str, float] = {}

    def run(self, trials: Sequence[TrialResult], models: Sequence[str]) -> list[TrialResult]:
        """Race the best trials of some models, if the interval of the best LightFM trial is wide.

        Parameters
        ----------
        trials : sequence of TrialResult
        models : sequence of str
            "lightfm", and names of item-to-item models.

        Returns
        -------
        list of TrialResult
            The same; where a model was raced, all but the winner are `beaten`.
        """
        self._error = self._wide_error(trials)
        beaten: set[int] = set()
        for name in models:
            of_model = [trial for trial in trials if _model(trial) == name]
            contenders = self.contenders(of_model)
            if len(contenders) < 2:
                continue
            ended = self.race(contenders)
            winner = contenders[ended.winner].number
            beaten |= {trial.number for trial in of_model} - {winner}
            self.found += _as_contenders(contenders, ended)
        return [replace(trial, beaten=trial.number in beaten) for trial in trials]

    def contenders(self, trials: Sequence[TrialResult]) -> list[TrialResult]:
        """The trials that may be the best, that with the highest precision first.

        None after a `run` that raced nothing.
        """
        if self._error is None:
            return []
        measured = sorted(
            (trial for trial in trials if trial.precision > 0),
            key=lambda trial: (-trial.precision, trial.number),
        )
        least = measured[0].precision - REACH * self._error if measured else 0.0
        near = [trial for trial in measured if trial.precision >= least]
        most = [
            affordable_trials(_model(trial), self._problem.train.shape[1], self._most)
            for trial in near
        ]
        return near[: max(most, default=0)]

    def race(self, contenders: Sequence[TrialResult]) -> Race:
        """Race some trials; what was measured before is not measured again."""

        def measure(places: Sequence[int], number: int) -> list[Float64Array]:
            asked = [contenders[place] for place in places]
            new = [trial for trial in asked if (trial.number, number) not in self._values]
            at_once = 1 if any(map(is_closed_form, new)) else self._threads
            with ThreadPoolExecutor(at_once) as pool, threadpool_limits(1):
                made = list(
                    pool.map(lambda trial: self.precisions(self._further[number], trial), new)
                )
            for trial, values in zip(new, made, strict=True):
                self._values[trial.number, number] = values
            return [self._values[trial.number, number] for trial in asked]

        return race([trial.precision for trial in contenders], measure, len(self._further))

    @cached_property
    def _further(self) -> Sequence[Problem]:
        return self._make() if self._make is not None else ()

    def _wide_error(self, trials: Sequence[TrialResult]) -> float | None:
        """The standard error of the best LightFM trial; None where its interval is narrow.

        Item-to-item models go by it as well, since they would have to be fitted again for theirs.
        """
        best = max(
            (trial for trial in trials if not is_closed_form(trial) and trial.precision > 0),
            key=order_of_merit,
            default=None,
        )
        if best is None or self._make is None:
            return None
        values = self.precisions(self._problem, best)
        if relative_half_width(values) <= WIDE:
            return None
        return float(values.std(ddof=1) / np.sqrt(len(values)))

    def precisions(self, problem: Problem, trial: TrialResult) -> Float64Array:
        """What a trial reaches with each user of a holdout; 0 where it cannot be fitted there."""
        start = cpu_seconds()
        if problem is self._problem and trial.factors is not None:
            return problem.precisions(trial.factors)
        try:
            with threadpool_limits(1):
                values = problem.precisions(_fitted(problem, trial))
        except (DivergedError, InputError):
            values = np.zeros(int((np.diff(problem.validation.indptr) > 0).sum()))
        name = _model(trial)
        self.seconds[name] = self.seconds.get(name, 0.0) + cpu_seconds() - start
        return values


def _fitted(problem: Problem, trial: TrialResult) -> Scorer:
    if is_closed_form(trial):
        model = model_from_dict(trial.configuration)
        return model.fit(problem.train, seed=problem.seed, times=problem.times)
    assert trial.best is not None
    training = problem.training(trial.configuration)
    training.advance(trial.best.epoch)
    return training.factors()


def _model(trial: TrialResult) -> str:
    return str(trial.configuration["model"]) if is_closed_form(trial) else LIGHTFM


def _as_contenders(trials: Sequence[TrialResult], ended: Race) -> list[Contender]:
    """The winner first, then those that went furthest, the best of them before the others."""
    places = sorted(
        range(len(trials)),
        key=lambda place: (place != ended.winner, -ended.holdouts[place], -ended.means[place]),
    )
    return [
        Contender(
            trials[place].number,
            _model(trials[place]),
            trials[place].precision,
            ended.means[place],
            ended.holdouts[place],
        )
        for place in places
    ]
