"""Studies as MLflow holds them: a study's run and the learning curves of its trials."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from recsys.tracking.client import PatientClient
from recsys.tracking.faults import MISSING, tracking_errors
from recsys.tracking.runs import STUDY, Tracker
from recsys.tracking.versions import FOUND_FILE, NIGHTS_FILE


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
    drift : sequence of mapping
        What was compared with earlier nights, see `recsys.evaluation.drift.Found`.
    nights : mapping of str to mapping of str to int
        Likes, users and items by version, those of this run last under ''.
    """

    experiment_id: str
    run_id: str
    name: str
    started: int
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    curves: tuple[TrialCurve, ...]
    drift: Sequence[Mapping[str, Any]] = ()
    nights: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


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
        drift, nights = _read_drift(client, run_id)
    curves = tuple(
        TrialCurve(number, tuple((rung.epoch, rung.precision) for rung in recorded.curve))
        for number, (_, recorded) in sorted(trials.items())
        if recorded.curve
    )
    return StudyRun(
        str(run.info.experiment_id), str(run.info.run_id), str(run.info.run_name),
        int(run.info.start_time), dict(run.data.metrics), dict(run.data.params),
        dict(run.data.tags), curves, drift, nights,
    )  # fmt: skip


def _read_drift(
    client: PatientClient, run_id: str
) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    """What a night found of its data; nothing where it was not looked for."""
    folder = FOUND_FILE.rpartition("/")[0]
    there = {entry.path for entry in client.list_artifacts(run_id, folder)}
    found: list[Any] = []
    for name, nothing in ((FOUND_FILE, []), (NIGHTS_FILE, {})):
        if name not in there:
            found.append(nothing)
            continue
        with tempfile.TemporaryDirectory() as local:
            path = Path(client.download_artifacts(run_id, name, local))
            found.append(json.loads(path.read_text(encoding="utf-8")))
    return found[0], found[1]
