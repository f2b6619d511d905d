"""Cold start: items and users withheld from a fit, then served as if they had come afterwards.

One fit serves for both. It has no interactions of the cold items, and none of some users. Items are
then ranked by their features, users are folded in from some of their interactions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Float32Array, Float64Array, Int64Array, IntArray
from recsys.evaluation.holdouts import Estimate
from recsys.evaluation.metric_names import COLD_METRICS
from recsys.models.content import Profiles
from recsys.models.foldin import learn_foldin, learn_item_foldin
from recsys.models.hybrid import HybridModel, profile_matrix
from recsys.models.mapping import Mapping as FeatureMapping
from recsys.models.untrained import fold_in_items
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import bootstrap_interval, evaluate, paired_bootstrap, precision_at_k

USERS_WITHHELD = 0.25  # share of the users in the test holdout
FEW_LIKES = (1, 2, 3, 4, 5)
COLD_BLENDINGS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class ColdStartHoldout:
    """What is left to train on, and what was withheld.

    Parameters
    ----------
    train : csr_matrix float32 (n_users, n_items)
    items : csr_matrix float32 (n_users, n_cold)
        Interactions of the other users with the cold items.
    cold : int array (n_cold,)
    users : int array
        Users of whom every interaction is withheld.
    known, test : csr_matrix float32 (n_users, n_items)
        What those users are folded in from, and measured on; without cold items.
    """

    train: sp.csr_matrix
    items: sp.csr_matrix
    cold: IntArray
    users: IntArray
    known: sp.csr_matrix
    test: sp.csr_matrix


def withhold(
    known: sp.csr_matrix, test: sp.csr_matrix, cold: IntArray, seed: int
) -> ColdStartHoldout:
    """Withhold the cold items and a share of the test users.

    Parameters
    ----------
    known, test : csr_matrix (n_users, n_items)
        What the winner is refit on, and measured on.
    cold : int array (n_cold,)
        Item indices.
    seed : int
    """
    n_users, n_items = known.shape
    generator = np.random.default_rng([seed, 4])
    tested = np.flatnonzero(np.diff(test.indptr))
    count = int(USERS_WITHHELD * len(tested))
    users = np.sort(generator.choice(tested, count, replace=False))
    stays = np.ones(n_users, np.float32)
    stays[users] = 0
    warm = np.ones(n_items, np.float32)
    warm[cold] = 0
    everything = (known + test).tocsr()
    return ColdStartHoldout(
        _part(known, stays, warm),
        _part(everything, stays, 1 - warm)[:, cold].tocsr(),
        cold,
        users,
        _part(known, 1 - stays, warm),
        _part(test, 1 - stays, warm),
    )


def _part(matrix: sp.csr_matrix, rows: Float32Array, columns: Float32Array) -> sp.csr_matrix:
    """The entries whose row and column are marked by one rather than zero."""
    part = (sp.diags(rows) @ matrix @ sp.diags(columns)).tocsr()
    part.eliminate_zeros()
    part.sort_indices()
    return part.astype(np.float32)


def cold_factors(user: Factors, mapping: FeatureMapping, profiles: Profiles) -> Factors:
    """Factors of trained users and of items known by their features alone (rows of `profiles`)."""
    vectors, biases = mapping.vectors(profiles)
    return replace(user, item_factors=vectors, item_biases=biases)


@dataclass(frozen=True)
class ContentScorer:
    """Scores cold items by the cosine of tf-idf profiles; a user's is the sum of their items'.

    Parameters
    ----------
    profiles : Profiles
        Of the items that users interacted with.
    likes : csr_matrix (n_users, n_items)
    items : Profiles
        Of the cold items.

    References
    ----------
    P. Lops, M. de Gemmis and G. Semeraro, Content-based recommender systems: state of the art and
    trends, Recommender Systems Handbook, 2011.
    """

    profiles: Profiles
    likes: sp.csr_matrix
    items: Profiles

    @property
    def n_items(self) -> int:
        """The number of cold items."""
        return self.items.n_items

    def score(self, users: IntArray) -> Float32Array:
        """Scores of all cold items: float32 (len(users), n_items)."""
        sums = self.likes[users] @ profile_matrix(self.profiles)[: self.likes.shape[1]]
        lengths = np.sqrt(np.asarray(sums.multiply(sums).sum(axis=1))).ravel()
        scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        scores = sp.diags(scale) @ (sums @ profile_matrix(self.items).T)
        return np.asarray(scores.toarray(), np.float32)


def cold_metrics(scorer: Any, heldout: sp.csr_matrix) -> dict[str, Float64Array]:
    """Metrics of a ranking of cold items: float64 (n,) each, over users who interacted with one."""
    measured = evaluate(scorer, heldout, ks=(5, 10, 20), auc=False).per_user
    return {name: measured[name] for name in COLD_METRICS}


def estimates(per_user: Mapping[str, Float64Array], seed: int, samples: int) -> dict[str, Any]:
    """Means with bootstrap intervals, ready for JSON."""
    return {
        name: Estimate.of(bootstrap_interval(values, seed, samples=samples)).as_dict()
        for name, values in per_user.items()
    }


def shuffled_profiles(profiles: Profiles, seed: int) -> Profiles:
    """Profiles shuffled among the items that have features, so that they say nothing of an item."""
    described = np.flatnonzero(profiles.described)
    order = np.arange(profiles.n_items)
    order[described] = np.random.default_rng([seed, 5]).permutation(described)
    return profiles.rows(order)


def blend_sweep(
    model: HybridModel,
    held: ColdStartHoldout,
    seed: int,
    blendings: Sequence[float] = COLD_BLENDINGS,
) -> list[dict[str, Any]]:
    """Measure cold items that have a few interactions, without a refit.

    An item's own vector is folded in from the users who interacted with it, another is mapped from
    its features. A blend takes a share of blending / (blending + interactions) of the second.

    Parameters
    ----------
    model : HybridModel
        Trained on `held.train`.
    held : ColdStartHoldout
    seed : int
        Of the choice of interactions.
    blendings : sequence of float

    Returns
    -------
    list of dict
        For each number of interactions: `likes` (that number), `items` (how many have more), and
        precision_at_5 with `own` vectors, with those of `features`, and with a `blend` (by
        blending).
    """
    assert model.item is not None
    likers = held.items.T.tocsr()
    position = _random_positions(likers, seed)
    profiles = model.item.profiles.rows(held.cold)
    mapped = cold_factors(model.factors, model.item.mapping, profiles)
    foldin = learn_item_foldin(model.own, held.train)
    rows: list[dict[str, Any]] = []
    for few in FEW_LIKES:
        given = likers.copy()
        given.data = (position < few).astype(np.float32)
        given.eliminate_zeros()
        # Items with no further interaction have none left to be measured on.
        enough = np.diff(likers.indptr) > few
        own = fold_in_items(model.own, foldin, given)
        known = given.T.tocsr()
        rest = _without_zeros(held.items - known)
        rest = _without_zeros(rest @ sp.diags(enough.astype(np.float32)))
        found = {
            share: _precision_of_blend(mapped, own, share, rest, known)
            for share in (0.0, 1.0, *(s / (s + few) for s in blendings))
        }
        rows.append(
            {
                "likes": few,
                "items": int(enough.sum()),
                "own": found[0.0],
                "features": found[1.0],
                "blend": {f"{s:g}": found[s / (s + few)] for s in blendings},
            }
        )
    return rows


def _random_positions(rows: sp.csr_matrix, seed: int) -> Int64Array:
    """The position of each entry in a random order of its row's: int64 (nnz,)."""
    counts = np.diff(rows.indptr)
    chance = np.random.default_rng([seed, 6]).random(rows.nnz)
    owner = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((chance, owner))
    position = np.empty(rows.nnz, np.int64)
    position[order] = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], counts)
    return position


