"""Recorders: keep what trials found, so that a study that was cut off can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from recsys.base.events import TrialDone, emit
from recsys.tuning.space import Configuration
from recsys.tuning.trials import Rung, Study, TrialResult


@dataclass(frozen=True)
class Recorded:
    """What an earlier process measured of a trial, and why it diverged after that, if it did."""

    curve: tuple[Rung, ...] = ()
    diverged: str | None = None


class Recorder(Protocol):
    """Keeps what trials found, and knows what earlier processes found in the same study."""

    def begin(self) -> None:
        """Called once, before the first trial."""

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        """What was recorded of the trial with this number and configuration."""

    def started(self, trial: TrialResult) -> None:
        """Called when a trial starts."""

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        """Called after a segment, and when a trial ends; `new` rungs since the last call."""

    def end(self, study: Study) -> None:
        """Called once, after the last trial."""


class NullRecorder:
    """A recorder that keeps nothing, for a search without a tracking server."""

    def begin(self) -> None:
        """Do nothing."""

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        """Nothing was recorded."""
        return Recorded()

    def started(self, trial: TrialResult) -> None:
        """Do nothing."""

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        """Do nothing."""

    def end(self, study: Study) -> None:
        """Do nothing."""


@dataclass
class PartRecorder:
    """A recorder for one of several searches in a study.

    Parameters
    ----------
    study : Recorder
        Of the study, which this search neither begins nor ends.
    offset : int
        Added to the numbers of this search's trials.
    best_before : float
        The best precision in the study before this search.
    """

    study: Recorder
    offset: int
    best_before: float = 0.0

    def begin(self) -> None:
        """Do nothing: the study has begun."""

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        """What was recorded of the trial under its number in the study."""
        return self.study.recall(number + self.offset, configuration)

    def started(self, trial: TrialResult) -> None:
        """Hand the trial on under its number in the study."""
        self.study.started(self._renumbered(trial))

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        """Hand the trial on under its number in the study."""
        self.study.measured(self._renumbered(trial), new)

    def end(self, study: Study) -> None:
        """Do nothing: the study goes on."""

    def _renumbered(self, trial: TrialResult) -> TrialResult:
        return replace(trial, number=trial.number + self.offset)


def emit_trial(trial: TrialResult, best: float) -> None:
    """Emit the event that a trial has paused or ended; `best` is the study's best precision."""
    event = TrialDone(
        number=trial.number,
        precision=trial.precision,
        best=best,
        epochs=trial.epochs[-1] if trial.curve else 0,
        seconds=trial.seconds,
        status=trial.status,
        reason=trial.reason,
        configuration=trial.configuration,
    )
    emit(event)
