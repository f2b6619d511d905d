"""Runs: studies, trials and results as MLflow runs, few calls each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import (
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException

from recsys.base.config import Tracking
from recsys.base.events import Note, emit
from recsys.base.redaction import redacted
from recsys.evaluation.metric_names import CURVE, CURVE_SECONDS, HEADLINE
from recsys.models.configuration import with_current_names
from recsys.tracking.address import local_folder
from recsys.tracking.client import PatientClient, prepare_database
from recsys.tracking.faults import is_outage, tracking_errors
from recsys.tracking.moved import follow_move
from recsys.tracking.provenance import TrackedDataset
from recsys.tracking.reachable import require_reachable
from recsys.tuning.recorders import Recorded
from recsys.tuning.space import Configuration
from recsys.tuning.trials import Rung

STUDY, KIND, TRIAL, STATUS, REASON = "study", "kind", "trial", "status", "reason"
# What a study knows of its search space: a tag, and the set of its metrics.
SEARCH_SPACE = "search_space"
# MLflow's own limits on one log_batch call.
METRICS_A_CALL, PARAMS_A_CALL = 1000, 100


@dataclass(frozen=True)
class StudyDescription:
    """What is known of a study, or of a refit, before it begins.

    Parameters
    ----------
    key : str
        Names it: the same key, the same data, space and seed.
    name : str
        What its run is called.
    params : mapping
        What the run says of its configuration.
    kind : {"study", "refresh"}
    data : TrackedDataset or None
    tags : mapping of str to str
        Beside those by which it is found again.
    """

    key: str
    name: str
    params: Mapping[str, Any]
    kind: str = "study"
    data: TrackedDataset | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def configuration_of(run: Run) -> Configuration:
    """The configuration of a trial's run, under today's names."""
    return with_current_names(json.loads(run.data.tags["configuration"]))


@dataclass(frozen=True)
class Tracker:
    """A tracking server or database, and the experiment that runs go to.

    Parameters
    ----------
    client : PatientClient
    experiment_id : str
    uri : str
    """

    client: PatientClient
    experiment_id: str
    uri: str

    @classmethod
    def connect(
        cls, uri: str, experiment: str, artifacts: str | None = None, patience: float = 0.0
    ) -> Tracker:
        """Open, and where needed create, the database and the experiment.

        An experiment that was deleted and is still known is restored. Where a project with a local
        database was moved, the addresses of its files are corrected.

        Parameters
        ----------
        uri, experiment : str
        artifacts : str or None
            Where a new experiment's files go: a folder, or a URL that MLflow knows. If not given,
            beside a local database, to `mlruns/artifacts` for a database elsewhere, and where a
            server puts them. MLflow never moves the files of an experiment.
        patience : float
            Seconds that a server which does not answer is waited for, here and in later calls.

        Raises
        ------
        RegistryError
            If there is no tracking server or database at the address.
        StorageError
            If the database cannot be written.
        """
        require_reachable(uri, patience)
        with tracking_errors(uri):
            prepare_database(uri)
            follow_move(uri)
            client = PatientClient(uri, patience)
            made = client.patiently(lambda: _experiment(client, experiment, artifacts))
            return cls(client, made, uri)

    def find_study(self, key: str, kind: str = "study") -> Run | None:
        """The parent run of a study, or the run of a refit."""
        runs = self._search(f"tags.{KIND} = '{kind}' and tags.{STUDY} = '{key}'")
        return runs[0] if runs else None

    def last_study_with_another(self, param: str, value: str) -> Run | None:
        """The newest study whose run has another value of a parameter, and was measured."""
        condition = f"tags.{KIND} = 'study' and params.`{param}` != '{value}'"
        with tracking_errors(self.uri):
            for run in self.client.search_runs([self.experiment_id], condition, max_results=20):
                if f"test/{HEADLINE}" in run.data.metrics:
                    return run
        return None

    def open_study(self, description: StudyDescription) -> str:
        """The id of a study's parent run, which is created if it is not there."""
        run = self.find_study(description.key, description.kind)
        if run is None or not run.data.params:
            tags = {KIND: description.kind, STUDY: description.key, **description.tags}
            run_id = self.open_run(tags, description.name, (KIND, STUDY))
            if description.data is not None:
                self._log_data(run_id, description.data)
            # Last: with its parameters a run is whole.
            self.log(run_id, params=description.params)
            return run_id
        return str(run.info.run_id)

    def _log_data(self, run_id: str, data: TrackedDataset) -> None:
        given = [data.as_input()]
        try:
            self.client.log_inputs(run_id, given)
        except MlflowException as fault:
            if is_outage(fault, self.uri):
                raise  # the patience is over
            # MLflow looks for the data set, and adds it where it is not there. Of two runs that do
            # so at the same moment one is refused, and finds it when it looks again.
            self.client.log_inputs(run_id, given)

    def open_run(self, tags: Mapping[str, str], name: str, found_by: Sequence[str]) -> str:
        """The id of the run with some tags, which is created with all of them if it is not there.

        Looked for before every attempt, for an earlier one may have arrived although its answer
        got lost.
        """
        condition = " and ".join(f"tags.{tag} = '{tags[tag]}'" for tag in found_by)

        def attempt() -> str:
            found = self.client.once.search_runs([self.experiment_id], condition, max_results=1)
            return str(found[0].info.run_id) if found else self.create_run(tags, name)

        return self.client.patiently(attempt)

    def create_run(self, tags: Mapping[str, str], name: str) -> str:
        """The id of a new run; asked for once, whatever the patience."""
        create = self.client.once.create_run
        return str(create(self.experiment_id, tags=dict(tags), run_name=name).info.run_id)

    def log_run(
        self,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        metrics: Sequence[tuple[str, float, int]],
        files: Sequence[Path] = (),
    ) -> str:
        """A whole run at once; returns its id."""
        with tracking_errors(self.uri):
            run = self.client.create_run(self.experiment_id, tags=dict(tags), run_name=name)
            self.log(run.info.run_id, metrics, params)
            for path in files:
                self.client.log_artifact(run.info.run_id, str(path))
            self.client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)

    def attach(self, run_id: str, files: Sequence[Path], folder: str | None = None) -> None:
        """Log files as artifacts of a run."""
        with tracking_errors(self.uri):
            for path in files:
                self.client.log_artifact(run_id, str(path), folder)

    def artifact(self, run_id: str, name: str) -> str:
        """Where an artifact of a run lies: a path if it is on this machine, else its URI."""
        with tracking_errors(self.uri):
            root = str(self.client.get_run(run_id).info.artifact_uri)
        local = local_folder(root)
        return f"{root}/{name}" if local is None else str(local / name)

    def runs_of_nights(self) -> list[str]:
        """The ids of the runs of all nights, those of their trials left out."""
        return [str(run.info.run_id) for run in self._search(f"tags.{KIND} != 'trial'")]

    def recorded_trials(self, key: str) -> dict[int, tuple[Run, Recorded]]:
        """The trials of a study by number, each with what was measured of it."""
        found: dict[int, tuple[Run, Recorded]] = {}
        # Newest first. There are two with one number where processes knew nothing of one another,
        # or where another version of the code asked for another configuration.
        for run in self._search(f"tags.{KIND} = 'trial' and tags.{STUDY} = '{key}'"):
            history = self.client.get_metric_history
            seconds = {point.step: point.value for point in history(run.info.run_id, CURVE_SECONDS)}
            curve = {point.step: point.value for point in history(run.info.run_id, CURVE)}
            measured = tuple(Rung(e, curve[e], seconds.get(e, 0.0)) for e in sorted(curve))
            tags = run.data.tags
            diverged = tags[REASON] if tags.get(STATUS) == "diverged" else None
            newer = found.get(int(tags[TRIAL]))
            if newer is None or (
                configuration_of(newer[0]) == configuration_of(run)
                and len(measured) > len(newer[1].curve)
            ):
                found[int(tags[TRIAL])] = run, Recorded(measured, diverged)
        return found

    def _search(self, condition: str) -> list[Run]:
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                condition,
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=1000,
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                return found

    def log(
        self,
        run_id: str,
        metrics: Sequence[tuple[str, float, int]] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        at: int | None = None,
        model_id: str | None = None,
    ) -> None:
        """Metrics (name, value, step), parameters and tags in as few calls as MLflow allows.

        `at` is the time in milliseconds; a metric that is logged twice with the same time is kept
        once. With the `model_id` of a logged model, metrics are that model's as well.
        """
        now = int(time.time() * 1000) if at is None else at
        entries = [
            Metric(name, value, now, step, model_id=model_id) for name, value, step in metrics
        ]
        parameters = [
            Param(name, redacted(str(value))[:6000]) for name, value in (params or {}).items()
        ]
        run_tags = [RunTag(name, value[:5000]) for name, value in (tags or {}).items()]
        while entries or parameters or run_tags:
            self.client.log_batch(
                run_id,
                entries[:METRICS_A_CALL],
                parameters[:PARAMS_A_CALL],
                run_tags[:PARAMS_A_CALL],
            )
            entries, parameters = entries[METRICS_A_CALL:], parameters[PARAMS_A_CALL:]
            run_tags = run_tags[PARAMS_A_CALL:]


