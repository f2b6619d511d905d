"""Studies as MLflow holds them: a study's run and the learning curves of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from recsys.tracking.client import PatientClient
from recsys.tracking.faults import MISSING, tracking_errors
from recsys.tracking.runs import STUDY, Tracker


@dataclass(frozen=True)
class TrialCurve:
    """A trial's learning curve.

    Parameters
    ----------
    number : int
    points : tuple of (int, float)
        Epochs and the precision at 5 after them.
    """

    number: int
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class StudyRun:
    """A study as its run tells of it.

    Parameters
    ----------
    experiment_id, run_id, name : str
    started : int
        Milliseconds since 1970.
    metrics : mapping of str to float
    params, tags : mapping of str to str
    curves : tuple of TrialCurve
        Of all trials that were measured, by number.
    """

    experiment_id: str
    run_id: str
    name: str
    started: int
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    curves: tuple[TrialCurve, ...]


def read_study(uri: str, run_id: str) -> StudyRun | None:
    """What is recorded of a study's run; None if it is not there any more.

    Raises
    ------
    RegistryError
        If the tracking server or database does not answer.
    """
    with tracking_errors(uri):
        client = PatientClient(uri)
        try:
            run = client.get_run(run_id)
        except MlflowException as fault:
            if fault.error_code in MISSING:
                return None
            raise
        tracker = Tracker(client, run.info.experiment_id, uri)
        trials = tracker.recorded_trials(run.data.tags[STUDY]) if STUDY in run.data.tags else {}
    curves = tuple(
        TrialCurve(number, tuple((rung.epoch, rung.precision) for rung in recorded.curve))
        for number, (_, recorded) in sorted(trials.items())
        if recorded.curve
    )
    return StudyRun(
        str(run.info.experiment_id), str(run.info.run_id), str(run.info.run_name),
        int(run.info.start_time), dict(run.data.metrics), dict(run.data.params),
        dict(run.data.tags), curves,
    )  # fmt: skip