def _without_zeros(matrix: sp.spmatrix) -> sp.csr_matrix:
    rows = matrix.tocsr()
    rows.eliminate_zeros()
    return rows


def best_blending(sweep: Sequence[Mapping[str, Any]]) -> float:
    """The blending with the highest mean precision in a sweep, the least of equals.

    The precision that the sweep has for it is a little too high, as it was chosen there.

    Parameters
    ----------
    sweep : sequence of mappings
        As `blend_sweep` returns it.
    """
    means = {
        name: float(np.mean([row["blend"][name] for row in sweep])) for name in sweep[0]["blend"]
    }
    return float(max(means, key=lambda name: (means[name], -float(name))))


def _precision_of_blend(
    mapped: Factors, own: Float32Array, share: float, rest: sp.csr_matrix, known: sp.csr_matrix
) -> float:
    """precision_at_5 on `rest` of vectors of which a share is mapped from features."""
    vectors = (1 - share) * own + share * mapped.item_factors
    factors = replace(mapped, item_factors=vectors.astype(np.float32))
    return float(precision_at_k(factors, rest, known=known, k=5).mean())


def measure_foldin(
    model: HybridModel,
    refit: Factors,
    held: ColdStartHoldout,
    known: sp.csr_matrix,
    seed: int,
    samples: int,
) -> dict[str, Any]:
    """Compare users that are folded in with the same users trained, over items that are not cold.

    Parameters
    ----------
    model : HybridModel
        Trained without them, on `held.train`.
    refit : Factors
        Trained with them, on `known`.
    held : ColdStartHoldout
    known : csr_matrix (n_users, n_items)
    seed, samples : int
        Of the bootstrap.

    Returns
    -------
    dict
        `users` (their number), `foldin` and `trained` (precision_at_5), `share` (of the one in the
        other) and `difference` (paired, with its interval).
    """
    foldin = learn_foldin(model.factors, held.train)
    vectors = model.factors.user_factors.copy()
    vectors[held.users] = foldin.users(model.factors.item_factors, held.known)[held.users]
    candidates = np.setdiff1d(np.arange(known.shape[1]), held.cold)
    folded, trained = (
        precision_at_k(factors, held.test, known=seen, k=5, candidates=candidates)
        for factors, seen in (
            (replace(model.factors, user_factors=vectors), held.known),
            (refit, known),
        )
    )
    difference = paired_bootstrap(folded, trained, seed, samples=samples)
    ceiling = float(trained.mean())
    return {
        "users": len(folded),
        "foldin": float(folded.mean()),
        "trained": ceiling,
        "share": float(folded.mean()) / ceiling if ceiling else 0.0,
        "difference": Estimate.of(difference).as_dict(),
    }