def open_tracker(tracking: Tracking, experiment: str) -> Tracker:
    """The tracking server or database, and an experiment, as the configuration says.

    Parameters
    ----------
    tracking : Tracking
        The configuration's section.
    experiment : str

    Raises
    ------
    RegistryError, StorageError
        As `Tracker.connect`.
    """
    return Tracker.connect(tracking.uri, experiment, tracking.artifacts, tracking.patience)


def _experiment(client: PatientClient, name: str, artifacts: str | None) -> str:
    """The id of an experiment, which is created if it is not there."""
    found = client.once.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == LifecycleStage.DELETED:
        # Its name is taken until it is deleted for good, and no run can be written to it.
        client.once.restore_experiment(found.experiment_id)
        emit(Note(f"the experiment {name} had been deleted in MLflow; it is restored"))
    if found is None:
        try:
            location = _location(client.uri, name, artifacts)
            return client.once.create_experiment(name, artifact_location=location)
        except MlflowException as fault:
            if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # Another process made it in the meantime.
        found = client.once.get_experiment_by_name(name)
    assert found is not None, "what exists is found"
    return str(found.experiment_id)


def _location(uri: str, experiment: str, artifacts: str | None) -> str | None:
    if artifacts is not None and "://" in artifacts:
        return f"{artifacts.rstrip('/')}/{experiment}"
    folder = Path(artifacts or "mlruns/artifacts")
    if artifacts is None:
        if uri.startswith(("http://", "https://")):
            return None
        if uri.startswith("sqlite:///"):
            folder = Path(uri.removeprefix("sqlite:///")).parent / "artifacts"
    return (folder.resolve() / experiment).as_uri()
