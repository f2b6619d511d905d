"""Subjects: the user or the item that a query is about, known to the model or new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recsys.base.arrays import Float32Array, Int32Array, IntArray
from recsys.data.idmap import IdMap
from recsys.recommend.queries.view import BundleView
from recsys.recommend.queries.wording import listed, shortened


def _nothing() -> Int32Array:
    return np.empty(0, np.int32)


@dataclass(frozen=True)
class QueryItem:
    """An item that is asked about, of the catalogue or new.

    Parameters
    ----------
    title : str
        What a person calls it.
    vector : float32 (d,)
    bias : float
    features : int32 (n,)
    likers : int (m,)
        Users who like a new one; those of an item of the catalogue are in the bundle.
    index : int or None
        None for a new one.
    notes : tuple of str
    """

    title: str
    vector: Float32Array
    bias: float
    features: IntArray
    likers: IntArray
    index: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class QueryUser:
    """A user for whom items are sought, known or new.

    Parameters
    ----------
    vector : float32 (d,) or None
        None where nothing is known.
    bias : float
    liked : int (n,)
        Items, to be left out and to give reasons.
    tags : int32 (m,)
        Item features liked.
    features : int32 (l,)
        The user's own.
    cosine : bool
        Whether the vector is a mean of directions, good for likeness only.
    hidden : int (k,)
        Items that are never to be shown to this user.
    trained : bool
        Whether the vector was trained; what neighbours add is weighed by it.
    id : str or None
        None for a new one.
    notes : tuple of str
    """

    vector: Float32Array | None
    bias: float
    liked: IntArray
    tags: IntArray = field(default_factory=_nothing)
    features: IntArray = field(default_factory=_nothing)
    hidden: IntArray = field(default_factory=_nothing)
    cosine: bool = False
    trained: bool = False
    id: str | None = None
    notes: tuple[str, ...] = ()


def known_item(view: BundleView, item: object) -> QueryItem:
    """An item of the catalogue.

    Raises
    ------
    NotFoundError
        If it is unknown.
    """
    return known_items(view, [item])[0]


def known_items(view: BundleView, items: Sequence[object]) -> list[QueryItem]:
    """Items of the catalogue, their names looked up at once.

    Raises
    ------
    NotFoundError
        If one is unknown.
    """
    indices = view.bundle.items.indices(items)
    biases = view.factors.item_biases[indices].tolist()
    return [
        QueryItem(title, view.vectors[index], bias, view.features_of(index), _nothing(), index)
        for index, title, bias in zip(indices.tolist(), view.names(indices), biases, strict=True)
    ]


def known_ids(ids: IdMap, given: Sequence[object], notes: list[str]) -> Int32Array:
    """Known ids, each once in the order given; of the others, a note."""
    return known_ids_many(ids, [given], [notes])[0] if given else np.empty(0, np.int32)


def known_ids_many(
    ids: IdMap, given: Sequence[Sequence[object]], notes: Sequence[list[str]]
) -> list[Int32Array]:
    """The same for several lists, looked up at once."""
    distinct = [list(dict.fromkeys(map(str, some))) for some in given]
    found = ids.find_many([external for some in distinct for external in some]).astype(np.int32)
    known, start = [], 0
    for some, said in zip(distinct, notes, strict=True):
        indices = found[start : start + len(some)]
        start += len(some)
        if (indices < 0).any():
            pairs = zip(some, indices.tolist(), strict=True)
            unknown = [external for external, index in pairs if index < 0]
            what = listed(f"unknown {ids.kind}", len(unknown))
            said.append(f"{what} ignored: {shortened(unknown, len(unknown))}")
        known.append(indices[indices >= 0])
    return known
