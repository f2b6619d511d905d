"""Tracking: studies, trials and results as MLflow runs, few calls each; the model registry."""

from __future__ import annotations

import json
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, cast

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

from recsys.base.disk import as_storage_error
from recsys.base.errors import RegistryError
from recsys.base.events import Note, emit
from recsys.base.redaction import redacted
from recsys.base.retries import pauses, retry
from recsys.models.configuration import HYBRID_NAMES, with_current_names
from recsys.store.journal import Journal
from recsys.tracking.client import MISSING, PatientClient, is_outage, prepare_database
from recsys.tuning.figures import draw_study
from recsys.tuning.search import Recorded, Study
from recsys.tuning.space import Configuration
from recsys.tuning.trials import Rung, Status, TrialResult

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
        retry(
            lambda: require_server(uri),
            lambda fault: isinstance(fault, RegistryError),
            patience,
            f"the tracking server at {uri}",
        )
        with clear_faults(uri):
            prepare_database(uri)
            client = PatientClient(uri, patience)
            made = client.patiently(lambda: _experiment(client, experiment, artifacts))
            return cls(client, made, uri)

    def find_study(self, key: str, kind: str = "study") -> Run | None:
        """The parent run of a study, or the run of a refit."""
        runs = self._search(f"tags.{KIND} = '{kind}' and tags.{STUDY} = '{key}'")
        return runs[0] if runs else None

    def open_study(self, opened: Opened) -> str:
        """The id of a study's parent run, which is created if it is not there."""
        run = self.find_study(opened.key, opened.kind)
        if run is None or not run.data.params:
            tags = {KIND: opened.kind, STUDY: opened.key, **opened.tags}
            run_id = self.open_run(tags, opened.name, (KIND, STUDY))
            if opened.data is not None:
                self.client.log_inputs(run_id, [opened.data.as_input()])
            # Last: with its parameters a run is whole.
            self.log(run_id, params=opened.params)
            return run_id
        return str(run.info.run_id)

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
        # Newest first. There are two with one number where processes knew nothing of one another,
        # or where another version of the code asked for another configuration.
        for run in self._search(f"tags.{KIND} = 'trial' and tags.{STUDY} = '{key}'"):
            history = self.client.get_metric_history
            seconds = {point.step: point.value for point in history(run.info.run_id, SECONDS)}
            curve = {point.step: point.value for point in history(run.info.run_id, CURVE)}
            measured = tuple(Rung(e, curve[e], seconds.get(e, 0.0)) for e in sorted(curve))
            tags = run.data.tags
            diverged = tags[REASON] if tags.get(STATUS) == "diverged" else None
            newer = found.get(int(tags[TRIAL]))
            if newer is None or (
                _configuration(newer[0]) == _configuration(run)
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
    ) -> None:
        """Metrics (name, value, step), parameters and tags in as few calls as MLflow allows.

        `at` is when that was, in milliseconds; what is told twice with the same time is kept once.
        """
        now = int(time.time() * 1000) if at is None else at
        entries = [Metric(name, value, now, step) for name, value, step in metrics]
        told = [Param(name, redacted(str(value))[:6000]) for name, value in (params or {}).items()]
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

    What happens goes into the journal first and to MLflow then. While its server is away the
    search goes on; what it should have been told is told afterwards, in order, at the latest by
    the next run.

    Parameters
    ----------
    tracker : Tracker
    opened : Opened
        What its parent run says from the beginning.
    journal : Journal or None
        Without one, what MLflow could not be told is lost with the process.
    """

    def __init__(self, tracker: Tracker, opened: Opened, journal: Journal | None = None) -> None:
        self._journal = journal
        self._delivery = Delivery(tracker, opened)
        self._known: dict[int, TrialResult] = {}

    def begin(self) -> None:
        entries = [_current(entry) for entry in self._journal.read()] if self._journal else []
        self._known = self._delivery.begin()
        for number, trial in replayed(entries).items():
            self._known[number] = _further(trial, self._known.get(number))
        for entry in entries:
            self._delivery.deliver(entry)

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        known = self._known.get(number)
        if known is None or known.configuration != configuration:
            return Recorded()
        return Recorded(known.curve, known.reason if known.status == "diverged" else None)

    def started(self, trial: TrialResult) -> None:
        known = self._known.get(trial.number)
        if known is None or known.configuration != trial.configuration:
            self._known[trial.number] = replace(trial, curve=())
            self._keep("started", trial, {})

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        """One call of MLflow a segment, and one more when the trial ends."""
        known = self._known[trial.number]
        new = [rung for rung in new if rung.epoch not in known.epochs]
        ended = trial.status != "paused"
        if not new and (not ended or (known.status, known.reason) == (trial.status, trial.reason)):
            return
        kept = replace(known, curve=(*known.curve, *new))
        found: dict[str, Any] = {"rungs": [astuple(rung) for rung in new]}
        if ended:
            kept = replace(kept, status=trial.status, reason=trial.reason)
            found |= {"status": trial.status, "reason": trial.reason, **_outcome(trial)}
        self._known[trial.number] = kept
        self._keep("measured", trial, found)

    def end(self, study: Study) -> None:
        trials = [_as_dict(trial) for trial in study.trials]
        self._keep("ended", study.best, {"ended": study.ended, "trials": trials})
        self._settle()

    def deliver_left(self) -> None:
        """Tell MLflow what an earlier run could not, if there is anything and it answers."""
        if self._journal is None or not self._journal.path.exists():
            return
        try:
            self.begin()
        except RegistryError as fault:
            if not passing(fault):
                raise
            emit(Note(f"MLflow does not answer; results wait in {self._journal.path}"))
        else:
            self._settle()

    def _keep(self, kind: str, trial: TrialResult, found: Mapping[str, Any]) -> None:
        entry = {
            "kind": kind,
            "at": int(time.time() * 1000),
            "trial": trial.number,
            "configuration": trial.configuration,
            **found,
        }
        if self._journal is not None:
            self._journal.append(entry)
        self._delivery.deliver(entry)

    def _settle(self) -> None:
        """Deliver what waits; forget the journal if MLflow knows all of it."""
        if left := self._delivery.flush():
            where = "are lost" if self._journal is None else f"wait in {self._journal.path}"
            emit(Note(f"MLflow could not be told of {left} results; they {where}"))
        elif self._journal is not None:
            self._journal.remove()


class Delivery:
    """Brings MLflow to where a study is, entry by entry; may be cut off anywhere and begun again.

    Parameters
    ----------
    tracker, opened : see `StudyRecorder`
    """

    def __init__(self, tracker: Tracker, opened: Opened) -> None:
        self._patient = tracker
        # During the search an attempt is made once, so that it does not hold up the training.
        self._tracker = replace(tracker, client=PatientClient(tracker.uri))
        self._opened, self._key = opened, opened.key
        self._waiting: deque[dict[str, Any]] = deque()
        self._runs: dict[int, tuple[str, Configuration]] = {}
        self._epochs: dict[str, set[int]] = {}
        self._run_id = ""
        self._uncertain = False  # whether an attempt may have arrived although it failed
        self._pauses = pauses(inf)
        self._away_until = 0.0  # monotonic seconds

    def begin(self) -> dict[int, TrialResult]:
        """Open the study's run; the trials that MLflow holds."""
        with clear_faults(self._patient.uri):
            self._run_id = self._patient.open_study(self._opened)
            self._patient.client.update_run(self._run_id, status="RUNNING")
            known = self._patient.recorded_trials(self._key)
        found: dict[int, TrialResult] = {}
        for number, (run, recorded) in known.items():
            tags, run_id = run.data.tags, run.info.run_id
            trial = TrialResult(number, _configuration(run), recorded.curve)
            # A run that was not terminated has yet to be told that it ended.
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
            with clear_faults(self._tracker.uri):
                self._empty()
        except RegistryError as fault:
            if not passing(fault):
                raise
            if not self._away_until:
                emit(Note(f"the tracking server at {self._tracker.uri} does not answer; going on"))
            self._away_until = time.monotonic() + next(self._pauses)
        else:
            self._pauses, self._away_until = pauses(inf), 0.0

    def flush(self) -> int:
        """Tell of everything that waits, for as long as the patience lasts; how much is left."""
        try:
            with clear_faults(self._tracker.uri):
                self._patient.client.patiently(self._empty)
        except RegistryError as fault:
            if not passing(fault):
                raise
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
        metrics += [(SECONDS, rung.seconds, rung.epoch) for rung in new]
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
        study = Study(tuple(_as_trial(trial) for trial in entry["trials"]), entry["ended"])
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
            ],
            {},
            {"best_trial": str(best.number), "ended": study.ended, **tags},
            at=entry["at"],
        )
        with tempfile.TemporaryDirectory() as folder:
            draw_study(study, Path(folder))
            self._tracker.client.log_artifacts(self._run_id, folder, "figures")
        self._tracker.client.set_terminated(self._run_id, "FINISHED")


