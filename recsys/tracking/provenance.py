"""Provenance: the data and the library versions that a run was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput


@dataclass(frozen=True)
class TrackedDataset:
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
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(
            name=self.name,
            digest=self.fingerprint[:36],  # MLflow's limit
            source_type="likes",
            source=json.dumps({"uri": self.source}),
            profile=json.dumps(dict(self.counts)),
        )
        return DatasetInput(data, [InputTag("mlflow.data.context", "training")])


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
