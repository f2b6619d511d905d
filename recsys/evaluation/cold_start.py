"""Withheld: items and users kept from a fit, then served as if they had come afterwards.

One fit answers for both: the cold items' interactions are taken out, and every interaction of
some users. Items are then ranked from their features, users from a few of their likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Float32Array, Float64Array, IntArray
from recsys.evaluation.holdouts import Estimate
from recsys.evaluation.metric_names import COLD_METRICS
from recsys.models.content import Profiles
from recsys.models.foldin import FoldIn, learn_foldin, learn_item_foldin, pool_item_vectors
from recsys.models.hybrid import HybridModel, profile_matrix
from recsys.models.mapping import Mapping as FeatureMapping
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import bootstrap_interval, evaluate, paired_bootstrap, precision_at_k

USERS_WITHHELD = 0.25  # of those in the test holdout
FEW_LIKES = (1, 2, 3, 4, 5)
COLD_BLENDINGS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Withheld:
    """What is left to train on, and what was taken out.

    Parameters
    ----------
    train : csr_matrix float32 (n_users, n_items)
    items : csr_matrix float32 (n_users, n_cold)
        Interactions with the cold items, of users that were not taken out.
    cold : int array (n_cold,)
    users : int array
        Users whose every interaction was taken out.
    known, test : csr_matrix float32 (n_users, n_items)
        Of those users: what they are folded in from and measured on, without cold items.
    """

    train: sp.csr_matrix
    items: sp.csr_matrix
    cold: IntArray
    users: IntArray
    known: sp.csr_matrix
    test: sp.csr_matrix


def withhold(known: sp.csr_matrix, test: sp.csr_matrix, cold: IntArray, seed: int) -> Withheld:
    """Take the cold items and a share of the test users out of what is known.

    Parameters
    ----------
    known, test : csr_matrix (n_users, n_items)
        What the winner is refit on, and measured on.
    cold : int array
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
    return Withheld(
        _part(known, stays, warm),
        _part(everything, stays, 1 - warm)[:, cold].tocsr(),
        cold,
        users,
        _part(known, 1 - stays, warm),
        _part(test, 1 - stays, warm),
    )


def _part(matrix: sp.csr_matrix, rows: Float32Array, columns: Float32Array) -> sp.csr_matrix:
    part = (sp.diags(rows) @ matrix @ sp.diags(columns)).tocsr()
    part.eliminate_zeros()
    part.sort_indices()
    return part.astype(np.float32)


def cold_factors(user: Factors, mapping: FeatureMapping, profiles: Profiles) -> Factors:
    """The users' own vectors, and items from their features alone (one row each)."""
    vectors, biases = mapping.vectors(profiles)
    return replace(user, item_factors=vectors, item_biases=biases)


@dataclass(frozen=True)
class ContentTable:
    """Cold items by the cosine of tf-idf profiles: a user is the sum of what they like.

    P. Lops, M. de Gemmis and G. Semeraro, Content-based recommender systems: state of the art and
    trends, Recommender Systems Handbook, 2011.
    """

    profiles: Profiles
    likes: sp.csr_matrix
    items: Profiles

    @property
    def n_items(self) -> int:
        return self.items.n_items

    def score(self, users: IntArray) -> Float32Array:
        sums = self.likes[users] @ profile_matrix(self.profiles)[: self.likes.shape[1]]
        lengths = np.sqrt(np.asarray(sums.multiply(sums).sum(axis=1))).ravel()
        scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        scores = sp.diags(scale) @ (sums @ profile_matrix(self.items).T)
        return np.asarray(scores.toarray(), np.float32)


def per_user(scorer: Any, heldout: sp.csr_matrix) -> dict[str, Float64Array]:
    """Metrics of a ranking of cold items, for each user who likes one."""
    measured = evaluate(scorer, heldout, ks=(5, 10, 20), auc=False).per_user
    return {name: measured[name] for name in COLD_METRICS}


def estimates(per_user: Mapping[str, Float64Array], seed: int, samples: int) -> dict[str, Any]:
    return {
        name: Estimate.of(bootstrap_interval(values, seed, samples=samples)).as_dict()
        for name, values in per_user.items()
    }


