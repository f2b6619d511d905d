"""Users with few likes: how well those below the core are served, and how much likes count there.

They were never trained, so nothing has to be refit: one like of each is hidden, the others answer.
A third of these users choose the weights of likes, the others measure what was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, Float64Array, Int32Array, Int64Array, IntArray
from recsys.bundle import Bundle, Seen
from recsys.evaluation.holdouts import Estimate
from recsys.evaluation.lists import count_bases, top_lists
from recsys.models.blending import scaled
from recsys.models.item_to_item import NeighbourScorer
from recsys.models.itemknn import ItemKnn
from recsys.models.rp3beta import Rp3Beta
from recsys.models.untrained import PickedRows, UntrainedWeights
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import bootstrap_interval
from recsys.ranking.neighbours import Neighbours
from recsys.ranking.rows import flatten
from recsys.ranking.topk import top_k

FEWEST, MOST = 2, 4
"""Users with so many likes are measured, the hidden one among them."""
K = 10
MOST_USERS = 6_000
"""How many users are measured at most, a third of them to choose the weights."""
WALKS = (Rp3Beta(0.8, 0.1), Rp3Beta(1.0, 0.1), Rp3Beta(1.2, 0.2))
"""Random walks over everybody's likes, those of users below the core among them."""
WALK_FOLDINS = (1.0, 0.0, 0.5, 2.0)
WALK_WEIGHTS = (1.0, 2.0, 4.0, 16.0, 64.0)
FOLDIN_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)
NEIGHBOURS_WEIGHTS = (0.5, 1.0, 2.0, 4.0, 16.0)
KNN_WEIGHTS = (64.0, 16.0, 4.0, 1.0)


@dataclass(frozen=True)
class Served:
    """How users that were not trained are served.

    Parameters
    ----------
    weights : UntrainedWeights
    neighbours : Neighbours or None
        In the place of the bundle's own.
    name : str
        Whose neighbours they are: a model's, or the bundle's `own`.
    """

    weights: UntrainedWeights
    neighbours: Neighbours | None = None
    name: str = "own"

    def applied_to(self, bundle: Bundle) -> Bundle:
        """The bundle that serves them so."""
        return replace(bundle, untrained_weights=self.weights, untrained_neighbours=self.neighbours)


@dataclass(frozen=True)
class HiddenLikes:
    """Users below the core, one like of each hidden.

    Parameters
    ----------
    bundle : Bundle
        In which these users, and no others that were not trained, stand behind the trained ones
        with the likes that are left.
    hidden : int32 (n,)
        The item that each of them lost.
    users : int64 (n,)
        Who they are in the bundle that they come from.
    """

    bundle: Bundle
    hidden: Int32Array
    users: Int64Array

    def hits(self, chosen: IntArray, how: Served) -> Float64Array:
        """Whether the hidden item is among the first ten: float64 (n,)."""
        bundle = how.applied_to(self.bundle)
        lists = top_lists(bundle, chosen + bundle.trained_users, K).items
        return _hits(lists, self.hidden[chosen])


def hide_likes(bundle: Bundle, seed: int, most: int = MOST_USERS) -> HiddenLikes:
    """Hide a like of users with two to four of them, who were not trained.

    Parameters
    ----------
    bundle : Bundle
    seed : int
        Of the choice of users and of likes.
    most : int
        How many users, at most.
    """
    generator = np.random.default_rng([seed, 7])
    counts = np.diff(bundle.seen.indptr)
    few = np.flatnonzero((counts >= FEWEST) & (counts <= MOST))
    few = few[few >= bundle.trained_users]
    users = np.sort(generator.permutation(few)[:most])
    lost = generator.integers(counts[users]) + bundle.seen.indptr[users]
    rows = np.concatenate([np.arange(bundle.trained_users), users])
    entries, owners = flatten(bundle.seen, rows)
    kept = ~np.isin(entries, lost)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owners[kept], minlength=len(rows)))])
    side = bundle.user_features
    if side is not None:
        side = replace(side, profiles=side.profiles.rows(rows), share=side.share[rows])
    left = replace(
        bundle,
        users=bundle.users.select(rows),
        seen=Seen(indptr, bundle.seen.indices[entries[kept]]),
        user_features=side,
    )
    return HiddenLikes(left, bundle.seen.indices[lost], users)


