"""Tracking: what MLflow holds of a study, and a study taken up again from it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from threading import Barrier

import pytest

from recsys.base.dimensions import Range
from recsys.base.errors import OutageError, RegistryError
from recsys.base.events import Event, Note, listening
from recsys.store.journal import Journal
from recsys.tracking.faults import tracking_errors
from recsys.tracking.params import flat
from recsys.tracking.provenance import TrackedDataset
from recsys.tracking.recorder import StudyRecorder
from recsys.tracking.runs import StudyDescription, Tracker
from recsys.tuning.closed_forms import tune_closed_forms
from recsys.tuning.policy import Budget, Policy
from recsys.tuning.search import run_study
from recsys.tuning.space import SearchSpace
from recsys.tuning.trials import Rung, Study, TrialResult
from recsys.tuning.understanding import Effect, Understanding
from tests.fixtures.processes import FORKS
from tests.fixtures.searches import SPACE, outcome, problem
from tests.fixtures.tracking_database import tracking_database

POLICY = Policy(max_epochs=24, screen=5, initial=3)
UNDERSTOOD = Understanding(
    30,
    0.7,
    0.01,
    (Effect("alpha", 0.6, 0.5, 0.75, (1e-6, 1e-4), (0.1, 0.3), (0.0, 0.2), (0.2, 0.4)),),
    ("one more trial is expected to gain 1.0%, so make more trials",),
)


def recorder(folder: Path, journal: Journal | None = None) -> StudyRecorder:
    if not (folder / "mlruns").exists():
        tracking_database(folder / "mlruns")
    tracker = Tracker.connect(f"sqlite:///{folder}/mlruns/mlflow.db", "planted")
    data = TrackedDataset("planted", "f00d", "in/likes.psv", {"users": 240, "interactions": 2_600})
    opened = StudyDescription("key", "planted, seed 4", {"search.trials": 9}, data=data)
    return StudyRecorder(tracker, opened, journal)


def study(recorder: StudyRecorder, trials: int = 9) -> Study:
    space = SearchSpace.from_config(SPACE)
    return run_study(
        problem(), space, Budget(trials), policy=POLICY, seed=4, batch=3, recorder=recorder
    )


def test_runs_that_name_the_same_data_at_the_same_moment_all_do(tmp_path: Path) -> None:
    address, threads = tracking_database(tmp_path / "mlruns"), 4
    trackers = [Tracker.connect(address, "planted") for _ in range(threads)]
    together = Barrier(threads)

    def open_study(tracker: Tracker, key: str, data: TrackedDataset) -> str:
        together.wait()
        return tracker.open_study(StudyDescription(key, key, {"search.trials": 9}, data=data))

    with ThreadPoolExecutor(threads) as pool:
        for turn in range(10):
            data = TrackedDataset("planted", f"digest {turn}", "in/likes.psv", {"users": 240})
            keys = [f"{turn} {number}" for number in range(threads)]
            for run_id in pool.map(open_study, trackers, keys, repeat(data)):
                (found,) = trackers[0].client.get_run(run_id).inputs.dataset_inputs
                assert found.dataset.digest == f"digest {turn}"


def test_a_study_is_a_parent_run_with_children_curves_and_figures(tmp_path: Path) -> None:
    found = study(recorder(tmp_path))
    tracker = Tracker.connect(f"sqlite:///{tmp_path}/mlruns/mlflow.db", "planted")
    parent = tracker.find_study("key")
    assert parent is not None
    assert parent.data.params["search.trials"] == "9"
    assert parent.data.tags["best_trial"] == str(found.best.number)
    assert parent.data.tags["ended"] == found.ended
    assert parent.data.metrics["val/precision_at_5"] == pytest.approx(found.best.precision)
    for name, value in found.best.configuration.items():
        assert parent.data.tags[f"best/{name}"] == str(value)
    (data,) = parent.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("planted", "f00d")
    assert json.loads(data.dataset.profile) == {"users": 240, "interactions": 2_600}
    recorded = tracker.recorded_trials("key")
    assert len(recorded) == 9
    for trial in found.trials:
        run, measured = recorded[trial.number]
        assert measured.curve == trial.curve
        assert run.data.tags["reason"] == trial.reason
        assert run.info.status == ("FAILED" if trial.status == "diverged" else "FINISHED")
    figures = tracker.client.list_artifacts(parent.info.run_id, "figures")
    assert {Path(figure.path).name for figure in figures} == {
        "best_so_far.png", "learning_curves.png",
    }  # fmt: skip
    artifacts = (tmp_path / "mlruns" / "artifacts").rglob("*.png")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in artifacts)


def test_item_to_item_trials_are_recorded_and_taken_over_and_none_is_the_best(
    tmp_path: Path,
) -> None:
    first = recorder(tmp_path)
    first.begin()
    trials = tune_closed_forms(problem(), 2, 10**9, first, 1)
    plain = TrialResult(6, {"no_components": 4}, (Rung(3, 0.01, 0.1),), "complete")
    first.started(plain)
    first.measured(plain, plain.curve)
    first.end(Study((*trials, plain), "all 7 trials made", UNDERSTOOD))
    tracker = Tracker.connect(f"sqlite:///{tmp_path}/mlruns/mlflow.db", "planted")
    parent = tracker.find_study("key")
    assert parent is not None
    assert parent.data.tags["best_trial"] == "6"
    assert parent.data.metrics["val/precision_at_5"] == 0.01
    assert parent.data.tags["search_space"] == UNDERSTOOD.verdict
    of_space = {
        name: value
        for name, value in parent.data.metrics.items()
        if name.startswith("search_space")
    }
    assert of_space == {
        "search_space/explained": 0.7,
        "search_space/expected_gain": 0.01,
        "search_space/importance_alpha": 0.6,
        "search_space/importance_alpha_low": 0.5,
        "search_space/importance_alpha_high": 0.75,
    }
    figures = tracker.client.list_artifacts(parent.info.run_id, "figures")
    assert "search_space.png" in {Path(figure.path).name for figure in figures}
    recorded = tracker.recorded_trials("key")
    assert [recorded[trial.number][1].curve for trial in trials] == [t.curve for t in trials]
    assert recorded[0][0].data.params["model"] == "ease"
    again = recorder(tmp_path)
    again.begin()
    # The seconds were measured once: a trial fitted again would have others.
    assert tune_closed_forms(problem(), 2, 10**9, again, 1) == trials


def test_a_finished_study_is_taken_over_without_training(tmp_path: Path) -> None:
    first = study(recorder(tmp_path))
    start = time.thread_time()
    again = study(recorder(tmp_path))
    assert outcome(again) == outcome(first)
    # The very seconds of the first time: nothing was measured anew.
    assert [t.seconds for t in again.trials] == [t.seconds for t in first.trials]
    assert again.best.factors is None
    assert time.thread_time() - start < 60


def test_more_trials_go_on_from_those_that_are_there(tmp_path: Path) -> None:
    short = study(recorder(tmp_path), trials=4)
    longer = study(recorder(tmp_path), trials=9)
    assert [t.configuration for t in longer.trials[:4]] == [t.configuration for t in short.trials]
    # What both measured was measured once, seconds and all; how far a trial goes may differ.
    for one, other in zip(longer.trials, short.trials, strict=False):
        both = min(len(one.curve), len(other.curve))
        assert one.curve[:both] == other.curve[:both]
    # And none of what the shorter one measured is lost, be it more than the longer one needed.
    tracker = Tracker.connect(f"sqlite:///{tmp_path}/mlruns/mlflow.db", "planted")
    kept = tracker.recorded_trials("key")
    assert [kept[s.number][1].curve[: len(s.curve)] for s in short.trials] == [
        s.curve for s in short.trials
    ]
    # The study's run tells of the better trial that the longer one found.
    assert longer.best.number >= 4
    parent = tracker.find_study("key")
    assert parent is not None
    assert parent.data.tags["best_trial"] == str(longer.best.number)
    assert parent.data.tags["best/alpha"] == str(longer.best.configuration["alpha"])
    assert parent.data.metrics["val/precision_at_5"] == pytest.approx(longer.best.precision)


def test_divergence_is_recorded_as_what_it_is(tmp_path: Path) -> None:
    wild = dict(SPACE) | {"learning_rate": Range(low=1e3, high=1e6, scale="log"), "alpha": 0.0}
    space = SearchSpace.from_config(wild)
    keeper = recorder(tmp_path)
    first = run_study(problem(), space, Budget(3), policy=POLICY, seed=1, recorder=keeper)
    again = run_study(
        problem(), space, Budget(3), policy=POLICY, seed=1, recorder=recorder(tmp_path)
    )
    assert outcome(again) == outcome(first)
    tracker = Tracker.connect(f"sqlite:///{tmp_path}/mlruns/mlflow.db", "planted")
    for run, recorded in tracker.recorded_trials("key").values():
        assert recorded.diverged
        assert run.data.tags["status"] == "diverged"
        assert run.data.metrics["val/precision_at_5"] == 0


def test_many_rungs_fit_into_mlflows_limits(tmp_path: Path) -> None:
    keeper = recorder(tmp_path)
    keeper.begin()
    curve = tuple(Rung(epoch, 0.5, 1.0) for epoch in range(1, 1202))
    trial = TrialResult(0, {f"p{i}": i for i in range(150)})
    keeper.started(trial)
    keeper.measured(TrialResult(0, trial.configuration, curve, "complete", "all epochs"), curve)
    tracker = Tracker.connect(f"sqlite:///{tmp_path}/mlruns/mlflow.db", "planted")
    run, recorded = tracker.recorded_trials("key")[0]
    assert recorded.curve == curve
    assert len(run.data.params) == 150


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    start = time.monotonic()
    with pytest.raises(RegistryError, match=r"no tracking server answers at http://127\.0\.0\.1:9"):
        Tracker.connect("http://127.0.0.1:9", "x")
    # MLflow's own client would try again for minutes.
    assert time.monotonic() - start < 60


def test_flat_names() -> None:
    assert flat({"a": {"b": {"c": 1}}, "d": [2]}) == {"a.b.c": 1, "d": [2]}


def connect(folder: Path, found: SimpleQueue[str]) -> None:
    """What each of several processes does."""
    tracker = Tracker.connect(f"sqlite:///{folder}/mlruns/mlflow.db", "planted")
    found.put(tracker.experiment_id)


def test_processes_that_make_the_database_at_once_get_one(tmp_path: Path) -> None:
    found = FORKS.SimpleQueue()
    several = [FORKS.Process(target=connect, args=(tmp_path, found)) for _ in range(3)]
    for process in several:
        process.start()
    for process in several:
        process.join()
    assert [process.exitcode for process in several] == [0, 0, 0]
    assert [found.get() for _ in several] == ["1", "1", "1"]
    assert [path.name for path in (tmp_path / "mlruns").iterdir()] == ["mlflow.db"]


def test_a_database_that_was_being_made_when_its_maker_was_killed_is_made(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / ".mlflow.db.unfinished").write_bytes(b"half of it")
    study(recorder(tmp_path), trials=1)
    assert not (tmp_path / "mlruns" / ".mlflow.db.unfinished").exists()


def test_what_the_journal_alone_knows_is_recalled_and_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "trials.jsonl")
    first = study(recorder(tmp_path / "first", journal))
    assert not journal.path.exists()  # MLflow was told everything
    # What a process leaves that was killed before MLflow was told anything.
    for trial in first.trials:
        about = {"at": 1, "trial": trial.number, "configuration": trial.configuration}
        rungs = [[rung.epoch, rung.precision, rung.seconds] for rung in trial.curve]
        journal.append({"kind": "started", **about})
        journal.append({"kind": "measured", "rungs": rungs, **about})
    again = study(recorder(tmp_path / "second", journal))
    # The very seconds: nothing was trained, nor measured, anew.
    assert [trial.curve for trial in again.trials] == [trial.curve for trial in first.trials]
    assert not journal.path.exists()
    tracker = Tracker.connect(f"sqlite:///{tmp_path}/second/mlruns/mlflow.db", "planted")
    told = {number: found.curve for number, (_, found) in tracker.recorded_trials("key").items()}
    assert told == {trial.number: trial.curve for trial in first.trials}


def test_trials_that_an_earlier_release_recorded_are_taken_up(tmp_path: Path) -> None:
    old = {"no_components": 8, "pooling": 0.25}
    rungs = Rung(1, 0.1, 0.5), Rung(2, 0.2, 0.5)
    early, late = TrialResult(0, old, rungs[:1]), TrialResult(1, old, rungs[:1])
    writer = recorder(tmp_path, Journal(tmp_path / "trials.jsonl"))
    writer.begin()
    for trial in (early, late):
        writer.started(trial)
        writer.measured(trial, trial.curve)
    # One trial is in MLflow and the journal, of the other there is a rung more in the journal.
    longer = TrialResult(1, old, rungs)
    Journal(tmp_path / "trials.jsonl").append(
        {"kind": "measured", "at": 1, "trial": 1, "configuration": old, "rungs": [[2, 0.2, 0.5]]}
    )
    again = recorder(tmp_path, Journal(tmp_path / "trials.jsonl"))
    again.begin()
    new = {"no_components": 8, "user_blending": 0.25}
    assert again.recall(0, new).curve == early.curve
    assert again.recall(1, new).curve == longer.curve
    # What goes on in the runs of before is not told in new ones.
    tracker = Tracker.connect(f"sqlite:///{tmp_path}/mlruns/mlflow.db", "planted")
    assert tracker.recorded_trials("key")[1][1].curve == longer.curve
    assert len(tracker._search("tags.kind = 'trial'")) == 2


def test_an_experiment_that_was_deleted_in_the_ui_is_restored(tmp_path: Path) -> None:
    uri = tracking_database(tmp_path / "mlruns")
    first = Tracker.connect(uri, "fruit")
    run_id = first.open_study(StudyDescription("k", "fruit", {"a": 1}))
    first.client.delete_experiment(first.experiment_id)
    said: list[Event] = []
    with listening(said.append):
        again = Tracker.connect(uri, "fruit")
    assert said == [Note("the experiment fruit had been deleted in MLflow; it is restored")]
    assert again.experiment_id == first.experiment_id
    assert again.open_study(StudyDescription("k", "fruit", {"a": 1})) == run_id
    # A run that was deleted is named, and it is no outage.
    again.client.delete_run(run_id)
    said_how = r"'active' state.*mlflow runs restore"
    with pytest.raises(RegistryError, match=said_how) as refused, tracking_errors(uri):
        again.log(run_id, tags={"a": "b"})
    assert not isinstance(refused.value, OutageError)
