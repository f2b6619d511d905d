"""Colours of items: the category of every item, and the hue that stands for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import Int32Array, Int64Array
from recsys.bundle import Bundle
from recsys.models.side import SideInformation

HUES = 11
OTHER = HUES
"""The grey of small categories, and of items without one."""

_CATEGORY = "category"
_AT_MOST_ONE = 1.2  # mean number of features of a type on an item, for the type to be a category
_COVERED = 0.5  # share of the items with features that must have the category


@dataclass(frozen=True)
class Colours:
    """The categories that items are coloured by.

    Parameters
    ----------
    title : str
        The type of features that is the category.
    names : tuple of str
        The category of each hue, most frequent first; at most `HUES`.
    hues : int32 (n_items,)
        `OTHER` for the rest.
    labels : tuple of str
        All categories.
    of : int32 (n_items,)
        Which of `labels` an item has; -1 for none.
    """

    title: str
    names: tuple[str, ...]
    hues: Int32Array
    labels: tuple[str, ...]
    of: Int32Array

    def label(self, item: int) -> str:
        """The category of an item; empty where it has none."""
        place = int(self.of[item])
        return self.labels[place] if place >= 0 else ""


def colours(bundle: Bundle) -> Colours:
    """Colour items by the type of features that is a category, or else by their most frequent tags.

    A category is the type of that name, or the one that most items have one of.
    """
    n = len(bundle.items)
    nothing = np.full(n, -1, np.int32)
    side = bundle.item_features
    if side is None or not len(side.vocabulary.features):
        return Colours("", (), np.full(n, OTHER, np.int32), (), nothing)
    types = np.array(side.vocabulary.types.to_pylist(), object)
    owners = np.repeat(np.arange(n), np.diff(side.profiles.indptr))
    kind = _category(side, types, owners)
    title = kind or "most frequent tag"
    allowed = types == kind if kind else np.ones(len(types), bool)
    counts = np.bincount(side.profiles.indices, minlength=len(types)) * allowed
    frequent = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    places = np.full(len(types), -1, np.int32)
    places[frequent] = np.arange(len(frequent))
    of = _first(nothing, owners, places[side.profiles.indices])
    values = side.vocabulary.values.to_pylist()
    labels = tuple(str(values[feature]) for feature in frequent)
    hues = np.where((of >= 0) & (of < HUES), of, OTHER).astype(np.int32)
    return Colours(title, labels[:HUES], hues, labels, of)


def _category(side: SideInformation, types: np.ndarray, owners: Int64Array) -> str | None:
    """The type that is a category: about one on an item, on most items."""
    described = max(1, len(np.unique(owners)))
    of_pairs = types[side.profiles.indices]
    found: list[tuple[bool, int, str]] = []
    for kind in sorted(set(types)):
        mine = owners[of_pairs == kind]
        having = len(np.unique(mine))
        if having >= _COVERED * described and len(mine) <= _AT_MOST_ONE * having:
            found.append((kind == _CATEGORY, having, kind))
    return max(found)[2] if found else None


def _first(start: Int32Array, owners: Int64Array, places: Int32Array) -> Int32Array:
    """The most frequent of each item's categories: the lowest place."""
    order = np.argsort(-places, kind="stable")
    order = order[places[order] >= 0]
    found = start.copy()
    found[owners[order]] = places[order]
    return found