def measure_few_likes(
    bundle: Bundle, knn: ItemKnn, *, seed: int, samples: int = 1000, most: int = MOST_USERS
) -> tuple[Served, dict[str, Any]]:
    """Choose how users below the core are served, and measure it.

    What serves them was fitted without the likes that are hidden, and is kept as it is: it is what
    was measured.

    Parameters
    ----------
    bundle : Bundle
    knn : ItemKnn
        A baseline, and a choice: fitted on the likes of the trained users.
    seed, samples : int
        Of the choice of users and likes, and of the bootstrap.
    most : int
        How many users, at most.

    Returns
    -------
    served : Served
    figures : dict
        Ready for JSON: `answered`, how many users are answered from what; and where there are
        users to measure `users`, the `weights`, whose `neighbours` they are with, and the hit
        rates at 10 of the `model`, of `popularity` and of `itemknn`.
    """
    served = Served(UntrainedWeights())
    figures: dict[str, Any] = {"answered": count_bases(bundle)}
    held = hide_likes(bundle, seed, most)
    order = np.random.default_rng([seed, 8]).permutation(len(held.hidden))
    validation, test = np.sort(order[: len(order) // 3]), np.sort(order[len(order) // 3 :])
    if not len(test):
        return served, figures
    likes = _core_likes(bundle)
    neighbours = knn.neighbours(likes)
    if len(validation):
        everybodys = _everybodys_likes(bundle, held)
        served = choose(
            held,
            validation,
            scaled(neighbours, bundle.factors, likes, 1.0),
            [scaled(walk.neighbours(everybodys), bundle.factors, likes, 1.0) for walk in WALKS],
        )
    rates = {
        "model": held.hits(test, served),
        "popularity": _popularity_hits(bundle, held, test),
        "itemknn": _knn_hits(held, test, neighbours),
    }
    return served, figures | {
        "users": len(test),
        "weights": asdict(served.weights),
        "neighbours": served.name,
        **{
            name: Estimate.of(bootstrap_interval(hits, seed, samples=samples)).as_dict()
            for name, hits in rates.items()
        },
    }


def choose(
    held: HiddenLikes, users: IntArray, knn: Neighbours, walks: Sequence[Neighbours] = ()
) -> Served:
    """The way of serving with the highest hit rate, by the walks wherever validation cannot tell.

    Walks over everybody's likes hold where few users speak, which the others do only if they hit
    more by a standard error (docs/experiments/few-likes.md). Of equals the one that is tried first
    is taken.

    Parameters
    ----------
    held : HiddenLikes
    users : int (n,)
    knn : Neighbours
        Whose scores spread as much as those of the factors, as those of the walks do.
    walks : sequence of Neighbours
    """
    if not walks:
        return _best_of_trained(held, users, knn)
    with ThreadPoolExecutor(1) as beside:
        of_walks = beside.submit(_best_walk, held, users, walks)
        others = _best_of_trained(held, users, knn)
        walking = of_walks.result()
    ahead = held.hits(users, others) - held.hits(users, walking)
    error = ahead.std() / np.sqrt(len(ahead))
    return others if ahead.mean() > error else walking


class _Search:
    """The best of what is tried."""

    def __init__(self, held: HiddenLikes, users: IntArray, first: Served) -> None:
        self._held, self._users = held, users
        self.best, self._rate = first, self._hit_rate(first)

    def settle(self, candidates: Iterable[Served]) -> None:
        """Take one of these where it is better."""
        for candidate in candidates:
            found = self._hit_rate(candidate)
            if found > self._rate:
                self.best, self._rate = candidate, found

    def _hit_rate(self, served: Served) -> float:
        return float(self._held.hits(self._users, served).mean())


def _best_walk(held: HiddenLikes, users: IntArray, walks: Sequence[Neighbours]) -> Served:
    """Which walk, with the fold-in and almost alone; then how much both count."""
    name = Rp3Beta.name
    strongest = UntrainedWeights(0.0, WALK_WEIGHTS[-1])
    search = _Search(held, users, Served(UntrainedWeights(), walks[0], name))
    search.settle(Served(UntrainedWeights(), walk, name) for walk in walks[1:])
    search.settle(Served(strongest, walk, name) for walk in walks)
    walk = search.best.neighbours
    search.settle(
        Served(UntrainedWeights(foldin, weight), walk, name)
        for foldin in WALK_FOLDINS
        for weight in WALK_WEIGHTS
    )
    return search.best


def _best_of_trained(held: HiddenLikes, users: IntArray, knn: Neighbours) -> Served:
    """The best by what the likes of trained users say.

    First as trained users are served, then with other weights of the fold-in, then of the
    neighbours, and then with ItemKNN's neighbours in the place of the bundle's: by these alone
    first, so that where the model has learned too little, the baseline itself answers.
    """
    search = _Search(held, users, Served(UntrainedWeights()))
    search.settle(Served(UntrainedWeights(foldin)) for foldin in FOLDIN_WEIGHTS if foldin != 1)
    if held.bundle.neighbours is not None:
        foldins = sorted({0.0, search.best.weights.foldin}, reverse=True)
        search.settle(
            Served(UntrainedWeights(foldin, weight))
            for foldin in foldins
            for weight in NEIGHBOURS_WEIGHTS
            if weight != 1
        )
    foldins = sorted({0.0, search.best.weights.foldin})
    search.settle(
        Served(UntrainedWeights(foldin, weight), knn, ItemKnn.name)
        for foldin in foldins
        for weight in KNN_WEIGHTS
    )
    return search.best


def _everybodys_likes(bundle: Bundle, held: HiddenLikes) -> sp.csr_matrix:
    """What everybody likes of the trained items, without what is hidden, as a matrix of ones."""
    seen = bundle.seen
    owners = np.repeat(np.arange(len(bundle.users)), np.diff(seen.indptr))
    lost = np.full(len(bundle.users), -1)
    lost[held.users] = held.hidden
    kept = (seen.indices < bundle.trained) & (seen.indices != lost[owners])
    ones = np.ones(np.count_nonzero(kept), np.float32)
    shape = (len(bundle.users), bundle.trained)
    return sp.csr_matrix((ones, (owners[kept], seen.indices[kept])), shape=shape)


def _core_likes(bundle: Bundle) -> sp.csr_matrix:
    """What the model was trained on, as a matrix of ones."""
    core = PickedRows.of(bundle.seen, np.arange(bundle.trained_users), _trained_items(bundle))
    ones = np.ones(len(core.indices), np.float32)
    shape = (bundle.trained_users, bundle.trained)
    return sp.csr_matrix((ones, core.indices, core.indptr), shape=shape)


def _trained_items(bundle: Bundle) -> BoolArray:
    return np.arange(len(bundle.items)) < bundle.trained


def _popularity_hits(bundle: Bundle, held: HiddenLikes, users: IntArray) -> Float64Array:
    """Hits of the items with most likes, those that are hidden not counted."""
    n_items = len(bundle.items)
    counts = bundle.likes - np.bincount(held.hidden, minlength=n_items)
    nothing = np.empty((n_items, 0), np.float32)
    likes = PickedRows.of(held.bundle.seen, users + bundle.trained_users)
    zeros = np.zeros(len(users), np.float32)
    nobody = np.empty((len(users), 0), np.float32)
    scorer = Factors(nobody, nothing, zeros, counts.astype(np.float32))
    candidates = np.arange(bundle.trained)
    lists = top_k(scorer, np.arange(len(users)), K, known=likes, candidates=candidates).items
    return _hits(lists, held.hidden[users])


def _knn_hits(held: HiddenLikes, users: IntArray, neighbours: Neighbours) -> Float64Array:
    """Hits of ItemKNN alone."""
    bundle = held.bundle
    rows = users + bundle.trained_users
    likes = PickedRows.of(bundle.seen, rows, _trained_items(bundle))
    scorer = NeighbourScorer(neighbours, likes)
    lists = top_k(scorer, np.arange(len(users)), K, known=likes).items
    return _hits(lists, held.hidden[users])


def _hits(lists: Int32Array, hidden: IntArray) -> Float64Array:
    found: Float64Array = (lists == hidden[:, None]).any(axis=1).astype(np.float64)
    return found
