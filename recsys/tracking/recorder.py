"""The study recorder: trials in a journal and as MLflow runs, none of them made twice."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

from recsys.base.errors import OutageError
from recsys.base.events import Note, emit
from recsys.evaluation.metric_names import OBJECTIVE
from recsys.models.configuration import with_current_names
from recsys.store.journal import Journal
from recsys.tracking.delivery import Delivery
from recsys.tracking.runs import StudyDescription, Tracker
from recsys.tuning.recorders import Recorded
from recsys.tuning.space import Configuration
from recsys.tuning.trials import Rung, Study, TrialResult


class StudyRecorder:
    """Keeps a study's trials as child runs; a finished trial is never made again.

    What happens goes into the journal first and to MLflow then. While its server is away the
    search goes on; what it missed is delivered afterwards, in order, at the latest by
    the next run.

    Parameters
    ----------
    tracker : Tracker
    description : StudyDescription
        What its parent run says from the beginning.
    journal : Journal or None
        Without one, what was not delivered is lost with the process.
    """

    def __init__(
        self, tracker: Tracker, description: StudyDescription, journal: Journal | None = None
    ) -> None:
        self._journal = journal
        self._delivery = Delivery(tracker, description)
        self._known: dict[int, TrialResult] = {}

    def begin(self) -> None:
        """Open the study's run and recall its trials; called once, before the search."""
        entries = [_current(entry) for entry in self._journal.read()] if self._journal else []
        self._known = self._delivery.begin()
        for number, trial in replayed(entries).items():
            self._known[number] = _further(trial, self._known.get(number))
        for entry in entries:
            self._delivery.deliver(entry)

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        """What was measured of a trial in an earlier run, if its configuration is the same."""
        known = self._known.get(number)
        if known is None or known.configuration != configuration:
            return Recorded()
        return Recorded(known.curve, known.reason if known.status == "diverged" else None)

    def started(self, trial: TrialResult) -> None:
        """Record that a trial has begun."""
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
        """Record the study's outcome, and deliver what waits."""
        trials = [_as_dict(trial) for trial in study.trials]
        found: dict[str, Any] = {"ended": study.ended, "trials": trials}
        if study.understood is not None:
            found["understood"] = study.understood.as_dict()
        self._keep("ended", study.best, found)
        self._settle()

    def deliver_rest(self) -> None:
        """Tell MLflow what an earlier run could not, if there is anything and it answers."""
        if self._journal is None or not self._journal.path.exists():
            return
        try:
            self.begin()
        except OutageError:
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
            emit(Note(f"{left} results could not be delivered to MLflow; they {where}"))
        elif self._journal is not None:
            self._journal.remove()


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


def _current(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A journal's entry, its configurations under today's names."""
    found = dict(entry)
    if "configuration" in found:
        found["configuration"] = with_current_names(found["configuration"])
    if "trials" in found:
        found["trials"] = [_current(trial) for trial in found["trials"]]
    return found


def _further(journal: TrialResult, recorded: TrialResult | None) -> TrialResult:
    """Of what the journal and MLflow hold of a trial, that which goes further."""
    if recorded is None or recorded.configuration != journal.configuration:
        return journal
    ended = journal.status != "paused", recorded.status != "paused"
    if (len(journal.curve), ended[0]) >= (len(recorded.curve), ended[1]):
        return journal
    return recorded


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
        "beaten": trial.beaten,
    }
