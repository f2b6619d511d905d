"""Beyond precision: how novel, varied, surprising and true to a user's own tags lists are.

Tags are an item's features of whatever type; an item with n of them counts for each by 1/n [5]_.
What cannot be said of a list (it is empty, or its items have no tags) is not a number, and left out
of means. References are of the definitions; where these leave something open, the functions say
how it is read here.

References
----------
.. [1] T. Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems,
   PNAS 107 (2010): mean self-information.
.. [2] P. Castells, N. J. Hurley and S. Vargas, Novelty and diversity in recommender systems, in
   Recommender Systems Handbook (2015): the same as mean inverse user frequency.
.. [3] C.-N. Ziegler et al., Improving recommendation lists through topic diversification, WWW 2005:
   intra-list similarity.
.. [4] M. Ge, C. Delgado-Battenfeld and D. Jannach, Beyond accuracy: evaluating recommender systems
   by coverage and serendipity, RecSys 2010.
.. [5] H. Steck, Calibrated recommendations, RecSys 2018.
.. [6] A. Singh and T. Joachims, Fairness of exposure in rankings, KDD 2018: shares of the exposure
   in proportion to merit; here places without a discount, and likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    IntArray,
)
from recsys.data.features import EncodedFeatures
from recsys.evaluation.holdouts import Estimate
from recsys.evaluation.lists import evenly_spaced
from recsys.evaluation.metric_names import BEYOND
from recsys.evaluation.segments import POPULARITY, ks_of, thirds
from recsys.ranking.diversity import directions, intra_list_diversity
from recsys.ranking.metrics import Evaluation, HeldOut
from recsys.ranking.rows import Rows, flatten

LONGEST = 10
"""Lists are at most so long; the longest that was measured is taken."""
EXPECTED = "popularity"
"""The model whose lists everybody expects."""
ALPHA = 0.01
"""How much of the user's own tags is mixed into those of a list: the divergence stays finite."""
MOST_USERS = 2_000
"""Users whose lists are compared by the tags and vectors of their items."""
TAGS_SHOWN = 6


@dataclass(frozen=True)
class ItemTags:
    """The tags of items.

    Parameters
    ----------
    matrix : csr_matrix float64 (n_items, n_tags)
        One over the number of an item's tags for each of them: rows sum to one, or are empty.
    names : list of str, (n_tags,)
    """

    matrix: sp.csr_matrix
    names: list[str]

    @staticmethod
    def of(features: EncodedFeatures, n_items: int) -> ItemTags:
        """The tags of the first items of a matrix of features, whatever these weigh."""
        has = (features.matrix[:n_items] != 0).astype(np.float64)
        return ItemTags(_scaled(has, np.diff(has.indptr)), features.names.to_pylist())

    @property
    def tagged(self) -> BoolArray:
        """Which items have any: bool (n_items,)."""
        found: BoolArray = np.diff(self.matrix.indptr) > 0
        return found

    def unit(self) -> sp.csr_matrix:
        """The same with rows of length one: float64 (n_items, n_tags)."""
        return _scaled(self.matrix, 1 / np.sqrt(np.maximum(1, np.diff(self.matrix.indptr))))

    def mix(self, items: sp.csr_matrix) -> sp.csr_matrix:
        """The distribution of tags over some items: rows sum to one, or are empty [5]_.

        Parameters
        ----------
        items : csr_matrix (n, n_items)
            How often each row has each item.

        Returns
        -------
        csr_matrix float64 (n, n_tags)
        """
        mixed = (items.astype(np.float64) @ self.matrix).tocsr()
        mixed.sort_indices()
        return _scaled(mixed, np.asarray(mixed.sum(axis=1)).ravel())


def self_information(known: Rows, n_items: int) -> Float64Array:
    """How much each item says, in bits: minus log2 of the share of users who like it [1]_.

    Parameters
    ----------
    known : Rows
        The likes of each user, none of them twice; users without any do not count.
    n_items : int

    Returns
    -------
    float64 (n_items,)
        An item that nobody likes counts as if one user did.
    """
    likes = np.bincount(np.asarray(known.indices), minlength=n_items)
    users = int(np.count_nonzero(np.diff(known.indptr)))
    return np.log2(max(1, users)) - np.log2(np.maximum(1, likes))