def _configuration(run: Run) -> Configuration:
    """The configuration of a trial's run, under today's names."""
    return with_current_names(json.loads(run.data.tags["configuration"]))


def _current(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A journal's entry, its configurations under today's names."""
    found = dict(entry)
    if "configuration" in found:
        found["configuration"] = with_current_names(found["configuration"])
    if "trials" in found:
        found["trials"] = [_current(trial) for trial in found["trials"]]
    return found


def replayed(entries: Sequence[Mapping[str, Any]]) -> dict[int, TrialResult]:
    """The trials that a journal's entries tell of, as far as they had come."""
    found: dict[int, TrialResult] = {}
    for entry in entries:
        number, configuration = entry["trial"], entry["configuration"]
        trial = found.get(number)
        if entry["kind"] == "started" or trial is None:
            trial = TrialResult(number, configuration)
        if entry["kind"] == "measured":
            new = (Rung(*rung) for rung in entry["rungs"])
            trial = replace(trial, curve=(*trial.curve, *new))
            if "status" in entry:
                trial = replace(trial, status=entry["status"], reason=entry["reason"])
        if entry["kind"] != "ended":
            found[number] = trial
    return found


def _further(journal: TrialResult, told: TrialResult | None) -> TrialResult:
    """Of what the journal and MLflow hold of a trial, that which goes further."""
    if told is None or told.configuration != journal.configuration:
        return journal
    ended = journal.status != "paused", told.status != "paused"
    if (len(journal.curve), ended[0]) >= (len(told.curve), ended[1]):
        return journal
    return told


def _outcome(trial: TrialResult) -> dict[str, Any]:
    metrics: dict[str, float] = {OBJECTIVE: trial.precision, "seconds": trial.seconds}
    if trial.best:
        metrics["best_epoch"] = trial.best.epoch
    return {"metrics": metrics}


def _as_dict(trial: TrialResult) -> dict[str, Any]:
    return {
        "number": trial.number,
        "configuration": trial.configuration,
        "curve": [astuple(rung) for rung in trial.curve],
        "status": trial.status,
        "reason": trial.reason,
    }


def _as_trial(entry: Mapping[str, Any]) -> TrialResult:
    return TrialResult(**{**entry, "curve": tuple(Rung(*rung) for rung in entry["curve"])})


def _experiment(client: PatientClient, name: str, artifacts: str | None) -> str:
    """The id of an experiment, which is created if it is not there."""
    found = client.once.get_experiment_by_name(name)
    if found is None:
        try:
            location = _location(client.uri, name, artifacts)
            return client.once.create_experiment(name, artifact_location=location)
        except MlflowException as fault:
            if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # Somebody else made it in the meantime.
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


@contextmanager
def clear_faults(uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        # A database that cannot be made raises what SQLAlchemy raises.
        if found := as_storage_error(fault, "the tracking database", uri):
            raise found from fault
        if not isinstance(fault, MlflowException | OSError):
            raise
        said = str(fault).splitlines()[0][:200]
        raise RegistryError(
            redacted(f"no tracking server or database answers at {uri} ({said})"),
            "an MLflow tracking address",
            "start it, or set tracking.uri",
        ) from fault


def passing(fault: RegistryError) -> bool:
    """Whether a fault is an outage, which may pass by itself."""
    return isinstance(fault.__cause__, Exception) and is_outage(fault.__cause__)


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
            redacted(f"no tracking server answers at {uri} ({fault})"),
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
    apart = HYBRID_NAMES - {"strategy"}
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
