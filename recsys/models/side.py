"""Side information: what a trained model keeps of the features of its items, or of its users."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from recsys.base.arrays import Float32Array, Int32Array
from recsys.data.idmap import IdMap
from recsys.models.content import Profiles
from recsys.models.mapping import Mapping as FeatureMapping


@dataclass(frozen=True)
class Vocabulary:
    """The features a model knows.

    Parameters
    ----------
    features : IdMap
        Names, such as `tag_anime`, sorted.
    types, values : pyarrow string arrays (n_features,)
        `tag` and `anime`.
    support : int32 (n_features,)
        How many trained items (or users) have it.
    """

    features: IdMap
    types: pa.Array
    values: pa.Array
    support: Int32Array


@dataclass(frozen=True)
class SideInformation:
    """What the features of items (or of users) say.

    A vector in the bundle's factors is `share` times what the features give, plus a part of its
    own. The share is 1 where there were no interactions to learn from, shrinks with the number of
    interactions where features are blended in, and is 1 beside an own part where both were trained
    jointly.

    Parameters
    ----------
    vocabulary : Vocabulary
    profiles : Profiles (n rows, n_features)
        A row for each vector of that side.
    mapping : recsys.models.mapping.Mapping
        A vector and a bias for each feature.
    share : float32 (n,)
    blending : float
        For items (users) that come later: with n interactions their share is
        blending / (blending + n), and 1 without interactions.
    """

    vocabulary: Vocabulary
    profiles: Profiles
    mapping: FeatureMapping
    share: Float32Array
    blending: float