def shuffled(profiles: Profiles, seed: int) -> Profiles:
    """Every described item with the features of another: what is learned from it is chance."""
    described = np.flatnonzero(profiles.described)
    order = np.arange(profiles.n_items)
    order[described] = np.random.default_rng([seed, 5]).permutation(described)
    return profiles.rows(order)


def blend_sweep(
    model: HybridModel, held: Withheld, seed: int, blendings: Sequence[float] = COLD_BLENDINGS
) -> list[dict[str, Any]]:
    """Precision at 5 of cold items that were given a few likes, without a refit.

    Own vectors are folded in from the users who like an item, tag vectors come from its features,
    blends take blending / (blending + likes) of the second.

    Returns
    -------
    list of dict
        One for each number of likes: `likes`, `items`, `own`, `features` and `blend` (by
        blending).
    """
    assert model.item is not None
    likers = held.items.T.tocsr()
    counts = np.diff(likers.indptr)
    generator = np.random.default_rng([seed, 6])
    place = generator.random(likers.nnz)
    owner = np.repeat(np.arange(len(counts)), counts)
    # The position of each like in a random order of its item's.
    order = np.lexsort((place, owner))
    position = np.empty(likers.nnz, np.int64)
    position[order] = np.arange(likers.nnz) - np.repeat(likers.indptr[:-1], counts)
    profiles = model.item.profiles.rows(held.cold)
    tagged = cold_factors(model.factors, model.item.mapping, profiles)
    foldin = learn_item_foldin(model.own, held.train)
    rows: list[dict[str, Any]] = []
    for few in FEW_LIKES:
        given = likers.copy()
        given.data = (position < few).astype(np.float32)
        given.eliminate_zeros()
        # Items that nobody else likes have nothing left to be found by.
        enough = counts > few
        own = own_vectors(model, foldin, given)
        masked = given.T.tocsr()
        rest = (held.items - masked).tocsr()
        rest.eliminate_zeros()
        rest = (rest @ sp.diags(enough.astype(np.float32))).tocsr()
        rest.eliminate_zeros()

        found = {
            share: _precision_of_blend(tagged, own, share, rest, masked)
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


def best_blending(sweep: Sequence[Mapping[str, Any]]) -> float:
    """The blending with the highest mean precision over all numbers of likes, the least of equals.

    What the sweep says of that one is a little too good, for it was chosen there.
    """
    means = {
        name: float(np.mean([row["blend"][name] for row in sweep])) for name in sweep[0]["blend"]
    }
    return float(max(means, key=lambda name: (means[name], -float(name))))


def _precision_of_blend(
    tagged: Factors, own: Float32Array, share: float, rest: sp.csr_matrix, masked: sp.csr_matrix
) -> float:
    vectors = (1 - share) * own + share * tagged.item_factors
    factors = replace(tagged, item_factors=vectors.astype(np.float32))
    return float(precision_at_k(factors, rest, known=masked, k=5).mean())


def own_vectors(model: HybridModel, foldin: FoldIn, likers: sp.csr_matrix) -> Float32Array:
    """Item vectors folded in from users (a row of `likers` an item), as long as trained ones."""
    vectors: Float32Array = pool_item_vectors(model.own.user_factors, likers) @ foldin.matrix
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    norms = np.linalg.norm(model.own.item_factors, axis=1)
    wanted = np.float32(norms[norms > 0].mean()) if (norms > 0).any() else np.float32(0)
    scale = np.divide(wanted, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return vectors * scale


def measure_foldin(
    model: HybridModel,
    refit: Factors,
    held: Withheld,
    known: sp.csr_matrix,
    seed: int,
    samples: int,
) -> dict[str, Any]:
    """Folded-in users against the same users trained, both over items that are not cold.

    Parameters
    ----------
    model : HybridModel
        Of the fit without them.
    refit : Factors
        Of the fit with them.
    held : Withheld
    known : csr_matrix
        What `refit` was trained on.

    Returns
    -------
    dict
        `users`, `foldin` and `trained` (precision at 5), `share`, `difference` (an interval).
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
