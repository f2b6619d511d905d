"""Where a run is tracked, and what its MLflow run says before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from recsys.base import config
from recsys.data.outcomes import Thresholded
from recsys.store.stages import Stage
from recsys.tracking.provenance import TrackedDataset
from recsys.tracking.registry import Registry, open_registry
from recsys.tracking.runs import StudyDescription, Tracker, open_tracker


@dataclass(frozen=True)
class Tracked:
    """MLflow as a run uses it: an experiment for its runs, and a registered model.

    Parameters
    ----------
    tracking : config.Tracking
    experiment, model : str
    """

    tracking: config.Tracking
    experiment: str
    model: str

    def tracker(self) -> Tracker:
        """The tracking server or database, and the experiment; made where they are not there.

        Raises
        ------
        RegistryError
            If nothing answers.
        """
        return open_tracker(self.tracking, self.experiment)

    def registry(self) -> Registry:
        """The versions of the model.

        Raises
        ------
        RegistryError
            If it is a local database that is not there.
        """
        return open_registry(self.tracking, self.model)


@dataclass(frozen=True)
class RunDetails:
    """What is known of a run when it begins.

    Parameters
    ----------
    title : str
        Of the data.
    source : str
        The file, folder, URL or named data set that is read; without secrets.
    seed : int
    params : mapping of str to any
        The configuration under flat names.
    """

    title: str
    source: str
    seed: int
    params: Mapping[str, Any]

    def describe(
        self, key: str, kind: Literal["study", "refresh"], core: Stage[Thresholded]
    ) -> StudyDescription:
        """What the run of a study, or of a refit, says before it begins.

        Parameters
        ----------
        key : str
            Names it: the same key, the same data, space and seed.
        kind : {"study", "refresh"}
        core : Stage
            The data.
        """
        sizes = core.outcome
        counts = {"users": sizes.users, "items": sizes.items, "interactions": sizes.interactions}
        return StudyDescription(
            key,
            f"{datetime.now().astimezone():%Y-%m-%d %H:%M} {kind}, seed {self.seed}",
            self.params,
            kind,
            TrackedDataset(self.title, core.digest, self.source, counts),
        )
