"""Delivery: brings MLflow to where a study is, entry by entry, across outages."""

from __future__ import annotations

import json
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, cast

from mlflow.exceptions import MlflowException

from recsys.base.errors import OutageError
from recsys.base.events import Note, emit
from recsys.base.retries import pauses
from recsys.evaluation.metric_names import CURVE, CURVE_SECONDS, OBJECTIVE
from recsys.tracking.client import PatientClient
from recsys.tracking.faults import tracking_errors
from recsys.tracking.params import grouped
from recsys.tracking.runs import (
    KIND,
    REASON,
    SEARCH_SPACE,
    STATUS,
    STUDY,
    TRIAL,
    StudyDescription,
    Tracker,
    configuration_of,
)
from recsys.tuning.figures import draw_study
from recsys.tuning.space import Configuration
from recsys.tuning.trials import Rung, Status, Study, TrialResult
from recsys.tuning.understanding import Understanding


class Delivery:
    """Brings MLflow to where a study is, entry by entry; may be cut off anywhere and begun again.

    Parameters
    ----------
    tracker, description : see `StudyRecorder`
    """

    def __init__(self, tracker: Tracker, description: StudyDescription) -> None:
        self._patient = tracker
        # During the search an attempt is made once, so that it does not hold up the training.
        self._tracker = replace(tracker, client=PatientClient(tracker.uri))
        self._description, self._key = description, description.key
        self._waiting: deque[dict[str, Any]] = deque()
        self._runs: dict[int, tuple[str, Configuration]] = {}
        self._epochs: dict[str, set[int]] = {}
        self._run_id = ""
        self._uncertain = False  # whether an attempt may have arrived although it failed
        self._pauses = pauses(inf)
        self._away_until = 0.0  # monotonic seconds

    def begin(self) -> dict[int, TrialResult]:
        """Open the study's run; the trials that MLflow holds."""
        with tracking_errors(self._patient.uri):
            self._run_id = self._patient.open_study(self._description)
            self._patient.client.update_run(self._run_id, status="RUNNING")
            known = self._patient.recorded_trials(self._key)
        found: dict[int, TrialResult] = {}
        for number, (run, recorded) in known.items():
            tags, run_id = run.data.tags, run.info.run_id
            trial = TrialResult(number, configuration_of(run), recorded.curve)
            # The end of a run that was not terminated has not been delivered.
            if run.info.status != "RUNNING":
                trial = replace(trial, status=cast("Status", tags.get(STATUS, "paused")))
                trial = replace(trial, reason=tags.get(REASON, ""))
            found[number] = trial
            self._runs[number] = run_id, trial.configuration
            self._epochs[run_id] = set(trial.epochs)
        return found

    def deliver(self, entry: dict[str, Any]) -> None:
        """Tell of an entry; while the server is away, later and in order."""
        self._waiting.append(entry)
        if time.monotonic() < self._away_until:
            return
        try:
            with tracking_errors(self._tracker.uri):
                self._empty()
        except OutageError:
            if not self._away_until:
                emit(Note(f"the tracking server at {self._tracker.uri} does not answer; going on"))
            self._away_until = time.monotonic() + next(self._pauses)
        else:
            self._pauses, self._away_until = pauses(inf), 0.0

    def flush(self) -> int:
        """Tell of everything that waits, for as long as the patience lasts; how much is left."""
        try:
            with tracking_errors(self._tracker.uri):
                self._patient.client.patiently(self._empty)
        except OutageError:
            pass  # what is left is counted
        return len(self._waiting)

    def _empty(self) -> None:
        tell_of = {"started": self._run_of, "measured": self._measured, "ended": self._ended}
        while self._waiting:
            entry = self._waiting[0]
            try:
                tell_of[entry["kind"]](entry)
            except MlflowException:
                self._uncertain = True
                raise
            self._uncertain = False
            self._waiting.popleft()

    def _run_of(self, entry: Mapping[str, Any]) -> str:
        """The run of an entry's trial; where an earlier process began it, that one goes on."""
        number, configuration = entry["trial"], entry["configuration"]
        known = self._runs.get(number)
        if known is not None and known[1] == configuration:
            return known[0]
        tags = {
            KIND: "trial",
            STUDY: self._key,
            TRIAL: str(number),
            "configuration": json.dumps(configuration),
            "mlflow.parentRunId": self._run_id,
        }
        name = f"trial {number:03d}"
        if self._uncertain and known is None:
            run_id = self._tracker.open_run(tags, name, (KIND, STUDY, TRIAL))
        else:
            run_id = self._tracker.create_run(tags, name)
        self._runs[number] = run_id, configuration
        self._epochs[run_id] = set()
        return run_id

    def _measured(self, entry: Mapping[str, Any]) -> None:
        run_id = self._run_of(entry)
        new = [Rung(*rung) for rung in entry["rungs"] if rung[0] not in self._epochs[run_id]]
        metrics = [(CURVE, rung.precision, rung.epoch) for rung in new]
        metrics += [(CURVE_SECONDS, rung.seconds, rung.epoch) for rung in new]
        tags: dict[str, str] = {}
        if "status" in entry:
            metrics += [(name, value, 0) for name, value in entry["metrics"].items()]
            tags = {STATUS: entry["status"], REASON: entry["reason"]}
        params = grouped(entry["configuration"]) if "status" in entry else {}
        self._tracker.log(run_id, metrics, params, tags, at=entry["at"])
        self._epochs[run_id] |= {rung.epoch for rung in new}
        if "status" in entry:
            status = "FAILED" if entry["status"] == "diverged" else "FINISHED"
            self._tracker.client.set_terminated(run_id, status)

    def _ended(self, entry: Mapping[str, Any]) -> None:
        # A journal of an earlier release says nothing of the search space.
        known = entry.get("understood")
        understood = Understanding.from_dict(known) if known else None
        trials = tuple(_as_trial(trial) for trial in entry["trials"])
        study = Study(trials, entry["ended"], understood)
        best = study.best
        epoch = best.best.epoch if best.best else 0
        # Tags, for a study that goes on (cut off before its stage was finished, with a budget of
        # seconds) may find a better one, and MLflow's parameters can't be changed.
        tags = {f"best/{name}": str(v) for name, v in grouped(best.configuration).items()}
        self._tracker.log(
            self._run_id,
            [
                (OBJECTIVE, best.precision, 0),
                ("best_epoch", epoch, 0),
                ("trials", len(study.trials), 0),
                ("seconds", sum(trial.seconds for trial in study.trials), 0),
                *_of_search_space(understood),
            ],
            {},
            {
                "best_trial": str(best.number),
                "ended": study.ended,
                **tags,
                **({SEARCH_SPACE: understood.verdict} if understood else {}),
            },
            at=entry["at"],
        )
        with tempfile.TemporaryDirectory() as folder:
            draw_study(study, Path(folder))
            self._tracker.client.log_artifacts(self._run_id, folder, "figures")
        self._tracker.client.set_terminated(self._run_id, "FINISHED")


def _of_search_space(understood: Understanding | None) -> list[tuple[str, float, int]]:
    """The metrics of what a study knows of its search space."""
    if understood is None or understood.explained is None:
        return []
    found = {"explained": understood.explained, "expected_gain": understood.gain or 0.0}
    for effect in understood.effects:
        found[f"importance_{effect.name}"] = effect.importance
        found[f"importance_{effect.name}_low"] = effect.low
        found[f"importance_{effect.name}_high"] = effect.high
    return [(f"{SEARCH_SPACE}/{name}", value, 0) for name, value in found.items()]


def _as_trial(entry: Mapping[str, Any]) -> TrialResult:
    return TrialResult(**{**entry, "curve": tuple(Rung(*rung) for rung in entry["curve"])})