def novelty(lists: IntArray, information: Float64Array) -> Float64Array:
    """Mean self-information of the items of each list, in bits [1]_, [2]_: float64 (n,).

    Parameters
    ----------
    lists : int (n, k)
        Item indices, padded with -1.
    information : float64 (n_items,)
        See `self_information`.
    """
    real = lists >= 0
    return _share((information[lists] * real).sum(axis=1), real.sum(axis=1))


def found_in(lists: IntArray, heldout: HeldOut) -> BoolArray:
    """Which places of lists have a held-out item of their user: bool (n, k).

    Parameters
    ----------
    lists : int (n, k)
        Of the users of `heldout`, padded with -1.
    heldout : HeldOut
    """
    width = 1 + max(lists.max(initial=0), heldout.indices.max(initial=0))
    owners = np.arange(len(lists))
    wanted = np.repeat(owners, heldout.counts) * width + heldout.indices
    found: BoolArray = np.isin(owners[:, None] * width + lists, wanted) & (lists >= 0)
    return found


def serendipity(lists: IntArray, found: BoolArray, expected: IntArray) -> Float64Array:
    """The share of a list's places that are relevant and unexpected [4]_: float64 (n,).

    Relevant is what was held out; expected is what a primitive model recommends the same user in
    a list of the same length. So precision is serendipity and what popularity would have found.

    Parameters
    ----------
    lists, expected : int (n, k)
        Item indices, padded with -1.
    found : bool (n, k)
        See `found_in`.
    """
    among = (lists[:, :, None] == expected[:, None, :]).any(axis=2)
    return (found & ~among).sum(axis=1) / lists.shape[1]


def tag_diversity(lists: IntArray, tags: ItemTags) -> Float64Array:
    """One minus the mean cosine of the tags of two items of each list [3]_: float64 (n,).

    Items without tags are left out; of fewer than two others nothing is said (NaN).

    Parameters
    ----------
    lists : int (n, k)
        Item indices, padded with -1.
    tags : ItemTags
    """
    real = (lists >= 0) & tags.tagged[lists]
    count = real.sum(axis=1)
    # The squared length of a sum of unit vectors has each pair twice, and each item once.
    together = _incidence(np.where(real, lists, -1), len(tags.tagged)) @ tags.unit()
    squares = np.asarray(together.multiply(together).sum(axis=1)).ravel()
    return 1 - _share(squares - count, count * (count - 1))


def miscalibration(
    wanted: sp.csr_matrix, lists: IntArray, tags: ItemTags, alpha: float = ALPHA
) -> Float64Array:
    """How far the tags of each list are from those of the user's likes [5]_: float64 (n,).

    The Kullback-Leibler divergence of the list's distribution from that of the likes, in nats,
    with a share `alpha` of the latter mixed into the former: 0 where both are the same, and minus
    the logarithm of `alpha` at most. NaN where likes or list have no tags.

    Parameters
    ----------
    wanted : csr_matrix float64 (n, n_tags)
        Of the likes, see `ItemTags.mix`.
    lists : int (n, k)
        Item indices, padded with -1.
    tags : ItemTags
    alpha : float
        Above 0.
    """
    shown = tags.mix(_incidence(lists, len(tags.tagged)))
    owners = np.repeat(np.arange(len(lists)), np.diff(wanted.indptr))
    p = wanted.data
    q = np.asarray(shown[owners, wanted.indices]).ravel() if len(p) else p
    divergence = np.bincount(
        owners, p * np.log(p / ((1 - alpha) * q + alpha * p)), minlength=len(lists)
    )
    said = (np.diff(wanted.indptr) > 0) & (np.diff(shown.indptr) > 0)
    found: Float64Array = np.where(said, divergence, np.nan)
    return found


def exposure(lists: IntArray, n_items: int) -> Float64Array:
    """The share of all places of lists that each item has [6]_: float64 (n_items,).

    Parameters
    ----------
    lists : int (n, k)
        Item indices, padded with -1. Every place counts the same.
    n_items : int
    """
    times = np.bincount(lists[lists >= 0], minlength=n_items).astype(np.float64)
    return times / max(1.0, float(times.sum()))


