"""Components of embeddings: features that stand for no word, and are never suggested as tags."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import BoolArray

COMPONENT = "dimension "
"""What the value of such a feature begins with, as in "dimension 12"."""


def is_component(values: pa.Array) -> BoolArray:
    """Which values of features are components of an embedding: bool (n,)."""
    return pc.starts_with(values, COMPONENT).to_numpy(zero_copy_only=False)
