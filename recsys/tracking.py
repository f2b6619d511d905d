"""Tracking: studies, trials and results as MLflow runs, few calls each; the model registry."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from recsys.errors import RegistryError
from recsys.figures import draw_study
from recsys.plan import PLAN_NAMES
from recsys.search import Recorded, Study
from recsys.serving import MISSING, resolved, shown
from recsys.space import Configuration
from recsys.trial import Rung, TrialResult

STUDY, KIND, TRIAL, STATUS, REASON = "study", "kind", "trial", "status", "reason"
CURVE, SECONDS, OBJECTIVE = "curve/precision_at_5", "curve/seconds", "val/precision_at_5"
# MLflow's own limits on one log_batch call.
METRICS_A_CALL, PARAMS_A_CALL = 1000, 100


@dataclass(frozen=True)
class Fingerprinted:
    """Data a run was made from, as MLflow lists them beside it.

    Parameters
    ----------
    name : str
        Of the data set.
    fingerprint : str
        Hash of its content.
    source : str
        The file, folder or URL it was read from.
    counts : mapping of str to int
    """

    name: str
    fingerprint: str
    source: str
    counts: Mapping[str, int]

    def as_input(self) -> DatasetInput:
        """Under MLflow's own names."""
        data = Dataset(
            name=self.name,
            digest=self.fingerprint[:36],  # MLflow's limit
            source_type="likes",
            source=json.dumps({"uri": self.source}),
            profile=json.dumps(dict(self.counts)),
        )
        return DatasetInput(data, [InputTag("mlflow.data.context", "training")])


@dataclass(frozen=True)
class Opened:
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
    data : Fingerprinted or None
    tags : mapping of str to str
        Beside those by which it is found again.
    """

    key: str
    name: str
    params: Mapping[str, Any]
    kind: str = "study"
    data: Fingerprinted | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tracker:
    """A tracking server or database, and the experiment that runs go to.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    uri : str
    """

    client: MlflowClient
    experiment_id: str
    uri: str

    @classmethod
    def connect(cls, uri: str, experiment: str, artifacts: str | None = None) -> Tracker:
        """Open, and where needed create, the database and the experiment.

        A new experiment's files go below `artifacts`, a folder or a URL that MLflow knows; if not
        given, beside a local database, to `mlruns/artifacts` for a database elsewhere, and where
        a server puts them. MLflow never moves the files of an experiment.

        Raises
        ------
        RegistryError
            If there is no tracking server or database at the address.
        """
        require_server(uri)
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        with clear_faults(uri):
            client = MlflowClient(tracking_uri=resolved(uri), registry_uri=resolved(uri))
            found = client.get_experiment_by_name(experiment)
            if found is not None:
                return cls(client, found.experiment_id, uri)
            location = _location(uri, experiment, artifacts)
            made = client.create_experiment(experiment, artifact_location=location)
            return cls(client, made, uri)

    def find_study(self, key: str, kind: str = "study") -> Run | None:
        """The parent run of a study, or the run of a refit."""
        runs = self._search(f"tags.{KIND} = '{kind}' and tags.{STUDY} = '{key}'")
        return runs[0] if runs else None

    def open_study(self, opened: Opened) -> str:
        """The id of a study's parent run, which is created if it is not there."""
        run = self.find_study(opened.key, opened.kind)
        if run is None:
            tags = {KIND: opened.kind, STUDY: opened.key, **opened.tags}
            run = self.client.create_run(self.experiment_id, tags=tags, run_name=opened.name)
            self.log(run.info.run_id, params=opened.params)
            if opened.data is not None:
                self.client.log_inputs(run.info.run_id, [opened.data.as_input()])
        return str(run.info.run_id)

    def log_run(
        self,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        metrics: Sequence[tuple[str, float, int]],
        files: Sequence[Path] = (),
    ) -> str:
        """A whole run at once; returns its id."""
        run = self.client.create_run(self.experiment_id, tags=dict(tags), run_name=name)
        self.log(run.info.run_id, metrics, params)
        for path in files:
            self.client.log_artifact(run.info.run_id, str(path))
        self.client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)

    def attach(self, run_id: str, files: Sequence[Path], folder: str | None = None) -> None:
        """Log files as artifacts of a run."""
        with clear_faults(self.uri):
            for path in files:
                self.client.log_artifact(run_id, str(path), folder)

    def artifact(self, run_id: str, name: str) -> str:
        """Where an artifact of a run lies: a path if it is on this machine, else its URI."""
        with clear_faults(self.uri):
            root = str(self.client.get_run(run_id).info.artifact_uri)
        return f"{root.removeprefix('file://')}/{name}"

    def recorded_trials(self, key: str) -> dict[int, tuple[Run, Recorded]]:
        """The trials of a study by number, each with what was measured of it."""
        found: dict[int, tuple[Run, Recorded]] = {}
        for run in self._search(f"tags.{KIND} = 'trial' and tags.{STUDY} = '{key}'"):
            history = self.client.get_metric_history
            seconds = {point.step: point.value for point in history(run.info.run_id, SECONDS)}
            curve = {point.step: point.value for point in history(run.info.run_id, CURVE)}
            measured = tuple(Rung(e, curve[e], seconds.get(e, 0.0)) for e in sorted(curve))
            tags = run.data.tags
            diverged = tags[REASON] if tags.get(STATUS) == "diverged" else None
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
    ) -> None:
        """Metrics (name, value, step), parameters and tags in as few calls as MLflow allows."""
        now = int(time.time() * 1000)
        entries = [Metric(name, value, now, step) for name, value, step in metrics]
        told = [Param(name, shown(str(value))[:6000]) for name, value in (params or {}).items()]
        marks = [RunTag(name, value[:5000]) for name, value in (tags or {}).items()]
        while entries or told or marks:
            self.client.log_batch(
                run_id, entries[:METRICS_A_CALL], told[:PARAMS_A_CALL], marks[:PARAMS_A_CALL]
            )
            entries, told = entries[METRICS_A_CALL:], told[PARAMS_A_CALL:]
            marks = marks[PARAMS_A_CALL:]


