"""Tag suggestion measured: tags are hidden from items and have to be found again."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import AnyArray, BoolArray, Float32Array, Float64Array
from recsys.data.components import is_component
from recsys.models.content import Profiles, suggest_features
from recsys.models.hybrid import profile_matrix
from recsys.models.side import SideInformation

MAX_ITEMS = 1000
FIRST = 10  # suggestions among which a hidden feature has to be


def measure_suggestions(
    information: SideInformation,
    item_factors: Float32Array,
    seed: int,
    kind: str | None = None,
    items: int = MAX_ITEMS,
) -> dict[str, Any] | None:
    """Measure the share of hidden features among the first 10 suggestions, recall_at_10.

    Suggestions by similar items are compared with those by co-occurrence and by popularity.

    Parameters
    ----------
    information : SideInformation
    item_factors : float32 (n_trained, d)
        Vectors that were trained without features, so that nothing hidden is in them.
    seed : int
    kind : str or None
        Only features of this type are hidden; by default the type with most features.
    items : int
        How many items are measured at most, one hidden feature each.

    Returns
    -------
    dict or None
        `items` (their number), `type`, and recall_at_10 by `neighbours`, `co_occurrence` and
        `popularity`. None if no item has a feature to hide and another to be found by.
    """
    words, profiles = information.vocabulary, information.profiles
    trained = profiles.rows(np.arange(len(item_factors)))
    types = np.asarray(words.types)
    kind = kind or _commonest(types[~is_component(words.values)])
    cases = _hidden(trained, types == kind, seed, items)
    if not cases:
        return None
    suggesters = _Suggesters(trained, item_factors)
    found = {"neighbours": 0, "co_occurrence": 0, "popularity": 0}
    for item, hidden in cases:
        own = trained.indices[trained.indptr[item] : trained.indptr[item + 1]]
        shown = own[own != hidden]
        for name, scores in suggesters.scores(item, own, shown).items():
            found[name] += _among_first(scores.astype(np.float64), hidden, shown, types != kind)
    return {
        "items": len(cases),
        "type": kind,
        **{name: hits / len(cases) for name, hits in found.items()},
    }


class _Suggesters:
    """Scores of all features for an item, by similar items and by the two baselines.

    Parameters
    ----------
    profiles : Profiles
        Of the trained items.
    item_factors : float32 (n_trained, d)
    """

    def __init__(self, profiles: Profiles, item_factors: Float32Array) -> None:
        self._profiles, self._factors = profiles, item_factors
        present = profile_matrix(profiles)
        present.data = np.ones_like(present.data)
        self._support = np.asarray(present.sum(axis=0)).ravel()
        self._together = (present.T @ present).tocsr()
        lengths = np.linalg.norm(item_factors, axis=1, keepdims=True)
        self._directions = (item_factors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    def scores(self, item: int, own: AnyArray, shown: AnyArray) -> dict[str, AnyArray]:
        """Scores by suggester; `own` are the item's features, `shown` those that are not hidden."""
        support = self._support
        return {
            "neighbours": suggest_features(
                self._profiles, shown, self._factors[item], self._directions, leave_out=item
            ),
            "co_occurrence": _co_occurrence(self._together, support, shown, own),
            "popularity": support - np.isin(np.arange(len(support)), own),
        }


def _commonest(types: AnyArray) -> str:
    """The type of most features."""
    names, counts = np.unique(types.astype(str), return_counts=True)
    return str(names[np.argmax(counts)])


def _hidden(profiles: Profiles, wanted: BoolArray, seed: int, most: int) -> list[tuple[int, int]]:
    """Draw (item, feature) pairs to hide, one for each item; it keeps at least one feature."""
    generator = np.random.default_rng([seed, 7])
    cases: list[tuple[int, int]] = []
    for item in generator.permutation(profiles.n_items):
        own = profiles.indices[profiles.indptr[item] : profiles.indptr[item + 1]]
        ours = own[wanted[own]]
        if len(own) >= 2 and len(ours):
            cases.append((int(item), int(generator.choice(ours))))
        if len(cases) == most:
            break
    return cases


def _co_occurrence(
    together: sp.csr_matrix, support: AnyArray, shown: AnyArray, own: AnyArray
) -> AnyArray:
    """How often each feature occurs with those of an item, summed; the item itself not counted."""
    rows = together[shown].toarray()
    rows[:, own] -= 1
    others = np.maximum(support[shown] - 1, 1)
    return np.asarray((rows / others[:, None]).sum(axis=0))


def _among_first(scores: Float64Array, hidden: int, shown: AnyArray, excluded: BoolArray) -> bool:
    """Whether the hidden feature is among the first; equal scores count against it."""
    scores = np.where(excluded, -np.inf, scores)
    scores[shown] = -np.inf
    value = scores[hidden]
    return bool(np.isfinite(value) and np.count_nonzero(scores >= value) <= FIRST)