def exposure_gap(shown: Float64Array, liked: Float64Array) -> float:
    """The share of places that would have to change hands for exposure to be as likes are [6]_.

    Half the sum of the absolute differences of two distributions: 0 where they are the same, 1
    where nothing that is liked is shown.
    """
    return float(np.abs(shown - liked).sum()) / 2


def measure_beyond_precision(
    evaluations: Mapping[str, Evaluation],
    winner: str,
    known: sp.csr_matrix,
    vectors: Float32Array,
    features: EncodedFeatures | None = None,
) -> dict[str, Any]:
    """Measure the lists that models were evaluated on beyond their precision.

    Parameters
    ----------
    evaluations : mapping of str to Evaluation
        By model, all on the same holdout and with their lists; popularity and the winner are among
        them.
    winner : str
    known : csr_matrix (n_users, n_items)
        What models are fitted on.
    vectors : float32 (n_items, d)
        Of the items, whose cosines say how much they are alike.
    features : EncodedFeatures or None
        The first rows are those of the items.

    Returns
    -------
    dict
        Ready for JSON; empty if nobody is tested.

        `k` : length of the lists. `users` : how many there are. `tagged_users` : those whose lists
        are compared by tags and vectors. `winner`.
        `models` : figures by model and name (`novelty`, … see `metric_names.BEYOND`), each with
        `mean` and, where it is a mean over users, the ends of Student's 95 % interval.
        `exposure` : for each `part`, the shares of `likes` and of the winner's `places`: head,
        middle and tail of the items, and the tags of which most too much or too little is shown.
        `prices` : for each figure in which another model is best, that `model`, its `value` and
        the winner's `own`, and how its `precision` differs, with the ends of its interval.
    """
    own = evaluations[winner]
    if not len(own.users):
        return {}
    tags = None if features is None else ItemTags.of(features, known.shape[1])
    world = _World.of(own, evaluations[EXPECTED], known, directions(vectors), tags)
    values = {name: world.per_user(found) for name, found in evaluations.items()}
    models = {
        name: world.estimates(values[name], evaluation) for name, evaluation in evaluations.items()
    }
    precision = {name: found["precision"] for name, found in values.items()}
    return {
        "k": world.k,
        "users": len(own.users),
        "tagged_users": len(world.sample),
        "winner": winner,
        "models": {
            name: {figure: estimate.as_dict() for figure, estimate in found.items()}
            for name, found in models.items()
        },
        "exposure": world.exposures(own),
        "prices": _prices(winner, models, precision),
    }