@dataclass(frozen=True)
class Curve:
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
    curves : tuple of Curve
        Of all trials that were measured, by number.
    """

    experiment_id: str
    run_id: str
    name: str
    started: int
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    curves: tuple[Curve, ...]


def read_study(uri: str, run_id: str) -> StudyRun | None:
    """What is recorded of a study's run; None if it is not there any more.

    Raises
    ------
    RegistryError
        If the tracking server or database does not answer.
    """
    with clear_faults(uri):
        client = MlflowClient(tracking_uri=resolved(uri), registry_uri=resolved(uri))
        try:
            run = client.get_run(run_id)
        except MlflowException as fault:
            if fault.error_code in MISSING:
                return None
            raise
        tracker = Tracker(client, run.info.experiment_id, uri)
        trials = tracker.recorded_trials(run.data.tags[STUDY]) if STUDY in run.data.tags else {}
    curves = tuple(
        Curve(number, tuple((rung.epoch, rung.precision) for rung in recorded.curve))
        for number, (_, recorded) in sorted(trials.items())
        if recorded.curve
    )
    return StudyRun(
        str(run.info.experiment_id), str(run.info.run_id), str(run.info.run_name),
        int(run.info.start_time), dict(run.data.metrics), dict(run.data.params),
        dict(run.data.tags), curves,
    )  # fmt: skip


class StudyRecorder:
    """Keeps a study's trials as child runs; a finished trial is never made again.

    Parameters
    ----------
    tracker : Tracker
    opened : Opened
        What its parent run says from the beginning.
    """

    def __init__(self, tracker: Tracker, opened: Opened) -> None:
        self._tracker, self._opened, self._key = tracker, opened, opened.key
        self._known: dict[int, tuple[Run, Recorded]] = {}
        self._runs: dict[int, str] = {}
        self._run_id = ""

    def begin(self) -> None:
        with clear_faults(self._tracker.uri):
            self._run_id = self._tracker.open_study(self._opened)
            self._tracker.client.update_run(self._run_id, status="RUNNING")
            self._known = self._tracker.recorded_trials(self._key)

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        if number not in self._known:
            return Recorded()
        run, recorded = self._known[number]
        same = json.loads(run.data.tags["configuration"]) == configuration
        return recorded if same else Recorded()

    def started(self, trial: TrialResult) -> None:
        if trial.number in self._known:
            # Begun by an earlier process, which was stopped: the run goes on.
            self._runs[trial.number] = self._known[trial.number][0].info.run_id
            return
        tags = {
            KIND: "trial",
            STUDY: self._key,
            TRIAL: str(trial.number),
            "configuration": json.dumps(trial.configuration),
            "mlflow.parentRunId": self._run_id,
        }
        run = self._tracker.client.create_run(
            self._tracker.experiment_id, tags=tags, run_name=f"trial {trial.number:03d}"
        )
        self._runs[trial.number] = run.info.run_id

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        """One call a leg, and one more when the trial ends."""
        run_id = self._runs[trial.number]
        known = self._known.get(trial.number)
        recorded = {rung.epoch for rung in known[1].curve} if known else set[int]()
        metrics = [(CURVE, rung.precision, rung.epoch) for rung in new]
        metrics += [(SECONDS, rung.seconds, rung.epoch) for rung in new]
        metrics = [entry for entry in metrics if entry[2] not in recorded]
        ended = trial.status != "paused"
        if ended:
            metrics += [(OBJECTIVE, trial.precision, 0), ("seconds", trial.seconds, 0)]
            metrics += [("best_epoch", trial.best.epoch, 0)] if trial.best else []
        tags = {STATUS: trial.status, REASON: trial.reason} if ended else {}
        self._tracker.log(run_id, metrics, grouped(trial.configuration) if ended else {}, tags)
        if ended:
            status = "FAILED" if trial.status == "diverged" else "FINISHED"
            self._tracker.client.set_terminated(run_id, status)

    def end(self, study: Study) -> None:
        best = study.best
        epoch = best.best.epoch if best.best else 0
        params = {f"best/{name}": v for name, v in grouped(best.configuration).items()}
        self._tracker.log(
            self._run_id,
            [
                (OBJECTIVE, best.precision, 0),
                ("best_epoch", epoch, 0),
                ("trials", len(study.trials), 0),
                ("seconds", sum(trial.seconds for trial in study.trials), 0),
            ],
            params,
            {"best_trial": str(best.number), "ended": study.ended},
        )
        with tempfile.TemporaryDirectory() as folder:
            draw_study(study, Path(folder))
            self._tracker.client.log_artifacts(self._run_id, folder, "figures")
        self._tracker.client.set_terminated(self._run_id, "FINISHED")


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


@contextmanager
def clear_faults(uri: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, OSError) as fault:
        said = str(fault).splitlines()[0][:200]
        raise RegistryError(
            shown(f"no tracking server or database answers at {uri} ({said})"),
            "an MLflow tracking address",
            "start it, or set tracking.uri",
        ) from fault


def require_server(uri: str) -> None:
    """Ask a tracking server once whether it is there; MLflow itself would try for minutes.

    Raises
    ------
    RegistryError
        If nothing answers.
    """
    if not uri.startswith(("http://", "https://")):
        return
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=5, follow_redirects=True)
        fault = None if answer.status_code < 500 else f"it answers {answer.status_code}"
    except httpx.HTTPError as failure:
        fault = str(failure) or type(failure).__name__
    if fault:
        raise RegistryError(
            shown(f"no tracking server answers at {uri} ({fault})"),
            "an MLflow tracking address",
            "start it, or set tracking.uri",
        )


def library_versions() -> dict[str, str]:
    """Versions of what a model's numbers depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in ("lightfm-next", "rectools-lightfm", "numpy", "scipy", "scikit-optimize", "mlflow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def grouped(configuration: Configuration) -> dict[str, Any]:
    """A configuration as parameters: what is done with features under `features/`.

    MLflow's parallel coordinates begin with the first names of the alphabet, and what only some
    trials have says nothing there.
    """
    apart = PLAN_NAMES - {"strategy"}
    return {(f"features/{n}" if n in apart else n): v for n, v in configuration.items()}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
