"""Notebook: from a DataFrame to recommendations in a few lines, without any server.

Each function is a short way into what the pipeline's stages call; `recsys` hands them on.
"""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.notebook.data import InteractionData as InteractionData
    from recsys.notebook.data import SplitData as SplitData
    from recsys.notebook.data import split as split
    from recsys.notebook.evaluating import EvaluationResult as EvaluationResult
    from recsys.notebook.evaluating import evaluate as evaluate
    from recsys.notebook.fitting import FittedModel as FittedModel
    from recsys.notebook.fitting import fit as fit
    from recsys.notebook.reading import LoadedDataset as LoadedDataset
    from recsys.notebook.reading import load_dataset as load_dataset
    from recsys.notebook.reading import read_features as read_features
    from recsys.notebook.reading import read_interactions as read_interactions
    from recsys.notebook.reading import read_split as read_split

__all__ = [
    "EvaluationResult",
    "FittedModel",
    "InteractionData",
    "LoadedDataset",
    "SplitData",
    "evaluate",
    "fit",
    "load_dataset",
    "read_features",
    "read_interactions",
    "read_split",
    "split",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".data": ["InteractionData", "SplitData", "split"],
        ".evaluating": ["EvaluationResult", "evaluate"],
        ".fitting": ["FittedModel", "fit"],
        ".reading": [
            "LoadedDataset",
            "load_dataset",
            "read_features",
            "read_interactions",
            "read_split",
        ],
    },
)