@dataclass(frozen=True)
class _World:
    """What all models are measured against."""

    k: int
    expected: Int32Array
    information: Float64Array
    likes: Float64Array
    third: Int64Array
    sample: Int64Array
    unit: Float32Array
    tags: ItemTags | None
    wanted: sp.csr_matrix | None

    @staticmethod
    def of(
        own: Evaluation,
        expected: Evaluation,
        known: sp.csr_matrix,
        unit: Float32Array,
        tags: ItemTags | None,
    ) -> _World:
        k = max(k for k in ks_of(own) if k <= max(LONGEST, min(ks_of(own))))
        n_items = known.shape[1]
        likes = np.bincount(known.indices, minlength=n_items).astype(np.float64)
        sample = evenly_spaced(len(own.users), MOST_USERS)
        return _World(
            k,
            _lists(expected, k),
            self_information(known, n_items),
            likes / max(1.0, float(likes.sum())),
            thirds(known),
            sample,
            unit,
            tags,
            None if tags is None else tags.mix(_ones(known, own.users[sample])),
        )

    def per_user(self, evaluation: Evaluation) -> dict[str, Float64Array]:
        """The figures that are means over users: float64 (n,), NaN where nothing can be said."""
        lists = _lists(evaluation, self.k)
        some = lists[self.sample]
        found = {
            "precision": evaluation.per_user[f"precision_at_{self.k}"],
            "novelty": novelty(lists, self.information),
            "serendipity": serendipity(lists, found_in(lists, evaluation.heldout), self.expected),
            "vector_diversity": intra_list_diversity(some, self.unit),
        }
        if self.tags is not None:
            assert self.wanted is not None
            found["tag_diversity"] = tag_diversity(some, self.tags)
            found["miscalibration"] = miscalibration(self.wanted, some, self.tags)
        return found

    def estimates(
        self, values: Mapping[str, Float64Array], evaluation: Evaluation
    ) -> dict[str, Estimate]:
        """All figures, in the order in which they are shown."""
        said = {name: found[np.isfinite(found)] for name, found in values.items()}
        found = {name: Estimate.by_user(some) for name, some in said.items() if len(some)}
        for name in ("coverage", "gini"):
            found[name] = Estimate(evaluation.catalogue[f"{name}_at_{self.k}"])
        shown = exposure(_lists(evaluation, self.k), len(self.likes))
        for part, share in zip(POPULARITY, self._by_third(shown), strict=True):
            found[f"{part}_share"] = Estimate(float(share))
        found["item_exposure_gap"] = Estimate(exposure_gap(shown, self.likes))
        if self.tags is not None:
            of_tags = self._by_tag(shown), self._by_tag(self.likes)
            found["tag_exposure_gap"] = Estimate(exposure_gap(*of_tags))
        return {figure.name: found[figure.name] for figure in BEYOND if figure.name in found}

    def exposures(self, evaluation: Evaluation) -> list[dict[str, Any]]:
        """Shares of likes and of places: head, middle and tail, and tags that differ most."""
        shown = exposure(_lists(evaluation, self.k), len(self.likes))
        names = [f"items of the {part}" for part in POPULARITY]
        parts = list(zip(names, self._by_third(self.likes), self._by_third(shown), strict=True))
        if self.tags is not None:
            liked, places = self._by_tag(self.likes), self._by_tag(shown)
            largest = np.argsort(-np.abs(places - liked), kind="stable")[:TAGS_SHOWN]
            parts += [(self.tags.names[tag], liked[tag], places[tag]) for tag in largest.tolist()]
        return [
            {"part": part, "likes": float(likes), "places": float(share)}
            for part, likes, share in parts
        ]

    def _by_third(self, shares: Float64Array) -> Float64Array:
        return np.bincount(self.third, shares, len(POPULARITY)).astype(np.float64)

    def _by_tag(self, shares: Float64Array) -> Float64Array:
        assert self.tags is not None
        found: Float64Array = shares @ self.tags.matrix
        return found / (float(found.sum()) or 1.0)


def _prices(
    winner: str,
    models: Mapping[str, Mapping[str, Estimate]],
    precision: Mapping[str, Float64Array],
) -> list[dict[str, Any]]:
    """The model that is best in each figure, and what taking it would cost in precision."""
    prices = []
    for figure in BEYOND:
        if not figure.priced or figure.name not in models[winner]:
            continue
        sign = -1 if figure.lower else 1
        means = {
            name: sign * found[figure.name].mean
            for name, found in models.items()
            if figure.name in found
        }
        best = max(means, key=means.__getitem__)
        if means[best] > means[winner]:
            cost = Estimate.by_user(precision[best] - precision[winner])
            prices.append(
                {
                    "figure": figure.name,
                    "model": best,
                    "value": models[best][figure.name].mean,
                    "own": models[winner][figure.name].mean,
                    "precision": cost.as_dict(),
                }
            )
    return prices


def _lists(evaluation: Evaluation, k: int) -> Int32Array:
    assert evaluation.lists is not None, "an evaluation that was read again has no lists"
    return evaluation.lists[:, :k]


def _ones(known: sp.csr_matrix, users: IntArray) -> sp.csr_matrix:
    """Ones for the likes of some users, whatever these weigh."""
    entries, owners = flatten(known, users)
    places = owners, known.indices[entries]
    return sp.csr_matrix((np.ones(len(owners)), places), (len(users), known.shape[1]))


def _incidence(lists: IntArray, n_items: int) -> sp.csr_matrix:
    """Ones where a list has an item: float64 (n, n_items)."""
    rows, places = np.nonzero(lists >= 0)
    return sp.csr_matrix((np.ones(len(rows)), (rows, lists[rows, places])), (len(lists), n_items))


def _scaled(rows: sp.csr_matrix, by: Float64Array | IntArray) -> sp.csr_matrix:
    """Rows divided by a number each; those without entries stay so."""
    scaled = rows.copy()
    scaled.data = scaled.data / np.repeat(by, np.diff(rows.indptr))
    return scaled


def _share(part: Float64Array, whole: IntArray) -> Float64Array:
    """A quotient, NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
