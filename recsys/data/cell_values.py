"""Cell values: texts, dates and embeddings of items as weighted features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import Float32Array, Float64Array, IntArray
from recsys.base.errors import InputError
from recsys.data.components import COMPONENT

# A text weighs as much as four tags, however long it is, and so does an embedding: its components
# are on all items, and a tag on one item of twenty weighs four times as much as these.
_TEXT_LENGTH = 2.0
_EMBEDDING_LENGTH = 8.0
_WORD = r"(?u)\b[^\W\d_][\w'-]*\w\b"
_MOST_TERMS = 20_000
_DAY = 86_400.0
_AGES = (
    (30, "up to 30 days"), (90, "30 to 90 days"), (365, "90 days to 1 year"),
    (730, "1 to 2 years"), (1826, "2 to 5 years"), (3652, "5 to 10 years"),
    (7305, "10 to 20 years"), (np.inf, "over 20 years"),
)  # fmt: skip


@dataclass(frozen=True)
class Values:
    """Values of a column: the row of each, its text, and its weight; None where all are one."""

    rows: IntArray
    texts: pa.Array
    weight: Float32Array | None = None


def term_values(texts: Sequence[str | None], min_items: int, max_share: float) -> Values | None:
    """Free texts as terms, weighted by scikit-learn's tf-idf vectorizer; None without any term.

    The terms of a text are weighted by one plus the logarithm of how often they are in it. How rare
    a term is, is weighed later, together with the tags.

    Parameters
    ----------
    texts : sequence of (str or None) (n,)
    min_items : int
        Fewest texts that a term must be in.
    max_share : float
        Largest share of the texts that it may be in.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    present = sum(1 for text in texts if text)
    if max_share * present < min_items:
        return None
    vectorizer = TfidfVectorizer(
        token_pattern=_WORD,
        min_df=min_items,
        # Of the texts that there are, and not of the empty cells.
        max_df=max(int(max_share * present), min_items),
        max_features=_MOST_TERMS,
        use_idf=False,
        sublinear_tf=True,
        dtype=np.float32,
    )
    try:
        matrix = vectorizer.fit_transform([text or "" for text in texts]).tocoo()
    except ValueError:  # no term is left
        return None
    words = pa.array(vectorizer.get_feature_names_out().tolist(), pa.string())
    return Values(
        matrix.row.astype(np.int64), words.take(pa.array(matrix.col)), matrix.data * _TEXT_LENGTH
    )


def embedding_values(lists: pa.Array, named: str) -> Values:
    """Embeddings as one feature for each component, centred and scaled to one length.

    Parameters
    ----------
    lists : pyarrow list array (n,)
        Of numbers; null where an item has none.
    named : str
        The column and its table, for messages.

    Raises
    ------
    InputError
        If they are not of one length, or not finite.
    """
    rows = np.flatnonzero(pc.is_valid(lists).to_numpy(zero_copy_only=False))
    sizes = pc.list_value_length(lists).drop_null().to_numpy()
    flat = pc.list_flatten(lists).cast(pa.float64()).to_numpy(zero_copy_only=False)
    if not len(sizes) or sizes.min() != sizes.max() or not np.isfinite(flat).all():
        raise InputError(
            f"{named} holds lists of {min(sizes, default=0)} to {max(sizes, default=0)} numbers",
            "embeddings of one length, of finite numbers",
            "correct it, or leave it out of data.feature_columns",
        )
    vectors = flat.reshape(len(rows), sizes[0])
    # What all items have in common tells none from another.
    vectors = vectors - vectors.mean(axis=0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    digits = len(str(sizes[0] - 1))
    labels = pa.array([f"{COMPONENT}{n:0{digits}}" for n in range(sizes[0])], pa.string())
    places = np.tile(np.arange(sizes[0]), len(rows))
    weight = (vectors * _EMBEDDING_LENGTH).astype(np.float32).ravel()
    kept = np.flatnonzero(weight)
    return Values(
        np.repeat(rows, sizes[0])[kept], labels.take(pa.array(places[kept])), weight[kept]
    )


def age_values(seconds: Float64Array) -> Values:
    """Dates by their age, counted from the latest one.

    Parameters
    ----------
    seconds : float64 (n,)
        Since 1970; NaN where there is no date.
    """
    known = np.flatnonzero(np.isfinite(seconds))
    age = (seconds[known].max(initial=-np.inf) - seconds[known]) / _DAY
    place = np.searchsorted([bound for bound, _ in _AGES], age)
    labels = pa.array([label for _, label in _AGES], pa.string())
    return Values(known, labels.take(pa.array(place)))
