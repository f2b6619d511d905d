"""Data: tables read and checked, interactions, ids, the k-core, holdouts, features, data sets."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.data.datasets import Dataset as Dataset
    from recsys.data.datasets import LocatedDataset as LocatedDataset
    from recsys.data.datasets import find_dataset as find_dataset
    from recsys.data.datasets import list_datasets as list_datasets
    from recsys.data.datasets import locate as locate
    from recsys.data.dialects import TextFormat as TextFormat
    from recsys.data.download import Digest as Digest
    from recsys.data.download import FetchPolicy as FetchPolicy
    from recsys.data.download import RemoteFile as RemoteFile
    from recsys.data.download import download_file as download_file
    from recsys.data.features import EncodedFeatures as EncodedFeatures
    from recsys.data.features import FeatureColumns as FeatureColumns
    from recsys.data.features import FeatureTable as FeatureTable
    from recsys.data.features import encode as encode
    from recsys.data.features import read_features as read_features
    from recsys.data.features import with_identity as with_identity
    from recsys.data.idmap import IdMap as IdMap
    from recsys.data.interactions import InteractionColumns as InteractionColumns
    from recsys.data.interactions import Interactions as Interactions
    from recsys.data.interactions import read_interactions as read_interactions
    from recsys.data.kcore import Core as Core
    from recsys.data.kcore import density as density
    from recsys.data.likes_log import Like as Like
    from recsys.data.likes_log import LikesLog as LikesLog
    from recsys.data.splits import Split as Split
    from recsys.data.splits import split as split
    from recsys.data.tables import read_table as read_table

__all__ = [
    "Core",
    "Dataset",
    "Digest",
    "EncodedFeatures",
    "FeatureColumns",
    "FeatureTable",
    "FetchPolicy",
    "IdMap",
    "InteractionColumns",
    "Interactions",
    "Like",
    "LikesLog",
    "LocatedDataset",
    "RemoteFile",
    "Split",
    "TextFormat",
    "density",
    "download_file",
    "encode",
    "find_dataset",
    "list_datasets",
    "locate",
    "read_features",
    "read_interactions",
    "read_table",
    "split",
    "with_identity",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".likes_log": ["Like", "LikesLog"],
        ".datasets": ["Dataset", "LocatedDataset", "find_dataset", "list_datasets", "locate"],
        ".download": ["Digest", "FetchPolicy", "RemoteFile", "download_file"],
        ".features": [
            "EncodedFeatures",
            "FeatureColumns",
            "FeatureTable",
            "encode",
            "read_features",
            "with_identity",
        ],
        ".idmap": ["IdMap"],
        ".interactions": ["InteractionColumns", "Interactions", "read_interactions"],
        ".kcore": ["Core", "density"],
        ".splits": ["Split", "split"],
        ".dialects": ["TextFormat"],
        ".tables": ["read_table"],
    },
)
