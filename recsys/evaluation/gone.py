"""What is gone: the champion's users, items and tags that tonight's model does not have, by id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recsys.base.arrays import IntArray
from recsys.bundle import Bundle
from recsys.data.idmap import IdMap

NAMED = 3
"""Ids named in a message, of those that are gone."""


@dataclass(frozen=True)
class Gone:
    """Ids of one kind that are gone.

    Parameters
    ----------
    share : float
        Of the champion's ids of this kind.
    examples : tuple of str
        A few of them, those that most likes or items speak of.
    """

    share: float
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f" (gone: {', '.join(self.examples)})" if self.examples else ""
        return f"{0 - self.share:+.1%}{named}"


def find_gone(
    before: Bundle, after: Bundle, features: Mapping[str, pa.Array | None]
) -> dict[str, Gone]:
    """The trained users and items of a model that another was not trained on, and its features.

    Counts would not show that all ids were written in another way, nor that some were replaced by
    as many others. An id that is still there with too few likes to be trained is gone as well:
    the model has learned nothing of it.

    Parameters
    ----------
    before, after : Bundle
    features : mapping of str to pyarrow string array or None
        The names of tonight's features of an `item` and of a `user`, whether the model uses them
        or not; None for none.

    Returns
    -------
    dict of str to Gone
        Of `users` and `items`, and of `tags` and `user features` where `before` has any.
    """
    likes = np.diff(before.seen.indptr)
    found = {
        "users": _gone(
            before.users.select(np.arange(before.trained_users)),
            after.users.select(np.arange(after.trained_users)),
            likes[: before.trained_users],
        ),
        "items": _gone(
            before.items.select(np.arange(before.trained)),
            after.items.select(np.arange(after.trained)),
            before.likes[: before.trained],
        ),
    }
    sides = ("tags", "item", before.item_features), ("user features", "user", before.user_features)
    for kind, side, information in sides:
        if information is None or not len(information.vocabulary.features):
            continue
        names = features.get(side)
        tonight = IdMap(pa.array([], pa.string()) if names is None else names, "feature")
        words = information.vocabulary
        found[kind] = _gone(words.features, tonight, words.support)
    return found


def _gone(before: IdMap, after: IdMap, weight: IntArray) -> Gone:
    lost = np.flatnonzero(before.places_in(after) < 0)
    first = lost[np.argsort(-np.asarray(weight)[lost], kind="stable")][:NAMED]
    return Gone(len(lost) / max(1, len(before)), tuple(before.take(first)))
